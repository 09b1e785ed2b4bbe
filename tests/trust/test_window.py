"""The pairing window: how long, how often, and how the waits grow."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgenode.errors import PairingError, UsageError
from edgenode.trust.frames import RefusalReason
from edgenode.trust.window import (
    CODE_DIGITS,
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    TRIES,
    WINDOW_SECONDS,
    PairingWindow,
    parse_code,
)


def burn(window: PairingWindow, now: float) -> None:
    window.open(now)
    for _ in range(TRIES):
        window.failed(now, "10.0.0.9")


def test_a_window_has_a_code_of_eight_digits() -> None:
    """Small numbers keep their zeros, and the code comes from the generator given."""
    window = PairingWindow(lambda n: n - 99_999_999)
    assert window.open(0.0) == window.code == "00000001"
    assert len(PairingWindow().open(0.0)) == CODE_DIGITS


def test_a_closed_window_says_so() -> None:
    """Before it is opened and after its time it refuses, and its code is gone."""
    window = PairingWindow()
    for moment in (0.0, WINDOW_SECONDS):
        refusal = window.refusal(moment)
        assert refusal is not None
        assert refusal.reason is RefusalReason.WINDOW_CLOSED
        assert "edgenode pair" in refusal.message
        assert window.code is None
        if moment == 0.0:
            window.open(0.0)
            assert window.refusal(WINDOW_SECONDS - 0.1) is None
            assert window.seconds_left(100.0) == WINDOW_SECONDS - 100.0


def test_a_closed_window_keeps_no_trace_of_its_code() -> None:
    """Nothing that the window holds shows the code once it is closed, however that came about."""
    for close in (PairingWindow.close, PairingWindow.succeeded, lambda w: w.is_open(WINDOW_SECONDS), lambda w: burn(w, 1.0)):
        window = PairingWindow(lambda n: 31_415_926)
        window.open(0.0)
        close(window)
        assert "31415926" not in repr(vars(window))


def test_three_wrong_codes_close_it_and_start_a_wait() -> None:
    """The third try closes the window; it says how long to wait, and opening it again waits as well."""
    window = PairingWindow()
    burn(window, 10.0)
    refusal = window.refusal(20.0)
    assert refusal is not None
    assert refusal.reason is RefusalReason.BACKING_OFF
    assert refusal.retry_after == FIRST_WAIT_SECONDS - 10.0
    assert window.failures == ("10.0.0.9",) * TRIES
    with pytest.raises(PairingError, match="wait 20 s"):
        window.open(20.0)
    window.open(10.0 + FIRST_WAIT_SECONDS)


def test_opening_again_takes_a_new_code() -> None:
    """The code that was shown before is worth nothing, and the tries begin anew."""
    codes = iter((1, 2))
    window = PairingWindow(lambda n: next(codes))
    assert window.open(0.0) != window.open(250.0)
    assert window.seconds_left(250.0) == WINDOW_SECONDS


@given(st.integers(1, 60))
def test_waits_double_up_to_an_hour_until_success(windows: int) -> None:
    """Each burnt window doubles the wait, never beyond the longest; one success forgets them all."""
    window, now, waits = PairingWindow(), 0.0, list[float]()
    for _ in range(windows):
        burn(window, now)
        refusal = window.refusal(now)
        assert refusal is not None
        waits.append(refusal.retry_after)
        now += refusal.retry_after
    assert waits[0] == FIRST_WAIT_SECONDS
    assert all(b == pytest.approx(min(2 * a, LONGEST_WAIT_SECONDS)) for a, b in itertools.pairwise(waits))
    window.open(now)
    window.succeeded()
    burn(window, now)
    refusal = window.refusal(now)
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(FIRST_WAIT_SECONDS)


class Attacked(RuleBasedStateMachine):
    """Whatever its owner, a guesser and the clock do to a window."""

    @initialize()
    def begin(self) -> None:
        self.window = PairingWindow()
        self.now = 0.0
        self.opened = -1e9
        self.failed_now = 0
        self.last_wait = 0.0

    @rule(seconds=st.floats(0, 5_000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def open(self) -> None:
        refusal = self.window.refusal(self.now)
        if refusal is not None and refusal.reason is RefusalReason.BACKING_OFF:
            with pytest.raises(PairingError):
                self.window.open(self.now)
        else:
            self.window.open(self.now)
            self.opened, self.failed_now = self.now, 0

    @precondition(lambda self: self.window.refusal(self.now) is None)
    @rule()
    def guess(self) -> None:
        self.failed_now += 1
        self.window.failed(self.now, "10.0.0.9")
        refusal = self.window.refusal(self.now)
        if refusal is not None:
            assert self.failed_now == TRIES
            assert refusal.retry_after >= self.last_wait - 1e-6
            self.last_wait = refusal.retry_after

    @precondition(lambda self: self.window.refusal(self.now) is None)
    @rule()
    def succeed(self) -> None:
        self.window.succeeded()
        self.last_wait = 0.0

    @invariant()
    def holds(self) -> None:
        taken = self.window.refusal(self.now) is None
        assert taken == self.window.is_open(self.now) == (self.window.code is not None)
        assert self.failed_now <= TRIES
        if taken:
            assert self.failed_now < TRIES
            assert self.now - self.opened < WINDOW_SECONDS
            assert 0 < self.window.seconds_left(self.now) <= WINDOW_SECONDS
        else:
            assert self.window.seconds_left(self.now) == 0


TestAttacked = Attacked.TestCase


@pytest.mark.parametrize("typed", ["12345678", "1234 5678", " 1234-5678\n", "１２３４５６７８", "12 34 56 78"])
def test_a_code_may_be_typed_in_many_ways(typed: str) -> None:
    """Groups, dashes and full-width digits all mean the same."""
    assert parse_code(typed) == "12345678"


@pytest.mark.parametrize("typed", ["", "1234567", "123456789", "1234567a", "١٢٣٤٥٦٧٨", "1" * 10_000])
def test_what_is_no_code_is_told(typed: str) -> None:
    """A sentence says what a code looks like."""
    with pytest.raises(UsageError, match="8 digits"):
        parse_code(typed)
