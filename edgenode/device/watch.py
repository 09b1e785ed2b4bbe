"""Keeps a device's status fresh and says when it should take no work."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Self

from edgenode.device.drain import DrainPolicy
from edgenode.device.status import Reading, merged, portable_reading
from edgenode.device.sysfs import LinuxFiles
from edgenode.device.termux import TermuxBattery
from edgenode.threads import in_thread
from edgenode.types import DeviceStatus

READ_SECONDS: Final = 5.0
# Two readings of free memory are never the same; what is no news to a person is not sent through the house.
MEMORY_STEP: Final = 64 * 1024**2

Source = Callable[[], Reading]

logger = logging.getLogger(__name__)


def usual_sources() -> tuple[Source, ...]:
    """All that may know something on this platform, the best first."""
    return LinuxFiles().read, TermuxBattery().read, portable_reading


class DeviceWatch:
    """Reads the device every `seconds`, in a thread of its own, one reading after the other.

    `on_change` is called with each status that differs, `on_drain` with each new reason to take no work and with "" when it is
    over, both on the event loop; they must not block. An async context manager, which waits for no reading.
    """

    def __init__(
        self,
        on_change: Callable[[DeviceStatus], None],
        on_drain: Callable[[str], None],
        policy: DrainPolicy | None = None,
        sources: Iterable[Source] | None = None,
        seconds: float = READ_SECONDS,
    ) -> None:
        self._on_change = on_change
        self._on_drain = on_drain
        self._policy = policy or DrainPolicy()
        self._sources = usual_sources() if sources is None else tuple(sources)
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None
        self.status: DeviceStatus | None = None
        """The last one; None until the first reading."""
        self.draining = ""
        """Why the device takes no work, empty while it does."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="device-watch")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                reading = await in_thread(self._read)
            except Exception:
                # The node serves on without knowing how it fares; once is enough to say so.
                logger.exception("The device's status cannot be read any more: a defect in edgenode.")
                return
            self._hear(reading)
            await asyncio.sleep(self._seconds)

    def _read(self) -> Reading:
        return merged(source() for source in self._sources)

    def _hear(self, reading: Reading) -> None:
        # The policy sees what was read, the rest of the house what is worth telling.
        draining = self._policy.decide(reading, time.monotonic())
        status = rounded(reading.status)
        if status != self.status:
            self.status = status
            self._on_change(status)
        if draining != self.draining:
            if not draining:
                logger.info("This device takes work again.")
            elif not self.draining:
                logger.info("This device is %s.", draining)
            self.draining = draining
            self._on_drain(draining)


def rounded(status: DeviceStatus) -> DeviceStatus:
    """Whole percents (down) and degrees, 64 MiB of memory (down), tenths of load."""
    percent, heat, memory, load = (
        status.battery_percent,
        status.temperature_celsius,
        status.available_memory_bytes,
        status.load,
    )
    return replace(
        status,
        battery_percent=None if percent is None else float(int(percent)),
        temperature_celsius=None if heat is None else float(round(heat)),
        available_memory_bytes=None if memory is None else memory // MEMORY_STEP * MEMORY_STEP,
        load=None if load is None else round(load, 1),
    )
