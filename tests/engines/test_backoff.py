"""How long an engine that died is waited with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.engines.backoff import Backoff


@pytest.mark.parametrize(
    ("served", "waits"),
    [
        ([0, 0, 0], [0.5, 1, 2]),
        ([5, 5, 5, 5, 5, 5, 5, 5, 5], [0.5, 1, 2, 4, 8, 16, 30, 30, 30]),
        ([0, 0, 61, 0], [0.5, 1, 0.5, 1]),
        ([3600, 3600], [0.5, 0.5]),
    ],
)
def test_waits(served: list[float], waits: list[float]) -> None:
    """Waits double up to half a minute, and begin anew for an engine that had been steady."""
    backoff = Backoff()
    assert [backoff.after(seconds) for seconds in served] == waits


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=50))
def test_never_hasty_never_lost(served: list[float]) -> None:
    """No history of deaths leads to a wait below the first or above the limit."""
    backoff = Backoff()
    assert all(backoff.first_seconds <= backoff.after(seconds) <= backoff.limit_seconds for seconds in served)
