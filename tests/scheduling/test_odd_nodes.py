"""Nodes that leave, hang, refuse or rest, beside one that is well: nothing ends for their sake."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.scheduling.decisions import Candidate, Decision, Finish, GiveUp, Grant, Withdraw, Work
from coordinator.scheduling.limits import LEASE_SECONDS, MAX_ATTEMPTS, PATIENCE_SECONDS, RESTING_SECONDS, STUCK_SECONDS
from coordinator.scheduling.placement import RETRIES_SEEN
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.simulated import SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from edgenode.types import FailureReason, NodeId, SubtaskId, Usage

MODELS = (Candidate("model", 4096),)
A, B = NodeId("a"), NodeId("b")
X, Y = SubtaskId("x"), SubtaskId("y")
USAGE = Usage(1060, 0, 60, 5.0)


def two_bundles() -> list[Work]:
    return [Work(0, (X,)), Work(1, (Y,))]


def grants(decisions: list[Decision]) -> list[Grant]:
    return [each for each in decisions if isinstance(each, Grant)]


class Pool:
    """Nodes that take five seconds for a subtask; some crash once with what is said of them, some hang with all they get, and some
    refuse everything or fail it for a reason. Replies to `useless` are of no use."""

    def __init__(
        self,
        well: Sequence[NodeId],
        *,
        hangs: Sequence[NodeId] = (),
        crashes: Mapping[NodeId, set[SubtaskId]] | None = None,
        refuse: Mapping[NodeId, FailureReason] | None = None,
        fail: Mapping[NodeId, FailureReason] | None = None,
        useless: Sequence[SubtaskId] = (),
    ) -> None:
        self.now = 0.0
        self.schedule = Schedule()
        self.given_up: list[GiveUp] = []
        self.settled: set[SubtaskId] = set()
        self.grants = 0
        self.order = itertools.count()
        self.crashes = {node: set(subtasks) for node, subtasks in (crashes or {}).items()}
        self.refuse, self.fail = dict(refuse or {}), dict(fail or {})
        self.useless = set(useless)
        self.hangs = set(hangs)
        self.gone: set[NodeId] = set()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.free: dict[NodeId, float] = {}
        for node in (*well, *hangs, *self.refuse, *self.fail):
            self.do(self.schedule.node_joined(node, 0.0, models=MODELS))

    def do(self, decisions: Iterable[Decision]) -> None:
        for each in decisions:
            if isinstance(each, GiveUp):
                self.given_up.append(each)
            if not isinstance(each, Grant) or each.node in self.hangs:
                continue
            self.grants += 1
            if each.node in self.refuse:
                self.expect(self.now + 0.01, each, None)
                continue
            at = max(self.now, self.free.get(each.node, 0.0))
            for subtask in each.subtasks:
                at += 0.01 if each.node in self.fail else 5.0
                self.expect(at, each, subtask)
            self.free[each.node] = at

    def at(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time, next(self.order), what))

    def befall(self, node: NodeId, fate: str) -> None:
        match fate:
            case "drain":
                self.do(self.schedule.node_ready(node, False, self.now, resting=True))
            case "restart":
                self.do(self.schedule.node_ready(node, False, self.now))
                self.at(self.now + 60.0, lambda: self.do(self.schedule.node_ready(node, True, self.now)))
            case "silent":
                self.hangs.add(node)
                self.do(self.schedule.node_suspect(node, self.now))
                self.at(self.now + 3.0, lambda: self.befall(node, "leave"))
            case "leave":
                self.gone.add(node)
                self.do(self.schedule.node_gone(node, "silent", self.now))
            case "hang":
                self.hangs.add(node)

    def expect(self, at: float, grant: Grant, subtask: SubtaskId | None) -> None:
        self.at(at, lambda: self.hear(grant, subtask) if grant.node not in self.gone else None)

    def hear(self, grant: Grant, subtask: SubtaskId | None) -> None:
        node, schedule, now = grant.node, self.schedule, self.now
        if node in self.hangs:
            return
        if subtask is None:
            self.do(schedule.refused(grant.lease, self.refuse[node], "refused", now))
        elif node in self.fail:
            self.do(schedule.failed(grant.lease, subtask, self.fail[node], "no", now))
        elif subtask in self.crashes.get(node, ()):
            self.crashes[node].remove(subtask)
            self.do(schedule.failed(grant.lease, subtask, FailureReason.ENGINE_CRASHED, "SIGSEGV", now))
        elif subtask in self.useless:
            self.do(schedule.failed(grant.lease, subtask, FailureReason.BAD_REPLY, "not JSON", now))
        elif (decisions := schedule.settled(grant.lease, subtask, now, USAGE)) is not None:
            self.settled.add(subtask)
            self.do(decisions)

    def read(self, work: Sequence[Work]) -> None:
        self.do(self.schedule.add("r", work, self.now))
        self.until(20_000.0)
        assert self.schedule.finished

    def until(self, limit: float) -> None:
        while not self.schedule.finished and self.now < limit:
            wake = self.schedule.wakes_at
            if self.events and self.events[0][0] <= wake:
                at, _, what = heapq.heappop(self.events)
                self.now = max(self.now, at)
                what()
            else:
                self.now = max(self.now + 1e-4, min(limit, wake))
                self.do(self.schedule.tick(self.now))


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


def test_what_a_node_failed_in_passing_it_gets_again_while_the_other_one_drains() -> None:
    """A crash once at home while the second device cools down: at once, and nobody waits for minutes."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.node_joined(B, 0.0, models=MODELS)
    schedule.node_ready(B, False, 0.0)
    (grant,) = grants(schedule.add("r", [Work(0, (X,))], 0.0))
    (again,) = grants(schedule.failed(grant.lease, X, FailureReason.ENGINE_CRASHED, "SIGSEGV", 5.0))
    assert again.node == A
    # And if the other one begins to drain only then.
    schedule.node_ready(B, True, 6.0)
    (copy,) = grants(schedule.failed(again.lease, X, FailureReason.ENGINE_CRASHED, "SIGSEGV", 7.0))
    assert copy.node == B
    schedule.node_ready(B, False, 8.0)
    (last,) = grants(schedule.refused(copy.lease, FailureReason.DRAINING, "hot", 8.0))
    assert last.node == A


