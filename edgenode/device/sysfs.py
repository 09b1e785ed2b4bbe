"""How a Linux device fares, from the files of its kernel. Whatever is missing, forbidden (Android) or nonsense is left out.

The files are documented in the kernel's Documentation/ABI/testing (sysfs-class-power, sysfs-class-thermal, sysfs-class-hwmon).
"""

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgenode.device.status import Reading, Sensor, cores
from edgenode.types import DeviceStatus

# A Raspberry Pi's firmware slows the processor from 80 °C on, and a phone at that heat is no longer pleasant to hold.
SMALL_LIMIT: Final = 80.0
# A board that says at what heat its kernel begins to slow it may come as near to that as this.
PASSIVE_MARGIN: Final = 5.0
# Laptops run at 95 °C under load as a matter of course, and slow themselves at the critical point (mostly 100 °C) before any
# harm: only what stays within these few degrees of it is in trouble.
CRITICAL_MARGIN: Final = 3.0
# Where an x86 processor names no critical point (AMD's driver): its newer desktop parts hold themselves at 95 °C by design.
LARGE_LIMIT: Final = 97.0
COOLER: Final = 10.0
# Firmware tables hold trip points such as 0, 20.8 or 210 °C, and sensors that are off read -40, 0 or 255.
PLAUSIBLE_LIMITS: Final = (70.0, 130.0)
PLAUSIBLE_HEAT: Final = (1.0, 130.0)
# Drivers of processors, which tell their critical point better than the thermal zones of the same machine.
PROCESSOR_DRIVERS: Final = frozenset({"coretemp", "k10temp", "zenpower", "via_cputemp"})
# Zones of other parts (Wi-Fi, charger, disk, skin) have limits of their own, which nobody tells.
PROCESSOR_ZONE: Final = re.compile(r"cpu|soc[-_]|pkg|package|core|cluster|gpu|tsens|b0d4|acpitz|bcm2\d{3}|exynos", re.IGNORECASE)
FILE_BYTES: Final = 16_384
# A phone has about a hundred zones.
MAX_ENTRIES: Final = 256


