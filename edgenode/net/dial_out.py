"""A node's side of coordinators that cannot reach it: dials each again and again, to work for it, or to be paired or renewed."""

import asyncio
import contextlib
import dataclasses
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum, auto
from typing import Final, Self

import grpc

from edgenode.errors import EdgenodeError, NetworkError
from edgenode.net.addresses import split_host_port
from edgenode.net.channel import CONNECTION_SECONDS, open_work_channel
from edgenode.net.dial_out_call import STOP_SECONDS, Call, finish, messages, write
from edgenode.net.once import LogOnce
from edgenode.net.pairing_desk import PairingDesk
from edgenode.net.pairing_service import parse
from edgenode.net.pairing_wire import pairing_frame_from_proto, pairing_frame_to_proto
from edgenode.net.pinned import pinned_channel
from edgenode.net.reachable import UnknownName, reachable_addresses
from edgenode.net.wire import frame_from_proto, frame_to_proto
from edgenode.net.work_streams import PeerRefused, WorkStreams
from edgenode.trust.certificates import RENEW_BEFORE_END, coordinator_host_name, now_utc
from edgenode.trust.frames import PairingFrame
from edgenode.trust.store import TrustedCoordinator
from edgenode.types import AuthorityId, Frame
from edgenode.v1 import node_service_pb2, pairing_service_pb2

CONNECT_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 5.0
# What ended sooner than this is not begun anew at once: it may end as soon again.
SETTLED_SECONDS: Final = 2.0
# A coordinator ends connections at its pairing port after a minute: the node begins anew before, at a moment of its own choice.
WAIT_SECONDS: Final = 45.0
LOOK_SECONDS: Final = 1.0
# Between looks whether a certificate ends soon, while there is a work stream.
RENEW_LOOK_SECONDS: Final = 5.0

WORK_METHOD: Final = "/edgenode.v1.DialInService/WorkDialIn"
PAIR_METHOD: Final = "/edgenode.v1.DialInPairingService/PairDialIn"

logger = logging.getLogger(__name__)


class Visit(Enum):
    """How one attempt at an address ended."""

    SERVED = auto()
    """A coordinator let the node in, and that connection is over."""
    GRANTED = auto()
    """The node was paired, or its certificate renewed."""
    WAITED = auto()
    """The node waited to be paired, and nothing came of it yet."""
    TAKEN = auto()
    """The coordinator there has a connection to this node already."""
    FAILED = auto()


def pause_after(visit: Visit, lasted: float, failures: int, jitter: float) -> float:
    """Seconds until the next attempt. `lasted` is how long this one took, `failures` counts those in a row that did, this one
    included, and `jitter` is random, 0 to 1."""
    match visit:
        case Visit.TAKEN:
            return LONGEST_PAUSE_SECONDS
        case Visit.GRANTED:
            return 0.0
        case Visit.SERVED | Visit.WAITED:
            # Coordinators run for seconds; the next may be there already.
            longest = 0.0 if lasted >= SETTLED_SECONDS else FIRST_PAUSE_SECONDS
        case Visit.FAILED:
            # The exponent is bounded as well: it goes on for days.
            longest = min(FIRST_PAUSE_SECONDS * 2.0 ** min(max(failures - 1, 0), 8), LONGEST_PAUSE_SECONDS)
    return longest * (1.0 + jitter) / 2.0