def test_a_node_that_fails_something_again_and_again_does_not_end_it_while_another_one_is_there() -> None:
    """The other one only drains: it has not tried yet."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.node_joined(B, 0.0, models=MODELS)
    schedule.node_ready(B, False, 0.0)
    decisions = schedule.add("r", [Work(0, (X,))], 0.0)
    tries, now = 0, 0.0
    while now < 60.0:
        while leases := grants(decisions):
            tries += 1
            decisions = schedule.failed(leases[0].lease, X, FailureReason.ENGINE_CRASHED, "SIGSEGV", now)
        now += 0.5
        decisions = schedule.tick(now)
    assert tries == MAX_ATTEMPTS
    (grant,) = grants(schedule.node_ready(B, True, now))
    assert schedule.settled(grant.lease, X, now + 5, USAGE) is not None


def test_what_a_node_failed_in_passing_does_not_wait_for_ever_for_one_that_is_busy() -> None:
    """The other node claims to get on with something else for an hour: after half a minute the first one tries again."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.node_joined(B, 0.0, models=MODELS)
    mine, other = sorted(grants(schedule.add("r", two_bundles(), 0.0)), key=lambda each: each.node)
    decisions = schedule.failed(mine.lease, mine.subtasks[0], FailureReason.ENGINE_CRASHED, "SIGSEGV", 5.0)
    now = 5.0
    while not any(each.subtasks == mine.subtasks for each in grants(decisions)):
        now += 0.5
        schedule.progress(other.lease, other.subtasks[0], 10_000, int(100 * now), 0, now)
        decisions = schedule.tick(now)
        assert now < 5.0 + 2 * PATIENCE_SECONDS
    assert [each.node for each in grants(decisions)] == [A]


@pytest.mark.parametrize("bundles", [1, 2, 4, 8])
def test_a_run_ends_well_beside_a_node_that_hangs_with_its_heartbeat_going_on(bundles: int) -> None:
    """The well one crashes once; the other takes whatever it is given, also a lease sent ahead, and says nothing."""
    pool = Pool([A], hangs=[B], crashes={A: {SubtaskId("x0")}})
    pool.read([Work(number, (SubtaskId(f"x{number}"),)) for number in range(bundles)])
    assert not pool.given_up
    assert pool.now < 1000


