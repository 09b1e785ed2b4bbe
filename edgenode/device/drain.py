"""When a device takes no more work, to spare itself: pure policy. Readings and the time come in, a sentence or none comes out.

Memory is no reason: the model already holds it, and taking no work would give none of it back.
"""

import math
from typing import Final

from edgenode.device.status import Reading, Sensor
from edgenode.types import DeviceStatus

MIN_BATTERY_PERCENT: Final = 20.0
# So much above the least before it works on battery again.
BATTERY_HYSTERESIS: Final = 10.0
# A loose cable must not turn work on and off with every touch.
LEAST_DRAIN_SECONDS: Final = 30.0
# A processor leaps to its limit for seconds whenever it is given something to do; a device that is too hot stays there.
HOT_SECONDS: Final = 15.0
# A battery that was taken out or a sensor that fell silent must not keep the device from work for ever.
SILENT_SECONDS: Final = 120.0


class DrainPolicy:
    """Decides from readings in order of time. `min_battery` is the percentage below which a device that does not charge takes no
    work, 0 for never."""

    def __init__(self, min_battery: float = MIN_BATTERY_PERCENT) -> None:
        self._least = min_battery
        self._enough = min(min_battery + BATTERY_HYSTERESIS, 100.0)
        self._low_since: float | None = None
        self._low = ""
        self._battery_told = -math.inf
        self._hot_since: float | None = None
        self._hot = ""
        self._hot_part = ""
        self._heat_told = -math.inf

    def decide(self, reading: Reading, now: float) -> str:
        """Why the device takes no work, as the rest of a sentence that begins with its name; empty while it does.

        `now` is in seconds, of a clock that never goes back. What a reading does not tell changes nothing for `SILENT_SECONDS`.
        """
        return "; ".join(reason for reason in (self._battery(reading.status, now), self._heat(reading.sensors, now)) if reason)

    def _battery(self, status: DeviceStatus, now: float) -> str:
        percent = status.battery_percent
        if percent is None:
            if now - self._battery_told > SILENT_SECONDS:
                self._low, self._low_since = "", None
            return self._low
        self._battery_told = now
        if self._low_since is None:
            # Where nobody tells whether it charges, it will be seen to reach enough if it does.
            if percent < self._least and status.charging is not True:
                self._low_since = now
        elif (status.charging or percent >= self._enough) and now - self._low_since >= LEAST_DRAIN_SECONDS:
            self._low_since = None
        # Rounded down: "at 20 %" would not be below 20.
        where = f"on battery at {math.floor(percent)} %"
        self._low = "" if self._low_since is None else f"{where}: takes no work until it charges or reaches {self._enough:.0f} %"
        return self._low

    def _heat(self, sensors: tuple[Sensor, ...], now: float) -> str:
        if self._hot:
            concerned = [sensor for sensor in sensors if sensor.what == self._hot_part]
            if concerned:
                self._heat_told = now
            cool = all(sensor.celsius <= sensor.cool_celsius for sensor in concerned)
            if cool and (concerned or now - self._heat_told > SILENT_SECONDS):
                self._hot, self._hot_since = "", None
            return self._hot
        worst = max(sensors, key=lambda sensor: sensor.celsius - sensor.limit_celsius, default=None)
        if worst is None:
            return ""
        if worst.celsius < worst.limit_celsius:
            self._hot_since = None
        elif self._hot_since is None:
            self._hot_since = now
        elif now - self._hot_since >= HOT_SECONDS:
            self._hot_part, self._heat_told = worst.what, now
            # Kept as it was when it began: the degrees of every moment are in the status, and each new reason is told to all.
            heat = f"too hot ({worst.what} at {worst.celsius:.0f} °C)"
            self._hot = f"{heat}: takes no work until it has cooled to {worst.cool_celsius:.0f} °C"
        return self._hot
