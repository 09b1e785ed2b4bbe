"""Who holds what: the schedule's records, and the steps that keep them consistent. It decides nothing."""

from collections.abc import Iterable

from coordinator.scheduling.backlog import Backlog, Run
from coordinator.scheduling.decisions import (
    PROBE_PROMPT_TOKENS,
    PROBE_REPLY_TOKENS,
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
from coordinator.scheduling.holdings import Lease, Node, SubtaskState
from coordinator.scheduling.readers import Reader, Readers
from coordinator.scheduling.speed import PredictionError, SpeedModel
from coordinator.scheduling.wakes import Wakes
from coordinator.scheduling.width import Width
from edgenode.types import LeaseId, NodeId, SubtaskId


class Book:
    """Subtasks that have not ended, leases that are not over, nodes that are there, and what waits."""

    def __init__(self, prefix: str) -> None:
        self.subtasks: dict[SubtaskId, SubtaskState] = {}
        self.leases: dict[LeaseId, Lease] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.backlog = Backlog()
        self.idle: dict[NodeId, None] = {}
        """Nodes that hold nothing, in the order in which they became so."""
        self.readers = Readers()
        self.error = PredictionError()
        self.wakes = Wakes(self._matters)
        self.outcomes = 0
        self.losses = 0
        """Subtasks that nodes brought to an end while they were wanted there, and those in work on nodes that went away or hung."""
        self._prefix = prefix
        self._granted = 0
        self._probes = Run("", False, Need(), {}, {-1: Work(-1, (PROBE_SUBTASK,), 0.0, PROBE_PROMPT_TOKENS, PROBE_REPLY_TOKENS)})

    def _matters(self, what: Lease | Node) -> bool:
        """Whether it is not over."""
        return what.id in self.leases if isinstance(what, Lease) else self.nodes.get(what.id) is what

    def add(self, run: Run, work: Iterable[Work]) -> None:
        for bundle in work:
            run.shapes.setdefault(bundle.chunk, bundle)
            new = [id for id in bundle.subtasks if id not in self.subtasks]
            run.put(bundle.chunk, new)
            run.open += len(new)
            run.tokens += bundle.shared_tokens + len(new) * (bundle.own_tokens + bundle.reply_tokens)
            self.subtasks.update({id: SubtaskState(bundle.chunk, run) for id in new})

    def open(self, id: str, interactive: bool, need: Need, now: float) -> Run:
        return self.backlog.open(id, interactive, need, self.readers.of(need), now)

    def join(self, id: NodeId, candidates: tuple[Candidate, ...], slots: int, ready: bool, resting: bool) -> Node:
        record = self.readers.join(id, candidates)
        first = record.readers[candidates[0].name]
        node = self.nodes[id] = Node(id, record, first, Width(slots), ready=ready, resting=resting)
        self.idle[id] = None
        for run in self.backlog.runs.values():
            if run.readers:
                run.alone_since = None
        return node

    def leave(self, id: NodeId, now: float) -> Node | None:
        """The node is there no more. What it held is the caller's to put back."""
        node = self.nodes.pop(id, None)
        self.idle.pop(id, None)
        self.readers.leave(id, now)
        for run in self.backlog.runs.values():
            if not run.readers and run.alone_since is None:
                run.alone_since = now
        return node

    def first_known(self, speed: SpeedModel) -> None:
        """Something was learnt of a model for the first time, which may tell something of the others."""
        if self.readers.first_known(speed):
            for lease in self.leases.values():
                if lease.running and not lease.speed.known:
                    lease.expect()
                    self.wakes.add(lease.due, lease)

    def grant(
        self, node: Node, reader: Reader, run: Run, chunk: int, subtasks: tuple[SubtaskId, ...], now: float, hedge: bool = False
    ) -> Grant:
        for id in subtasks:
            run.remove(chunk, id)
        lease = self._lend(node, reader, run, chunk, subtasks, now)
        for id in subtasks:
            state = self.subtasks[id]
            state.holders.add(lease.id)
            state.stranded_at = None
        run.serve(lease.left, now)
        self.start_next(node, now)
        return Grant(node.id, lease.id, chunk, subtasks, run.id, reader.model.name, lease.at_once, hedge)

    def probe(self, node: Node, now: float) -> Probe:
        """A lease that belongs to no run."""
        node.probed = True
        lease = self._lend(node, node.reader, self._probes, -1, (PROBE_SUBTASK,), now)
        self.start_next(node, now)
        return Probe(node.id, lease.id, node.reader.model.name)

    def is_probe(self, lease: Lease) -> bool:
        return lease.run is self._probes

    def _lend(self, node: Node, reader: Reader, run: Run, chunk: int, subtasks: tuple[SubtaskId, ...], now: float) -> Lease:
        self._granted += 1
        shape = run.shapes[chunk]
        cached = shape.shared_tokens if node.cached(reader, run.id, chunk) else 0.0
        lease = Lease(
            LeaseId(f"{self._prefix}{self._granted}"),
            node,
            reader,
            run,
            shape,
            dict.fromkeys(subtasks),
            dict.fromkeys(subtasks),
            now,
            cached,
            node.width.now,
            None if node.loaded is reader else node.loading(reader),
        )
        self.leases[lease.id] = lease
        node.leases.append(lease)
        node.reader = node.loaded = reader
        node.cache = (run.id, chunk)
        reader.tried = True
        self.idle.pop(node.id, None)
        lease.left = lease.step = reader.speed.seconds(run.bundle(chunk, len(subtasks), cached)) + lease.loads_for
        return lease

    def start_next(self, node: Node, now: float) -> None:
        running = sum(lease.running for lease in node.leases)
        begin: list[Lease] = []
        for lease in node.leases:
            if not lease.running:
                if running + len(begin) >= lease.at_once:
                    break
                begin.append(lease)
        node.crowded(running + len(begin), now)
        for lease in begin:
            lease.start(now)
            self.wakes.add(lease.due, lease)

    def close(self, lease: Lease, subtask: SubtaskId, now: float) -> None:
        """The node's outcome of a subtask came: it no longer holds it."""
        self.outcomes += subtask in lease.wanted
        first = next(iter(lease.awaited)) == subtask
        lease.awaited.pop(subtask, None)
        lease.wanted.pop(subtask, None)
        if not lease.awaited:
            self.end(lease, now)
        elif lease.running and first:
            if lease.begun:
                lease.cached, lease.loading = lease.work.shared_tokens, None
            lease.start(now)
            self.wakes.add(lease.due, lease)
        else:
            lease.look(lease.at)

    def end(self, lease: Lease, now: float) -> None:
        """The lease is over. What it still wanted is the caller's to put back."""
        self.leases.pop(lease.id, None)
        node = lease.node
        if lease in node.leases:
            node.leases.remove(lease)
        for id in lease.wanted:
            if (state := self.subtasks.get(id)) is not None:
                state.holders.discard(lease.id)
        if not node.leases and node.id in self.nodes:
            self.idle[node.id] = None
        self.start_next(node, now)

    def withdraw(self, lease: Lease, subtasks: Iterable[SubtaskId], why: str) -> list[Decision]:
        """The node is to drop these of its subtasks; it still owes their outcomes."""
        dropped = tuple(id for id in subtasks if id in lease.wanted)
        for id in dropped:
            del lease.wanted[id]
            if (state := self.subtasks.get(id)) is not None:
                state.holders.discard(lease.id)
        return [Withdraw(lease.node.id, lease.id, dropped, why)] if dropped else []

    def requeue(self, lease: Lease, subtasks: Iterable[SubtaskId], why: str) -> list[Decision]:
        """What nobody else holds waits again, first in line; what has failed somewhere waits apart."""
        free = tuple(
            id
            for id in subtasks
            if (state := self.subtasks.get(id)) is not None and not state.holders and not state.run.has(state.chunk, id)
        )
        if not free:
            return []
        fresh = tuple(id for id in free if not self.subtasks[id].failed_on)
        lease.run.put(lease.work.chunk, fresh, front=True)
        lease.run.put(lease.work.chunk, (id for id in free if id not in fresh), retry=True)
        return [Requeue(lease.node.id, lease.id, free, why)]

    def give_up(self, subtask: SubtaskId) -> list[Decision]:
        state = self.subtasks[subtask]
        decisions: list[Decision] = [GiveUp(subtask, *state.last, tuple(state.failed_on))]
        return decisions + self.strike(subtask, "It was given up.")

    def strike(self, subtask: SubtaskId, why: str) -> list[Decision]:
        """The subtask has ended: forgotten, cancelled wherever a copy still runs, and the last one finishes its run."""
        state = self.subtasks.pop(subtask)
        state.run.remove(state.chunk, subtask)
        decisions: list[Decision] = []
        for id in tuple(state.holders):
            lease = self.leases.get(id)
            if lease is not None:
                decisions += self.withdraw(lease, (subtask,), why)
        state.run.open -= 1
        if not state.run.open:
            decisions.append(Finish(state.run.id))
            del self.backlog.runs[state.run.id]
            if all(run.need != state.run.need for run in self.backlog.runs.values()):
                self.readers.forget(state.run.need)
        return decisions
