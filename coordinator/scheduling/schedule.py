"""Which node gets which work: a pure machine. Events and the time (seconds, any origin) go in as calls; decisions come out.

Work is leased as bundles that share a chunk. A subtask ends in exactly one way: settled, or given up with its reason. What a
node failed goes to another; a node that is gone gives back all it held; a device with nothing left to do takes a copy of work
that is overdue elsewhere, and whoever is first counts.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from coordinator.scheduling.decisions import Decision, GiveUp, Grant, Withdraw, Work
from coordinator.scheduling.limits import (
    FAILURES_BEFORE_PAUSE,
    LEASE_SECONDS,
    MAX_ATTEMPTS,
    MAX_FAILED_NODES,
    MAX_LEASE_SECONDS,
    MAX_PAUSE_SECONDS,
    PASSING,
    PATIENCE_SECONDS,
    PATIENCE_WITH_OTHERS_SECONDS,
    PAUSE_SECONDS,
    REFUSAL_PAUSE_SECONDS,
    STUCK_SECONDS,
)
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId


@dataclass(slots=True)
class _Lease:
    node: NodeId
    chunk: int
    open: dict[SubtaskId, None]
    granted: float
    heard: float
    reached: int = 0
    """Tokens of the furthest progress told."""


@dataclass(slots=True)
class _Node:
    lease: LeaseId | None = None
    ready: bool = True
    failures: int = 0
    paused_until: float = 0.0
    settled: int = 0
    busy_seconds: float = 0.0


@dataclass(slots=True)
class _Subtask:
    chunk: int
    holders: set[LeaseId] = field(default_factory=set)
    failed_on: dict[NodeId, None] = field(default_factory=dict)
    final_on: set[NodeId] = field(default_factory=set)
    failures: int = 0
    last: tuple[FailureReason, str] = (FailureReason.UNSPECIFIED, "no reason given")


class Schedule:
    """The work of one run. Calls return the decisions that follow; `finished` tells when nothing is left to decide."""

    def __init__(self, work: Iterable[Work], prefix: str = "", now: float = 0.0) -> None:
        self._subtasks: dict[SubtaskId, _Subtask] = {}
        self._pending: deque[Work] = deque()
        for bundle in work:
            self._pending.append(bundle)
            self._subtasks.update({id: _Subtask(bundle.chunk) for id in bundle.subtasks})
        self._nodes: dict[NodeId, _Node] = {}
        self._leases: dict[LeaseId, _Lease] = {}
        self._prefix = prefix
        self._granted = 0
        self._alone_since: float | None = now
        self._moved = now

    @property
    def finished(self) -> bool:
        return not self._subtasks

    def node_joined(self, node: NodeId, now: float, *, ready: bool = True) -> list[Decision]:
        """A node can be given work: a lease at a time, so that none waits behind a slow device while another is idle."""
        if node in self._nodes:
            return []
        self._nodes[node] = _Node(ready=ready)
        self._alone_since = None
        return self._assign(now)

    def node_ready(self, node: NodeId, ready: bool, now: float) -> list[Decision]:
        """The node's engine can take work, or cannot at the moment: it gets none until it can."""
        if node not in self._nodes:
            return []
        self._nodes[node].ready = ready
        return self._assign(now)

    def node_gone(self, node: NodeId, why: str, now: float) -> list[Decision]:
        """A node vanished: all it held goes back, first in line. Counts as a failure of what it was working on."""
        gone = self._nodes.pop(node, None)
        if gone is None:
            return []
        self._moved = now
        decisions: list[Decision] = []
        if gone.lease is not None:
            lease = self._leases.pop(gone.lease)
            for position, subtask in enumerate(lease.open):
                # Subtasks are done in order: the first open one alone was in work, and may be what took the node down.
                if position == 0:
                    self._blame(subtask, node, FailureReason.STOPPING, why)
                decisions += self._release(subtask, gone.lease)
            self._requeue(lease)
        if not self._nodes:
            self._alone_since = now
        return decisions + self._assign(now)

    def refused(self, lease: LeaseId, reason: FailureReason, message: str, now: float) -> list[Decision]:
        """The node did not take a lease. A full queue passes and counts for nothing."""
        held = self._end(lease, now)
        if held is None:
            return []
        decisions: list[Decision] = []
        for subtask in held.open:
            if reason not in PASSING:
                self._blame(subtask, held.node, reason, message)
            decisions += self._release(subtask, lease)
        self._requeue(held)
        node = self._nodes.get(held.node)
        if node is not None:
            node.paused_until = max(node.paused_until, now + REFUSAL_PAUSE_SECONDS)
        return decisions + self._assign(now)

    def progress(self, lease: LeaseId, tokens: int, now: float) -> None:
        """A lease has come to `tokens` of its subtask in work. Only getting further is a sign of life."""
        held = self._leases.get(lease)
        if held is not None and tokens > held.reached:
            held.reached = tokens
            held.heard = self._moved = now

    def is_open(self, subtask: SubtaskId) -> bool:
        """Whether the subtask has not ended yet."""
        return subtask in self._subtasks

    def settled(self, lease: LeaseId, subtask: SubtaskId, now: float) -> list[Decision] | None:
        """A usable result came. None means that it must not be counted: the subtask was settled or given up before."""
        held = self._close_subtask(lease, subtask, now)
        if held is not None and (node := self._nodes.get(held.node)) is not None:
            node.failures = 0
            node.settled += 1
        self._moved = now
        if self._subtasks.get(subtask) is None:
            return None
        return self._withdraw_copies(subtask) + self._assign(now)

    def failed(self, lease: LeaseId, subtask: SubtaskId, reason: FailureReason, message: str, now: float) -> list[Decision]:
        """An attempt at a subtask failed, or its reply was of no use (`BAD_REPLY`)."""
        held = self._close_subtask(lease, subtask, now)
        if held is None:
            return []
        self._moved = now
        decisions: list[Decision] = []
        if subtask in self._subtasks:
            self._blame(subtask, held.node, reason, message)
            decisions += self._release(subtask, lease)
            if subtask in self._subtasks and not self._subtasks[subtask].holders:
                self._pending.appendleft(Work(held.chunk, (subtask,)))
            node = self._nodes.get(held.node)
            if node is not None and reason is not FailureReason.CANCELLED:
                node.failures += 1
                if node.failures >= FAILURES_BEFORE_PAUSE:
                    pause = min(MAX_PAUSE_SECONDS, PAUSE_SECONDS * 2 ** (node.failures - FAILURES_BEFORE_PAUSE))
                    node.paused_until = max(node.paused_until, now + pause)
        return decisions + self._assign(now)

    def tick(self, now: float) -> list[Decision]:
        """Time passed: leases expire, pauses end, and a run without nodes ends at last."""
        decisions: list[Decision] = []
        for id, lease in tuple(self._leases.items()):
            if now - lease.heard > LEASE_SECONDS or now - lease.granted > MAX_LEASE_SECONDS:
                self._moved = now
                decisions.append(Withdraw(lease.node, id, tuple(lease.open)))
                self._end(id, now)
                for subtask in lease.open:
                    self._blame(subtask, lease.node, FailureReason.ENGINE_TIMEOUT, "The node showed no progress.")
                    decisions += self._release(subtask, id)
                self._requeue(lease)
        if self._alone_since is not None and now - self._alone_since > PATIENCE_SECONDS:
            decisions += self._give_up_all("No node is left to do it.")
        elif not self._leases and now - self._moved > STUCK_SECONDS:
            decisions += self._give_up_all("No node could take it for minutes.")
        return decisions + self._assign(now)

    # What follows decides. Everything above only records.

    def _assign(self, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        self._pending = deque(work for work in (self._still_open(each) for each in self._pending) if work is not None)
        for id, node in self._nodes.items():
            if (
                node.lease is None
                and node.ready
                and node.paused_until <= now
                and (work := self._take(id) or self._overdue(id, now)) is not None
            ):
                decisions.append(self._grant(id, work, now))
        return decisions + self._give_up_hopeless(now)

    def _take(self, node: NodeId) -> Work | None:
        """The first pending work this node may do; what it may not of a bundle stays."""
        for position, work in enumerate(self._pending):
            may = tuple(id for id in work.subtasks if self._may(node, id))
            if may:
                del self._pending[position]
                rest = tuple(id for id in work.subtasks if id not in may)
                if rest:
                    self._pending.insert(position, Work(work.chunk, rest))
                return Work(work.chunk, may)
        return None

    def _may(self, node: NodeId, subtask: SubtaskId) -> bool:
        """A node that failed a subtask gets it again only when the failure may pass and no other node is left to try."""
        state = self._subtasks[subtask]
        if node not in state.failed_on:
            return True
        return node not in state.final_on and all(other in state.failed_on for other in self._nodes)

    def _overdue(self, node: NodeId, now: float) -> Work | None:
        """Work that another node has held for longer than this one needs for as much, judged by its own pace so far."""
        mine = self._nodes[node]
        for lease in sorted(self._leases.values(), key=lambda lease: lease.granted):
            left = (id for id in lease.open if id in self._subtasks)
            copies = tuple(id for id in left if len(self._subtasks[id].holders) == 1 and self._may(node, id))
            patience = 2 * len(copies) * mine.busy_seconds / mine.settled if mine.settled else PATIENCE_WITH_OTHERS_SECONDS
            if copies and lease.node != node and now - lease.granted > patience:
                return Work(lease.chunk, copies)
        return None

    def _grant(self, id: NodeId, work: Work, now: float) -> Grant:
        self._granted += 1
        lease = LeaseId(f"{self._prefix}{self._granted}")
        held = _Lease(id, work.chunk, dict.fromkeys(work.subtasks), now, now)
        self._leases[lease] = held
        self._nodes[id].lease = lease
        for subtask in work.subtasks:
            self._subtasks[subtask].holders.add(lease)
        return Grant(id, lease, work.chunk, work.subtasks)

    def _close_subtask(self, lease: LeaseId, subtask: SubtaskId, now: float) -> _Lease | None:
        """Strikes a subtask off its lease, and the lease off its node when it was the last. None when it was not open there."""
        held = self._leases.get(lease)
        if held is None or subtask not in held.open:
            return None
        held.heard = now
        held.reached = 0
        del held.open[subtask]
        if not held.open:
            self._end(lease, now)
        return held

    def _end(self, lease: LeaseId, now: float) -> _Lease | None:
        held = self._leases.pop(lease, None)
        if held is not None and (node := self._nodes.get(held.node)) is not None:
            node.lease = None
            node.busy_seconds += now - held.granted
        return held

    def _withdraw_copies(self, subtask: SubtaskId) -> list[Decision]:
        """The subtask is settled: forgotten, and cancelled wherever a copy still runs."""
        decisions: list[Decision] = []
        for lease in self._subtasks.pop(subtask).holders:
            held = self._leases.get(lease)
            if held is not None and subtask in held.open:
                decisions.append(Withdraw(held.node, lease, (subtask,)))
        return decisions

    def _blame(self, subtask: SubtaskId, node: NodeId, reason: FailureReason, message: str) -> None:
        state = self._subtasks.get(subtask)
        if state is None:
            return
        state.failures += 1
        state.failed_on[node] = None
        state.last = (reason, message)
        if reason not in PASSING:
            state.final_on.add(node)

    def _release(self, subtask: SubtaskId, lease: LeaseId) -> list[Decision]:
        """A lease no longer holds the subtask; it is given up when it failed too often and nobody else is at it."""
        state = self._subtasks.get(subtask)
        if state is None:
            return []
        state.holders.discard(lease)
        if (len(state.failed_on) >= MAX_FAILED_NODES or state.failures >= MAX_ATTEMPTS) and not state.holders:
            return [self._give_up(subtask)]
        return []

    def _give_up(self, subtask: SubtaskId) -> GiveUp:
        state = self._subtasks.pop(subtask)
        return GiveUp(subtask, *state.last, tuple(state.failed_on))

    def _give_up_all(self, message: str) -> list[Decision]:
        for state in self._subtasks.values():
            state.last = (FailureReason.STOPPING, message)
        return [self._give_up(id) for id in tuple(self._subtasks)]

    def _give_up_hopeless(self, now: float) -> list[Decision]:
        """Pending subtasks that no node present may ever do, once there are nodes at all. Nodes stuck in old work do not count."""
        able = [
            id for id, node in self._nodes.items() if node.lease is None or now - self._leases[node.lease].granted <= LEASE_SECONDS
        ]
        if not able:
            return []
        return [
            self._give_up(id)
            for work in self._pending
            for id in work.subtasks
            if id in self._subtasks and all(node in self._subtasks[id].final_on for node in able)
        ]

    def _requeue(self, lease: _Lease) -> None:
        free = tuple(id for id in lease.open if id in self._subtasks and not self._subtasks[id].holders)
        if free:
            self._pending.appendleft(Work(lease.chunk, free))

    def _still_open(self, work: Work) -> Work | None:
        left = tuple(id for id in work.subtasks if id in self._subtasks)
        return Work(work.chunk, left) if left else None
