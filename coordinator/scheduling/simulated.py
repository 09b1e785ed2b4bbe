"""What a simulation is made of: the interface of what decides, a node, the cost of a subtask, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.scheduling.decisions import Candidate, Decision
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId, Usage


class Policy(Protocol):
    """What decides. `Schedule` does; so do the simple ones it is compared with."""

    @property
    def finished(self) -> bool: ...
    @property
    def wakes_at(self) -> float: ...
    def node_joined(self, node: NodeId, now: float, *, models: Sequence[Candidate], slots: int = 1) -> list[Decision]: ...
    def node_ready(self, node: NodeId, ready: bool, now: float) -> list[Decision]: ...
    def node_suspect(self, node: NodeId, now: float) -> list[Decision]: ...
    def node_gone(self, node: NodeId, why: str, now: float) -> list[Decision]: ...
    def progress(
        self, lease: LeaseId, subtask: SubtaskId, prompt_tokens: int, read_tokens: int, completion_tokens: int, now: float
    ) -> list[Decision]: ...
    def settled(self, lease: LeaseId, subtask: SubtaskId, now: float, usage: Usage | None = None) -> list[Decision] | None: ...
    def failed(self, lease: LeaseId, subtask: SubtaskId, reason: FailureReason, message: str, now: float) -> list[Decision]: ...
    def tick(self, now: float) -> list[Decision]: ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a subtask really costs, which the scheduler learns only afterwards."""

    shared: int
    own: int
    reply: int


@dataclass(slots=True, eq=False)
class HeldLease:
    id: LeaseId
    chunk: int
    left: list[SubtaskId]
    model: str
    at_once: int
    busy: bool = False
    at: tuple[int, int] = (0, 0)
    """Tokens read and written of the subtask in work."""
    piece: tuple[float, float, int, int] = (0.0, 0.0, 0, 0)
    """Start of the step in work, its seconds at full pace, tokens read and written by it."""
    epoch: int = 0
    """Counts its steps: what was meant for an earlier one is void."""
    kept: int = 0
    """Tokens of the prompt in work that came from the cache."""
    reads: bool = False
    """Whether the slot's cache begins with the chunk."""


@dataclass(slots=True, eq=False)
class SimulatedNode:
    """`read` tokens a second, writing `slower` times slower. `step` tokens lie between two signs of progress. `claims` makes its
    progress run ahead of what it does; `silent` makes it tell none; `noise` is the deviation of each step's logarithm."""

    id: NodeId
    read: float
    slower: float = 5.0
    step: int = 64
    claims: float = 1.0
    silent: bool = False
    noise: float = 0.0
    pace: float = 1.0
    """1 as usual, .1 slowed to a tenth, 0 stalled."""
    heeds: bool = False
    """Whether it answers that it has stopped while it is stalled."""
    models: tuple[Candidate, ...] = (Candidate("model", 4096),)
    factors: dict[str, float] = field(default_factory=dict)
    """How many times faster than `read` it is with some of its models."""
    loading: float = 0.0
    """Seconds until another model than before begins to read."""
    gains: tuple[float, ...] = (1.0,)
    """For each slot: throughput when so many are at work, as a multiple of that of one."""
    there: bool = False
    heard: bool = True
    queue: list[HeldLease] = field(default_factory=list)
    cached: list[int] = field(default_factory=list)
    """Chunks at the start of the prompt caches of slots that do nothing."""
    loaded: str = ""
    stay: int = 0
    """Counts its stays: what was meant for an earlier one is void."""
    used: dict[str, int] = field(default_factory=dict)
    """Subtasks done with each model, and `most` the most leases that were at work together."""
    most: int = 0

    @property
    def busy(self) -> list[HeldLease]:
        return [lease for lease in self.queue if lease.busy]

    def power(self) -> float:
        """Pace of each of the leases at work."""
        count = max(1, len(self.busy))
        return self.pace * self.gains[count - 1] / count


@dataclass(slots=True)
class Result:
    """How a simulated run went. `ideal_seconds`: all of the work, each chunk read once, at the sum of the speeds present."""

    seconds: float = 0.0
    ideal_seconds: float = 0.0
    lost: int = 0
    duplicates: int = 0
    wasted_share: float = 0.0
    decisions: int = 0
    events: int = 0

    @property
    def efficiency(self) -> float:
        return self.ideal_seconds / self.seconds if self.seconds else 0.0
