"""The runs that share a pool: what they are asked and told, and which nodes may read for them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.events import Event, NodeInfo
from coordinator.scheduling.decisions import Candidate, GiveUp, Grant, Need
from edgenode.engines.known import DETERMINISTIC
from edgenode.types import Completion, Failure, Lease, Progress, SubtaskId


class Participant(Protocol):
    """A run, as the dispatcher needs it. What any of these raises ends the run, and no other."""

    def lease(self, grant: Grant) -> Lease:
        """What the node is to be sent, told of. Its subtasks have the ids that the run's work has."""

    def progressed(self, grant: Grant, progress: Progress) -> None:
        """A node got further with a subtask."""

    def completed(self, grant: Grant, subtask: SubtaskId, completion: Completion, *, wanted: bool) -> Failure | None:
        """A model wrote something. When it is `wanted` it ends the subtask, and is kept when this returns, or it is of no use for
        the reason that is returned, and another node is asked. Otherwise the subtask had ended, and only the effort counts."""

    def given_up(self, decision: GiveUp) -> None:
        """A subtask has failed for good."""

    def tell(self, event: Event) -> None:
        """What happens to the run's leases, and to the nodes that may read for it: of each that is there first `NodeJoined`."""


def candidates(node: NodeInfo) -> tuple[Candidate, ...]:
    """The models of a node, in its own order."""
    is_test = node.engine == DETERMINISTIC
    return tuple(Candidate(each.name, each.context_tokens, each.parameters, is_test) for each in node.models)


def fitting(node: NodeInfo, need: Need) -> Candidate | None:
    """The first of a node's models that may read for a run with this need."""
    return next((each for each in candidates(node) if need.met_by(each)), None)


@dataclass(eq=False, slots=True)
class Part:
    """One run's part in the pool. `ended` tells why it ended early, or None when all its subtasks have."""

    id: str
    need: Need
    subtasks: frozenset[SubtaskId]
    participant: Participant
    ended: asyncio.Future[Exception | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def is_over(self) -> bool:
        return self.ended.done()


class Participants:
    """The parts that are not over. `left` is called with the id of each that has just ended, for whatever reason."""

    def __init__(self, left: Callable[[str], None]) -> None:
        self._left = left
        self._parts: dict[str, Part] = {}

    def __iter__(self) -> Iterator[Part]:
        """May be ended while one goes through them."""
        return iter(tuple(self._parts.values()))

    def __bool__(self) -> bool:
        return bool(self._parts)

    def get(self, id: str) -> Part | None:
        return self._parts.get(id)

    def enter(self, part: Part) -> None:
        assert part.id not in self._parts, "each has an id of its own"
        self._parts[part.id] = part

    def end(self, part: Part, error: Exception | None = None) -> None:
        """Ends it, unless it is over."""
        if self._parts.pop(part.id, None) is not None:
            part.ended.set_result(error)
            self._left(part.id)

    @contextmanager
    def at_the_cost_of(self, part: Part) -> Iterator[None]:
        """What is raised inside ends this part."""
        try:
            yield
        except Exception as error:
            self.end(part, error)

    def tell(self, part: Part, event: Event) -> None:
        if not part.is_over:
            with self.at_the_cost_of(part):
                part.participant.tell(event)
