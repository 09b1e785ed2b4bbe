"""What goes into the schedule as work, and what it decides."""

from dataclasses import dataclass, field
from typing import Final

from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId

PROBE_SUBTASK: Final = SubtaskId("probe")
"""The one subtask of each probe. No run has a subtask of this id."""
PROBE_PROMPT_TOKENS: Final = 129
PROBE_REPLY_TOKENS: Final = 8
"""What a probe is estimated at, in the measure of `Work`: enough to tell a phone from a desktop, at most some seconds on a Pi."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that a node serves, and by which it may read."""

    name: str
    context_tokens: int
    parameters: int = 0
    """Number of weights, 0 where unknown."""
    test_engine: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """Which models may read a run: those with this much context; those of the test engine, which reads nothing, only if wanted."""

    context_tokens: int = 0
    test_engine: bool = False

    def met_by(self, candidate: Candidate) -> bool:
        return candidate.context_tokens >= self.context_tokens and (self.test_engine or not candidate.test_engine)


@dataclass(frozen=True, slots=True)
class Work:
    """A bundle to be done: subtasks that share chunk number `chunk`. Tokens are the coordinator's estimates; how fast a node is
    is learnt in the same measure, so that an error common to all of them does no harm."""

    chunk: int
    subtasks: tuple[SubtaskId, ...]
    shared_tokens: float = 1000.0
    """Of the chunk and whatever stands before it: read once."""
    own_tokens: float = 60.0
    """Of each subtask's instruction."""
    reply_tokens: float = 60.0
    """Of each subtask's reply, as far as can be told beforehand: what replies are really like is learnt."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Decision: lend these subtasks of a chunk to a node, to be done in this order."""

    node: NodeId
    lease: LeaseId
    chunk: int
    subtasks: tuple[SubtaskId, ...]
    run: str
    model: str
    """Name of the node's model to use."""
    at_once: int = 1
    """The node is to begin it as soon as it works on fewer of our leases than this. A lease may be sent ahead of that."""
    hedge: bool = False
    """Whether it takes over what another node is late with."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Decision: let a node of which nothing is known read and write a little. It is a lease like others, with `PROBE_SUBTASK`."""

    node: NodeId
    lease: LeaseId
    model: str


@dataclass(frozen=True, slots=True)
class Renew:
    """Decision: the node got further, and keeps the lease until the schedule's time `until`. Nothing need be sent."""

    node: NodeId
    lease: LeaseId
    until: float


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Decision: cancel these subtasks of a lease, their result is no longer needed there."""

    node: NodeId
    lease: LeaseId
    subtasks: tuple[SubtaskId, ...]
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Requeue:
    """Decision: these subtasks of a lease that is over wait for another node. Nothing need be sent."""

    node: NodeId
    lease: LeaseId
    subtasks: tuple[SubtaskId, ...]
    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Decision: the subtask has failed for good."""

    subtask: SubtaskId
    reason: FailureReason
    message: str
    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """Decision: each subtask of the run has ended."""

    run: str


Decision = Grant | Probe | Renew | Withdraw | Requeue | GiveUp | Finish
