"""What each node gets: whole bundles, enough to be never idle, no more than it can finish in time, and runs in their turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.scheduling.decisions import Candidate, Decision, Grant, Renew, Requeue, Withdraw, Work
from coordinator.scheduling.level import finish_time
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.width import Width
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId

MODELS = (Candidate("model", 4096),)
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def work(count: int, size: int = 1, run: str = "") -> list[Work]:
    return [Work(chunk, tuple(SubtaskId(f"{run}{task}.{chunk}") for task in range(size))) for chunk in range(count)]


def schedule_of(bundles: list[Work]) -> Schedule:
    schedule = Schedule()
    schedule.add("", bundles, 0.0)
    return schedule


def grants(decisions: list[Decision] | None) -> list[Grant]:
    return [each for each in decisions or [] if isinstance(each, Grant)]


class Hand:
    """A schedule whose nodes answer when the test says so."""

    def __init__(self, bundles: list[Work]) -> None:
        self.schedule = schedule_of(bundles)
        self.held: dict[NodeId, list[Grant]] = {}
        self.now = 0.0

    def take(self, decisions: list[Decision] | None) -> list[Grant]:
        new = grants(decisions)
        for grant in new:
            self.held.setdefault(grant.node, []).append(grant)
        return new

    def join(self, *nodes: NodeId, slots: int = 1) -> None:
        for node in nodes:
            self.take(self.schedule.node_joined(node, self.now, slots=slots, models=MODELS))

    def finish(self, node: NodeId, at: float) -> list[Grant]:
        """The node answers all of its oldest lease."""
        self.now = at
        grant = self.held[node].pop(0)
        new: list[Grant] = []
        for subtask in grant.subtasks:
            new += self.take(self.schedule.settled(grant.lease, subtask, at))
        return new

    def tick(self, at: float) -> list[Grant]:
        self.now = at
        return self.take(self.schedule.tick(at))


def test_a_fast_device_has_its_next_bundle_before_it_is_done() -> None:
    """Its bundles take less than a round trip: two are out, so that it is never idle. A slow one gets its next when it needs it."""
    hand = Hand(work(500))
    hand.join(A, B)
    for count in range(1, 20):
        hand.finish(A, 0.05 * count)
        if len(hand.held[A]) == 2:
            break
    assert len(hand.held[A]) == 2
    hand.finish(B, 10.0)
    assert len(hand.held[B]) == 1
    hand.tick(15.0)
    assert len(hand.held[B]) == 1
    for tenth in range(151, 200):
        if hand.tick(tenth / 10):
            break
    assert 18.0 < hand.now < 20.0
    assert len(hand.held[B]) == 2


def test_a_slow_device_does_not_begin_what_others_will_have_finished() -> None:
    """With few bundles left it would need as long as the fast one for ten; it waits, and the fast one does them."""
    hand = Hand(work(14))
    hand.join(A, B)
    for second in range(1, 10):
        hand.finish(A, float(second))
    assert not hand.finish(B, 10.0)
    assert hand.held[B] == []
    assert hand.schedule._book.backlog.bundles()
    while hand.held[A]:
        hand.finish(A, hand.now + 1.0)
    assert hand.schedule.finished


def test_the_best_finisher_always_takes_the_work() -> None:
    """However few bundles there are and whoever is idle, somebody begins."""
    for order in ((A, B), (B, A)):
        hand = Hand(work(5))
        hand.join(*order)
        hand.finish(B, 1.0)
        hand.finish(A, 9.0)
        while not hand.schedule.finished:
            busy = [node for node in (A, B) if hand.held.get(node)]
            assert busy
            hand.finish(busy[0], hand.now + (9.0 if busy[0] == A else 1.0))


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 100)), min_size=1, max_size=20),
    st.integers(1, 200),
)
def test_at_the_finish_time_exactly_so_many_bundles_can_be_done(nodes: list[tuple[float, float]], bundles: int) -> None:
    """The sum of what each can finish by then reaches the number; a little earlier it does not."""
    free, each = [node[0] for node in nodes], [node[1] for node in nodes]
    end = finish_time(free, each, bundles)
    done = sum(int((end - at) / seconds + 1e-9) for at, seconds in nodes if end >= at)
    earlier = end - 0.002 * (end - min(free)) - 1e-9
    before = sum(int((earlier - at) / seconds) for at, seconds in nodes if earlier >= at)
    assert done >= bundles
    assert before < bundles or before <= done
    assert any(at + seconds <= end + 1e-9 for at, seconds in nodes)


def test_work_of_a_suspect_node_goes_to_whoever_is_idle() -> None:
    """It keeps what it has begun, and gets nothing new until it is heard again."""
    hand = Hand(work(3))
    hand.join(A, B)
    hand.finish(B, 1.0)
    assert not grants(hand.schedule.node_suspect(A, 1.5))
    hand.finish(B, 2.0)
    late = [grant for at in range(3, 30) for grant in hand.tick(float(at))]
    assert any(grant.subtasks == ("0.0",) and grant.node != A and grant.hedge for grant in late)
    assert all(grant.node != A for grant in late)
    assert hand.schedule.node_ready(A, True, 31.0) == []


def test_a_node_that_tells_progress_for_ever_without_an_outcome_is_overdue() -> None:
    """It is renewed while it is believed; a trickle of tokens does not keep a lease, and its work goes elsewhere."""
    schedule = schedule_of(work(1, size=2))
    (lease,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    schedule.node_joined(B, 0.0, models=MODELS)
    seen: list[Decision] = [*schedule.progress(lease.lease, lease.subtasks[0], 0, 0, 0, 0.0)]
    for second in range(1, 2_000):
        seen += schedule.progress(lease.lease, lease.subtasks[0], 1000, 990, second, float(second))
        seen += schedule.tick(float(second))
        if second == 700:
            # As long as there is nobody else who could take it, nothing is gained by taking it away.
            seen += schedule.node_joined(C, 700.0, models=MODELS)
        if any(isinstance(each, Withdraw) and (each.node, each.subtasks) == (A, lease.subtasks[:1]) for each in seen):
            break
    assert second < 1_500
    assert any(grant.node == B and grant.hedge for grant in grants(seen))
    assert any(isinstance(each, Renew) for each in seen)


def test_a_stalled_device_is_noticed_by_its_own_pace() -> None:
    """It read a chunk in a second with a sign every tenth: seconds of silence are too long. A slow device is left in peace."""
    schedule = schedule_of(work(40))
    (lease,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    grants(schedule.node_joined(B, 0.0, models=MODELS))
    at = 0.0
    for _ in range(5):
        schedule.progress(lease.lease, lease.subtasks[0], 0, 0, 0, at)
        for step in range(1, 11):
            at += 0.1
            schedule.progress(lease.lease, lease.subtasks[0], 1000, 100 * step, 0, at)
        (lease,) = (grants(schedule.settled(lease.lease, lease.subtasks[0], at)) or [lease])[:1]
        lease = next(
            Grant(A, id, held.work.chunk, tuple(held.wanted), "", "model")
            for id, held in schedule._book.leases.items()
            if held.node.id == A and held.running
        )
    schedule.progress(lease.lease, lease.subtasks[0], 0, 0, 0, at)
    decisions: list[Decision] = []
    while not any(isinstance(each, Withdraw) for each in decisions):
        at += 0.1
        decisions = schedule.tick(at)
        assert at < 20.0
    assert {each.node for each in decisions if isinstance(each, Withdraw)} == {A}
    assert {each.node for each in decisions if isinstance(each, Requeue)} == {A}
    assert at < 10.0


def test_a_node_that_fails_again_and_again_is_set_aside_and_tried_later() -> None:
    """The pause doubles, and a success ends it."""
    schedule = schedule_of(work(100))
    schedule.node_joined(B, 0.0, models=MODELS)
    (lease,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    count, at = 0, 0.0
    while True:
        at += 0.1
        (lease, *_) = grants(schedule.failed(lease.lease, lease.subtasks[0], FailureReason.ENGINE_CRASHED, "SIGSEGV", at)) or [None]
        count += 1
        if lease is None or lease.node != A:
            break
    assert count == 3
    back = [grant for tenth in range(1, 40) for grant in grants(schedule.tick(at + tenth / 10)) if grant.node == A]
    assert back


def test_runs_share_the_pool_and_one_that_comes_later_is_not_behind() -> None:
    """Two interactive runs get about as much of a node each, from when the second came."""
    hand = Hand([])
    hand.join(A)
    hand.take(hand.schedule.add("one", work(50, run="one"), 0.0))
    for second in range(1, 11):
        hand.finish(A, float(second))
    hand.take(hand.schedule.add("two", work(50, run="two"), 10.5))
    served = [grant.run for second in range(11, 51) for grant in hand.finish(A, float(second))]
    assert abs(served.count("one") - served.count("two")) <= 2


def test_an_interactive_run_goes_first() -> None:
    """What nobody waits for gets what is left."""
    hand = Hand([])
    hand.take(hand.schedule.add("batch", work(50, run="batch"), 0.0, interactive=False))
    hand.join(A)
    hand.take(hand.schedule.add("ask", work(5, run="ask"), 0.5))
    served = [grant.run for second in range(1, 12) for grant in hand.finish(A, float(second))]
    assert served[:5] == ["ask"] * 5
    assert set(served[5:]) == {"batch"}


def test_a_run_that_is_withdrawn_leaves_nothing_behind() -> None:
    """What waits is forgotten, what is in work is cancelled, and the others go on."""
    hand = Hand([])
    hand.take(hand.schedule.add("one", work(5, run="one"), 0.0))
    hand.join(A)
    hand.take(hand.schedule.add("two", work(5, run="two"), 0.0))
    decisions = hand.schedule.withdraw_run("one", 1.0)
    assert [each.node for each in decisions if isinstance(each, Withdraw)] == [A]
    assert all(state.run.id == "two" for state in hand.schedule._book.subtasks.values())


@pytest.mark.parametrize(("gain", "expected"), [(1.0, 1), (1.05, 1), (1.9, 4)])
def test_slots_are_used_only_where_they_gain(gain: float, expected: int) -> None:
    """A processor's slots share its cores; a graphics card's do not."""
    width = Width(4)
    for _ in range(40):
        width.observe(width.now, width.now / (gain ** (width.now - 1) if gain < 1.5 else width.now * 0.95))
    assert width.now == expected
    one = Width(1)
    one.observe(1, 1.0)
    assert one.now == 1


def test_a_node_with_slots_gets_several_leases_when_they_gain() -> None:
    """Measured: with two leases in work each takes as long as alone."""
    hand = Hand(work(400))
    hand.join(A, slots=3)
    most, running = 1, 0.0
    for _ in range(60):
        running = hand.now + 5.0
        for _ in range(len(hand.held[A][: hand.schedule._book.nodes[A].width.now])):
            hand.finish(A, running)
        most = max(most, len(hand.held[A]))
    assert most >= 3


def test_a_chunk_that_was_cut_goes_on_where_it_was_read() -> None:
    """What comes back of a chunk goes to the node that has just read it, which need not read it again."""
    schedule = schedule_of(work(3, size=2))
    (lease,) = grants(schedule.node_joined(A, 0.0, models=MODELS))
    schedule.settled(lease.lease, lease.subtasks[0], 5.0)
    again = grants(schedule.failed(lease.lease, lease.subtasks[1], FailureReason.ENGINE_CRASHED, "SIGSEGV", 6.0))
    assert [(grant.node, grant.chunk) for grant in again] == [(A, 0)]


def test_lease_ids_are_never_used_twice() -> None:
    """A late word about an old lease is about that one."""
    hand = Hand(work(30))
    hand.join(A, B)
    seen: set[LeaseId] = set()
    for second in range(1, 15):
        for grant in hand.finish(A, float(second)):
            assert grant.lease not in seen
            seen.add(grant.lease)
