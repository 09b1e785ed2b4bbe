"""A node's end of its work streams, whichever side dialled: who may have one, what goes over it, and when it ends."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from edgenode.errors import EdgenodeError, NetworkError
from edgenode.net.once import LogOnce
from edgenode.net.rates import RateLimit
from edgenode.net.wire import WireError
from edgenode.trust.certificates import now_utc
from edgenode.trust.store import NodeTrust
from edgenode.trust.verdict import REFUSALS, Verdict
from edgenode.types import (
    AuthorityId,
    Cancel,
    Completion,
    DeviceStatus,
    Frame,
    Heartbeat,
    Hello,
    Lease,
    NodeDescription,
    Outcome,
    Progress,
    Refusal,
)
from edgenode.work import WorkQueue

HEARTBEAT_SECONDS: Final = 1.0
# A coordinator that is silent for this long is gone, and what it asked for is stopped. Generous: its process may be busy
# extracting text, and gRPC's own keepalive notices a dead machine sooner.
COORDINATOR_SILENCE_SECONDS: Final = 30.0
# Of one coordinator: a few commands of one person at once, such as a run and a list that is kept fresh.
STREAM_LIMIT: Final = 4
# Frames of one coordinator. Heartbeats are one a second, and a lease takes milliseconds even where a reply is made by rule.
FRAMES_PER_SECOND: Final = 500.0
FRAMES_AT_ONCE: Final = 2_000.0
# Frames waiting for a peer that reads slowly. Beyond the first, progress is dropped; beyond the second, the peer is: it sends
# leases and reads no answers.
OUTBOX_FRAMES: Final = 256
OUTBOX_LIMIT: Final = 1_024
# And characters of replies among them: a lease's 64 of the longest sort that a coordinator of ours takes.
OUTBOX_CHARACTERS: Final = 512_000

logger = logging.getLogger(__name__)


class PeerRefused(NetworkError):
    """A coordinator is not served, or no longer. The text says why, to the coordinator's owner."""


class OverLimit(PeerRefused):
    """Refused for what it does, not for who it is."""


@dataclass(slots=True, eq=False)
class _Outbox:
    """Frames on their way to one coordinator. Nothing is taken in once it is closed, and nothing sent once it is closed with a
    refusal."""

    _frames: deque[Frame] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _characters: int = 0
    closed: bool = False
    refusal: PeerRefused | None = None

    def put(self, frame: Frame) -> None:
        if self.closed or (isinstance(frame, Progress) and len(self._frames) >= OUTBOX_FRAMES):
            return
        if len(self._frames) >= OUTBOX_LIMIT or self._characters >= OUTBOX_CHARACTERS:
            self.close(OverLimit("The coordinator does not read what it is sent."))
            return
        self._frames.append(frame)
        self._characters += _reply_characters(frame)
        self._wake.set()

    def close(self, refusal: PeerRefused | None = None) -> None:
        self.closed = True
        if refusal is not None and self.refusal is None:
            self.refusal = refusal
            self._frames.clear()
        self._wake.set()

    async def take(self, seconds: float) -> Frame | None:
        """The next frame; None when there is none for so long, or when it is closed."""
        if not self._frames and not self.closed:
            self._wake.clear()
            # And not wait_for, which in Python 3.11 swallows a cancellation that comes as its call ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0.0)):
                    await self._wake.wait()
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._characters -= _reply_characters(frame)
        return frame

    @property
    def done(self) -> bool:
        return self.closed and not self._frames


def _reply_characters(frame: Frame) -> int:
    return len(frame.result.text) if isinstance(frame, Outcome) and isinstance(frame.result, Completion) else 0


