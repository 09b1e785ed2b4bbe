"""News without content: something changed, whoever is interested looks again."""

import asyncio
import time


class Changes:
    def __init__(self) -> None:
        self.last = time.monotonic()
        """When something changed last."""
        self._next = asyncio.Event()

    def tell(self) -> None:
        self.last = time.monotonic()
        self._next.set()
        self._next = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Set by the next change: to be taken before looking, so that none is missed."""
        return self._next


async def wait(change: asyncio.Event, seconds: float) -> None:
    """Until the change, but not longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await change.wait()
    except TimeoutError:
        pass