class DialOut:
    """Dials the coordinators at `addresses` (HOST:PORT, where HOST may be a name) for as long as it is entered. Their work goes
    over `streams`, as that of coordinators that dialled; `desk` decides who is paired. A connection is made anew after `seconds`.
    """

    def __init__(
        self, addresses: Sequence[str], streams: WorkStreams, desk: PairingDesk, seconds: float = CONNECTION_SECONDS
    ) -> None:
        self._seconds = seconds
        self._addresses = tuple(dict.fromkeys(addresses))
        self._streams = streams
        self._desk = desk
        self._trust = desk.trust
        self._tasks: list[asyncio.Task[None]] = []
        self._told: dict[str, str] = {}
        self._once = LogOnce(logger)
        self._ending = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._visit_for_ever(each), name=f"dial-out-{each}") for each in self._addresses]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._ending = True
        if self._tasks:
            self._streams.close()
            # Those in the middle of a connection end by themselves, once what is on its way has been sent.
            _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _visit_for_ever(self, join: str) -> None:
        failures = 0
        warned = False
        while not self._ending:
            began = time.monotonic()
            try:
                visit = await self._visit(join)
            except EdgenodeError as error:
                # Once: it may be mistyped, but as well belong to a laptop that comes and goes.
                warns = isinstance(error, UnknownName) and not warned
                warned = warned or warns
                self._tell(join, f"{error} It is tried again and again.", logging.WARNING if warns else logging.INFO)
                visit = Visit.FAILED
            except Exception:
                # A defect of ours must cost this attempt, and not the coordinator for good.
                logger.exception("Dialling %s failed unexpectedly.", join)
                visit = Visit.FAILED
            lasted = time.monotonic() - began
            failures = failures + 1 if visit is Visit.FAILED else 0
            if not self._ending:
                await asyncio.sleep(pause_after(visit, lasted, failures, random.random()))

    async def _visit(self, join: str) -> Visit:
        reachable = await reachable_addresses(join)
        for address in reachable:
            for one in self._trust.trusted():
                visit = await self._work(address, one, join)
                if visit is not None:
                    return visit
        # Nobody lets it in: it is not paired there (any more), or a certificate has expired.
        return await self._wait(
            reachable[0], lambda: self._tell(join, "It waits there to be paired or renewed by the coordinator.")
        )

    def _tell(self, join: str, text: str, level: int = logging.INFO) -> None:
        """Logs what has changed."""
        if self._told.get(join) != text:
            self._told[join] = text
            logger.log(level, "%s: %s", join, text)

    # Work.

    async def _work(self, address: str, one: TrustedCoordinator, join: str) -> Visit | None:
        """Serves the coordinator `one` there until the connection is over. None where it is not there, or does not let this node
        in. Nothing is sent before it has proved by its certificate who it is, and said hello."""
        tls, name = self._trust.client_tls(one.authority), coordinator_host_name(one.authority)
        async with open_work_channel(address, tls, name) as channel:
            call: Call = channel.stream_stream(WORK_METHOD)()
            answered = asyncio.Event()
            is_in = False
            renewing: asyncio.Task[None] | None = None

            async def frames() -> AsyncIterator[Frame | None]:
                nonlocal is_in
                try:
                    async for data in messages(call):
                        if not is_in:
                            is_in = True
                            answered.set()
                            deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)
                            self._tell(join, f"It works for {one.name} over a connection that it opened.")
                        yield frame_from_proto(parse(node_service_pb2.WorkDialInResponse, data).frame)
                finally:
                    answered.set()

            status, why = None, ""
            try:
                async with (
                    asyncio.timeout(CONNECT_SECONDS) as deadline,
                    contextlib.aclosing(self._streams.serve(one.authority, frames())) as outgoing,
                ):
                    async for frame in outgoing:
                        # A frame that crosses a refusal would hide from us what the coordinator says.
                        await answered.wait()
                        if not is_in:
                            break
                        renewing = renewing or asyncio.create_task(
                            self._renew_in_time(address, one.authority), name="dial-out-renewal"
                        )
                        await write(call, node_service_pb2.WorkDialInRequest(frame=frame_to_proto(frame)).SerializeToString())
                status, why = await finish(call)
            except PeerRefused:  # by this node, which has been logged
                return Visit.SERVED if is_in else Visit.TAKEN
            except NetworkError:
                status, why = await finish(call)
            except TimeoutError:
                if is_in:  # for as long as one connection may last: the next one finds this one's place free
                    await finish(call)
            finally:
                call.cancel()
                if renewing is not None:
                    renewing.cancel()
                    await asyncio.gather(renewing, return_exceptions=True)
        logger.debug("%s: the call to %s ended as %s.", address, name, status)
        if status is grpc.StatusCode.PERMISSION_DENIED:
            self._once.warning(join, f"{one.name} does not let this device in. {why}")
        if is_in:
            return Visit.SERVED
        return Visit.TAKEN if status is grpc.StatusCode.ALREADY_EXISTS else None

    # Pairing and renewal.

    async def _renew_in_time(self, address: str, authority: AuthorityId) -> None:
        """Beside the work: the coordinator cannot dial this node, so once its certificate ends soon it waits to be renewed too."""
        while True:
            try:
                ends = [each.leaf.not_valid_after_utc for each in self._trust.trusted() if each.authority == authority]
                if any(end - now_utc() < RENEW_BEFORE_END for end in ends):
                    await self._wait(address)
            except EdgenodeError as error:
                logger.debug("%s: waiting there to be renewed failed: %s", address, error)
            except Exception:
                logger.exception("Waiting at %s to be renewed failed unexpectedly.", address)
            await asyncio.sleep(RENEW_LOOK_SECONDS)

    async def _wait(self, address: str, waiting: Callable[[], None] | None = None) -> Visit:
        """Introduces this node there and waits for the coordinator to begin. `waiting` is called once it is connected."""
        host, _ = split_host_port(address)
        async with pinned_channel(address, None) as (channel, _):
            call: Call = channel.stream_stream(PAIR_METHOD)()
            begun = False
            left = asyncio.Event()

            async def frames() -> AsyncIterator[PairingFrame]:
                nonlocal begun
                async for data in messages(call):
                    begun = True
                    yield pairing_frame_from_proto(parse(pairing_service_pb2.PairDialInResponse, data).frame)
                if not begun:
                    # Usual, and nothing for the desk to report: coordinators come and go.
                    left.set()
                    await asyncio.Event().wait()

            async def send(frame: PairingFrame) -> None:
                await write(call, pairing_service_pb2.PairDialInRequest(frame=pairing_frame_to_proto(frame)).SerializeToString())

            async def outdated() -> None:
                """Returns when the introduction is, or should be made to a coordinator that lets this node in by now."""
                told, until = self._standing(), time.monotonic() + WAIT_SECONDS
                await asyncio.sleep(LOOK_SECONDS)
                while begun or (time.monotonic() < until and self._standing() == told):  # noqa: ASYNC110 - files change too
                    await asyncio.sleep(LOOK_SECONDS)

            serving = asyncio.create_task(self._desk.serve(frames(), send, host, waits=True), name="dial-out-pairing")
            others = [asyncio.create_task(left.wait()), asyncio.create_task(outdated())]
            if waiting is not None:
                waiting()
            try:
                await asyncio.wait({serving, *others}, return_when=asyncio.FIRST_COMPLETED)
                if not serving.done():
                    return await self._hung_up(call) if left.is_set() else Visit.WAITED
                if serving.result() is None:
                    return Visit.FAILED
                await finish(call)
                return Visit.GRANTED
            finally:
                for task in (serving, *others):
                    task.cancel()
                await asyncio.gather(serving, *others, return_exceptions=True)
                call.cancel()

    async def _hung_up(self, call: Call) -> Visit:
        if await call.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise NetworkError("What answers there is no coordinator of this version of edgenode.")
        return Visit.WAITED

    def _standing(self) -> object:
        """What an introduction and the attempt to work depend on."""
        return dataclasses.replace(self._desk.introduction(), time=0.0), self._trust.trusted()