class WorkStreams:
    """All streams of one node. `status` tells how the device fares, None while it is not known; it and `describe` are called on
    the event loop. `now` is the date."""

    def __init__(
        self,
        describe: Callable[[], NodeDescription],
        queue: WorkQueue,
        trust: NodeTrust,
        status: Callable[[], DeviceStatus | None] = lambda: None,
        now: Callable[[], datetime] = now_utc,
    ) -> None:
        self.now = now
        self._describe = describe
        self._queue = queue
        self._trust = trust
        self._status = status
        self._rates = RateLimit(FRAMES_AT_ONCE, FRAMES_PER_SECOND)
        self._open: dict[_Outbox, AuthorityId] = {}
        self._once = LogOnce(logger)

    def describe(self) -> NodeDescription:
        return self._describe()

    def announce_change(self) -> None:
        """Sends the description again on every stream: the engine's state, its models or the draining changed."""
        for outbox in tuple(self._open):
            outbox.put(self._describe())

    def close(self) -> None:
        """Ends every stream once what is on its way has been sent."""
        for outbox in tuple(self._open):
            outbox.close()

    async def serve(
        self, authority: AuthorityId, requests: AsyncIterator[Frame | None], ends: datetime | None = None
    ) -> AsyncGenerator[Frame, None]:
        """One stream of a coordinator of `authority`, which has shown a certificate that is good until `ends` (None where gRPC does
        not tell, to whoever dialled). Reads `requests` (None for a frame of an unknown kind) in a task of its own; yields what goes
        back until either side is done.

        Raises `PeerRefused` when it may not have a stream, or no longer: within about a second after it is no longer trusted, or
        its certificate has ended.
        """
        if sum(each == authority for each in self._open.values()) >= STREAM_LIMIT:
            raise self._told(authority, OverLimit(f"This coordinator already has {STREAM_LIMIT} connections to the node."))
        outbox = _Outbox()
        outbox.put(self._describe())
        session = self._queue.open_session(authority, outbox.put)
        self._open[outbox] = authority

        async def read() -> None:
            try:
                while True:
                    async with asyncio.timeout(COORDINATOR_SILENCE_SECONDS):
                        frame = await anext(requests)
                    if not self._rates.allow(authority, time.monotonic()):
                        raise OverLimit("The coordinator sends more messages than a node takes.")
                    match frame:
                        case Lease():
                            session.offer(frame)
                        case Cancel(lease, subtasks):
                            session.cancel(lease, subtasks)
                        case None | Hello() | Heartbeat() | NodeDescription() | Refusal() | Progress() | Outcome():
                            pass
            except StopAsyncIteration:
                outbox.close()
            except TimeoutError:
                outbox.close(OverLimit(f"The coordinator was silent for {COORDINATOR_SILENCE_SECONDS:.0f} s."))
            except WireError as error:
                outbox.close(OverLimit(f"The coordinator broke the protocol: {error}"))
            except OverLimit as error:
                outbox.close(error)
            finally:
                outbox.close()

        async def watch() -> None:
            """Beside the sending, which a peer that does not read holds up for as long as it likes: so all else ends here."""
            while not outbox.closed:
                await asyncio.sleep(HEARTBEAT_SECONDS)
                try:
                    if not any(one.authority == authority for one in self._trust.trusted()):
                        outbox.close(PeerRefused("This device does not trust the coordinator any more."))
                    elif ends is not None and self.now() > ends:
                        outbox.close(PeerRefused(REFUSALS[Verdict.EXPIRED]))
                except (EdgenodeError, OSError) as error:
                    # Whoever was dropped must not stay because that could not be read.
                    logger.warning("Whom this device trusts cannot be read: %s", error)
                    outbox.close(PeerRefused("This device cannot read whom it trusts."))
            session.close()
            reader.cancel()

        reader = asyncio.create_task(read(), name="work-stream-reader")
        tasks = (reader, asyncio.create_task(watch(), name="work-stream-watch"))
        try:
            async for frame in self._outgoing(outbox):
                yield frame
        finally:
            del self._open[outbox]
            session.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if outbox.refusal is not None:
            raise self._told(authority, outbox.refusal)

    async def _outgoing(self, outbox: _Outbox) -> AsyncIterator[Frame]:
        """What is put, with a heartbeat where there is nothing for a while or the status changed."""
        told: DeviceStatus | None = None
        spoke, beat = True, time.monotonic()
        while not outbox.done:
            frame = await outbox.take(beat - time.monotonic())
            if frame is not None:
                yield frame
                spoke = True
            if time.monotonic() >= beat and not outbox.closed:
                status = self._status()
                if status != told or not spoke:
                    yield Heartbeat(status if status != told else None)
                told = status
                spoke, beat = False, time.monotonic() + HEARTBEAT_SECONDS

    def _told(self, authority: AuthorityId, refusal: PeerRefused) -> PeerRefused:
        name = f"coordinator {authority[:8]}"
        with contextlib.suppress(EdgenodeError, OSError):
            name = next((one.name for one in self._trust.trusted() if one.authority == authority), name)
        self._once.warning(name, f"{refusal} Its work is stopped.")
        return refusal
