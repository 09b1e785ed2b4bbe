"""What goes into the schedule as work, and what it decides."""

from dataclasses import dataclass, field

from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId


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
    run: str = ""
    hedge: bool = False
    """Whether it takes over what another node is late with."""


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


Decision = Grant | Renew | Withdraw | Requeue | GiveUp | Finish