@pytest.mark.parametrize("reason", [FailureReason.INVALID, FailureReason.UNKNOWN_MODEL, FailureReason.ENGINE_UNAVAILABLE])
def test_nodes_that_refuse_everything_end_nothing_while_one_takes_work(reason: FailureReason) -> None:
    """Six of them would have more than three different nodes against each subtask; they are asked ever more seldom."""
    pool = Pool([A], refuse={NodeId(f"refuses-{number}"): reason for number in range(6)})
    bundles = [Work(number, tuple(SubtaskId(f"{task}.{number}") for task in range(3))) for number in range(40)]
    pool.read(bundles)
    assert not pool.given_up
    assert len(pool.settled) == 120
    # All of it by one, and what was offered to the others in between.
    assert pool.now < 5 * 120 + 5
    assert pool.grants < 40 + 6 * 20


@pytest.mark.parametrize("bundles", [1, 40])
def test_a_run_whose_only_nodes_refuse_everything_ends_soon_and_says_why(bundles: int) -> None:
    """Not after many minutes, and with the reason that the nodes gave."""
    pool = Pool([], refuse={A: FailureReason.UNKNOWN_MODEL, B: FailureReason.INVALID})
    pool.read([Work(number, (SubtaskId(f"x{number}"),)) for number in range(bundles)])
    assert len(pool.given_up) == bundles
    assert {each.reason for each in pool.given_up} <= {FailureReason.UNKNOWN_MODEL, FailureReason.INVALID}
    assert {each.message for each in pool.given_up} == {"refused"}
    assert pool.now < 3 * PATIENCE_SECONDS


def test_a_node_whose_engine_is_away_for_a_minute_loses_nothing() -> None:
    """It refuses with that reason until the engine is back."""
    pool = Pool([], refuse={A: FailureReason.ENGINE_UNAVAILABLE})
    pool.do(pool.schedule.add("r", [Work(0, (X,))], 0.0))
    pool.until(90.0)
    del pool.refuse[A]
    pool.until(300.0)
    assert pool.settled == {X}


def test_a_run_waits_for_the_only_device_while_it_cools_down() -> None:
    """It rests for a quarter of an hour, its engine then restarts for four minutes: nothing is given up."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS, ready=False, resting=True)
    schedule.add("r", [Work(0, (X,))], 0.0)
    for second in range(900):
        assert not schedule.tick(float(second))
    assert not schedule.node_ready(A, False, 900.0)
    for second in range(900, 900 + int(STUCK_SECONDS) - 60):
        assert not schedule.tick(float(second))
    assert [each.subtasks for each in grants(schedule.node_ready(A, True, 1140.0))] == [(X,)]


def test_a_run_does_not_wait_for_ever_for_a_device_that_rests() -> None:
    """However often it says that it has rested and rests again."""
    for flaps in (False, True):
        schedule = Schedule()
        schedule.node_joined(A, 0.0, models=MODELS, ready=False, resting=True)
        schedule.add("r", [Work(0, (X,))], 0.0)
        now, decisions = 0.0, list[Decision]()
        while not schedule.finished:
            now += 10.0
            if flaps:
                schedule.node_ready(A, False, now, resting=now % 100 < 50)
            decisions = schedule.tick(now)
        assert [type(each) for each in decisions] == [GiveUp, Finish]
        assert RESTING_SECONDS < now < RESTING_SECONDS + 30


@pytest.mark.parametrize("fate", ["late", "gone"])
def test_one_failure_for_good_does_not_end_a_subtask_while_the_other_node_may_come_back(fate: str) -> None:
    """The other one is late with something or has just left: it is waited for half a minute."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    schedule.node_joined(B, 0.0, models=MODELS)
    other, mine = sorted(grants(schedule.add("r", two_bundles(), 0.0)), key=lambda each: each.node)
    now = 1.0
    if fate == "gone":
        schedule.settled(other.lease, other.subtasks[0], now, USAGE)
        schedule.node_gone(A, "lid closed", now)
    else:
        while not schedule._book.nodes[A].stuck:
            now += 0.5
            schedule.progress(mine.lease, mine.subtasks[0], 10_000, int(100 * now), 0, now)
            schedule.tick(now)
    schedule.failed(mine.lease, mine.subtasks[0], FailureReason.BAD_REPLY, "not JSON", now)
    for lease in [each for each in schedule._book.leases.values() if each.node.id == B]:
        schedule.failed(lease.id, next(iter(lease.awaited)), FailureReason.BAD_REPLY, "not JSON", now)
    assert schedule.is_open(mine.subtasks[0])
    began = now
    while schedule.is_open(mine.subtasks[0]):
        now = max(now + 0.01, schedule.wakes_at)
        schedule.tick(now)
    assert began + PATIENCE_SECONDS - 1 < now < began + 2 * PATIENCE_SECONDS


