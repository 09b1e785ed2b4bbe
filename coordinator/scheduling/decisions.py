"""What goes into the schedule as work, and what it decides."""

from dataclasses import dataclass

from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId


@dataclass(frozen=True, slots=True)
class Work:
    """A bundle to be done: subtasks that share chunk number `chunk`."""

    chunk: int
    subtasks: tuple[SubtaskId, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """Decision: lend these subtasks of a chunk to a node."""

    node: NodeId
    lease: LeaseId
    chunk: int
    subtasks: tuple[SubtaskId, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Decision: cancel these subtasks of a lease, their result is no longer needed there."""

    node: NodeId
    lease: LeaseId
    subtasks: tuple[SubtaskId, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Decision: the subtask has failed for good."""

    subtask: SubtaskId
    reason: FailureReason
    message: str
    nodes: tuple[NodeId, ...]


Decision = Grant | Withdraw | GiveUp
