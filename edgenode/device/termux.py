"""How a phone fares, from the Termux:API app: Android keeps the kernel's files from Termux."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import time
from typing import Any, Final

from edgenode.device.status import Reading, Sensor
from edgenode.types import DeviceStatus

COMMAND: Final = "termux-battery-status"
# It starts an Android service, which costs about as much battery as a percent a day at this pace.
PAUSE_SECONDS: Final = 30.0
# Without the app the command waits for ever: it is asked ever more rarely.
LONGEST_PAUSE_SECONDS: Final = 900.0
DEADLINE_SECONDS: Final = 5.0
# A cell ages fast above 45 °C, and phones stop charging there. It cools by some degrees in minutes, in summer not by ten.
BATTERY_LIMIT: Final = 45.0
BATTERY_COOL: Final = 41.0


class TermuxBattery:
    """Asks `termux-battery-status`, where there is one; between two questions its last answer holds. Blocking."""

    def __init__(self, command: str = COMMAND, deadline: float = DEADLINE_SECONDS) -> None:
        self._command = shutil.which(command)
        self._deadline = deadline
        self._answer = Reading()
        self._pause = PAUSE_SECONDS
        self._next = -math.inf

    def read(self) -> Reading:
        if self._command is None:
            return self._answer
        if time.monotonic() >= self._next:
            told = parse_battery_status(_output(self._command, self._deadline))
            self._pause = PAUSE_SECONDS if told is not None else min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            self._next = time.monotonic() + self._pause
            self._answer = told or Reading()
        return self._answer


def parse_battery_status(text: str) -> Reading | None:
    """What the command printed, or None if it is not the JSON object it should be. Fields of the wrong kind are left out."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    percent = _number(told.get("percentage"), 0, 100)
    heat = _number(told.get("temperature"), 1, 100)
    sensors = () if heat is None else (Sensor("battery", heat, BATTERY_LIMIT, BATTERY_COOL),)
    charging = None if percent is None else _charging(told.get("status"), told.get("plugged"))
    return Reading(DeviceStatus(percent, charging, heat), sensors)


def _charging(status: Any, plugged: Any) -> bool | None:
    match status, plugged:
        case "DISCHARGING", _:
            return False
        case (("CHARGING" | "FULL"), _):
            return True
        case _, "UNPLUGGED":
            return False
        case _, str(kind) if kind.startswith("PLUGGED"):
            return True
        case _:
            return None


def _number(value: Any, least: float, most: float) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
    return float(value) if good else None


def _output(command: str, deadline: float) -> str:
    """What the command prints within the deadline, empty if it does not. Its children end with it: it is a script around another
    program, which would hold the pipe open."""
    try:
        process = subprocess.Popen(
            [command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError:
        return ""
    with process:
        try:
            return process.communicate(timeout=deadline)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            return ""
        finally:
            if process.returncode is None:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
