"""Fair shares of an engine: properties over any order of arrivals."""

from hypothesis import given
from hypothesis import strategies as st

from edgenode.shares import FairShares
from edgenode.types import AuthorityId

ANNA, BERT, CARL = (AuthorityId(letter * 32) for letter in "abc")


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10)), min_size=5, max_size=50))
def test_those_who_always_wait_are_served_alike(costs: list[tuple[float, float, float]]) -> None:
    """Whatever their leases cost, nobody is ever ahead of another by more than one lease."""
    shares = FairShares()
    everyone = (ANNA, BERT, CARL)
    given = dict.fromkeys(everyone, 0.0)
    for cost in costs:
        turn = shares.next(everyone)
        seconds = cost[everyone.index(turn)]
        shares.charge(turn, seconds)
        given[turn] += seconds
    assert max(given.values()) - min(given.values()) <= 10 + 1e-6


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_who_was_away_has_saved_nothing_up(alone: list[float]) -> None:
    """After hours in which one worked alone, the other does not get hours in one go."""
    shares = FairShares()
    for seconds in alone:
        assert shares.next((ANNA,)) == ANNA
        shares.charge(ANNA, seconds)
    turns = []
    for _ in range(20):
        turns.append(shares.next((ANNA, BERT)))
        shares.charge(turns[-1], 1.0)
    # Of what was before only the last lease counts, which was as long as ten of these at most.
    first = turns.index(ANNA)
    assert first <= 11
    assert abs(turns[first:].count(ANNA) - turns[first:].count(BERT)) <= 1


def test_who_takes_much_and_leaves_owes_it_when_he_returns() -> None:
    """Leaving for a moment does not wipe out what was just taken while the other waited."""
    shares = FairShares()
    assert shares.next((ANNA, BERT)) == ANNA
    shares.charge(ANNA, 10.0)
    turns = []
    for waiting in [(BERT,), (BERT,), *[(ANNA, BERT)] * 7]:
        turns.append(shares.next(waiting))
        shares.charge(turns[-1], 1.0)
    assert turns == [BERT] * 9


def test_the_first_to_come_is_the_first_of_equals() -> None:
    """Nothing but the order of arrival decides while nobody has been served."""
    assert FairShares().next((BERT, ANNA)) == BERT