def test_what_one_node_failed_does_not_wait_for_the_end_of_other_runs() -> None:
    """The other node is always full of what somebody else sent; the first works on for another run, which is no sign of life."""
    pool = Pool([A], refuse={B: FailureReason.QUEUE_FULL}, useless=[X])
    pool.do(pool.schedule.add("r", [Work(0, (X,))], 0.0))
    pool.do(pool.schedule.add("s", [Work(number, (SubtaskId(f"s{number}"),)) for number in range(200)], 0.0))
    pool.until(STUCK_SECONDS + 60)
    assert [each.subtask for each in pool.given_up] == [X]
    pool.until(20_000.0)
    assert len(pool.settled) == 200


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_what_hangs_every_engine_in_silence_is_given_up_alone(nodes: int) -> None:
    """The engines tell no progress, hang with one subtask, and answer that they have stopped when they are told to."""
    work = [Work(chunk, tuple(SubtaskId(f"{task}.{chunk}") for task in range(3))) for chunk in range(8)]
    costs = {id: (bundle.chunk, Tokens(1000, 60, 10**9 if id == "1.3" else 60)) for bundle in work for id in bundle.subtasks}
    schedule = Schedule()
    schedule.add("r", work, 0.0)
    simulation = Simulation(schedule, costs, [SimulatedNode(NodeId(f"n{place}"), 300.0, silent=True) for place in range(nodes)])
    for node in simulation.nodes:
        simulation.join(node)
    result = simulation.run(limit=1800.0)
    assert schedule.finished
    assert simulation.given_up == {"1.3"}
    assert result.lost == 1


def test_what_one_node_may_not_take_hides_nothing_that_it_may() -> None:
    """More has failed on it for good than is looked through at a time, and stands before what failed on another one."""
    schedule, now = Schedule(), 0.0
    work = [Work(number, (SubtaskId(str(number)),)) for number in range(3 * RETRIES_SEEN)]
    taken = grants(schedule.add("r", work, now) + schedule.node_joined(A, now, models=MODELS))
    (other,) = grants(schedule.node_joined(B, now, models=MODELS))
    schedule.node_ready(B, False, now)
    failed = 0
    while taken:
        now += 0.1
        lease = taken.pop(0)
        (subtask,) = lease.subtasks
        if lease.chunk == other.chunk:
            return
        # In turn, so that it is not set aside.
        if lease.chunk % 2:
            taken += grants(schedule.settled(lease.lease, subtask, now) or [])
        else:
            failed += 1
            taken += grants(schedule.failed(lease.lease, subtask, FailureReason.BAD_REPLY, "no", now))
        if failed == RETRIES_SEEN + 1:
            taken += grants(schedule.failed(other.lease, other.subtasks[0], FailureReason.BAD_REPLY, "no", now))
        taken += grants(schedule.tick(now))
    pytest.fail("it was never given what it could have done")


class Told(Simulation):
    """Keeps what was given up, with the nodes that had tried it."""

    def follow(self, decisions: list[Decision] | None) -> None:
        self.ends = [*getattr(self, "ends", ()), *(each for each in decisions or () if isinstance(each, GiveUp))]
        super().follow(decisions)


@pytest.mark.parametrize("silent", [False, True])
def test_what_hangs_engines_ends_on_the_third_of_many(silent: bool) -> None:
    """Beside it there may be a copy that was sent while the third was late."""
    work = [Work(chunk, tuple(SubtaskId(f"{task}.{chunk}") for task in range(3))) for chunk in range(40)]
    costs = {id: (bundle.chunk, Tokens(1000, 60, 10**9 if id == "1.20" else 60)) for bundle in work for id in bundle.subtasks}
    schedule = Schedule()
    schedule.add("r", work, 0.0)
    simulation = Told(schedule, costs, [SimulatedNode(NodeId(f"n{place}"), 300.0, silent=silent) for place in range(8)])
    for node in simulation.nodes:
        simulation.join(node)
    simulation.run(limit=1800.0)
    (end,) = simulation.ends
    assert end.subtask == "1.20"
    assert len(end.nodes) in (3, 4)


