"""What this device has, and how it fares: the plain values, and what Python itself or psutil can tell on any platform.

`sysfs` and `termux` tell the same where there is Linux or Android; `device_watch` asks them all.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Final

from edgenode.types import DeviceStatus

UNKNOWN_MEMORY_BYTES: Final = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Sensor:
    """A temperature that must not rise too high for long. At `limit_celsius` the device is too hot, at `cool_celsius` no more."""

    what: str
    """What is measured, as a word in a sentence: "processor", "battery"."""
    celsius: float
    limit_celsius: float
    cool_celsius: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the device."""

    status: DeviceStatus = field(default_factory=DeviceStatus)
    sensors: tuple[Sensor, ...] = ()


def merged(readings: Iterable[Reading]) -> Reading:
    """Each field from the first reading that tells it, the sensors of all. The battery's two fields stay together: percent from
    one source and charging from another might be of two different batteries."""
    status = DeviceStatus()
    sensors: tuple[Sensor, ...] = ()
    for reading in readings:
        told = reading.status
        if status.battery_percent is not None:
            told = replace(told, battery_percent=None, charging=None)
        missing = [each.name for each in fields(DeviceStatus) if getattr(status, each.name) is None]
        status = replace(status, **{name: getattr(told, name) for name in missing})
        sensors += reading.sensors
    return Reading(status, sensors)


def portable_reading() -> Reading:
    """What every platform's Python tells (the load), and with psutil installed, which is no dependency, battery and memory."""
    try:
        load = os.getloadavg()[0] / cores()
    except (AttributeError, OSError):
        load = None
    try:
        import psutil
    except ImportError:
        return Reading(DeviceStatus(load=load))
    try:
        memory: int | None = psutil.virtual_memory().available
        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except Exception:  # a library that may be of any age, asked for what we can do without
        return Reading(DeviceStatus(load=load))
    percent = None if battery is None else min(max(float(battery.percent), 0.0), 100.0)
    charging = None if battery is None else battery.power_plugged
    return Reading(DeviceStatus(percent, charging, None, memory, load))


def memory_bytes() -> int:
    """Physical memory; where the platform does not tell, a modest guess."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_MEMORY_BYTES


def cores() -> int:
    """Processor cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
