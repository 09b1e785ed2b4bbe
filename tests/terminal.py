"""A command on a pseudo-terminal of its own, for what only a person sees and is asked."""

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgenode.threads import in_thread
from tests.end_to_end.pools import PATIENCE, command

# Its own session, so that Ctrl-C typed here reaches it and nobody else.
TAKES_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class OnTerminal:
    """What it has printed is `said`."""

    def __init__(self, process: "subprocess.Popen[bytes]", ours: int) -> None:
        self.said = ""
        self._process = process
        self._ours = ours

    async def says(self, text: str) -> None:
        """Waits until it has said that, in whatever it says from now on or has said since the last call."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.said:
                assert await self._more(), self.said

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    async def ends(self) -> int:
        """Its exit status, once it has said all."""
        async with asyncio.timeout(PATIENCE):
            while await self._more():
                pass
            return await in_thread(self._process.wait)

    async def _more(self) -> bool:
        try:
            data = await in_thread(os.read, self._ours, 65_536)
        except OSError:  # the other end is closed: Linux says so with an error
            return False
        self.said += data.decode("utf-8", "replace")
        return bool(data)


@asynccontextmanager
async def on_terminal(name: str, *arguments: object) -> AsyncIterator[OnTerminal]:
    """Runs `edgenode` or `coordinator`; it is killed at the end if it runs still."""
    ours, theirs = pty.openpty()
    line = command(name, *map(str, arguments))
    process = await in_thread(
        subprocess.Popen,
        [sys.executable, "-c", TAKES_TERMINAL, *line],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield OnTerminal(process, ours)
    finally:
        process.kill()
        await in_thread(process.wait)
        os.close(ours)
