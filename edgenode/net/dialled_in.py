"""A coordinator's end of what a node opened: a work stream, or a wait to be paired. Knows nothing of ports."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from edgenode.errors import EdgenodeError, NetworkError
from edgenode.net.client import SILENCE_SECONDS, NodeLost
from edgenode.net.pairing_session import Send, converse
from edgenode.net.wire import WireError, frame_to_proto
from edgenode.net.work_streams import HEARTBEAT_SECONDS
from edgenode.trust.frames import Introduction, PairingFrame
from edgenode.trust.pairing_machine import Machine
from edgenode.types import Frame, Heartbeat, NodeDescription
from edgenode.v1 import work_pb2

# Read and not taken yet by whoever uses the stream; more stay on the node's side.
INBOX_FRAMES: Final = 32
# Queued for a node that may have stopped reading.
OUTBOX_FRAMES: Final = 256
# In a whole pairing a node sends four.
PAIRING_FRAMES: Final = 8

Write = Callable[[work_pb2.Frame], Awaitable[None]]


class NotAdmitted(NetworkError):
    """The node may not have a work stream, or no longer."""


class DialledIn:
    """One work stream that a node opened. To whoever uses it the same as a `NodeConnection` that has been entered."""

    def __init__(self, host: str, description: NodeDescription) -> None:
        self.address = host
        """Where it dialled from, without a port: there is nothing to dial."""
        self.description = description
        """As the node gave it when it dialled. Its id is that of the node's certificate."""
        self._outgoing: asyncio.Queue[work_pb2.Frame] = asyncio.Queue()
        self._incoming: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(INBOX_FRAMES)
        self._closing = asyncio.Event()
        self._why = "The node closed the connection."
        self._heard = asyncio.get_running_loop().time()

    @property
    def silent_for(self) -> float:
        """Seconds since the node's last frame."""
        return asyncio.get_running_loop().time() - self._heard

    def send(self, frame: Frame) -> None:
        """Queues a frame; lost when the stream is over, and the end of it where too many wait. Raises ValueError for one that
        cannot be encoded (lone surrogates)."""
        if self._outgoing.qsize() >= OUTBOX_FRAMES:
            if not self._closing.is_set():
                self._why = "The node does not read what it is sent."
                self._closing.set()
            return
        self._outgoing.put_nowait(frame_to_proto(frame))

    async def frames(self) -> AsyncIterator[Frame]:
        """What the node sends, until the stream is over: then raises `NodeLost`."""
        while (frame := await self._incoming.get()) is not None:
            self._room.release()
            yield frame
        self._incoming.put_nowait(None)  # for whoever asks again
        raise NodeLost(self._why)

    def close(self) -> None:
        """Ends it. May be called more than once."""
        self._closing.set()

    async def aclose(self) -> None:
        """The same, as a `NodeConnection` has it."""
        self.close()

    async def serve(self, incoming: AsyncIterator[Frame | None], write: Write, check: Callable[[], None]) -> None:
        """Carries frames (None for one of an unknown kind) until either side is done. Raises `NotAdmitted` within about a second
        after `check` would, and `NodeLost` when the node breaks the protocol or is gone."""
        parts = (self._read(incoming), self._write(write), self._watch(check), self._closing.wait())
        tasks = [asyncio.create_task(part, name="dialled-in") for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    self._why = str(error) if isinstance(error, EdgenodeError) else "The connection broke unexpectedly."
                    raise error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._incoming.put_nowait(None)

    async def _read(self, incoming: AsyncIterator[Frame | None]) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    frame = await anext(incoming)
            except StopAsyncIteration:
                raise NodeLost("The node closed the connection.") from None
            except TimeoutError:
                raise NodeLost(f"The node was silent for {SILENCE_SECONDS:.0f} s.") from None
            except WireError as error:
                raise NodeLost(f"The node broke the protocol: {error}") from error
            self._heard = asyncio.get_running_loop().time()
            if isinstance(frame, NodeDescription) and frame.id != self.description.id:
                raise NodeLost("The node says it is another one than its certificate does.")
            if frame is not None:
                await self._room.acquire()
                self._incoming.put_nowait(frame)

    async def _write(self, write: Write) -> None:
        while True:
            frame = frame_to_proto(Heartbeat())
            # And not wait_for, which in Python 3.11 swallows a cancellation that comes as its call ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    frame = await self._outgoing.get()
            await write(frame)

    async def _watch(self, check: Callable[[], None]) -> None:
        """Beside the writing, which a peer that does not read can hold up."""
        while True:
            check()  # another process may have unpaired it, in a file
            await asyncio.sleep(HEARTBEAT_SECONDS)


class WaitingDevice:
    """A device that dialled to be paired or renewed and waits for this side to begin. Nothing that it says is proved."""

    def __init__(self, introduction: Introduction, host: str, send: Send) -> None:
        self.introduction = introduction
        self.host = host
        """Where it dialled from."""
        self._send = send
        self._frames: asyncio.Queue[PairingFrame | NetworkError] = asyncio.Queue()
        self._begun = False
        self._over = asyncio.Event()

    @property
    def is_waiting(self) -> bool:
        return not self._begun and not self._over.is_set()

    def close(self) -> None:
        """Hangs up, unless it is being paired."""
        if not self._begun:
            self._over.set()

    async def run(self, machine: Machine) -> None:
        """Carries out one pairing or renewal, once. Raises `PairingError`, and `NetworkError` when the device has hung up."""
        if not self.is_waiting:
            raise NetworkError(f"The device at {self.host} has hung up. It dials again by itself: try again in a moment.")
        self._begun = True
        try:
            await converse(machine, self._received(), self._send)
        finally:
            self._over.set()

    async def serve(self, incoming: AsyncIterator[PairingFrame]) -> None:
        """Reads what the device sends until it hangs up or `run` is through. A device that speaks before it is asked to is hung up
        on."""
        reading = asyncio.create_task(self._read(incoming), name="waiting-device")
        over = asyncio.create_task(self._over.wait(), name="waiting-device-over")
        try:
            await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
            if self._begun:
                # What it sent last may still be on its way through the machine.
                await over
        finally:
            self._over.set()
            for task in (reading, over):
                task.cancel()
            await asyncio.gather(reading, over, return_exceptions=True)
            self._frames.put_nowait(NetworkError(f"The device at {self.host} hung up."))

    async def _read(self, incoming: AsyncIterator[PairingFrame]) -> None:
        try:
            async for frame in incoming:
                if not self._begun or self._frames.qsize() >= PAIRING_FRAMES:
                    return
                self._frames.put_nowait(frame)
        except WireError as error:
            self._frames.put_nowait(error)
        else:
            self._frames.put_nowait(NetworkError(f"The device at {self.host} hung up."))

    async def _received(self) -> AsyncIterator[PairingFrame]:
        yield self.introduction
        while True:
            frame = await self._frames.get()
            if isinstance(frame, NetworkError):
                raise frame
            yield frame
