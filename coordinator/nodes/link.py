"""The connection to one paired node, made, given up and made again as its membership decides."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final, Protocol

from coordinator.events import NodeInfo
from coordinator.nodes.news import Down, Heard, News, Up, WorkStream
from coordinator.nodes.pairing import Trust
from coordinator.scheduling.membership import DIAL_LIMIT_SECONDS, Became, Close, Decision, Dial, Member
from edgenode.errors import EdgenodeError, NetworkError
from edgenode.net.channel import CONNECTION_SECONDS
from edgenode.net.client import NodeConnection
from edgenode.trust.certificates import now_utc
from edgenode.types import DeviceStatus, Frame, Heartbeat, NodeDescription, NodeId

UNREACHABLE: Final = "It cannot be reached."

logger = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


def seconds_of_connection(ends: datetime, now: datetime) -> float:
    """For how long one may last that was just made to a node whose certificate, as far as is known, is good until `ends`: where
    that is over it is not the one that the handshake has looked at."""
    left = (ends - now).total_seconds()
    return min(left, CONNECTION_SECONDS) if left > 0.0 else CONNECTION_SECONDS


class Around(Protocol):
    """What a link needs of whoever it belongs to."""

    @property
    def id(self) -> NodeId: ...

    @property
    def name(self) -> str: ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where to dial now."""

    @property
    def unheard(self) -> str:
        """Why a node that dials does not get to this process, or waits there and wants no connection, a sentence; empty for others,
        and where nothing is known to be in the way."""

    def info(self) -> NodeInfo: ...

    def tell(self, news: News) -> None:
        """Hears of the stream."""

    def changed(self) -> None:
        """Something that `info` shows is different."""

    async def refused(self, why: str) -> str:
        """A dial came to nothing, and not for want of an answer. Does what helps; the reason if a person must act, else empty."""

    async def joined(self, dials_in: bool) -> None:
        """A stream is open. Awaited beside it."""


class Link:
    """Begins to dial at once. After `close` nothing happens any more; tasks belong to whoever spawns them."""

    def __init__(self, around: Around, trust: Trust, spawn: Spawn) -> None:
        self.member = Member(time.monotonic())
        self.description: NodeDescription | None = None
        self.status: DeviceStatus | None = None
        self.address = ""
        """Where it was reached last."""
        self.dialled_from = ""
        """The host from which it opened a stream last."""
        self._around = around
        self._trust = trust
        self._spawn = spawn
        self._stream: WorkStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._shown: object = None
        self._closed = False
        self._tick()

    @property
    def is_open(self) -> bool:
        return self._stream is not None

    def send(self, frame: Frame) -> None:
        if self._stream is not None:
            self._stream.send(frame)

    def sighted(self) -> None:
        self._follow(self.member.sighted(time.monotonic()))

    def goodbye(self) -> None:
        self._follow(self.member.goodbye(time.monotonic()))

    def take(self, stream: WorkStream) -> None:
        """A stream that the node opened: the newest counts."""
        self.dialled_from = stream.address
        self._hang_up("The node opened a new connection.")
        # Whoever let it in has seen its certificate, and ends it with that.
        self._task = self._spawn(self._serve(stream, math.inf, dials_in=True), f"node-{self._around.name}")

    def close(self, why: str) -> None:
        self._closed = True
        self._cancel_timer()
        self._hang_up(why)

    # The membership's decisions, and its clock.

    def _follow(self, decisions: list[Decision]) -> None:
        if self._closed:
            return
        for decision in decisions:
            match decision:
                case Dial():
                    self._task = self._spawn(self._connect(), f"node-{self._around.name}")
                case Close(why):
                    self._hang_up(why)
                case Became(state, why):
                    logger.debug("Node %s is %s. %s", self._around.name, state, why)
                    if self.is_open:
                        self._around.tell(Up(self._around.info()))
        self._arm()
        shown = (self.member.state, self.member.why, self.member.is_undecided)
        if shown != self._shown:
            self._shown = shown
            self._around.changed()

    def _arm(self) -> None:
        """A timer for the next tick. One that goes off too early is set anew then: frames put the time off at every heartbeat."""
        if self._timer_at > self.member.wakes_at:
            self._cancel_timer()
            self._timer_at = self.member.wakes_at
            delay = max(0.0, self._timer_at - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer_at = math.inf
        now = time.monotonic()
        self._follow(self.member.tick(now) if now >= self.member.wakes_at else [])

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = math.inf

    def _hang_up(self, why: str) -> None:
        if self.is_open:
            self._tell_down(why)
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _tell_down(self, why: str) -> None:
        self._stream = None
        self._around.tell(Down(self._around.info(), why))

    # One connection, from the dial to its end. Whoever hangs up cancels it, and has told.

    async def _connect(self) -> None:
        addresses = self._around.addresses
        if not addresses:
            self._failed("It has not connected to this coordinator, and no address of it is known.")
            return
        async with contextlib.AsyncExitStack() as stack:
            try:
                authority = self._trust.authority
                connection = NodeConnection(addresses, self._around.id, authority.client_tls(), authority.id)
                async with asyncio.timeout(DIAL_LIMIT_SECONDS):
                    await stack.enter_async_context(connection)
            except TimeoutError:
                self._failed(UNREACHABLE)
            except EdgenodeError as error:
                reason = await self._around.refused(str(error))
                if reason:
                    self._follow(self.member.refused(reason, time.monotonic()))
                else:
                    self._failed(str(error))
            except Exception:
                # A defect of ours must cost this dial and not the node for good.
                logger.exception("Connecting to %s failed unexpectedly.", self._around.name)
                self._failed("The connection broke unexpectedly.")
            else:
                self.address = connection.address
                kept = self._trust.paired.known(self._around.id)
                seconds = seconds_of_connection(kept.certificate_ends, now_utc()) if kept else CONNECTION_SECONDS
                await self._serve(connection, time.monotonic() + seconds, dials_in=False)

    def _failed(self, why: str) -> None:
        if unheard := self._around.unheard:
            self._follow(self.member.refused(unheard, time.monotonic()))
        else:
            self._follow(self.member.failed(why, time.monotonic()))

    async def _serve(self, stream: WorkStream, until: float, dials_in: bool) -> None:
        try:
            self.description = stream.description
            self._follow(self.member.connected(time.monotonic(), until))
            self._stream = stream
            self._around.tell(Up(self._around.info()))
            self._spawn(self._around.joined(dials_in), f"joined-{self._around.name}")
            why = "The node closed the connection."
            try:
                async for frame in stream.frames():
                    self._hear(frame)
            except NetworkError as error:
                why = str(error)
            except Exception:
                logger.exception("The connection to %s broke unexpectedly.", self._around.name)
                why = "The connection broke unexpectedly."
            self._tell_down(why)
            self._follow(self.member.lost(why, time.monotonic()))
        finally:
            if dials_in:
                await stream.aclose()

    def _hear(self, frame: Frame) -> None:
        self._follow(self.member.heard(time.monotonic()))
        match frame:
            case Heartbeat(status):
                if status is not None:
                    self.status = status
                    self._around.changed()
            case NodeDescription():
                self.description = frame
                self._around.tell(Up(self._around.info()))
            case _:
                self._around.tell(Heard(self._around.id, frame))
