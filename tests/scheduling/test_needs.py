"""Runs that not every node can read: each gets what fits it, nobody waits for nobody, and a run that nobody can read ends."""

from coordinator.scheduling.decisions import Candidate, Decision, Finish, GiveUp, Grant, Need, Requeue, Work
from coordinator.scheduling.limits import PATIENCE_SECONDS
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.simulated import SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from edgenode.types import FailureReason, NodeId, SubtaskId

SMALL, LARGE = Candidate("small", 2048), Candidate("large", 8192)
TEST = Candidate("test", 8192, test_engine=True)
LONG = Need(context_tokens=4096)
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def work(run: str, count: int, size: int = 1) -> list[Work]:
    return [Work(chunk, tuple(SubtaskId(f"{run}/{task}.{chunk}") for task in range(size))) for chunk in range(count)]


def grants(decisions: list[Decision] | None) -> list[Grant]:
    return [each for each in decisions or [] if isinstance(each, Grant)]


def test_a_run_is_read_by_the_first_model_that_fits() -> None:
    """In the node's own order; nodes without one get nothing of it."""
    schedule = Schedule()
    schedule.add("long", work("long", 9), 0.0, need=LONG)
    assert not schedule.node_joined(A, 0.0, models=[SMALL])
    (grant,) = grants(schedule.node_joined(B, 0.0, models=[SMALL, LARGE]))
    assert (grant.node, grant.model) == (B, "large")


def test_the_test_engine_reads_only_what_wants_it() -> None:
    """It reads nothing, so it never stands in for a model."""
    schedule = Schedule()
    schedule.add("real", work("real", 1), 0.0)
    assert not schedule.node_joined(A, 0.0, models=[TEST])
    (grant,) = grants(schedule.add("test", work("test", 1), 0.0, need=Need(test_engine=True)))
    assert (grant.run, grant.model) == ("test", "test")


def test_a_run_that_no_node_can_read_ends_by_itself() -> None:
    """Whatever others do; and one that a node can read again goes on."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=[SMALL])
    schedule.add("long", work("long", 2), 0.0, need=LONG)
    (lease,) = grants(schedule.add("short", work("short", 100), 0.0))
    for second in range(1, int(PATIENCE_SECONDS)):
        (lease, *_) = grants(schedule.settled(lease.lease, lease.subtasks[0], float(second))) or grants(schedule.tick(second + 0.5))
        assert not [each for each in schedule.tick(float(second)) if isinstance(each, GiveUp)]
    assert schedule.wakes_at < 2 * PATIENCE_SECONDS
    ended = schedule.tick(PATIENCE_SECONDS + 2)
    assert [each.subtask for each in ended if isinstance(each, GiveUp)] == ["long/0.0", "long/0.1"]
    assert Finish("long") in ended
    assert schedule.is_open(SubtaskId("short/0.99"))


def test_a_run_waits_for_a_node_that_fits() -> None:
    """Patience begins when the last one that fits is gone, and ends when one joins."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=[SMALL])
    schedule.node_joined(B, 0.0, models=[LARGE])
    schedule.add("long", work("long", 1), 0.0, need=LONG)
    schedule.node_gone(B, "gone", 50.0)
    assert not schedule.tick(50 + PATIENCE_SECONDS - 1)
    assert grants(schedule.node_joined(C, 50 + PATIENCE_SECONDS - 0.5, models=[LARGE]))
    assert not [each for each in schedule.tick(60 + PATIENCE_SECONDS) if isinstance(each, GiveUp)]


def test_only_nodes_that_fit_count_as_left_to_try() -> None:
    """The only one that can read it crashed on it: it is tried there again, though others have never tried."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=[SMALL])
    schedule.node_joined(B, 0.0, models=[LARGE])
    (lease,) = grants(schedule.add("long", work("long", 1), 0.0, need=LONG))
    (again,) = grants(schedule.failed(lease.lease, lease.subtasks[0], FailureReason.ENGINE_CRASHED, "SIGSEGV", 1.0))
    assert again.node == B
    end = schedule.failed(again.lease, again.subtasks[0], FailureReason.BAD_REPLY, "not JSON", 2.0)
    assert [type(each) for each in end] == [Requeue, GiveUp, Finish]


def test_runs_with_different_needs_share_what_both_can_use() -> None:
    """The node that both fit goes to the one that has had less; the other node is never idle."""
    subtasks = {}
    schedule = Schedule()
    for run, need, count in (("long", LONG, 40), ("short", Need(), 160)):
        bundles = [
            Work(chunk + (1000 if run == "long" else 0), bundle.subtasks, 900, 45, 30)
            for chunk, bundle in enumerate(work(run, count, 3))
        ]
        subtasks.update({id: (bundle.chunk, Tokens(900, 45, 30)) for bundle in bundles for id in bundle.subtasks})
        schedule.add(run, bundles, 0.0, need=need)
    nodes = [SimulatedNode(A, 1000.0, models=(LARGE,)), SimulatedNode(B, 2000.0, models=(SMALL,))]
    simulation = Simulation(schedule, subtasks, nodes)
    for node in nodes:
        simulation.at(0.0, lambda id=node.id: simulation.join(id))
    result = simulation.run()
    assert result.lost == result.duplicates == 0
    assert result.efficiency >= 0.95


def test_a_run_that_had_no_node_for_long_does_not_keep_others_waiting() -> None:
    """What was long ago does not count in whose turn it is."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=[LARGE])
    schedule.add("short", work("short", 500), 0.0)
    served: list[str] = []
    now = 0.0
    for _ in range(200):
        now += 1.0
        lease = next(each for each in schedule._book.leases.values() if each.running)
        decisions = schedule.settled(lease.id, next(iter(lease.wanted)), now)
        if now == 100.0:
            decisions = (decisions or []) + schedule.add("long", work("long", 90), now, need=LONG)
        decisions = (decisions or []) + schedule.tick(now)
        served += [grant.run for grant in grants(decisions)]
    after = served[105:]
    assert 0.4 < after.count("short") / len(after) < 0.6
