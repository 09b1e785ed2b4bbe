"""The probe at joining: nodes of which nothing is known read a little while nobody needs them."""

import pytest

from coordinator.scheduling.decisions import PROBE_SUBTASK, Candidate, Decision, Grant, Probe, Withdraw, Work
from coordinator.scheduling.limits import LEASE_SECONDS
from coordinator.scheduling.schedule import Schedule
from edgenode.types import FailureReason, NodeId, SubtaskId, Usage

MODELS = (Candidate("first", 4096), Candidate("second", 4096))
A, B = NodeId("a"), NodeId("b")
WORK = [Work(chunk, (SubtaskId(f"0.{chunk}"),)) for chunk in range(3)]


def probes(decisions: list[Decision]) -> list[Probe]:
    return [each for each in decisions if isinstance(each, Probe)]


def probed(schedule: Schedule) -> Probe:
    """A node is there and work is expected."""
    assert not schedule.node_joined(A, 0.0, models=MODELS)
    (probe,) = probes(schedule.expect(1.0))
    return probe


def test_unknown_nodes_are_probed_once_those_that_join_later_too() -> None:
    """With their first model."""
    schedule = Schedule("run-")
    probe = probed(schedule)
    assert (probe.node, probe.model) == (A, "first")
    assert probes(schedule.node_joined(B, 1.0, models=MODELS))
    assert not schedule.expect(2.0)
    assert schedule.settled(probe.lease, PROBE_SUBTASK, 2.0, Usage(100, 0, 8, 1.0)) is None
    assert not schedule.expect(3.0)
    assert schedule.finished


def test_what_a_probe_shows_is_known_also_when_the_node_comes_back() -> None:
    """A hundred tokens in a second and eight written in another."""
    schedule = Schedule()
    probe = probed(schedule)
    schedule.progress(probe.lease, PROBE_SUBTASK, 100, 0, 0, 1.0)
    schedule.progress(probe.lease, PROBE_SUBTASK, 100, 100, 0, 2.0)
    schedule.settled(probe.lease, PROBE_SUBTASK, 3.0, Usage(100, 0, 8, 2.0))
    speed = schedule.speed(A)
    assert speed is not None
    assert speed.known
    assert 60 < speed.read_speed < 160
    schedule.node_gone(A, "asleep", 4.0)
    assert not schedule.node_joined(A, 5.0, models=MODELS)


def test_work_comes_before_probes() -> None:
    """They are withdrawn, what they showed stays, and the node has its lease at once."""
    schedule = Schedule()
    probe = probed(schedule)
    schedule.progress(probe.lease, PROBE_SUBTASK, 100, 0, 0, 1.0)
    schedule.progress(probe.lease, PROBE_SUBTASK, 100, 50, 0, 2.0)
    decisions = schedule.add("run", WORK, 2.0)
    assert Withdraw(A, probe.lease, (PROBE_SUBTASK,)) in decisions
    assert [each.node for each in decisions if isinstance(each, Grant)] == [A]
    assert not probes(schedule.node_joined(B, 2.0, models=MODELS))
    assert not schedule.expect(3.0)
    speed = schedule.speed(A)
    assert speed is not None
    assert speed.known


@pytest.mark.parametrize("how", ["silent", "garbled", "failed", "gone", "suspect"])
def test_a_node_that_makes_nothing_of_its_probe_can_still_be_given_work(how: str) -> None:
    """Whatever became of the probe, the run ends as all others do."""
    schedule = Schedule()
    probe = probed(schedule)
    match how:
        case "garbled":
            schedule.progress(probe.lease, PROBE_SUBTASK, -5, 10**9, -1, 1.5)
            schedule.progress(probe.lease, SubtaskId("other"), 1, 1, 1, 1.5)
            assert schedule.settled(probe.lease, SubtaskId("other"), 1.6) is None
            assert schedule.settled(probe.lease, PROBE_SUBTASK, 1.6, Usage(-1, 10**9, -1, -1.0)) is None
            assert schedule.settled(probe.lease, PROBE_SUBTASK, 1.7) is None
        case "failed":
            schedule.failed(probe.lease, PROBE_SUBTASK, FailureReason.ENGINE_CRASHED, "SIGSEGV", 1.5)
        case "gone":
            schedule.node_gone(A, "lid closed", 1.5)
            schedule.node_joined(A, 1.8, models=MODELS)
        case "suspect":
            schedule.node_suspect(A, 1.5)
            schedule.node_ready(A, True, 1.8)
    open_: dict[str, Grant] = {}
    now, decisions = 2.0, schedule.add("run", WORK, 2.0)
    while not schedule.finished:
        open_ |= {each.lease: each for each in decisions if isinstance(each, Grant)}
        assert now < 2 * LEASE_SECONDS
        now += 1.0
        decisions = schedule.tick(now)
        for lease in list(open_):
            for subtask in open_.pop(lease).subtasks:
                decisions += schedule.settled(lease, subtask, now) or []


def test_a_probe_that_is_never_answered_is_ended_and_another_device_works() -> None:
    """It is overdue like any lease; the node gets nothing until it has answered."""
    schedule = Schedule()
    probe = probed(schedule)
    now, seen = 1.0, list[Decision]()
    while not any(isinstance(each, Withdraw) for each in seen):
        now += 10.0
        assert now < 2 * LEASE_SECONDS
        seen += schedule.tick(now)
    assert not [each for each in schedule.add("run", WORK, now) if isinstance(each, Grant)]
    assert [each.node for each in schedule.node_joined(B, now, models=MODELS) if isinstance(each, Grant)] == [B]
    again = schedule.failed(probe.lease, PROBE_SUBTASK, FailureReason.CANCELLED, "Cancelled.", now + 100)
    again += schedule.tick(now + 101)
    assert any(isinstance(each, Grant) and each.node == A for each in again)
