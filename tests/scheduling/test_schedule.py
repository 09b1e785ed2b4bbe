"""The schedule: nothing lost, nothing counted twice, no lease on a gone node, always an end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.scheduling.decisions import Candidate, Decision, Finish, GiveUp, Grant, Withdraw, Work
from coordinator.scheduling.limits import (
    LEASE_SECONDS,
    MAX_LEASE_SECONDS,
    MAX_VANISHED,
    PATIENCE_SECONDS,
    STUCK_SECONDS,
)
from coordinator.scheduling.schedule import Schedule
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId

# Of nodes that nobody has seen work a subtask is expected to take 13 s, and a copy of it somewhat longer.
EARLY, LATE = 20.0, 70.0
MODELS = (Candidate("model", 4096),)
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def work(*sizes: int) -> list[Work]:
    return [Work(chunk, tuple(SubtaskId(f"{task}.{chunk}") for task in range(size))) for chunk, size in enumerate(sizes)]


def schedule_of(bundles: list[Work]) -> Schedule:
    schedule = Schedule()
    schedule.add("", bundles, 0.0)
    return schedule


def grants(decisions: list[Decision]) -> list[Grant]:
    return [each for each in decisions if isinstance(each, Grant)]


def ends(decisions: list[Decision]) -> list[GiveUp]:
    return [each for each in decisions if isinstance(each, GiveUp)]


def test_a_bundle_goes_to_one_node_whole() -> None:
    """Subtasks that share a chunk are leased together, so that it is read once."""
    schedule = schedule_of(work(3))
    (grant,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    assert grant.subtasks == ("0.0", "1.0", "2.0")


def test_each_of_two_nodes_gets_work_before_one_gets_more() -> None:
    """The second bundle goes to the idle node and not in line behind the first."""
    schedule = schedule_of(work(1, 1))
    first = grants(schedule.node_joined(A, 0.0, models=MODELS))
    second = grants(schedule.node_joined(B, 0.0, models=MODELS))
    assert [grant.node for grant in first + second] == [A, B]


def test_work_of_a_gone_node_goes_to_another_at_once() -> None:
    """A node that vanishes costs nothing but the time until it is noticed."""
    schedule = schedule_of(work(2))
    schedule.node_joined(A, 0.0, models=MODELS)
    assert not grants(schedule.node_joined(B, 0.0, models=MODELS))
    (grant,) = grants(schedule.node_gone(A, "lid closed", 1.0))
    assert (grant.node, grant.subtasks) == (B, ("0.0", "1.0"))


def test_a_bad_reply_is_tried_elsewhere_and_never_twice_on_the_same_node() -> None:
    """At temperature 0 the same node would say the same again."""
    schedule = schedule_of(work(1))
    (first,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    schedule.node_joined(B, 0.0, models=MODELS)
    (second,) = grants(schedule.failed(first.lease, first.subtasks[0], FailureReason.BAD_REPLY, "not JSON", 1.0))
    assert second.node == B
    (end,) = ends(schedule.failed(second.lease, second.subtasks[0], FailureReason.BAD_REPLY, "not JSON", 2.0))
    assert end == GiveUp(SubtaskId("0.0"), FailureReason.BAD_REPLY, "not JSON", (A, B))
    assert schedule.finished


def test_a_crash_is_tried_again_on_the_only_node() -> None:
    """An engine that crashed is started again, and there is nobody else."""
    schedule = schedule_of(work(1))
    (first,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    again = schedule.failed(first.lease, first.subtasks[0], FailureReason.ENGINE_CRASHED, "SIGSEGV", 1.0)
    (second,) = grants(again)
    assert second.node == A
    assert schedule.settled(second.lease, second.subtasks[0], 2.0) is not None
    assert schedule.finished


def test_a_poison_subtask_is_given_up_alone() -> None:
    """Three failures end it with its last reason; the others of its bundle go on."""
    schedule = schedule_of(work(2))
    lease = grants(schedule.node_joined(A, 0.0, models=MODELS))[0]
    schedule.node_joined(B, 0.0, models=MODELS)
    schedule.node_joined(C, 0.0, models=MODELS)
    poison, other = lease.subtasks
    end: list[Decision] = []
    for moment in range(3):
        schedule.progress(lease.lease, poison, 0, 0, 0, float(moment))
        end = schedule.failed(lease.lease, poison, FailureReason.ENGINE_CRASHED, "SIGSEGV", float(moment))
        lease = grants(end)[0] if grants(end) else lease
    assert [each for each in end if isinstance(each, GiveUp)] == [
        GiveUp(poison, FailureReason.ENGINE_CRASHED, "SIGSEGV", (A, B, C))
    ]
    assert not schedule.finished
    assert schedule.settled(LeaseId("1"), other, 9.0) is not None
    assert schedule.finished


def test_devices_that_come_and_go_end_no_subtask() -> None:
    """Where nodes go away all the time, one subtask is in work on many that do, by chance."""
    schedule = schedule_of(work(*[1] * 60))
    unlucky = SubtaskId("0.0")
    for number in range(12):
        second = float(number)
        mine, other = NodeId(f"mine-{number}"), NodeId(f"other-{number}")
        (lease,) = grants(schedule.node_joined(mine, second, models=MODELS))
        assert lease.subtasks == (unlucky,)
        grants(schedule.node_joined(other, second, models=MODELS))
        schedule.node_suspect(other, second)
        assert not ends(schedule.node_gone(mine, "gone", second))
        assert not ends(schedule.node_gone(other, "gone", second))
    assert schedule.is_open(unlucky)


def test_a_subtask_that_takes_down_every_device_ends() -> None:
    """The others get on, and it is given up after a bounded number of devices."""
    schedule = schedule_of(work(*[1] * 200))
    schedule.node_joined(A, 0.0, models=MODELS)
    poison, taken, second = SubtaskId("0.0"), 0, 0.0
    while schedule.is_open(poison):
        second += 1.0
        for lease in [each for each in schedule._book.leases.values() if each.running]:
            if poison in lease.wanted:
                schedule.node_gone(lease.node.id, "gone", second)
                taken += 1
                schedule.node_joined(NodeId(f"node-{taken}"), second, models=MODELS)
            else:
                schedule.settled(lease.id, next(iter(lease.wanted)), second)
        schedule.tick(second)
        assert taken <= MAX_VANISHED
    assert taken <= 10


def test_a_subtask_is_not_given_up_while_a_copy_of_it_is_in_work() -> None:
    """Three nodes failed it, and the fourth may still bring it."""
    schedule = schedule_of(work(1))
    (lease,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    for node in (B, C, NodeId("d")):
        schedule.node_joined(node, 0.0, models=MODELS)
    for second in (1.0, 2.0):
        (lease,) = grants(schedule.failed(lease.lease, lease.subtasks[0], FailureReason.ENGINE_CRASHED, "SIGSEGV", second))
    (copy,) = grants(schedule.tick(LATE))
    assert not schedule.failed(lease.lease, lease.subtasks[0], FailureReason.ENGINE_CRASHED, "SIGSEGV", LATE + 1)
    assert schedule.settled(copy.lease, copy.subtasks[0], LATE + 2) is not None


def test_an_idle_node_copies_overdue_work_and_the_loser_is_withdrawn() -> None:
    """A device a hundred times slower does not hold up the run's end."""
    schedule = schedule_of(work(1, 1))
    (slow,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    (fast,) = grants(schedule.node_joined(B, 0.0, models=MODELS))
    assert schedule.settled(fast.lease, fast.subtasks[0], 1.0) == []
    (copy,) = grants(schedule.tick(3.0))
    assert (copy.node, copy.subtasks) == (B, slow.subtasks)
    assert schedule.settled(copy.lease, copy.subtasks[0], 4.0) == [Withdraw(A, slow.lease, slow.subtasks), Finish("")]
    assert schedule.settled(slow.lease, slow.subtasks[0], 5.0) is None
    assert schedule.finished


def test_a_lease_without_a_sign_of_life_expires() -> None:
    """A node that is there but does nothing gives its work back."""
    schedule = schedule_of(work(1))
    (lease,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    schedule.node_joined(B, 0.0, models=MODELS)
    decisions = schedule.tick(LEASE_SECONDS + 1)
    assert Withdraw(A, lease.lease, lease.subtasks) in decisions
    assert [grant.node for grant in grants(decisions)] == [B]


def test_progress_that_does_not_get_further_is_no_sign_of_life() -> None:
    """A node that repeats itself, or claims progress for ever, does not keep its lease."""
    for claim in (lambda second: 5, lambda second: second):
        schedule = schedule_of(work(1))
        (lease,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
        schedule.node_joined(B, 0.0, models=MODELS)
        taken_back: list[Decision] = []
        for second in range(1, int(MAX_LEASE_SECONDS) + 100, 50):
            schedule.progress(lease.lease, lease.subtasks[0], 10_000, claim(second), 0, float(second))
            taken_back += [each for each in schedule.tick(float(second)) if isinstance(each, Withdraw)]
        assert Withdraw(A, lease.lease, lease.subtasks) in taken_back


def test_a_node_that_has_done_nothing_yet_copies_late_work_too() -> None:
    """One chunk, one crawling node, one idle: the idle one takes a copy after a while."""
    schedule = schedule_of(work(1))
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.node_joined(B, 0.0, models=MODELS)
    assert not grants(schedule.tick(EARLY))
    assert [grant.node for grant in grants(schedule.tick(LATE))] == [B]


def test_work_that_a_node_may_not_do_does_not_keep_it_from_copying_other_work() -> None:
    """B failed one subtask for good and waits; the other one, which A is late with, it may copy."""
    schedule = schedule_of(work(1, 1))
    (slow,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    (mine,) = grants(schedule.node_joined(B, 0.0, models=MODELS))
    assert not grants(schedule.failed(mine.lease, mine.subtasks[0], FailureReason.BAD_REPLY, "not JSON", 1.0))
    (copy,) = grants(schedule.tick(LATE))
    assert (copy.node, copy.subtasks) == (B, slow.subtasks)


def test_a_node_whose_engine_restarts_gets_no_work_until_it_is_ready() -> None:
    """An outage costs time and no attempts."""
    schedule = schedule_of(work(1))
    (first,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    schedule.node_ready(A, False, 0.5)
    assert not grants(schedule.failed(first.lease, first.subtasks[0], FailureReason.ENGINE_CRASHED, "SIGSEGV", 1.0))
    assert not grants(schedule.tick(60.0))
    assert [grant.node for grant in grants(schedule.node_ready(A, True, 61.0))] == [A]


def test_nodes_that_can_never_take_anything_are_as_good_as_none() -> None:
    """A queue that is always full, or an engine that never comes back, ends a run after minutes and not never."""
    full = schedule_of(work(1))
    (grant,) = grants(full.node_joined(A, 0.0, models=MODELS))
    second = 0.0
    while not full.finished:
        second += 1.0
        assert second < 2 * STUCK_SECONDS
        full.refused(grant.lease, FailureReason.QUEUE_FULL, "full", second)
        (grant,) = grants(full.tick(second + 0.9)) or [grant]
    asleep = schedule_of(work(1))
    assert not asleep.node_joined(A, 0.0, ready=False, models=MODELS)
    assert not asleep.tick(STUCK_SECONDS - 1)
    assert [type(each) for each in asleep.tick(STUCK_SECONDS + 1)] == [GiveUp, Finish]


@pytest.mark.parametrize("reason", [FailureReason.QUEUE_FULL, FailureReason.DRAINING])
def test_a_device_without_room_counts_for_nothing(reason: FailureReason) -> None:
    """A refusal for lack of room, or to spare the device, is no failure of the subtask, however often it comes."""
    schedule = schedule_of(work(1))
    (grant,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    for second in range(1, 10):
        assert not ends(schedule.refused(grant.lease, reason, "full", float(second)))
        (grant,) = grants(schedule.tick(second + 0.9))
    assert not schedule.finished


def test_a_run_without_any_node_ends_after_a_while() -> None:
    """Nobody waits for ever for devices that do not come back."""
    schedule = schedule_of(work(2))
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.node_gone(A, "cable cut", 1.0)
    assert not schedule.tick(1.0 + PATIENCE_SECONDS / 2)
    assert len(ends(schedule.tick(2.0 + PATIENCE_SECONDS))) == 2
    assert schedule.finished


REASONS = st.sampled_from(
    [FailureReason.ENGINE_CRASHED, FailureReason.BAD_REPLY, FailureReason.CONTEXT_EXCEEDED, FailureReason.ENGINE_TIMEOUT]
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["join", "gone", "settle", "settle", "settle", "fail", "refuse", "late", "tick"]),
        st.integers(0, 9),
        REASONS,
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(sizes=st.lists(st.integers(1, 3), max_size=8), events=EVENTS)
def test_any_history_loses_nothing_counts_nothing_twice_and_ends(
    sizes: list[int], events: list[tuple[str, int, FailureReason]]
) -> None:
    """Whatever nodes do, each subtask ends exactly once, and no lease is ever given to a node that is not there."""
    bundles = work(*sizes)
    every = [subtask for bundle in bundles for subtask in bundle.subtasks]
    schedule = schedule_of(bundles)
    ended: list[SubtaskId] = []
    present: set[NodeId] = set()
    open_leases: dict[LeaseId, Grant] = {}
    past: list[tuple[LeaseId, SubtaskId]] = []
    now = 0.0

    def apply(decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Grant(node, lease, _, subtasks):
                    assert node in present
                    assert lease not in open_leases
                    assert subtasks
                    assert not set(subtasks) & set(ended)
                    open_leases[lease] = decision
                case GiveUp(subtask):
                    ended.append(subtask)
                case Withdraw():
                    pass

    def settle(lease: LeaseId, subtask: SubtaskId) -> None:
        past.append((lease, subtask))
        decisions = schedule.settled(lease, subtask, now)
        if decisions is not None:
            ended.append(subtask)
            apply(decisions)

    for kind, number, reason in events:
        now += 0.3
        node = NodeId(f"node-{number % 4}")
        lease = list(open_leases)[number % len(open_leases)] if open_leases else None
        match kind:
            case "join":
                present.add(node)
                apply(schedule.node_joined(node, now, models=MODELS))
            case "gone":
                present.discard(node)
                open_leases = {id: grant for id, grant in open_leases.items() if grant.node != node}
                apply(schedule.node_gone(node, "gone", now))
            case "settle" if lease:
                settle(lease, open_leases[lease].subtasks[number % len(open_leases[lease].subtasks)])
            case "fail" if lease:
                subtask = open_leases[lease].subtasks[number % len(open_leases[lease].subtasks)]
                apply(schedule.failed(lease, subtask, reason, "failed", now))
            case "refuse" if lease:
                del open_leases[lease]
                apply(schedule.refused(lease, reason, "refused", now))
            case "late" if past:
                settle(*past[number % len(past)])
            case "tick":
                apply(schedule.tick(now))
    # From here on one good node is there alone: the run must come to its end.
    good = NodeId("good")
    for node in present - {good}:
        open_leases = {id: grant for id, grant in open_leases.items() if grant.node != node}
        present = present - {node}
        apply(schedule.node_gone(node, "gone", now))
    present = {good}
    apply(schedule.node_joined(good, now, models=MODELS))
    for _ in range(3 * len(every) + 3):
        now += 2.0
        apply(schedule.tick(now))
        for lease, grant in tuple(open_leases.items()):
            del open_leases[lease]
            for subtask in grant.subtasks:
                settle(lease, subtask)
    assert schedule.finished
    assert sorted(ended) == sorted(every)
