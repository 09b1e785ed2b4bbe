"""Models on nodes: what is known of them, and which of them may read what."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from coordinator.scheduling.decisions import Candidate, Need
from coordinator.scheduling.limits import LOAD_SECONDS
from coordinator.scheduling.speed import SpeedModel
from edgenode.types import NodeId

# Of nodes that left, so many are remembered, and of one node so many models that it no longer serves.
MAX_GONE: Final = 1_024
MAX_OLD_MODELS: Final = 64
# By the first few that are known of a pool the others are guessed.
GUESSES: Final = 8


@dataclass(slots=True, eq=False)
class Reader:
    """It outlives the stay of its node: one that comes back is known."""

    model: Candidate
    speed: SpeedModel = field(default_factory=SpeedModel)
    load: float = LOAD_SECONDS
    """Seconds until it can read after another model has."""
    caches: bool = False
    """Whether it was seen to find the start of a prompt in its cache."""
    tried: bool = False
    """Whether it was given work, as a node's first choice or to see whether it is faster."""


@dataclass(slots=True, eq=False)
class Record:
    """What is known of a node from one stay to the next: nobody gets rid of a bad one by joining anew."""

    models: tuple[Candidate, ...] = ()
    """Those of its last stay."""
    readers: dict[str, Reader] = field(default_factory=dict)
    """By name, those that joined last at the end."""
    failures: int = 0
    """How often it failed since it last succeeded."""
    paused_until: float = 0.0
    left: float = -math.inf
    """When it was last gone."""


class Readers:
    """All that are known, also of nodes that are gone, and who can read what of those that are there."""

    def __init__(self) -> None:
        self._there: dict[NodeId, Record] = {}
        self._gone: OrderedDict[NodeId, Record] = OrderedDict()
        """Those that left last at the end."""
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

    def join(self, node: NodeId, candidates: tuple[Candidate, ...]) -> Record:
        """What is known of it."""
        record = self._there[node] = self._gone.pop(node) if node in self._gone else Record()
        record.models = candidates
        for each in candidates:
            record.readers[each.name] = self._reader(record, each)
        while len(record.readers) > len(candidates) + MAX_OLD_MODELS:
            del record.readers[next(iter(record.readers))]
        self._smallest.clear()
        for need in self._of:
            self._choose_first(node, need)
        return record

    def leave(self, node: NodeId, now: float) -> None:
        record = self._there.pop(node, None)
        if record is None:
            return
        record.left = now
        self._gone[node] = record
        if len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)
        self._smallest.clear()
        for readers in self._of.values():
            readers.pop(node, None)

    def missing(self, need: Need, since: float) -> Iterator[NodeId]:
        """Nodes that could read and left after `since`."""
        for node, record in reversed(self._gone.items()):
            if record.left <= since:
                return
            if any(need.met_by(each) for each in record.models):
                yield node

    def fitting(self, node: NodeId, need: Need) -> list[Reader]:
        """Those of its models that may read, in its own order."""
        record = self._there[node]
        return [record.readers[each.name] for each in record.models if need.met_by(each)]

    def smallest(self, need: Need) -> int:
        """Weights of the smallest model that is first of those that fit on its node, 0 where no number is known."""
        if need not in self._smallest:
            firsts = (next(each for each in self._there[node].models if need.met_by(each)) for node in self._of[need])
            self._smallest[need] = min((first.parameters for first in firsts if first.parameters), default=0)
        return self._smallest[need]

    def first_known(self, speed: SpeedModel) -> bool:
        """Something was learnt of this one for the first time: while few are known, the others are taken to be like it."""
        if len(self._known) >= GUESSES:
            return False
        self._known.append(speed)
        for record in (*self._there.values(), *self._gone.values()):
            for reader in record.readers.values():
                if not reader.speed.known:
                    reader.speed.guess(speed)
        return True

    def _choose_first(self, node: NodeId, need: Need) -> None:
        first = next(iter(self.fitting(node, need)), None)
        if first is not None:
            self._of[need][node] = first

    def _reader(self, record: Record, candidate: Candidate) -> Reader:
        reader = record.readers.pop(candidate.name, None)
        if reader is None or reader.model != candidate:
            like = sorted(self._known, key=lambda speed: speed.read_speed)
            return Reader(candidate, SpeedModel(like=like[len(like) // 2] if like else None))
        return reader
