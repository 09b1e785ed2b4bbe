"""Schedules of faults: what they promise whatever the seed."""

from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.faults import COORDINATOR, DOWN, Kind, make_schedule

SEEDS = st.integers(0, 2**32)
NODES = st.integers(1, 8)


@given(SEEDS, NODES)
def test_a_seed_makes_the_same_schedule_always(seed: int, nodes: int) -> None:
    """Several faults, in the order of their moments, the same each time."""
    faults = make_schedule(seed, nodes)
    assert faults == make_schedule(seed, nodes)
    assert len(faults) >= 3
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(0 < fault.at < 1 and COORDINATOR <= fault.victim <= nodes for fault in faults)


@given(SEEDS, NODES)
def test_a_run_can_end_through_any_schedule(seed: int, nodes: int) -> None:
    """One node is never down, and the coordinator's troubles pass."""
    faults = make_schedule(seed, nodes)
    assert {fault.victim for fault in faults if fault.kind in DOWN} - {COORDINATOR} < set(range(1, nodes + 1))
    assert all(fault.seconds is not None for fault in faults if fault.victim == COORDINATOR)


def test_every_kind_of_fault_comes_about() -> None:
    """Twenty seeds hold each kind for nodes, and each that there is for the coordinator."""
    met = {(fault.kind, fault.victim == COORDINATOR) for seed in range(20) for fault in make_schedule(seed, 4)}
    assert {kind for kind, coordinators in met if not coordinators} == set(Kind)
    assert {kind for kind, coordinators in met if coordinators} == set(Kind) - {Kind.MOVE, Kind.CRASH}
