"""One node of the benchmark, in a process of its own: `python child.py HOME NAME COUNTERS`.

It says `warm` once it has loaded its code, and obeys lines on its standard input: `speed READ WRITE` (tokens a second, at once,
also in the middle of a request; 0 0 makes no more progress while the node goes on answering), `forget` (the prompt cache), `start`,
upon which it serves and says its id. It ends with its standard input, so it cannot outlive whoever started it.
"""

import asyncio
import logging
import mmap
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import EngineProgress, Request
from edgenode.node import Node, NodeConfig
from edgenode.types import Completion

COUNTERS = struct.Struct("=ddd")
"""Tokens read, tokens written, seconds of processor time: in a file, so that they can be read after a kill."""
# Slow enough that a step takes years; the sleep is cancelled like any other.
STALLED = 1e-6


class MeteredEngine(DeterministicEngine):
    """The deterministic engine with speeds that can be changed while it works, and counters of what it really read and wrote, also
    for requests that were cancelled on the way."""

    def __init__(self, counters: mmap.mmap) -> None:
        super().__init__()
        self._counters = counters
        self._read = self._written = 0

    def set_speeds(self, read: float, write: float) -> None:
        self._read_speed, self._write_speed = read or STALLED, write or STALLED

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        last: EngineProgress | None = None

        def count(at: EngineProgress) -> None:
            nonlocal last
            if last is not None:
                self._read += at.read_tokens - last.read_tokens
                self._written += at.completion_tokens - last.completion_tokens
            last = at
            self._counters[:] = COUNTERS.pack(self._read, self._written, time.process_time())
            progress(at)

        return await super().complete(request, count)


async def serve(home: Path, name: str, counters: Path) -> None:
    with counters.open("r+b") as file, mmap.mmap(file.fileno(), COUNTERS.size) as shared:
        engine = MeteredEngine(shared)
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        say("warm")
        while (line := await obey(lines, engine)) not in ("", "start"):
            pass
        if line:
            # The battery of the machine that simulates all of them is not this device's.
            async with Node(NodeConfig(home=home, name=name, min_battery=0), engine) as node:
                say(node.trust.id)
                while await obey(lines, engine):
                    pass


async def obey(lines: asyncio.StreamReader, engine: MeteredEngine) -> str:
    """Does what the next line says, and returns its first word; empty at the end."""
    words = (await lines.readline()).decode().split()
    match words:
        case ["speed", read, write]:
            engine.set_speeds(float(read), float(write))
        case ["forget"]:
            engine.forget()
    return words[0] if words else ""


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
