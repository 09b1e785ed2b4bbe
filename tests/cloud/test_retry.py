"""When to ask again, as a table and as properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cloud.retry import RetryPolicy, Trouble, retry_after, trouble_of

POLICY = RetryPolicy(
    attempts=4, garbled_attempts=2, first_seconds=1, factor=3, longest_seconds=5, patience_seconds=60, total_seconds=100
)
PASSING = (Trouble.OVERLOADED, Trouble.BROKEN, Trouble.UNREACHABLE)


@pytest.mark.parametrize(
    ("trouble", "attempt", "elapsed", "asked", "wait"),
    [
        (Trouble.BROKEN, 1, 0, None, 0.5),
        (Trouble.BROKEN, 2, 0, None, 1.5),
        (Trouble.BROKEN, 3, 0, None, 2.5),  # 9 seconds, held to 5
        (Trouble.BROKEN, 4, 0, None, None),
        (Trouble.BROKEN, 1, 99.6, None, None),  # would start after the end
        (Trouble.UNREACHABLE, 1, 99.4, None, 0.5),
        (Trouble.OVERLOADED, 1, 0, 20.0, 20.05),
        (Trouble.OVERLOADED, 1, 0, 0.0, 0.05),
        (Trouble.OVERLOADED, 1, 0, 60.0, 60.05),
        (Trouble.OVERLOADED, 1, 0, 60.1, None),
        (Trouble.OVERLOADED, 1, 90, 20.0, None),
        (Trouble.GARBLED, 1, 0, None, 0.5),
        (Trouble.GARBLED, 2, 0, None, None),
        (Trouble.SILENT, 1, 0, None, None),
        (Trouble.REJECTED, 1, 0, None, None),
        (Trouble.OUT_OF_QUOTA, 1, 0, 1.0, None),
    ],
)
def test_when_to_ask_again(trouble: Trouble, attempt: int, elapsed: float, asked: float | None, wait: float | None) -> None:
    """With the least jitter there is."""
    assert POLICY.wait(trouble, attempt, elapsed, asked, jitter=0) == (None if wait is None else pytest.approx(wait))


@given(st.sampled_from(Trouble), st.integers(1, 50), st.floats(0, 1000), st.none() | st.floats(0, 1e9), st.floats(0, 0.999))
def test_it_ends(trouble: Trouble, attempt: int, elapsed: float, asked: float | None, jitter: float) -> None:
    """However it goes: no wait is negative, shorter than asked for, or ends after the total; attempts are bounded."""
    wait = POLICY.wait(trouble, attempt, elapsed, asked, jitter)
    if wait is not None:
        assert attempt < POLICY.attempts
        assert trouble in {*PASSING, Trouble.GARBLED}
        assert wait >= (asked or 0)
        assert elapsed + wait <= POLICY.total_seconds


@pytest.mark.parametrize(
    ("status", "code", "trouble"),
    [
        (429, "", Trouble.OVERLOADED),
        (429, "rate_limit_exceeded", Trouble.OVERLOADED),
        (429, "insufficient_quota", Trouble.OUT_OF_QUOTA),
        (408, "", Trouble.BROKEN),
        (500, "", Trouble.BROKEN),
        (503, "", Trouble.BROKEN),
        (529, "", Trouble.BROKEN),
        (502, "", Trouble.SILENT),
        (504, "", Trouble.SILENT),
        (520, "", Trouble.SILENT),
        (524, "", Trouble.SILENT),
        (301, "", Trouble.REJECTED),
        (400, "insufficient_quota", Trouble.REJECTED),
        (401, "", Trouble.REJECTED),
        (404, "", Trouble.REJECTED),
        (422, "", Trouble.REJECTED),
    ],
)
def test_what_a_status_means(status: int, code: str, trouble: Trouble) -> None:
    """What may pass is told from what will not."""
    assert trouble_of(status, code) is trouble


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("5", 5),
        (" 1.5 ", 1.5),
        ("0", 0),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("1e9", None),
        ("soon", None),
        ("９", None),
        ("9" * 5000, None),
        ("Sun, 22 Nov 2026 03:15:42 GMT", 40),
        ("Sun, 22 Nov 2026 03:00:00 GMT", 0),
        ("Sun, 99 Nov 2026 03:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("604800", 604_800),
        ("604801", None),
        ("5, 10", None),
    ],
)
def test_what_retry_after_asks_for(header: str | None, seconds: float | None) -> None:
    """Both forms of the header, and nonsense; the clock stands at 03:15:02."""
    assert retry_after(header, now=1_795_317_302) == seconds


@given(st.text(max_size=60))
def test_retry_after_never_fails(header: str) -> None:
    """Whatever a server writes there, it is seconds from zero on or nothing."""
    seconds = retry_after(header, now=1_795_317_302)
    assert seconds is None or 0 <= seconds <= 604_800
