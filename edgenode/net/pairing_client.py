"""The coordinator's end of a node's pairing port."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

import grpc

from edgenode.errors import NetworkError, PairingError
from edgenode.net.pairing_session import converse
from edgenode.net.pairing_wire import introduction_from_proto, pairing_frame_from_proto, pairing_frame_to_proto
from edgenode.net.pinned import pinned_channel
from edgenode.net.wire import MESSAGE_CHARACTERS, WireError
from edgenode.text import clean_line
from edgenode.trust.frames import Introduction, PairingFrame
from edgenode.trust.pairing import CoordinatorPairing, CoordinatorRenewal, Paired
from edgenode.trust.pairing_machine import PairingStopped
from edgenode.trust.running import RunningNode
from edgenode.trust.verdict import Verdict
from edgenode.trust.window import CODE_DIGITS, WINDOW_SECONDS
from edgenode.types import NodeId
from edgenode.v1 import pairing_pb2, pairing_service_pb2
from edgenode.v1.pairing_service_pb2_grpc import PairingServiceStub

ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Greeting:
    """Claims of whoever answered, but for the id, which its key is of."""

    introduction: Introduction
    verdict: Verdict | None
    """None where no certificate was shown, or for one that this version does not know."""


async def greet(address: str, certificate: bytes = b"", expect: NodeId | None = None) -> Greeting:
    """Asks the node whose work port is HOST:PORT who it is and what it thinks of `certificate` (DER).

    Raises `NetworkError` when nobody usable answers, or another device than `expect`.
    """
    async with pinned_channel(address, expect) as (channel, id):
        with _in_words(address):
            response = await PairingServiceStub(channel).Greet(
                pairing_service_pb2.GreetRequest(certificate=certificate), timeout=ANSWER_SECONDS
            )
        introduction = introduction_from_proto(response.introduction)
        _check_id(introduction, id, address)
        return Greeting(introduction, _verdict_from_proto(response.verdict))


async def pair(address: str, machine: CoordinatorPairing, expect: NodeId | None = None) -> Paired:
    """Pairs with the node whose work port is HOST:PORT.

    Raises `PairingError` when the two do not come together, `NetworkError` when nobody usable answers, or another device than
    `expect`.
    """
    return await _run(address, machine, expect)


async def renew(address: str, machine: CoordinatorRenewal, expect: NodeId) -> Paired:
    """Gives a paired node another certificate. Raises like `pair`."""
    return await _run(address, machine, expect)


async def open_window(running: RunningNode) -> tuple[str, float]:
    """Opens the pairing window of the user's own running node: the code and for how many seconds it is good.

    Raises `PairingError` when the node will not, `NetworkError` when it cannot be reached.
    """
    async with pinned_channel(running.address, running.id) as (channel, _):
        request = pairing_service_pb2.OpenWindowRequest(secret=running.secret)
        try:
            response = await PairingServiceStub(channel).OpenWindow(request, timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION}:
                raise PairingError(_details(error)) from error
            raise _network_error(error, running.address) from error
    code = response.code
    if len(code) != CODE_DIGITS or not (code.isascii() and code.isdigit()) or not 0.0 < response.seconds <= WINDOW_SECONDS:
        raise NetworkError(f"The node at {running.address} gave no code that makes sense.")
    return code, response.seconds


async def _run(address: str, machine: CoordinatorPairing | CoordinatorRenewal, expect: NodeId | None) -> Paired:
    async with pinned_channel(address, expect) as (channel, id):
        call = PairingServiceStub(channel).Pair()

        async def incoming() -> AsyncIterator[PairingFrame]:
            while True:
                with _in_words(address):
                    message = await call.read()
                if message is grpc.aio.EOF:
                    return
                if not isinstance(message, pairing_service_pb2.PairResponse):  # None, for bytes that are no message
                    raise WireError("Bytes came that are no message.")
                frame = pairing_frame_from_proto(message.frame)
                if isinstance(frame, Introduction):
                    _check_id(frame, id, address)
                yield frame

        async def send(frame: PairingFrame) -> None:
            with _in_words(address):
                await call.write(pairing_service_pb2.PairRequest(frame=pairing_frame_to_proto(frame)))

        try:
            await converse(machine, incoming(), send)
        except PairingStopped as stopped:
            if stopped.told:
                raise
            raise PairingStopped(stopped.refusal, message=f"Pairing at {address} came to nothing: {stopped}") from stopped
        finally:
            call.cancel()
    assert machine.result is not None, "finished"
    return machine.result


def _check_id(introduction: Introduction, id: NodeId, address: str) -> None:
    if introduction.id != id:
        raise NetworkError(f"The device at {address} says that it is another than its key is of.")


@contextlib.contextmanager
def _in_words(address: str) -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _network_error(error, address) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody cancelled us: gRPC gave up the call by itself.
        raise NetworkError(f"The connection to {address} broke in the middle of the pairing.") from None
    except asyncio.InvalidStateError:
        raise NetworkError(f"The connection to {address} is over.") from None


def _network_error(error: grpc.aio.AioRpcError, address: str) -> NetworkError:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return NetworkError(f"The node at {address} broke off the connection.")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return NetworkError(f"The node at {address} did not answer in time.")
        case grpc.StatusCode.UNIMPLEMENTED:
            return NetworkError(f"What answers at {address} does not speak this version of edgenode's protocol.")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return NetworkError(f"The node at {address} is asked too often, or sent too much: try again in a moment.")
        case code:
            return NetworkError(f"Talking to the node at {address} failed ({code.name.lower().replace('_', ' ')}).")


def _details(error: grpc.aio.AioRpcError) -> str:
    return clean_line(error.details() or "", MESSAGE_CHARACTERS) or "The node refused and did not say why."


def _verdict_from_proto(value: pairing_pb2.PairingVerdict.ValueType) -> Verdict | None:
    known = value in pairing_pb2.PairingVerdict.values()
    name = pairing_pb2.PairingVerdict.Name(value).removeprefix("PAIRING_VERDICT_") if known else ""
    return Verdict[name] if name in Verdict.__members__ else None
