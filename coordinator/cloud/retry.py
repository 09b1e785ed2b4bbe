"""Whether and when to ask the supervisor again. PURE: what happened and the time come in, a decision comes out."""

import email.utils
import re
from dataclasses import dataclass
from enum import StrEnum

# Said by a gateway whose server did not answer it: bad gateway, gateway time-out, and what Cloudflare says (529 is no gateway's).
_GATEWAY = frozenset({502, 504, *range(520, 528), 530})
# No limit on requests lasts longer than a day, and no outage longer than a week is announced so.
_BELIEVED_SECONDS = 7 * 86_400.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


class Trouble(StrEnum):
    """What kept an attempt from a usable reply."""

    OVERLOADED = "overloaded"
    """429: too many requests. May pass."""
    BROKEN = "broken"
    """5xx and the like: the server's own trouble. May pass."""
    UNREACHABLE = "unreachable"
    """No connection, so nothing was sent. May pass."""
    SILENT = "silent"
    """The request went out and no whole reply came back: not in time, not before the connection broke, or a gateway in between says
    that it has none. It may have been answered and charged, which nobody here can know: most servers ignore idempotency keys. So
    only a person has it sent again."""
    GARBLED = "garbled"
    """A reply that is of no use, such as one that is not the schema. It was paid for; another one may be better."""
    REJECTED = "rejected"
    """The request as it is will never be taken."""
    OUT_OF_QUOTA = "out_of_quota"
    """Nothing is taken until somebody pays. Does not pass by waiting."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    attempts: int = 4
    garbled_attempts: int = 2
    """Fewer, because each garbled reply was paid for: more of them are for a person to ask for."""
    first_seconds: float = 1.0
    factor: float = 3.0
    longest_seconds: float = 20.0
    patience_seconds: float = 60.0
    """The longest wait that a supervisor may ask for: a person is watching."""
    total_seconds: float = 300.0
    """After this long no further attempt is started."""

    def wait(self, trouble: Trouble, attempt: int, elapsed: float, asked: float | None, jitter: float) -> float | None:
        """Seconds to wait before the next attempt, or None to give up.

        `attempt` attempts were made so far, the last of which met `trouble`; after a garbled reply only those that brought one
        count. `elapsed` seconds went by since the first began; `asked` is the wait the supervisor asked for, if it did; `jitter` is
        a random number in [0, 1).
        """
        if trouble in {Trouble.REJECTED, Trouble.OUT_OF_QUOTA, Trouble.SILENT}:
            return None
        if attempt >= (self.garbled_attempts if trouble is Trouble.GARBLED else self.attempts):
            return None
        backoff = min(self.first_seconds * self.factor ** (attempt - 1), self.longest_seconds)
        # Between half and all of it: coordinators that failed together do not come back together.
        seconds = backoff * (0.5 + jitter / 2)
        if asked is not None:
            if asked > self.patience_seconds:
                return None
            seconds = asked + seconds * 0.1
        return seconds if elapsed + seconds <= self.total_seconds else None


def trouble_of(status: int, code: str) -> Trouble:
    """What an HTTP status other than 2xx means; `code` is the error code in its body."""
    if status == 429:
        return Trouble.OUT_OF_QUOTA if code in {"insufficient_quota", "billing_hard_limit_reached"} else Trouble.OVERLOADED
    if status in _GATEWAY:
        return Trouble.SILENT
    if status in {408, 425} or status >= 500:
        return Trouble.BROKEN
    return Trouble.REJECTED


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks to wait, in either of its forms; None if it says nothing that can be meant, such as a
    wait of years. `now` is Unix seconds."""
    text = (header or "").strip()
    try:
        if _SECONDS.fullmatch(text):
            seconds = float(text)
        else:
            seconds = max(0.0, email.utils.parsedate_to_datetime(text[:80]).timestamp() - now)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return seconds if seconds <= _BELIEVED_SECONDS else None
