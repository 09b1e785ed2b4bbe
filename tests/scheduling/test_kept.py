"""What the schedule keeps: of nodes from stay to stay, and never more and more of it."""

from coordinator.scheduling.decisions import Candidate, Need, Work
from coordinator.scheduling.readers import MAX_GONE, MAX_OLD_MODELS, Readers
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.wakes import FEW
from edgenode.types import FailureReason, NodeId, SubtaskId

MODELS = (Candidate("model", 4096),)
A, B = NodeId("a"), NodeId("b")


def test_a_node_that_is_set_aside_stays_so_when_it_joins_anew() -> None:
    """Nor does it begin from nothing afterwards: its pauses go on to grow."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.add("r", [Work(number, (SubtaskId(f"x{number}"),)) for number in range(400)], 0.0)
    schedule.node_joined(B, 0.0, models=MODELS)
    failures = 0
    for step in range(1, 300):
        now = 0.1 * step
        mine = [lease for lease in schedule._book.leases.values() if lease.node.id == A and lease.running]
        for lease in mine:
            failures += 1
            schedule.failed(lease.id, next(iter(lease.awaited)), FailureReason.BAD_REPLY, "no", now)
        if not mine:
            schedule.node_gone(A, "bye", now)
            schedule.node_joined(A, now, models=MODELS)
        schedule.tick(now)
    assert 3 <= failures <= 8


def test_what_is_remembered_of_nodes_is_bounded() -> None:
    """Neither ever new names of models nor ever new nodes fill the memory; a model that was just there is known."""
    readers = Readers()
    kept = readers.join(A, (Candidate("kept", 4096),)).readers["kept"]
    for stay in range(50):
        readers.leave(A, float(stay))
        names = [Candidate(f"{stay}.{number}", 4096) for number in range(64)]
        record = readers.join(A, (Candidate("kept", 4096), *names))
        assert len(record.readers) <= 65 + MAX_OLD_MODELS
    assert record.readers["kept"] is kept
    for number in range(MAX_GONE + 100):
        readers.join(NodeId(f"n{number}"), MODELS)
        readers.leave(NodeId(f"n{number}"), 100.0)
    assert len(list(readers.missing(Need(), 0.0))) == MAX_GONE


def test_what_is_to_be_looked_at_does_not_grow_with_what_is_over() -> None:
    """Leases that would be due in minutes end at once, thousands of them."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.add("r", [Work(number, (SubtaskId(f"x{number}"),), 100_000.0) for number in range(3000)], 0.0)
    now, most = 0.0, 0
    while not schedule.finished:
        now += 0.001
        for lease in tuple(schedule._book.leases.values()):
            schedule.settled(lease.id, next(iter(lease.awaited)), now)
        most = max(most, len(schedule._book.wakes))
    assert most <= FEW + 1
