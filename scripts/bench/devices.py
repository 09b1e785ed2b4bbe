"""The benchmark's devices: node processes with set speeds, and what can happen to them."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.child import COUNTERS
from edgenode.types import NodeId

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 10.0


class DeviceFailed(Exception):
    """A node process did not do what it should; the text says which and what."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a device has done so far: tokens read and written by its engine, and seconds of processor time."""

    read: float
    written: float
    processor: float

    def since(self, before: "Used") -> "Used":
        return Used(self.read - before.read, self.written - before.written, self.processor - before.processor)


class Device:
    """A node process of nominal `speed`, of which 1 is `read` and `write` tokens a second."""

    def __init__(self, name: str, speed: float, paces: tuple[float, float], process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.speed = speed
        self.id: NodeId | None = None
        """Known once it was started."""
        self.is_spoilt = False
        """Whether it was killed and is of no further use."""
        self._paces = paces
        self._process = process
        self._log = log

    async def start(self) -> None:
        """Serves from now on."""
        self._tell("start")
        self.id = NodeId(await self.said())

    def set_speed(self, speed: float) -> None:
        """As fast as that from now on, in the middle of a request too. At 0 nothing gets on, but the node answers."""
        self._tell(f"speed {self._paces[0] * speed} {self._paces[1] * speed}")

    def refresh(self) -> None:
        """As it was in the beginning, for the next measurement."""
        self.set_speed(self.speed)
        self._tell("forget")

    def kill(self) -> None:
        self.is_spoilt = True
        self._process.kill()

    def freeze(self) -> None:
        """The process stops as a phone's does that is put to sleep: connections stay, nothing answers."""
        self.is_spoilt = True
        self._process.send_signal(signal.SIGSTOP)

    @property
    def used(self) -> Used:
        return Used(*COUNTERS.unpack(self._log.with_suffix(".counters").read_bytes()))

    async def said(self) -> str:
        assert self._process.stdout is not None, "a pipe"
        try:
            async with asyncio.timeout(START_SECONDS):
                line = (await self._process.stdout.readline()).decode().strip()
        except TimeoutError:
            raise DeviceFailed(f"The node {self.name} did not start within {START_SECONDS:.0f} seconds.") from None
        if not line:
            raise DeviceFailed(f"The node {self.name} ended: {self._log.read_text(encoding='utf-8')[-500:].strip()}")
        return line

    async def end(self) -> None:
        """Ends the process, which may be frozen or dead."""
        assert self._process.stdin is not None, "a pipe"
        with contextlib.suppress(ProcessLookupError):
            if self.is_spoilt:
                self._process.kill()
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None, "a pipe"
        self._process.stdin.write(f"{line}\n".encode())


class Devices:
    """Makes devices in `folder`, each with a home of its own and called after it, and ends all with the context of `devices`."""

    def __init__(self, folder: Path, paces: tuple[float, float], stack: AsyncExitStack) -> None:
        self._folder = folder
        self._paces = paces
        self._stack = stack
        self._made = 0

    async def make(self, speeds: Sequence[float]) -> list[Device]:
        """Devices that have loaded their code, and are started by `Device.start`."""
        made = [await self._make(speed) for speed in speeds]
        for device in made:
            await device.said()
        return made

    async def _make(self, speed: float) -> Device:
        self._made += 1
        name = f"{self._folder.name}-{self._made}"
        log = self._folder / f"{name}.log"
        counters = log.with_suffix(".counters")
        counters.write_bytes(bytes(COUNTERS.size))
        command = [sys.executable, str(Path(__file__).with_name("child.py")), str(self._folder / name), name, str(counters)]
        pipe = asyncio.subprocess.PIPE
        with log.open("wb") as errors:
            # A session of its own: Ctrl-C at the terminal ends the benchmark, which ends the nodes.
            process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True)
        device = Device(name, speed, self._paces, process, log)
        self._stack.push_async_callback(device.end)
        device.set_speed(speed)
        return device


@asynccontextmanager
async def devices(folder: Path, paces: tuple[float, float]) -> AsyncIterator[Devices]:
    """`folder` is there; `paces` are the tokens a second that a device of speed 1 reads and writes."""
    async with AsyncExitStack() as stack:
        yield Devices(folder, paces, stack)
