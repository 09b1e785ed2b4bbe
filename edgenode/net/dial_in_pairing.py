"""The coordinator's port at which devices that dial in wait to be paired or renewed. Strangers come here too: what waits costs a
stream, and has proved nothing."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc

from edgenode.errors import NetworkError
from edgenode.net.dialled_in import WaitingDevice
from edgenode.net.front import caller_of
from edgenode.net.once import LogOnce
from edgenode.net.pairing_service import parse
from edgenode.net.pairing_wire import pairing_frame_from_proto, pairing_frame_to_proto
from edgenode.net.rates import RateLimit
from edgenode.net.responses import Responses
from edgenode.net.wire import WireError
from edgenode.trust.frames import Introduction, PairingFrame, RefusalReason, Refused
from edgenode.v1 import pairing_service_pb2

WAITING: Final = 16
WAITING_OF_ONE_HOST: Final = 4
# A device that waits dials again within the minute, a lively one after half a second a few times.
CALLS: Final = (20.0, 1.0)
FIRST_FRAME_SECONDS: Final = 5.0
BUSY_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[Any, Any]


class DialInPairingService:
    """For whoever comes. `on_waiting` is told of each device that waits, and `on_left` when it does no longer."""

    def __init__(self, on_waiting: Callable[[WaitingDevice], None], on_left: Callable[[WaitingDevice], None]) -> None:
        self._on_waiting = on_waiting
        self._on_left = on_left
        self._devices: set[WaitingDevice] = set()
        self._waiting: Counter[str] = Counter()
        self._calls = RateLimit(*CALLS)
        self._once = LogOnce(logger)

    def add_to(self, server: grpc.aio.Server) -> None:
        service = pairing_service_pb2.DESCRIPTOR.services_by_name["DialInPairingService"].full_name
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._pair)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"PairDialIn": handler}),))

    def close(self) -> None:
        for device in self._devices:
            device.close()

    async def _pair(self, requests: AsyncIterator[bytes], context: _Context) -> None:
        who = caller_of(context).host
        responses = Responses(context)

        async def send(frame: PairingFrame) -> None:
            await responses.write(pairing_service_pb2.PairDialInResponse(frame=pairing_frame_to_proto(frame)).SerializeToString())

        crowded = self._waiting.total() >= WAITING or self._waiting[who] >= WAITING_OF_ONE_HOST
        if crowded or not self._calls.allow(who, time.monotonic()):
            self._once.warning(who, "dials in to be paired more often than is answered.")
            with contextlib.suppress(NetworkError):
                await send(Refused(RefusalReason.BUSY, "The coordinator is busy: try again in a moment.", BUSY_SECONDS))
            return
        self._waiting[who] += 1
        try:
            frames = _pairing_frames(requests)
            device = WaitingDevice(await self._introduced(frames, context, who), who, send)
            self._devices.add(device)
            self._on_waiting(device)
            try:
                await device.serve(frames)
            finally:
                self._devices.discard(device)
                self._on_left(device)
            await responses.finish()
        finally:
            self._waiting[who] -= 1
            self._waiting += Counter()  # forgets hosts that have none

    async def _introduced(self, frames: AsyncIterator[PairingFrame], context: _Context, who: str) -> Introduction:
        why = "The device did not introduce itself first."
        try:
            async with asyncio.timeout(FIRST_FRAME_SECONDS):
                first = await anext(frames, None)
            if isinstance(first, Introduction):
                return first
        except TimeoutError:
            why = "The device was silent for too long."
        except WireError as error:
            why = f"The device broke the protocol: {error}"
        self._once.warning(who, f"dialled in to be paired and was refused. {why}")
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
        raise AssertionError("abort raises")


async def _pairing_frames(requests: AsyncIterator[bytes]) -> AsyncIterator[PairingFrame]:
    async for data in requests:
        yield pairing_frame_from_proto(parse(pairing_service_pb2.PairDialInRequest, data).frame)