def test_a_node_that_hangs_again_and_again_is_one_sign_against_what_it_hangs_with() -> None:
    """It has done nothing in between, so it is the node; with nobody else to try it, it is given up all the same."""
    schedule, now, hangs = Schedule(), 0.0, 0
    decisions = schedule.add("r", two_bundles()[:1], 0.0) + schedule.node_joined(A, 0.0, models=MODELS)
    while not schedule.finished:
        assert schedule._book.losses <= 1
        for lease in grants(decisions):
            schedule.progress(lease.lease, X, 0, 0, 0, now)
        now = max(now + 0.01, schedule.wakes_at)
        decisions = schedule.tick(now)
        for each in [each for each in decisions if isinstance(each, Withdraw)]:
            hangs += 1
            decisions += schedule.failed(each.lease, X, FailureReason.CANCELLED, "Cancelled.", now)
    assert 1 < hangs <= 1 + MAX_ATTEMPTS


def test_a_node_that_comes_back_in_time_does_what_the_other_one_failed() -> None:
    """Its lid was closed for ten seconds."""
    schedule = Schedule()
    schedule.node_joined(A, 0.0, models=MODELS)
    (grant,) = grants(schedule.add("r", [Work(0, (X,))], 0.0))
    schedule.node_joined(B, 0.0, models=MODELS)
    schedule.node_gone(B, "lid closed", 1.0)
    assert not schedule.failed(grant.lease, X, FailureReason.BAD_REPLY, "not JSON", 2.0)[1:]
    schedule.tick(10.0)
    assert [each.subtasks for each in grants(schedule.node_joined(B, 11.0, models=MODELS))] == [(X,)]


FATES = st.sampled_from(["hang", "silent", "drain", "restart", "leave"])


@settings(max_examples=150, deadline=None)
@given(
    crashes=st.sets(st.integers(0, 11)),
    failing=st.lists(st.sampled_from([FailureReason.BAD_REPLY, FailureReason.ENGINE_CRASHED]), max_size=1),
    refusing=st.lists(st.sampled_from([FailureReason.INVALID, FailureReason.UNKNOWN_MODEL, FailureReason.QUEUE_FULL]), max_size=4),
    befallen=st.lists(st.tuples(FATES, st.floats(0.0, 30.0)), max_size=4),
    bundles=st.lists(st.integers(1, 3), min_size=1, max_size=12),
)
def test_whatever_the_others_do_one_honest_node_brings_everything(
    crashes: set[int],
    failing: list[FailureReason],
    refusing: list[FailureReason],
    befallen: list[tuple[str, float]],
    bundles: list[int],
) -> None:
    """They stay as they are to the end; even the honest one crashes now and then. Nothing is lost, and the end comes in time."""
    refuse = {NodeId(f"refuses-{number}"): reason for number, reason in enumerate(refusing)}
    fail = {NodeId(f"fails-{number}"): reason for number, reason in enumerate(failing)}
    others = [NodeId(f"befallen-{number}") for number in range(len(befallen))]
    pool = Pool([A, *others], crashes={A: {SubtaskId(f"0.{chunk}") for chunk in crashes}}, refuse=refuse, fail=fail)
    for node, (fate, when) in zip(others, befallen, strict=True):
        pool.at(when, lambda node=node, fate=fate: pool.befall(node, fate))
    pool.read([Work(chunk, tuple(SubtaskId(f"{task}.{chunk}") for task in range(size))) for chunk, size in enumerate(bundles)])
    assert not pool.given_up
    # All by the honest one, its own pauses, and what the others kept it waiting for.
    assert pool.now < 5 * sum(bundles) + 60 * len(crashes) + 600


def test_a_node_that_crashes_over_everything_does_not_use_up_the_attempts_of_others() -> None:
    """The honest one crashed once over the same subtask, and gets it again."""
    pool = Pool([A], crashes={A: {X}}, fail={B: FailureReason.ENGINE_CRASHED})
    pool.read([Work(0, (X, Y))])
    assert not pool.given_up
