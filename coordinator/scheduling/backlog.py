"""The work of several runs that waits for a node, and whose turn it is. Every operation costs the same however much waits."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from coordinator.scheduling.decisions import Work
from coordinator.scheduling.speed import Demand, bundle_demand
from edgenode.types import SubtaskId


@dataclass(slots=True, eq=False)
class Run:
    """What one run waits for. A chunk's waiting subtasks are one bundle; those that failed somewhere wait apart, in `retries`,
    because not every node may take them."""

    id: str
    interactive: bool
    shapes: dict[int, Work] = field(default_factory=dict)
    """What each chunk's bundle was like at first."""
    waiting: "OrderedDict[int, dict[SubtaskId, None]]" = field(default_factory=OrderedDict)
    retries: "OrderedDict[int, dict[SubtaskId, None]]" = field(default_factory=OrderedDict)
    open: int = 0
    """Subtasks that have not ended."""
    began: float = 0.0
    served: float = 0.0
    """Seconds of devices given so far, or the level at which it came in."""
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

    def open(self, id: str, interactive: bool, now: float) -> Run:
        """The run, which begins level with those that are there: nobody is made to wait for what was before it came."""
        run = self.runs.get(id)
        if run is None:
            level = min((other.served for other in self.runs.values() if other.open), default=0.0)
            run = self.runs[id] = Run(id, interactive, served=level, began=now)
        return run

    def turns(self) -> Iterator[Run]:
        """The runs that wait, in the order in which they are to be offered a node."""
        waiting = [run for run in self.runs.values() if run.waiting or run.retries]
        if len(waiting) > 1:
            waiting.sort(key=lambda run: (not run.interactive, run.served))
        return iter(waiting)

    def bundles(self, *, interactive: bool = False) -> int:
        """How many wait, of the interactive runs only if wanted so."""
        return sum(run.bundles for run in self.runs.values() if run.interactive or not interactive)

    def typical(self, *, interactive: bool = False) -> Demand:
        """An average waiting bundle. There is one."""
        runs = [run for run in self.runs.values() if run.bundles and (run.interactive or not interactive)]
        bundles = sum(run.bundles for run in runs)
        count = sum(run.count for run in runs)
        shared = sum(run.shared for run in runs) / bundles
        own = sum(run.own for run in runs) / count
        reply = sum(run.reply * run.replies for run in runs) / count
        one = bundle_demand(shared, own, reply, 1)
        more = bundle_demand(shared, own, reply, 1, cached=shared)
        extra = count / bundles - 1
        return Demand(
            one.calls + extra * more.calls,
            one.read + extra * more.read,
            one.depth + extra * more.depth,
            one.written + extra * more.written,
        )
