"""Simulated nodes that several coordinators share, each with a schedule of its own: one slot, turns as real nodes give them."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coordinator.scheduling.decisions import Candidate, Decision, GiveUp, Grant, Withdraw, Work
from coordinator.scheduling.schedule import Schedule
from edgenode.shares import FairShares
from edgenode.types import AuthorityId, FailureReason, LeaseId, NodeId, SubtaskId, Usage
from edgenode.work import TURN_SECONDS

MODELS = (Candidate("model", 4096),)
DELAY = 0.002
SIGNS = 10
"""How often an engine that tells progress does so for each subtask."""


@dataclass(eq=False)
class Coordinator:
    """`seconds` is what each of its subtasks takes on a node; none of them finds its chunk in the cache."""

    id: AuthorityId
    seconds: float
    schedule: Schedule = field(default_factory=Schedule)
    settled: list[SubtaskId] = field(default_factory=list)
    given_up: list[GiveUp] = field(default_factory=list)
    taken_back: list[Withdraw] = field(default_factory=list)
    """For want of progress."""
    served: dict[NodeId, float] = field(default_factory=dict)

    @property
    def is_unharmed(self) -> bool:
        """Whether no node was ever taken to hang."""
        book = self.schedule._book
        return not (self.given_up or self.taken_back or book.losses or any(node.record.failures for node in book.nodes.values()))


@dataclass(eq=False)
class _Job:
    owner: Coordinator
    lease: LeaseId
    left: list[SubtaskId]


@dataclass(eq=False)
class _Node:
    id: NodeId
    silent: bool
    jobs: list[_Job] = field(default_factory=list)
    shares: FairShares = field(default_factory=FairShares)
    turn: _Job | None = None
    since: float = 0.0
    """When the turn, and the subtask in work, began."""
    began: float = 0.0
    epoch: int = 0


class SharedPool:
    """`run` until one of the coordinators has no work left, or for so long."""

    def __init__(self, coordinators: Sequence[Coordinator], silent: Sequence[bool]) -> None:
        self.now = 0.0
        self.coordinators = coordinators
        self.nodes = {NodeId(f"n{number}"): _Node(NodeId(f"n{number}"), each) for number, each in enumerate(silent)}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        for each in coordinators:
            for id in self.nodes:
                each.schedule.node_joined(id, 0.0, models=MODELS)

    def ask(self, owner: Coordinator, bundles: int, size: int) -> None:
        work = [Work(chunk, tuple(SubtaskId(f"{task}.{chunk}") for task in range(size))) for chunk in range(bundles)]
        self._follow(owner, owner.schedule.add("run", work, self.now))

    def run(self, limit: float) -> None:
        while self.now < limit and not any(each.schedule.finished for each in self.coordinators):
            first = min(self.coordinators, key=lambda each: each.schedule.wakes_at)
            if self._events and self._events[0][0] <= first.schedule.wakes_at:
                self.now, _, what = heapq.heappop(self._events)
                what()
            else:
                self.now = max(self.now + 1e-4, first.schedule.wakes_at)
                self._follow(first, first.schedule.tick(self.now))

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what))

    def _follow(self, owner: Coordinator, decisions: Sequence[Decision] | None) -> None:
        for decision in decisions or ():
            match decision:
                case Grant(id, lease, _, subtasks):
                    job = _Job(owner, lease, list(subtasks))
                    self._after(DELAY, lambda id=id, job=job: self._offer(self.nodes[id], job))
                case Withdraw(id, lease, subtasks, why):
                    if "no progress" in why:
                        owner.taken_back.append(decision)
                    self._after(DELAY, lambda id=id, lease=lease, subtasks=subtasks: self._cancel(owner, id, lease, subtasks))
                case GiveUp():
                    owner.given_up.append(decision)

    def _offer(self, node: _Node, job: _Job) -> None:
        node.jobs.append(job)
        self._begin(node)

    def _cancel(self, owner: Coordinator, id: NodeId, lease: LeaseId, subtasks: tuple[SubtaskId, ...]) -> None:
        node = self.nodes[id]
        job = next((each for each in node.jobs if each.owner is owner and each.lease == lease), None)
        for subtask in subtasks if job is not None else ():
            if subtask in job.left:
                if job is node.turn and subtask == job.left[0]:
                    self._charge(node)
                    node.turn = None
                job.left.remove(subtask)
                self._after(
                    DELAY,
                    lambda subtask=subtask: self._follow(
                        owner, owner.schedule.failed(lease, subtask, FailureReason.CANCELLED, "Cancelled.", self.now)
                    ),
                )
        if job is not None and not job.left:
            node.jobs.remove(job)
        self._begin(node)

    def _begin(self, node: _Node) -> None:
        """The next turn, as `edgenode.work` gives it."""
        if node.turn is None and node.jobs:
            oldest: dict[AuthorityId, _Job] = {}
            for job in node.jobs:
                oldest.setdefault(job.owner.id, job)
            node.turn, node.since = oldest[node.shares.next(oldest)], self.now
            self._next(node, node.turn)

    def _next(self, node: _Node, job: _Job) -> None:
        node.epoch += 1
        node.began = self.now
        subtask, seconds = job.left[0], job.owner.seconds
        self._tell(node, job, subtask, 0.0, 0, 0)
        if not node.silent:
            for sign in range(1, SIGNS):
                self._tell(node, job, subtask, seconds * sign / SIGNS, 1_000, 1_000 * sign // SIGNS)
        epoch = node.epoch
        self._after(seconds, lambda: self._done(node, job, subtask) if (node.turn, node.epoch) == (job, epoch) else None)

    def _tell(self, node: _Node, job: _Job, subtask: SubtaskId, after: float, prompt: int, read: int) -> None:
        epoch, owner = node.epoch, job.owner

        def hear() -> None:
            self._follow(owner, owner.schedule.progress(job.lease, subtask, prompt, read, 0, self.now))

        self._after(after, lambda: self._after(DELAY, hear) if (node.turn, node.epoch) == (job, epoch) else None)

    def _charge(self, node: _Node) -> None:
        assert node.turn is not None
        owner, seconds = node.turn.owner, self.now - node.began
        node.shares.charge(owner.id, seconds)
        owner.served[node.id] = owner.served.get(node.id, 0.0) + seconds

    def _done(self, node: _Node, job: _Job, subtask: SubtaskId) -> None:
        self._charge(node)
        job.left.pop(0)
        owner, usage = job.owner, Usage(1_000, 0, 60, job.owner.seconds)
        others = any(each.owner is not owner for each in node.jobs)
        self._after(DELAY, lambda: self._settle(owner, job.lease, subtask, usage))
        if job.left and not (others and self.now - node.since >= TURN_SECONDS):
            self._next(node, job)
            return
        if not job.left:
            node.jobs.remove(job)
        node.turn = None
        self._begin(node)

    def _settle(self, owner: Coordinator, lease: LeaseId, subtask: SubtaskId, usage: Usage) -> None:
        decisions = owner.schedule.settled(lease, subtask, self.now, usage)
        if decisions is not None:
            owner.settled.append(subtask)
        self._follow(owner, decisions)
