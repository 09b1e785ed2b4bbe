"""Nodes that leave, hang, refuse or rest, beside one that is well: nothing ends for their sake."""

from coordinator.scheduling.decisions import Candidate, Decision, Finish, Grant, Withdraw, Work
from coordinator.scheduling.limits import LEASE_SECONDS
from coordinator.scheduling.schedule import Schedule
from edgenode.types import NodeId, SubtaskId, Usage

MODELS = (Candidate("model", 4096),)
A, B = NodeId("a"), NodeId("b")
X, Y = SubtaskId("x"), SubtaskId("y")
USAGE = Usage(1060, 0, 60, 5.0)


def two_bundles() -> list[Work]:
    return [Work(0, (X,)), Work(1, (Y,))]


def grants(decisions: list[Decision]) -> list[Grant]:
    return [each for each in decisions if isinstance(each, Grant)]


def test_a_lease_that_is_owed_after_its_run_outlives_the_nodes_that_leave() -> None:
    """A run is withdrawn while two nodes work; one of them goes, the other never answers."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.node_joined(B, 0.0, models=MODELS)
    assert len(grants(schedule.add("r", two_bundles(), 0.0))) == 2
    assert [type(each) for each in schedule.withdraw_run("r", 1.0)] == [Withdraw, Withdraw, Finish]
    schedule.node_gone(B, "left", 2.0)
    for second in range(3, int(LEASE_SECONDS) + 100):
        assert not schedule.tick(float(second))
    # The one that never answered gets nothing more until it does.
    assert not grants(schedule.add("s", two_bundles(), 2000.0))
    assert len(grants(schedule.node_joined(B, 2000.0, models=MODELS))) == 1


def test_a_copy_that_came_first_leaves_a_lease_that_outlives_its_winner() -> None:
    """The node that was late owes an answer to a run that has ended, and the one that was first is gone."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.node_joined(B, 0.0, models=MODELS)
    fast = next(each for each in grants(schedule.add("r", two_bundles(), 0.0)) if each.node == B)
    decisions = schedule.settled(fast.lease, fast.subtasks[0], 2.0, USAGE) or []
    now = 2.0
    while not grants(decisions):
        now += 0.1
        decisions = schedule.tick(now)
    (copy,) = grants(decisions)
    assert any(isinstance(each, Withdraw) for each in schedule.settled(copy.lease, copy.subtasks[0], now, USAGE) or [])
    assert schedule.finished
    schedule.node_gone(B, "left", now)
    for second in range(int(LEASE_SECONDS) + 100):
        assert not schedule.tick(now + second)
