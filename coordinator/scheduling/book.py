"""Who holds what: the schedule's records, and the steps that keep them consistent. It decides nothing."""

from collections.abc import Iterable
from typing import Final

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
from coordinator.scheduling.limits import MAX_ATTEMPTS, MAX_FAILED_NODES, PASSING
from coordinator.scheduling.readers import Reader
from coordinator.scheduling.speed import PredictionError, SpeedModel
from coordinator.scheduling.wakes import Wakes
from coordinator.scheduling.width import Width
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId

# By the first few that are known of a pool the others are guessed.
GUESSES: Final = 8


class Book:
    """Subtasks that have not ended, leases that are not over, nodes that are there, and what waits."""

    def __init__(self, prefix: str) -> None:
        self.subtasks: dict[SubtaskId, SubtaskState] = {}
        self.leases: dict[LeaseId, Lease] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.backlog = Backlog()
        self.idle: dict[NodeId, None] = {}
        """Nodes that hold nothing, in the order in which they became so."""
        self.readers: dict[tuple[NodeId, str], Reader] = {}
        """What is known of models on nodes, also of those that are gone."""
        self.reading: dict[Need, dict[NodeId, Reader]] = {}
        """For each need of a run: the nodes that are there and fit, each with the model that it reads with."""
        self.error = PredictionError()
        self.wakes = Wakes()
        self._prefix = prefix
        self._granted = 0
        self._known: list[SpeedModel] = []
        self._probes = Run("", False, Need(), {}, {-1: Work(-1, (PROBE_SUBTASK,), 0.0, PROBE_PROMPT_TOKENS, PROBE_REPLY_TOKENS)})

    def open(self, id: str, interactive: bool, need: Need, now: float) -> Run:
        if need not in self.reading:
            found = ((node.id, self.first_reader(node.id, node.candidates, need)) for node in self.nodes.values())
            self.reading[need] = {node: reader for node, reader in found if reader is not None}
        return self.backlog.open(id, interactive, need, self.reading[need], now)

    def add(self, run: Run, work: Iterable[Work]) -> None:
        for bundle in work:
            run.shapes.setdefault(bundle.chunk, bundle)
            new = [id for id in bundle.subtasks if id not in self.subtasks]
            run.put(bundle.chunk, new)
            run.open += len(new)
            run.tokens += bundle.shared_tokens + len(new) * (bundle.own_tokens + bundle.reply_tokens)
            self.subtasks.update({id: SubtaskState(bundle.chunk, run) for id in new})

    def join(self, id: NodeId, candidates: tuple[Candidate, ...], slots: int, ready: bool) -> Node:
        node = self.nodes[id] = Node(id, candidates, self.reader(id, candidates[0]), Width(slots), ready=ready)
        self.idle[id] = None
        for need, readers in self.reading.items():
            if (first := self.first_reader(id, candidates, need)) is not None:
                readers[id] = first
        for run in self.backlog.runs.values():
            if run.readers:
                run.alone_since = None
        return node

    def leave(self, id: NodeId, now: float) -> Node | None:
        """The node is there no more. What it held is the caller's to put back."""
        node = self.nodes.pop(id, None)
        self.idle.pop(id, None)
        for readers in self.reading.values():
            readers.pop(id, None)
        for run in self.backlog.runs.values():
            if not run.readers and run.alone_since is None:
                run.alone_since = now
        return node

    def first_reader(self, node: NodeId, candidates: tuple[Candidate, ...], need: Need) -> Reader | None:
        """The first of its models, in its own order, that may read."""
        return next((self.reader(node, candidate) for candidate in candidates if need.met_by(candidate)), None)

    def reader(self, node: NodeId, candidate: Candidate) -> Reader:
        known = self.readers.get((node, candidate.name))
        if known is None or known.model != candidate:
            like = sorted(self._known, key=lambda speed: speed.read_speed)
            known = self.readers[node, candidate.name] = Reader(candidate, SpeedModel(like=like[len(like) // 2] if like else None))
        return known

    def first_known(self, speed: SpeedModel) -> None:
        """Something was learnt of a model for the first time: while few are known, the others are taken to be like it."""
        if len(self._known) >= GUESSES:
            return
        self._known.append(speed)
        for reader in self.readers.values():
            if not reader.speed.known:
                reader.speed.guess(speed)
        for lease in self.leases.values():
            if lease.running and not lease.speed.known:
                lease.start(lease.started)
                self.wakes.add(lease.due, lease)

    def grant(
        self, node: Node, reader: Reader, run: Run, chunk: int, subtasks: tuple[SubtaskId, ...], now: float, hedge: bool = False
    ) -> Grant:
        for id in subtasks:
            run.remove(chunk, id)
        lease = self._lend(node, reader, run, chunk, subtasks, now)
        for id in subtasks:
            self.subtasks[id].holders.add(lease.id)
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
            None if node.loaded is reader else 0.0 if node.loaded is None else reader.load,
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
        for lease in node.leases[: node.width.now]:
            if not lease.running:
                lease.start(now)
                self.wakes.add(lease.due, lease)

    def close(self, lease: Lease, subtask: SubtaskId, now: float) -> None:
        """The node's outcome of a subtask came: it no longer holds it."""
        first = next(iter(lease.awaited)) == subtask
        lease.awaited.pop(subtask, None)
        lease.wanted.pop(subtask, None)
        lease.begun = True
        if not lease.awaited:
            self.end(lease, now)
        elif lease.running and first:
            lease.cached = lease.work.shared_tokens
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

    def blame(
        self, subtask: SubtaskId, node: NodeId, reason: FailureReason, message: str, *, vanished: bool = False
    ) -> list[Decision]:
        """The node failed the subtask, or `vanished` with it. Ends in giving it up when that was once too often."""
        state = self.subtasks.get(subtask)
        if state is None:
            return []
        state.failures += 1
        if not vanished:
            state.vanished.discard(node)
        elif node not in state.failed_on:
            state.vanished.add(node)
        state.failed_on[node] = None
        state.last = (reason, message)
        if reason not in PASSING:
            state.final_on.add(node)
        return self._give_up_failed(subtask)

    def _give_up_failed(self, subtask: SubtaskId) -> list[Decision]:
        """Gives the subtask up when it failed too often and nobody else is at it."""
        state = self.subtasks.get(subtask)
        if state is None or state.holders:
            return []
        if len(state.failed_on) - len(state.vanished) >= MAX_FAILED_NODES or state.failures >= MAX_ATTEMPTS:
            return self.give_up(subtask)
        return []

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
                del self.reading[state.run.need]
        return decisions

    def may(self, node: NodeId, subtask: SubtaskId) -> bool:
        """A node that failed a subtask gets it again only when the failure may pass and no other node is left to try."""
        state = self.subtasks[subtask]
        if node not in state.failed_on:
            return True
        if node in state.final_on or len(state.failed_on) < len(state.run.readers):
            return False
        return all(other in state.failed_on for other in state.run.readers)

    def hopeless(self, subtask: SubtaskId) -> bool:
        """Whether it waits for nodes none of which may ever do it. Nodes stuck in old work do not count."""
        state = self.subtasks.get(subtask)
        if state is None or state.holders or not state.final_on:
            return False
        able = [id for id in state.run.readers if not any(lease.stuck for lease in self.nodes[id].leases)]
        return bool(able) and all(id in state.final_on for id in able)
