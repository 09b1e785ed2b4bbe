"""A wall clock that can be made to jump, for one host's programs. Its monotonic clock goes on as ever, as when NTP or a person sets
a machine's time.

    python clock.py FILE PROGRAM ARGUMENT...

runs a Python program whose `time.time` and `datetime.now` are ahead by the seconds in FILE, a double that may change at any time.
What libraries read past Python (the dates in TLS handshakes) stays true.
"""

import datetime
import mmap
import runpy
import struct
import sys
import time
from pathlib import Path
from typing import Final, Self, TypeAlias

_SECONDS: Final = struct.Struct("d")
_RightDatetime: TypeAlias = datetime.datetime


class WallClock:
    """The hand that sets the clock of the programs that `command` runs."""

    def __init__(self, file: Path) -> None:
        """`file` is made, and the clock is right."""
        self._file = file
        file.write_bytes(_SECONDS.pack(0.0))

    def jump(self, ahead: float) -> None:
        """Sets it to so many seconds ahead of the right time (behind it, where negative), for programs that run already too."""
        with self._file.open("r+b") as file:
            file.write(_SECONDS.pack(ahead))

    def command(self, program: Path) -> list[str]:
        """The argument list that runs a Python program by this clock; its arguments follow."""
        return [sys.executable, str(Path(__file__)), str(self._file), str(program)]


class _Kind(type):
    # Libraries' own datetimes are of the class that was there before.
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _RightDatetime)


class _Datetime(_RightDatetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(time.time(), tz)


def _go_by(file: Path) -> None:
    """Makes this process read the time by `file`. Before anything is imported that would keep the functions as it finds them."""
    with file.open("rb") as opened:
        ahead = mmap.mmap(opened.fileno(), _SECONDS.size, access=mmap.ACCESS_READ)
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + float(_SECONDS.unpack_from(ahead)[0])
    time.time_ns = lambda: right_ns() + int(_SECONDS.unpack_from(ahead)[0] * 1e9)
    datetime.datetime = _Datetime  # type: ignore[misc]


if __name__ == "__main__":
    # What lies beside this file is not to be imported in place of libraries.
    del sys.path[0], sys.argv[0]
    _go_by(Path(sys.argv.pop(0)))
    runpy.run_path(sys.argv[0], run_name="__main__")
