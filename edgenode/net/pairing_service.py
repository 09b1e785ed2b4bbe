"""The pairing service of a node: the only thing that is reachable without a certificate.

Its methods take bytes and parse them here: gRPC itself writes a traceback to the log for each message that is none, and strangers
may send a million.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from edgenode.errors import NetworkError, PairingError, TrustError
from edgenode.net.front import caller_of
from edgenode.net.once import LogOnce
from edgenode.net.pairing_desk import PairingDesk
from edgenode.net.pairing_wire import introduction_to_proto, pairing_frame_from_proto, pairing_frame_to_proto
from edgenode.net.rates import RateLimit
from edgenode.net.wire import WireError
from edgenode.trust.certificates import MAX_CERTIFICATE_BYTES
from edgenode.trust.frames import PairingFrame, RefusalReason, Refused
from edgenode.trust.verdict import Verdict
from edgenode.v1 import pairing_pb2, pairing_service_pb2

# A coordinator greets once for each refusal and pairs once. An exchange costs a Pi about a tenth of a second of computing.
GREETINGS: Final = (30.0, 2.0)
PAIRINGS: Final = (20.0, 0.5)
STREAMS: Final = 8
STREAMS_OF_ONE_HOST: Final = 4
BUSY_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[Any, Any]
_Message = TypeVar("_Message", bound=Message)


class PairingService:
    """Serves one desk to whoever comes."""

    def __init__(self, desk: PairingDesk) -> None:
        self._desk = desk
        self._greetings = RateLimit(*GREETINGS)
        self._pairings = RateLimit(*PAIRINGS)
        self._streams: Counter[str] = Counter()
        self._once = LogOnce(logger, desk.clock)

    def add_to(self, server: grpc.aio.Server) -> None:
        service = pairing_service_pb2.DESCRIPTOR.services_by_name["PairingService"].full_name
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Greet": grpc.unary_unary_rpc_method_handler(self._greet),
            "Pair": grpc.stream_stream_rpc_method_handler(self._pair),
            "OpenWindow": grpc.unary_unary_rpc_method_handler(self._open_window),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    async def _greet(self, data: bytes, context: _Context) -> bytes:
        who = caller_of(context).host
        await self._limit(self._greetings, who, context)
        request = await self._parsed(pairing_service_pb2.GreetRequest, data, who, context)
        if len(request.certificate) > MAX_CERTIFICATE_BYTES:
            await self._refuse(context, who, grpc.StatusCode.INVALID_ARGUMENT, "The certificate is too large.")
        verdict = self._desk.greet(request.certificate, who)
        response = pairing_service_pb2.GreetResponse(
            introduction=introduction_to_proto(self._desk.introduction()), verdict=_verdict_to_proto(verdict)
        )
        return response.SerializeToString()

    async def _open_window(self, data: bytes, context: _Context) -> bytes:
        who = caller_of(context).host
        await self._limit(self._greetings, who, context)
        request = await self._parsed(pairing_service_pb2.OpenWindowRequest, data, who, context)
        try:
            code, seconds = self._desk.open_window(request.secret, who)
        except TrustError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except PairingError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return pairing_service_pb2.OpenWindowResponse(code=code, seconds=seconds).SerializeToString()

    async def _pair(self, requests: AsyncIterator[bytes], context: _Context) -> None:
        who = caller_of(context).host
        send = _sender(context)
        crowded = self._streams.total() >= STREAMS or self._streams[who] >= STREAMS_OF_ONE_HOST
        if crowded or not self._pairings.allow(who, self._desk.clock()):
            self._once.warning(who, "asks to be paired more often than is answered.")
            await send(Refused(RefusalReason.BUSY, "The device is busy: try again in a moment.", BUSY_SECONDS))
            return
        self._streams[who] += 1
        try:
            await self._desk.serve(_frames(requests), send, who)
        finally:
            self._streams[who] -= 1
            self._streams += Counter()  # forgets hosts that have none

    async def _limit(self, limit: RateLimit, who: str, context: _Context) -> None:
        if not limit.allow(who, self._desk.clock()):
            await self._refuse(context, who, grpc.StatusCode.RESOURCE_EXHAUSTED, "You ask more often than is answered.")

    async def _parsed(self, kind: type[_Message], data: bytes, who: str, context: _Context) -> _Message:
        try:
            return parse(kind, data)
        except WireError as error:
            await self._refuse(context, who, grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def _refuse(self, context: _Context, who: str, status: grpc.StatusCode, why: str) -> NoReturn:
        self._once.warning(who, f"was refused at the pairing port: {why}")
        await context.abort(status, why)


def parse(kind: type[_Message], data: bytes) -> _Message:
    """Raises `WireError` for bytes that are no such message."""
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise WireError("Bytes came that are no message.") from error
    return message


async def _frames(requests: AsyncIterator[bytes]) -> AsyncIterator[PairingFrame]:
    async for data in requests:
        yield pairing_frame_from_proto(parse(pairing_service_pb2.PairRequest, data).frame)


def _sender(context: _Context) -> Callable[[PairingFrame], Awaitable[None]]:
    async def send(frame: PairingFrame) -> None:
        try:
            await context.write(pairing_service_pb2.PairResponse(frame=pairing_frame_to_proto(frame)).SerializeToString())
        except grpc.RpcError as error:
            raise NetworkError("The coordinator is gone.") from error

    return send


def _verdict_to_proto(verdict: Verdict | None) -> pairing_pb2.PairingVerdict.ValueType:
    return pairing_pb2.PairingVerdict.Value(f"PAIRING_VERDICT_{verdict.name if verdict else 'UNSPECIFIED'}")
