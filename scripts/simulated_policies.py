# ruff: noqa: ARG002 - the interface is the scheduler's, and these policies use little of it
"""What other dispatchers do, to compare with: a subtask at a time, each on its own, a time-out and a retry on another node."""

import heapq
import itertools
from collections.abc import Iterable, Sequence

from coordinator.scheduling.decisions import Candidate, Decision, GiveUp, Grant, Withdraw, Work
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId, Usage


class Requests:
    """Sends each subtask as a request of its own as soon as it can: at most `window` are out at a time for each node, as a client
    with a pool of connections does. `least` picks the node with the fewest outstanding, else they take turns."""

    def __init__(self, work: Iterable[Work], *, least: bool, timeout: float, window: int = 2) -> None:
        bundles = tuple(work)
        self._least = least
        self._timeout = timeout
        self._window = window
        self._chunk = {id: bundle.chunk for bundle in bundles for id in bundle.subtasks}
        self._waiting = [id for bundle in reversed(bundles) for id in reversed(bundle.subtasks)]
        self._open = set(self._chunk)
        self._nodes: dict[NodeId, set[LeaseId]] = {}
        self._leases: dict[LeaseId, tuple[NodeId, SubtaskId]] = {}
        self._tried: dict[SubtaskId, set[NodeId]] = {}
        self._due: list[tuple[float, LeaseId]] = []
        self._turn = itertools.count()
        self._number = itertools.count(1)

    @property
    def finished(self) -> bool:
        return not self._open

    @property
    def wakes_at(self) -> float:
        return self._due[0][0] if self._due else float("inf")

    def node_joined(self, node: NodeId, now: float, *, models: Sequence[Candidate], slots: int = 1) -> list[Decision]:
        self._nodes.setdefault(node, set())
        return self._send(now)

    def node_ready(self, node: NodeId, ready: bool, now: float) -> list[Decision]:
        return []

    def node_suspect(self, node: NodeId, now: float) -> list[Decision]:
        return []

    def node_gone(self, node: NodeId, why: str, now: float) -> list[Decision]:
        for lease in self._nodes.pop(node, set()):
            _, subtask = self._leases.pop(lease)
            self._again(subtask)
        return self._send(now)

    def progress(
        self, lease: LeaseId, subtask: SubtaskId, prompt_tokens: int, read_tokens: int, completion_tokens: int, now: float
    ) -> list[Decision]:
        return []

    def settled(self, lease: LeaseId, subtask: SubtaskId, now: float, usage: Usage | None = None) -> list[Decision] | None:
        self._forget(lease)
        if subtask not in self._open:
            return None
        self._open.discard(subtask)
        return self._send(now)

    def failed(self, lease: LeaseId, subtask: SubtaskId, reason: FailureReason, message: str, now: float) -> list[Decision]:
        if lease in self._leases:
            self._forget(lease)
            self._again(subtask)
        return self._send(now)

    def tick(self, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        while self._due and self._due[0][0] <= now:
            _, lease = heapq.heappop(self._due)
            if lease in self._leases:
                node, subtask = self._leases[lease]
                decisions.append(Withdraw(node, lease, (subtask,)))
                self._forget(lease)
                self._again(subtask)
        if not self._nodes and self._open:
            gone = [GiveUp(id, FailureReason.STOPPING, "No node is left.", ()) for id in self._open]
            self._open.clear()
            return [*decisions, *gone]
        return decisions + self._send(now)

    def _forget(self, lease: LeaseId) -> None:
        node, _ = self._leases.pop(lease, (None, None))
        if node in self._nodes:
            self._nodes[node].discard(lease)

    def _again(self, subtask: SubtaskId) -> None:
        if subtask in self._open:
            self._waiting.append(subtask)

    def _send(self, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        while self._waiting:
            subtask = self._waiting[-1]
            if subtask not in self._open:
                self._waiting.pop()
                continue
            node = self._pick(subtask)
            if node is None:
                break
            self._waiting.pop()
            lease = LeaseId(str(next(self._number)))
            self._leases[lease] = (node, subtask)
            self._nodes[node].add(lease)
            self._tried.setdefault(subtask, set()).add(node)
            heapq.heappush(self._due, (now + self._timeout, lease))
            decisions.append(Grant(node, lease, self._chunk[subtask], (subtask,), "", ""))
        return decisions

    def _pick(self, subtask: SubtaskId) -> NodeId | None:
        tried = self._tried.get(subtask, set())
        nodes = [node for node in self._nodes if node not in tried] or list(self._nodes)
        if not nodes:
            return None
        if self._least:
            node = min(nodes, key=lambda each: len(self._nodes[each]))
            return node if len(self._nodes[node]) < self._window else None
        # Each in its turn, however much it has to do already.
        return nodes[next(self._turn) % len(nodes)]