class LinuxFiles:
    """Reads below `root`, "/" but for tests. `machine` is the processor's architecture as `platform.machine` spells it.

    Blocking: some batteries answer only after some tenths of a second.
    """

    def __init__(self, root: Path = Path("/"), machine: str | None = None) -> None:
        self._root = root
        self._small = (platform.machine() if machine is None else machine).lower().startswith(("arm", "aarch"))

    def read(self) -> Reading:
        percent, charging = self._battery()
        sensors = tuple(self._processors()) or tuple(self._zones())
        hottest = max((sensor.celsius for sensor in sensors), default=None)
        return Reading(DeviceStatus(percent, charging, hottest, self._memory(), self._load()), sensors)

    def _memory(self) -> int | None:
        found = re.search(r"^MemAvailable:\s+(\d{1,12}) kB$", _text(self._root / "proc/meminfo"), re.MULTILINE)
        return int(found[1]) * 1024 if found else None

    def _load(self) -> float | None:
        load = _number(_text(self._root / "proc/loadavg").split(" ")[0])
        return None if load is None or load < 0 else load / cores()

    def _battery(self) -> tuple[float | None, bool | None]:
        """Percent of all the batteries that drive the device together, and whether it lives on external power."""
        batteries: list[_Battery] = []
        mains: list[bool] = []
        for folder in _entries(self._root / "sys/class/power_supply"):
            kind = _text(folder / "type")
            # The battery of a mouse, a pen or a headset says so.
            if _text(folder / "scope") == "Device":
                continue
            if kind == "Battery":
                battery = _read_battery(folder)
                if battery is not None:
                    batteries.append(battery)
            elif kind.startswith(("Mains", "USB", "Wireless")) and (online := _number(_text(folder / "online"))) is not None:
                mains.append(online > 0)
        if not batteries:
            return None, None
        # A ThinkPad empties one of its two after the other: 100 % of a small one does not make up for 5 % of a large one.
        sizes = [battery.full for battery in batteries]
        weights = [size or 1.0 for size in sizes] if all(sizes) else [1.0] * len(batteries)
        percent = sum(each.percent * weight for each, weight in zip(batteries, weights, strict=True)) / sum(weights)
        return percent, _on_external_power({battery.state for battery in batteries}, mains)

    def _processors(self) -> Iterator[Sensor]:
        for folder in _entries(self._root / "sys/class/hwmon"):
            if _text(folder / "name") not in PROCESSOR_DRIVERS:
                continue
            inputs = [
                (path, _text(path.with_name(path.name.replace("input", "label")))) for path in _entries(folder, "temp*_input")
            ]
            labels = {label for _, label in inputs}
            for path, label in inputs:
                # Some AMD processors raise Tctl above the true heat (Tdie) by up to 27 °C to make fans run sooner.
                if label == "Tctl" and "Tdie" in labels:
                    continue
                critical = _celsius(path.with_name(path.name.replace("input", "crit")))
                yield from self._sensor(path, [critical], [])

    def _zones(self) -> Iterator[Sensor]:
        for folder in _entries(self._root / "sys/class/thermal", "thermal_zone*"):
            if not PROCESSOR_ZONE.search(_text(folder / "type")):
                continue
            trips: dict[str, list[float | None]] = {}
            for path in _entries(folder, "trip_point_*_type"):
                trips.setdefault(_text(path), []).append(_celsius(path.with_name(path.name.replace("_type", "_temp"))))
            yield from self._sensor(folder / "temp", trips.get("critical", []) + trips.get("hot", []), trips.get("passive", []))

    def _sensor(self, path: Path, critical: list[float | None], passive: list[float | None]) -> Iterator[Sensor]:
        celsius = _celsius(path)
        if celsius is None or not PLAUSIBLE_HEAT[0] <= celsius <= PLAUSIBLE_HEAT[1]:
            return
        least, most = PLAUSIBLE_LIMITS
        ends = [each - CRITICAL_MARGIN for each in critical if each is not None and least <= each <= most]
        slows = [each - PASSIVE_MARGIN for each in passive if each is not None and least <= each <= most]
        if self._small:
            # Its critical point (110 °C on a Pi) is far beyond what it should ever reach. Passive points below 80 °C are
            # where a governor holds the board under load: its normal heat.
            limit = min([max([SMALL_LIMIT, *([min(slows)] if slows else [])]), *ends])
        else:
            limit = min(ends, default=LARGE_LIMIT)
        yield Sensor("processor", celsius, limit, limit - COOLER)


@dataclass(frozen=True, slots=True)
class _Battery:
    percent: float
    state: str
    full: float | None
    """Its capacity, in a unit that is the same for all batteries of a machine."""


def _read_battery(folder: Path) -> _Battery | None:
    if _text(folder / "present") == "0":
        return None
    full = now = None
    for kind in ("energy", "charge"):
        full, now = _number(_text(folder / f"{kind}_full")), _number(_text(folder / f"{kind}_now"))
        if full and full > 0 and now is not None:
            break
        full = None
    percent = _number(_text(folder / "capacity"))
    if percent is None and full and now is not None:
        percent = now / full * 100
    # An old battery that is recharged beyond its own idea of full reads a little above 100.
    if percent is None or not 0 <= percent <= 110:
        return None
    return _Battery(min(percent, 100.0), _text(folder / "status"), full)


def _on_external_power(states: set[str], mains: list[bool]) -> bool | None:
    """A battery that empties settles it, also beside a charger that is too weak. One of two that is at rest, or one that is held
    below a threshold, says "Not charging" or "Unknown": then the plug tells."""
    if "Discharging" in states:
        return False
    if "Charging" in states:
        return True
    if mains:
        return any(mains)
    return True if states & {"Full", "Not charging"} else None


def _entries(folder: Path, pattern: str = "*") -> list[Path]:
    try:
        return sorted(folder.glob(pattern))[:MAX_ENTRIES]
    except OSError:
        return []


def _text(path: Path) -> str:
    """What the file holds, stripped; empty where it cannot be read. Drivers answer a read with errors of every kind."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES).decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return ""


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?\d{1,15}(\.\d{1,6})?", text, re.ASCII) else None


def _celsius(path: Path) -> float | None:
    """Thousandths of a degree, as documented; whole degrees on some old phones."""
    value = _number(_text(path))
    if value is None:
        return None
    return value if 15 <= value <= PLAUSIBLE_HEAT[1] else value / 1000
