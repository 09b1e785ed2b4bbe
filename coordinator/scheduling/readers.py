"""Models on nodes: what is known of them, and which of them may read what."""

from dataclasses import dataclass, field
from typing import Final

from coordinator.scheduling.decisions import Candidate, Need
from coordinator.scheduling.limits import LOAD_SECONDS
from coordinator.scheduling.speed import SpeedModel
from edgenode.types import NodeId

# By the first few that are known of a pool the others are guessed.
GUESSES: Final = 8


@dataclass(slots=True, eq=False)
class Reader:
    """It outlives the stay of its node: one that comes back is known."""

    model: Candidate
    speed: SpeedModel = field(default_factory=SpeedModel)
    load: float = LOAD_SECONDS
    """Seconds until it can read after another model has."""
    tried: bool = False
    """Whether it was given work, as a node's first choice or to see whether it is faster."""


class Readers:
    """All that are known, also of nodes that are gone, and who can read what of those that are there."""

    def __init__(self) -> None:
        self._all: dict[tuple[NodeId, str], Reader] = {}
        self._there: dict[NodeId, tuple[Candidate, ...]] = {}
        self._of: dict[Need, dict[NodeId, Reader]] = {}
        self._smallest: dict[Need, int] = {}
        self._known: list[SpeedModel] = []

    def of(self, need: Need) -> dict[NodeId, Reader]:
        """The nodes that are there and fit, each with the model that it reads with: the first that fits in its own order, unless
        another was put there. Kept up to date until the need is forgotten."""
        if need not in self._of:
            self._of[need] = {}
            for node in self._there:
                self._choose_first(node, need)
        return self._of[need]

    def forget(self, need: Need) -> None:
        del self._of[need]
        self._smallest.pop(need, None)

    def join(self, node: NodeId, candidates: tuple[Candidate, ...]) -> Reader:
        """Returns the first of its models."""
        self._there[node] = candidates
        self._smallest.clear()
        for need in self._of:
            self._choose_first(node, need)
        return self._reader(node, candidates[0])

    def leave(self, node: NodeId) -> None:
        self._there.pop(node, None)
        self._smallest.clear()
        for readers in self._of.values():
            readers.pop(node, None)

    def fitting(self, node: NodeId, need: Need) -> list[Reader]:
        """Those of its models that may read, in its own order."""
        return [self._reader(node, each) for each in self._there[node] if need.met_by(each)]

    def smallest(self, need: Need) -> int:
        """Weights of the smallest model that is first of those that fit on its node, 0 where no number is known."""
        if need not in self._smallest:
            firsts = (next(each for each in self._there[node] if need.met_by(each)) for node in self._of[need])
            self._smallest[need] = min((first.parameters for first in firsts if first.parameters), default=0)
        return self._smallest[need]

    def first_known(self, speed: SpeedModel) -> bool:
        """Something was learnt of this one for the first time: while few are known, the others are taken to be like it."""
        if len(self._known) >= GUESSES:
            return False
        self._known.append(speed)
        for reader in self._all.values():
            if not reader.speed.known:
                reader.speed.guess(speed)
        return True

    def _choose_first(self, node: NodeId, need: Need) -> None:
        first = next((each for each in self._there[node] if need.met_by(each)), None)
        if first is not None:
            self._of[need][node] = self._reader(node, first)

    def _reader(self, node: NodeId, candidate: Candidate) -> Reader:
        reader = self._all.get((node, candidate.name))
        if reader is None or reader.model != candidate:
            like = sorted(self._known, key=lambda speed: speed.read_speed)
            reader = self._all[node, candidate.name] = Reader(candidate, SpeedModel(like=like[len(like) // 2] if like else None))
        return reader
