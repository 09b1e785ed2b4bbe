"""The schedule against whatever nodes may do: a stateful search for histories that break a promise."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coordinator.scheduling.decisions import (
    PROBE_SUBTASK,
    Candidate,
    Decision,
    Finish,
    GiveUp,
    Grant,
    Need,
    Probe,
    Requeue,
    Withdraw,
    Work,
)
from coordinator.scheduling.schedule import Schedule
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId, Usage

REASONS = st.sampled_from(
    [
        FailureReason.ENGINE_CRASHED,
        FailureReason.BAD_REPLY,
        FailureReason.CONTEXT_EXCEEDED,
        FailureReason.ENGINE_TIMEOUT,
        FailureReason.CANCELLED,
        FailureReason.QUEUE_FULL,
        FailureReason.DRAINING,
        FailureReason.INVALID,
        FailureReason.UNKNOWN_MODEL,
    ]
)
SMALL, LARGE = Candidate("small", 2048, 10**9), Candidate("large", 8192, 2 * 10**9)
TEST = Candidate("test", 8192, test_engine=True)
LISTS = st.sampled_from([(SMALL,), (LARGE,), (SMALL, LARGE), (LARGE, SMALL), (TEST,), (SMALL, TEST)])
NEEDS = st.sampled_from([Need(), Need(2000), Need(4000), Need(4000, test_engine=True), Need(100_000)])
NUMBERS = st.integers(0, 50)


class AnyPool(RuleBasedStateMachine):
    """Nodes do what they are told, or not; every message may come late, twice or about something else."""

    @initialize(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12))
    def begin(self, sizes: list[int]) -> None:
        self.now = 0.0
        self.schedule = Schedule(prefix="run-")
        self.every: set[SubtaskId] = set()
        self.ended: set[SubtaskId] = set()
        self.given_up: set[SubtaskId] = set()
        self.crashed: set[SubtaskId] = set()
        self.finished: set[str] = set()
        self.runs = 0
        self.present: set[NodeId] = set()
        self.suspect: set[NodeId] = set()
        self.slots: dict[NodeId, int] = {}
        self.leases: dict[LeaseId, Grant] = {}
        self.awaited: dict[LeaseId, list[SubtaskId]] = {}
        self.past: list[tuple[LeaseId, SubtaskId]] = []
        self.models: dict[NodeId, tuple[Candidate, ...]] = {}
        self.needs: dict[str, Need] = {}
        self.probes: dict[LeaseId, NodeId] = {}
        self.add(sizes, True, Need())

    def apply(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Probe(node, lease, model):
                    assert node in self.present
                    assert node not in self.suspect
                    assert not self.every - self.ended, "a probe while there is work"
                    assert model in {each.name for each in self.models[node]}
                    assert not any(self.awaited[id] for id, grant in self.leases.items() if grant.node == node)
                    self.probes[lease] = node
                case Grant(node, lease, _, subtasks, run, model, at_once):
                    (used,) = (each for each in self.models[node] if each.name == model)
                    assert self.needs[run].met_by(used), "a model that does not fit"
                    assert all(subtask.startswith(f"{run}/") for subtask in subtasks)
                    assert 1 <= at_once <= self.slots[node]
                    assert node in self.present, "a lease on a node that is not there"
                    assert node not in self.suspect, "a lease on a node that is in doubt"
                    assert lease not in self.leases
                    assert subtasks
                    assert len(set(subtasks)) == len(subtasks)
                    assert not set(subtasks) & self.ended, "work that has ended is lent"
                    held = sum(1 for id, each in self.leases.items() if each.node == node and self.awaited[id])
                    assert held <= self.slots[node], "more than one lease waits on a node"
                    self.leases[lease], self.awaited[lease] = decision, list(subtasks)
                case Withdraw(node, lease) if lease in self.probes:
                    assert self.probes[lease] == node
                case Withdraw(node, lease, subtasks):
                    assert self.leases[lease].node == node
                    assert set(subtasks) <= set(self.leases[lease].subtasks)
                case GiveUp(subtask):
                    assert subtask not in self.ended, "ended twice"
                    self.ended.add(subtask)
                    self.given_up.add(subtask)
                case Requeue(_, _, subtasks):
                    assert not set(subtasks) & self.ended
                case Finish(run):
                    assert run not in self.finished
                    self.finished.add(run)

    @precondition(lambda self: self.runs < 4)
    @rule(sizes=st.lists(st.integers(1, 4), max_size=6), interactive=st.booleans(), need=NEEDS)
    def add(self, sizes: list[int], interactive: bool, need: Need) -> None:
        run = str(self.runs)
        self.runs += 1
        self.needs[run] = need
        work = [Work(chunk, tuple(SubtaskId(f"{run}/{task}.{chunk}") for task in range(size))) for chunk, size in enumerate(sizes)]
        self.every.update(id for bundle in work for id in bundle.subtasks)
        self.apply(self.schedule.add(run, work, self.now, interactive=interactive, need=need))

    @precondition(lambda self: self.runs > 0)
    @rule(number=NUMBERS)
    def withdraw(self, number: int) -> None:
        """A run ends while its leases are still owed."""
        run = str(number % self.runs)
        self.ended.update(id for id in self.every if id.startswith(f"{run}/"))
        self.apply(self.schedule.withdraw_run(run, self.now))

    @rule()
    def expect(self) -> None:
        self.apply(self.schedule.expect(self.now))

    @rule(number=NUMBERS, how=st.sampled_from(["progress", "settled", "failed", "twice"]), tokens=st.integers(-1, 200))
    def probed(self, number: int, how: str, tokens: int) -> None:
        """Its node answers, or not, or nonsense."""
        if not self.probes:
            return
        lease = list(self.probes)[number % len(self.probes)]
        self.now += 0.1
        if how == "progress":
            self.apply(self.schedule.progress(lease, PROBE_SUBTASK, 100, tokens, 0, self.now))
        elif how == "failed":
            self.apply(self.schedule.failed(lease, PROBE_SUBTASK, FailureReason.ENGINE_CRASHED, "failed", self.now))
            del self.probes[lease]
        else:
            assert self.schedule.settled(lease, PROBE_SUBTASK, self.now, Usage(tokens, 0, tokens, 0.1)) is None
            self.apply(self.schedule.tick(self.now))
            if how == "settled":
                del self.probes[lease]

    @rule(seconds=st.sampled_from([0.001, 0.1, 1.0, 10.0, 100.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.apply(self.schedule.tick(self.now))

    @rule()
    def wake(self) -> None:
        if self.schedule.wakes_at < self.now + 1000:
            self.now = max(self.now, self.schedule.wakes_at)
        self.apply(self.schedule.tick(self.now))

    @rule(number=NUMBERS, slots=st.sampled_from([1, 1, 1, 3]), ready=st.sampled_from([True, True, False]), models=LISTS)
    def join(self, number: int, slots: int, ready: bool, models: tuple[Candidate, ...]) -> None:
        node = NodeId(f"node-{number % 5}")
        if node not in self.present:
            self.slots[node] = slots
            self.models[node] = models
        self.present.add(node)
        self.apply(self.schedule.node_joined(node, self.now, ready=ready, slots=slots, models=models))

    @rule(number=NUMBERS)
    def gone(self, number: int) -> None:
        node = NodeId(f"node-{number % 5}")
        self.present.discard(node)
        self.suspect.discard(node)
        self.probes = {lease: id for lease, id in self.probes.items() if id != node}
        for id in [id for id, grant in self.leases.items() if grant.node == node]:
            self.past += [(id, subtask) for subtask in self.awaited[id]]
            del self.leases[id], self.awaited[id]
        self.apply(self.schedule.node_gone(node, "gone", self.now))

    @rule(number=NUMBERS)
    def doubt(self, number: int) -> None:
        node = NodeId(f"node-{number % 5}")
        if node in self.present:
            self.suspect.add(node)
        self.apply(self.schedule.node_suspect(node, self.now))

    @rule(number=NUMBERS, ready=st.booleans(), resting=st.booleans())
    def ready(self, number: int, ready: bool, resting: bool) -> None:
        node = NodeId(f"node-{number % 5}")
        self.suspect.discard(node)
        self.apply(self.schedule.node_ready(node, ready, self.now, resting=resting))

    def pick(self, number: int) -> tuple[LeaseId, SubtaskId] | None:
        held = [(id, subtasks[0]) for id, subtasks in self.awaited.items() if subtasks]
        return held[number % len(held)] if held else None

    def settle(self, lease: LeaseId, subtask: SubtaskId) -> None:
        self.past.append((lease, subtask))
        counted = self.schedule.is_open(subtask)
        decisions = self.schedule.settled(lease, subtask, self.now, Usage(1000, 900, 20, 1.0))
        assert (decisions is not None) == counted
        if decisions is not None:
            assert subtask not in self.ended, "counted twice"
            self.ended.add(subtask)
            self.apply(decisions)

    @rule(number=NUMBERS, seconds=st.floats(0.0, 20.0))
    def settled(self, number: int, seconds: float) -> None:
        self.now += seconds
        if picked := self.pick(number):
            self.awaited[picked[0]].remove(picked[1])
            self.settle(*picked)

    @rule(number=NUMBERS, reason=REASONS)
    def failed(self, number: int, reason: FailureReason) -> None:
        if picked := self.pick(number):
            self.awaited[picked[0]].remove(picked[1])
            self.past.append(picked)
            self.apply(self.schedule.failed(*picked, reason, "failed", self.now))

    @rule(number=NUMBERS, reason=REASONS)
    def refused(self, number: int, reason: FailureReason) -> None:
        if picked := self.pick(number):
            self.past += [(picked[0], subtask) for subtask in self.awaited[picked[0]]]
            self.awaited[picked[0]].clear()
            self.apply(self.schedule.refused(picked[0], reason, "refused", self.now))

    @rule(number=NUMBERS, read=st.integers(-1, 2000), written=st.integers(-1, 10**9), prompt=st.integers(-1, 2000))
    def progress(self, number: int, read: int, written: int, prompt: int) -> None:
        if picked := self.pick(number):
            self.apply(self.schedule.progress(*picked, prompt, read, written, self.now))

    @rule(number=NUMBERS)
    def late(self, number: int) -> None:
        if self.past:
            self.settle(*self.past[number % len(self.past)])

    @rule(number=NUMBERS)
    def garbled(self, number: int) -> None:
        self.apply(self.schedule.progress(LeaseId(f"run-{number}"), SubtaskId("nobody's"), 5, 5, 5, self.now))
        self.apply(self.schedule.failed(LeaseId(f"run-{number}"), SubtaskId("nobody's"), FailureReason.BAD_REPLY, "", self.now))
        assert self.schedule.settled(LeaseId("nobody's"), SubtaskId("nobody's"), self.now) is None

    @invariant()
    def nothing_is_lost(self) -> None:
        """What has not ended is held by a node that is there, or waits."""
        book = self.schedule._book
        assert set(book.subtasks) == self.every - self.ended
        for id, state in book.subtasks.items():
            assert state.run.readers.keys() == {
                node for node in self.present if any(state.run.need.met_by(each) for each in self.models[node])
            }
            assert state.holders or state.run.has(state.chunk, id)
            assert not (state.holders and state.run.has(state.chunk, id))
            for holder in state.holders:
                assert book.leases[holder].node.id in self.present
                assert id in book.leases[holder].wanted
        for node in book.nodes.values():
            assert (node.id in book.idle) == (not node.leases)
            assert all(lease.awaited for lease in node.leases)
        for run in book.backlog.runs.values():
            assert run.count == sum(len(ids) for table in (run.waiting, run.retries) for ids in table.values())
            assert run.open == sum(state.run is run for state in book.subtasks.values())
        assert self.schedule.finished == (not book.subtasks)

    def teardown(self) -> None:
        """The nodes that are there stay as they are: from here on they refuse, or never answer. One that is well joins them, and
        brings all that did not go wrong before and that it can read."""
        if not hasattr(self, "schedule"):
            return
        good = NodeId("good")
        self.models[good], self.slots[good] = (LARGE, TEST), 1
        tainted = {id for id, state in self.schedule._book.subtasks.items() if state.failed_on}
        readable = {id for id in self.every - self.given_up if any(self.need_of(id).met_by(each) for each in self.models[good])}
        before = set(self.given_up)
        self.present.add(good)
        self.apply(self.schedule.node_joined(good, self.now, models=self.models[good]))
        end = self.now + 20_000
        while not self.schedule.finished and self.now < end:
            self.now = max(self.now + 0.5, min(self.now + 60.0, self.schedule.wakes_at))
            self.apply(self.schedule.tick(self.now))
            while answered := [id for id, left in self.awaited.items() if left and self.leases[id].node != "node-0"]:
                self.answer(answered[0])
        assert self.schedule.finished
        assert self.ended == self.every, "in time, whatever the others do"
        assert not (self.given_up - before) & (readable - tainted)
        self.end_while_leases_are_owed()

    def end_while_leases_are_owed(self) -> None:
        """Whoever stays answers nothing any more, for longer than any lease, and the others leave."""
        work = [Work(chunk, (SubtaskId(f"last/{chunk}"),)) for chunk in range(6)]
        self.needs["last"] = Need()
        self.every.update(id for bundle in work for id in bundle.subtasks)
        self.apply(self.schedule.add("last", work, self.now))
        self.ended = set(self.every)
        self.apply(self.schedule.withdraw_run("last", self.now))
        for node in sorted(self.present)[1:]:
            self.present.discard(node)
            self.apply(self.schedule.node_gone(node, "left", self.now))
        for _ in range(40):
            self.now += 100.0
            self.apply(self.schedule.tick(self.now))

    def need_of(self, subtask: SubtaskId) -> Need:
        return self.needs[subtask.split("/")[0]]

    def answer(self, lease: LeaseId) -> None:
        left = self.awaited[lease]
        if self.leases[lease].node == "good" and left[0] not in self.crashed:
            # The good one crashes once over each.
            self.crashed.add(left[0])
            self.apply(self.schedule.failed(lease, left.pop(0), FailureReason.ENGINE_CRASHED, "SIGSEGV", self.now))
        elif self.leases[lease].node == "good":
            self.settle(lease, left.pop(0))
        else:
            left.clear()
            self.apply(self.schedule.refused(lease, FailureReason.INVALID, "refused", self.now))


AnyPool.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyPool = AnyPool.TestCase
TestAnyPool.__doc__ = "Nothing lost, nothing counted twice, no lease on a node that is gone or in doubt, and always an end."
