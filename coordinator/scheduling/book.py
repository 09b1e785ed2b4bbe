"""Who holds what: the schedule's records, and the steps that keep them consistent. It decides nothing."""

from collections.abc import Iterable
from typing import Final

from coordinator.scheduling.backlog import Backlog, Run
from coordinator.scheduling.decisions import Decision, Finish, GiveUp, Grant, Requeue, Withdraw, Work
from coordinator.scheduling.holdings import Lease, Node, SubtaskState
from coordinator.scheduling.limits import MAX_ATTEMPTS, MAX_FAILED_NODES, PASSING
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
        self.models: dict[tuple[NodeId, str], SpeedModel] = {}
        """Speeds outlive the stay of a node: one that comes back is known."""
        self.error = PredictionError()
        self.wakes = Wakes()
        self._prefix = prefix
        self._granted = 0
        self._known = 0

    def add(self, run: Run, work: Iterable[Work]) -> None:
        for bundle in work:
            run.shapes.setdefault(bundle.chunk, bundle)
            new = [id for id in bundle.subtasks if id not in self.subtasks]
            run.put(bundle.chunk, new)
            run.open += len(new)
            run.tokens += bundle.shared_tokens + len(new) * (bundle.own_tokens + bundle.reply_tokens)
            self.subtasks.update({id: SubtaskState(bundle.chunk, run) for id in new})

    def join(self, id: NodeId, model: str, slots: int, ready: bool) -> Node:
        speed = self.models.get((id, model))
        if speed is None:
            others = [node.model for node in self.nodes.values() if node.model.known][:16]
            others.sort(key=lambda other: other.read_speed)
            speed = self.models[id, model] = SpeedModel(like=others[len(others) // 2] if others else None)
        node = self.nodes[id] = Node(id, speed, Width(slots), ready=ready)
        self.idle[id] = None
        return node

    def first_known(self, model: SpeedModel) -> None:
        """Something was learnt of a node for the first time: while few are known, the others are taken to be like it."""
        self._known += 1
        if self._known > GUESSES:
            return
        for node in self.nodes.values():
            if not node.model.known:
                node.model.guess(model)
                for lease in node.leases:
                    if lease.running:
                        lease.start(lease.started)
                        self.wakes.add(lease.due, lease)

    def grant(self, node: Node, run: Run, chunk: int, subtasks: tuple[SubtaskId, ...], now: float, hedge: bool = False) -> Grant:
        for id in subtasks:
            run.remove(chunk, id)
        self._granted += 1
        shape = run.shapes[chunk]
        cached = shape.shared_tokens if node.cache == (run.id, chunk) else 0.0
        lease = Lease(
            LeaseId(f"{self._prefix}{self._granted}"),
            node,
            run,
            shape,
            dict.fromkeys(subtasks),
            dict.fromkeys(subtasks),
            now,
            cached,
        )
        self.leases[lease.id] = lease
        node.leases.append(lease)
        node.cache = (run.id, chunk)
        self.idle.pop(node.id, None)
        for id in subtasks:
            self.subtasks[id].holders.add(lease.id)
        seconds = node.model.seconds(run.bundle(chunk, len(subtasks), cached))
        run.served += seconds
        lease.left = lease.step = seconds
        self.start_next(node, now)
        return Grant(node.id, lease.id, chunk, subtasks, run.id, hedge)

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
        return decisions

    def may(self, node: NodeId, subtask: SubtaskId) -> bool:
        """A node that failed a subtask gets it again only when the failure may pass and no other node is left to try."""
        state = self.subtasks[subtask]
        if node not in state.failed_on:
            return True
        if node in state.final_on or len(state.failed_on) < len(self.nodes):
            return False
        return all(other in state.failed_on for other in self.nodes)

    def hopeless(self, subtask: SubtaskId) -> bool:
        """Whether it waits for nodes none of which may ever do it. Nodes stuck in old work do not count."""
        state = self.subtasks.get(subtask)
        if state is None or state.holders or not state.final_on:
            return False
        able = [node for node in self.nodes.values() if not any(lease.stuck for lease in node.leases)]
        return bool(able) and all(node.id in state.final_on for node in able)
