"""What a node holds of the dispatcher's: leases that were lent, and the probe."""

from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.minions import prompts
from coordinator.runs.participants import Part
from coordinator.scheduling.decisions import PROBE_SUBTASK, Decision, Grant, Requeue
from edgenode.types import Lease, LeaseId, NodeId, Subtask, SubtaskId


@dataclass(slots=True)
class Held:
    """A lease that a node has: until it has said the last of it, which may be after the run."""

    node: NodeId
    awaited: set[SubtaskId]
    grant: Grant | None = None
    part: Part | None = None
    """Both None for a probe."""


def but_requeue(lease: LeaseId, decisions: Iterable[Decision]) -> list[Decision]:
    """Without what goes back from the lease because of a failure, which has been told already."""
    return [each for each in decisions if not (isinstance(each, Requeue) and each.lease == lease)]


def probe(lease: LeaseId, model: str) -> Lease:
    """What a node of which nothing is known is let read."""
    subtask = Subtask(PROBE_SUBTASK, prompts.PROBE_INSTRUCTION, prompts.PROBE_SCHEMA, prompts.PROBE_REPLY_LIMIT)
    return Lease(lease, model, prompts.SYSTEM, prompts.PROBE_TEXT, (subtask,))
