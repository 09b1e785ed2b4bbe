"""The work of several runs that waits for a node, and whose turn it is. Every operation costs the same however much waits."""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from coordinator.scheduling.decisions import Need, Work
from coordinator.scheduling.limits import PATIENCE_SECONDS
from coordinator.scheduling.readers import Reader
from coordinator.scheduling.speed import Demand, bundle_demand
from edgenode.types import FailureReason, NodeId, SubtaskId

# Long ago does not count in whose turn it is: a run that had no device for a while does not keep all others waiting afterwards.
FORGOTTEN_SECONDS: Final = 60.0


@dataclass(slots=True, eq=False)
class Run:
    """What one run waits for. A chunk's waiting subtasks are one bundle; those that failed somewhere wait apart, in `retries`,
    because not every node may take them."""

    id: str
    interactive: bool
    need: Need
    readers: dict[NodeId, Reader]
    """Who can read it: the nodes that are there, each with the model that it reads with. Runs with the same need share it."""
    shapes: dict[int, Work] = field(default_factory=dict)
    """What each chunk's bundle was like at first."""
    waiting: "OrderedDict[int, dict[SubtaskId, None]]" = field(default_factory=OrderedDict)
    retries: "OrderedDict[int, dict[SubtaskId, None]]" = field(default_factory=OrderedDict)
    open: int = 0
    """Subtasks that have not ended."""
    began: float = 0.0
    moved: float = 0.0
    """When it last got anywhere."""
    alone_since: float | None = None
    """Since when there has been no node that can read it."""
    refusal: tuple[FailureReason, str] | None = None
    """What an engine said last that refuses for good."""
    looked_again: float = -math.inf
    """Before this it is not looked at again."""
    served: float = 0.0
    """Seconds of devices given to it as of `served_at`, each worth half after `FORGOTTEN_SECONDS`. It began level with others."""
    served_at: float = 0.0
    tokens: float = 0.0
    read_twice: float = 0.0
    replies: float = 1.0
    """Length of replies, as a multiple of what was guessed."""
    shared: float = 0.0
    """Tokens of the chunks that wait, and of their subtasks' own."""
    own: float = 0.0
    reply: float = 0.0
    count: int = 0

    def bundle(self, chunk: int, count: int, cached: float = 0.0) -> Demand:
        shape = self.shapes[chunk]
        return bundle_demand(shape.shared_tokens, shape.own_tokens, shape.reply_tokens * self.replies, count, cached)

    @property
    def ends_at(self) -> float:
        """Before this it does not end for want of a node that takes it."""
        return (self.moved if self.alone_since is None else self.alone_since) + PATIENCE_SECONDS

    @property
    def look_at(self) -> float:
        """When it is to be looked at whether it, or what has failed somewhere, is to be given up."""
        return self.looked_again if self.retries else max(self.looked_again, self.ends_at)

    def level(self, now: float) -> float:
        """How much it has been served lately."""
        return float(self.served * 0.5 ** ((now - self.served_at) / FORGOTTEN_SECONDS))

    def serve(self, seconds: float, now: float) -> None:
        self.served, self.served_at = self.level(now) + seconds, now

    def put(self, chunk: int, subtasks: Iterable[SubtaskId], *, front: bool = False, retry: bool = False) -> None:
        subtasks = tuple(subtasks)
        if not subtasks:
            return
        table = self.retries if retry else self.waiting
        shape = self.shapes[chunk]
        entry = table.get(chunk)
        if entry is None:
            entry = table[chunk] = {}
            self.shared += shape.shared_tokens
        for id in subtasks:
            if id not in entry:
                entry[id] = None
                self._weigh(shape, 1)
        if front:
            table.move_to_end(chunk, last=False)

    def remove(self, chunk: int, subtask: SubtaskId) -> None:
        """Takes a subtask out, if it waits."""
        for table in (self.waiting, self.retries):
            entry = table.get(chunk)
            if entry is not None and subtask in entry:
                del entry[subtask]
                self._weigh(self.shapes[chunk], -1)
                if not entry:
                    self._drop(table, chunk)

    def has(self, chunk: int, subtask: SubtaskId) -> bool:
        return any(subtask in table.get(chunk, ()) for table in (self.waiting, self.retries))

    @property
    def bundles(self) -> int:
        return len(self.waiting) + len(self.retries)

    def left(self) -> tuple[int, Demand]:
        """How many bundles wait, and what it takes to read all of them."""
        if not self.bundles:
            return 0, Demand()
        return self.bundles, _typical(self.bundles, self.count, self.shared, self.own, self.reply * self.replies).times(
            self.bundles
        )

    def _weigh(self, shape: Work, sign: int) -> None:
        self.own += sign * shape.own_tokens
        self.reply += sign * shape.reply_tokens
        self.count += sign

    def _drop(self, table: "OrderedDict[int, dict[SubtaskId, None]]", chunk: int) -> None:
        del table[chunk]
        self.shared -= self.shapes[chunk].shared_tokens


class Backlog:
    """The runs, interactive ones first, and among equals whoever has been served least."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}

    def open(self, id: str, interactive: bool, need: Need, readers: dict[NodeId, Reader], now: float) -> Run:
        """The run, which begins level with those that are there: nobody is made to wait for what was before it came."""
        run = self.runs.get(id)
        if run is None:
            level = min((other.level(now) for other in self.runs.values() if other.open), default=0.0)
            run = self.runs[id] = Run(id, interactive, need, readers, served=level, served_at=now, began=now, moved=now)
            run.alone_since = None if readers else now
        return run

    def turns(self, now: float) -> Iterator[Run]:
        """The runs that wait, in the order in which they are to be offered a node."""
        waiting = [run for run in self.runs.values() if run.waiting or run.retries]
        if len(waiting) > 1:
            waiting.sort(key=lambda run: (not run.interactive, run.level(now)))
        return iter(waiting)

    def bundles(self, *, interactive: bool = False) -> int:
        """How many wait, of the interactive runs only if wanted so."""
        return sum(run.bundles for run in self.runs.values() if run.interactive or not interactive)

    def typical(self, readers: Collection[NodeId], *, interactive: bool = False) -> tuple[float, Demand]:
        """How many bundles wait for these nodes, and an average one of them. There is one. Of a run that others can read as well
        they have their share."""
        bundles = count = shared = own = reply = 0.0
        for run in self.runs.values():
            if run.bundles and (run.interactive or not interactive):
                common = len(readers) if run.readers is readers else sum(node in run.readers for node in readers)
                share = common / max(1, len(run.readers))
                bundles += share * run.bundles
                count += share * run.count
                shared += share * run.shared
                own += share * run.own
                reply += share * run.reply * run.replies
        return bundles, _typical(bundles, count, shared, own, reply)


def _typical(bundles: float, count: float, shared: float, own: float, reply: float) -> Demand:
    """An average one of so many bundles, whose `count` subtasks and whose tokens in all these are."""
    one = bundle_demand(shared / bundles, own / count, reply / count, 1)
    more = bundle_demand(shared / bundles, own / count, reply / count, 1, cached=shared / bundles)
    return one + more.times(count / bundles - 1)
