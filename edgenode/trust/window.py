"""The pairing window: for how long a code is good, and how often it may be guessed.

Pure: the time comes in, in seconds of any clock that does not go back.
"""

import secrets
import unicodedata
from collections.abc import Callable
from typing import Final

from edgenode.errors import PairingError, UsageError
from edgenode.trust.frames import RefusalReason, Refused

CODE_DIGITS: Final = 8
WINDOW_SECONDS: Final = 300.0
TRIES: Final = 3
FIRST_WAIT_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 3_600.0


class PairingWindow:
    """At most `TRIES` wrong codes in a window, then it is closed, and the wait until another may be opened doubles with each window
    that ends so. Success forgets the waits. A chance of 3 in 10^8 for each window that the owner opens."""

    def __init__(self, choose: Callable[[int], int] = secrets.randbelow) -> None:
        """`choose(n)` gives an unguessable whole number of 0 to n - 1."""
        self._choose = choose
        self._code: str | None = None
        self._ends = 0.0
        self._failures: tuple[str, ...] = ()
        self._burnt = 0
        self._wait_until = 0.0

    @property
    def code(self) -> str | None:
        """What is to be typed at the coordinator, while the window is open. Whoever shows it asks `is_open` first."""
        return self._code

    @property
    def failures(self) -> tuple[str, ...]:
        """Who tried a wrong code in this window, or in the last one; at most `TRIES`."""
        return self._failures

    def open(self, now: float) -> str:
        """Opens the window with a new code, in place of one that is open. Raises `PairingError` while it must wait."""
        if now < self._wait_until:
            raise PairingError(_wait_message(self._wait_until - now))
        self._code = f"{self._choose(10**CODE_DIGITS):0{CODE_DIGITS}d}"
        self._ends = now + WINDOW_SECONDS
        self._failures = ()
        return self._code

    def close(self) -> None:
        self._code = None

    def is_open(self, now: float) -> bool:
        if self._code is not None and now >= self._ends:
            self.close()
        return self._code is not None

    def seconds_left(self, now: float) -> float:
        return min(self._ends - now, WINDOW_SECONDS) if self.is_open(now) else 0.0

    def refusal(self, now: float) -> Refused | None:
        """Why no code can be tried now, or None while one can."""
        if self.is_open(now):
            return None
        if now < self._wait_until:
            wait = self._wait_until - now
            return Refused(RefusalReason.BACKING_OFF, _wait_message(wait), wait)
        message = "The device is not open for pairing: run `edgenode pair` on it and use the code that it shows."
        return Refused(RefusalReason.WINDOW_CLOSED, message)

    def failed(self, now: float, who: str) -> None:
        """`who` tried a wrong code. To be called for a try that was let in, even if the window has ended since."""
        self._failures = (*self._failures, who)[:TRIES]
        if len(self._failures) == TRIES and self._code is not None:
            self.close()
            self._burnt += 1
            # The exponent is bounded as well: 2.0 ** 1100 is an error.
            wait = min(FIRST_WAIT_SECONDS * 2.0 ** min(self._burnt - 1, 16), LONGEST_WAIT_SECONDS)
            self._wait_until = now + wait

    def succeeded(self) -> None:
        """The code was used: it is good for one pairing."""
        self.close()
        self._failures = ()
        self._burnt = 0
        self._wait_until = 0.0


def parse_code(text: str) -> str:
    """The digits of a code as a person types it: full width, in groups or with dashes. Raises `UsageError`."""
    digits = "".join(each for each in unicodedata.normalize("NFKC", text[:100]) if not each.isspace() and each not in "-_.")
    if len(digits) != CODE_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise UsageError(f"A pairing code has {CODE_DIGITS} digits, such as 1234 5678: type the one that the device shows.")
    return digits


def _wait_message(seconds: float) -> str:
    return f"Too many wrong codes were tried: wait {seconds:.0f} s, then run `edgenode pair` on the device."
