"""Tasks that begin at any time and end with their owner."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Tasks:
    """Owns what it spawned. A task that ends by a defect is logged and takes nothing else with it."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self) -> None:
        """Cancels all, and those that they begin while they end, and waits for them."""
        while self._running:
            tasks = tuple(self._running)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # Whoever interrupts the program does so in whichever task is running, which is no defect of it.
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            logger.error("%s ended by a defect.", task.get_name(), exc_info=error)
