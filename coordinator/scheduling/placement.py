"""Which node takes what next, and who takes over what another is late with."""

import itertools
import math
from dataclasses import dataclass
from typing import Final

from coordinator.scheduling.attempts import Attempts
from coordinator.scheduling.backlog import Run
from coordinator.scheduling.book import Book
from coordinator.scheduling.choice import choose
from coordinator.scheduling.decisions import Decision, Need
from coordinator.scheduling.holdings import Lease, Node
from coordinator.scheduling.level import finish_time
from coordinator.scheduling.limits import SPARE_SHARE, WORTH_TAKING, WORTH_WASTING
from coordinator.scheduling.readers import Reader
from coordinator.scheduling.speed import Demand, bundle_demand
from edgenode.types import SubtaskId

# The level is found anew when what it rests on has changed by this much: it costs a look at every node.
STALE: Final = 0.04
# Whoever would be later than the others by no more than this share of what is left takes the bundle.
SLACK: Final = 0.01
# How many of the bundles that wait for a node other than those that failed them are looked through for one node at a time.
RETRIES_SEEN: Final = 32
# In a pool with more leases an idle node waits for the next round of comparing all with all.
SMALL_POOL: Final = 32
MIN_ROUND_SECONDS: Final = 0.02
MAX_ROUND_SECONDS: Final = 1.0
# Needs of runs that have ended are forgotten now and then.
MAX_LEVELS: Final = 64
# Of the late leases, so many are considered for each idle node.
CANDIDATES: Final = 8
# At once, and with those that hung: if it is what nodes hang with, it should not cost many.
MAX_COPIES: Final = 4


@dataclass(frozen=True, slots=True)
class _Level:
    """When a part of the backlog can be done, and what that was found from."""

    finish: float
    first: float
    """When somebody can have finished one bundle."""
    at: float
    waiting: int
    changes: int
    typical: Demand


class Placement:
    """Gives work to nodes that have room for it. Decides by the speed model alone."""

    def __init__(self, book: Book, attempts: Attempts) -> None:
        self._book = book
        self._attempts = attempts
        self._levels: dict[tuple[Need, bool], _Level] = {}
        self._changes = 0

    def changed(self) -> None:
        """A node came, went or changed its pace: what was foreseen of the pool no longer holds."""
        self._changes += 1

    def feed(self, node: Node, now: float) -> list[Decision]:
        """Gives the node what it should have now."""
        decisions: list[Decision] = []
        if not node.usable(now):
            return decisions
        while node.has_place(now):
            choice = self._choose(node, now)
            if choice is None:
                break
            run, reader, chunk, subtasks = choice
            if not run.interactive and not node.leases and (taken := self._help_interactive(node, now)):
                decisions += taken
                break
            decisions.append(self._book.grant(node, reader, run, chunk, subtasks, now))
        if not node.leases:
            if len(self._book.leases) <= SMALL_POOL:
                decisions += self._take_over(node, self._candidates(now), now)
        elif len(node.leases) == node.width.now and self._book.backlog.bundles() and (soon := node.begins_soon(now)) > 0:
            at = now + max(MIN_ROUND_SECONDS / 4, soon)
            if not now < node.wakes_at <= at:
                node.wakes_at = at
                self._book.wakes.add(at, node)
        return decisions

    def feed_idle(self, now: float) -> list[Decision]:
        """Work has come back or the pool has changed: idle nodes are asked again, the fastest first, until none takes any."""
        decisions: list[Decision] = []
        book = self._book
        if not book.idle or not book.backlog.bundles():
            return decisions
        for node in self._idle(now):
            granted = self.feed(node, now)
            decisions += granted
            if not book.backlog.bundles():
                break
        return decisions

    def round(self, now: float) -> list[Decision]:
        """Compares all idle nodes with all that is in work. Called again and again while there are idle nodes."""
        decisions = self.feed_idle(now)
        idle = self._idle(now)
        if idle:
            candidates = self._candidates(now)
            for node in idle:
                if not candidates:
                    break
                decisions += self._take_over(node, candidates, now)
        return decisions

    def round_after(self, now: float) -> float:
        """When the next round is due: soon enough to lose little of what is left."""
        ends = [lease.remaining(now) for lease in self._book.leases.values()]
        return now + min(MAX_ROUND_SECONDS, max(MIN_ROUND_SECONDS, 0.05 * max(ends, default=MAX_ROUND_SECONDS)))

    # Bundles that wait.

    def _choose(self, node: Node, now: float) -> tuple[Run, Reader, int, tuple[SubtaskId, ...]] | None:
        book = self._book
        for run in book.backlog.turns(now):
            if node.id not in run.readers:
                continue
            foreseen = self._foresee(run, now)
            reader = choose(book.readers, node, run, foreseen.typical, foreseen.finish - now)
            for chunk in list(itertools.islice(run.retries, RETRIES_SEEN)):
                # Whoever may take it does: those who may not are no better finishers.
                may = tuple(id for id in run.retries[chunk] if self._attempts.may(node, id, now))
                if may:
                    return run, reader, chunk, may + tuple(run.waiting.get(chunk, ()))
                if len(run.retries) > RETRIES_SEEN:  # next time others are looked at
                    run.retries.move_to_end(chunk)
            first = self._next_chunk(node, run)
            if first is not None and (subtasks := self._fitting(node, reader, run, first, now)):
                return run, reader, first, subtasks
        return None

    def _next_chunk(self, node: Node, run: Run) -> int | None:
        """The rest of what the node has just read, else the first that waits."""
        if node.cache is not None and node.cache[0] == run.id and node.cache[1] in run.waiting:
            return node.cache[1]
        return next(iter(run.waiting), None)

    def _fitting(self, node: Node, reader: Reader, run: Run, chunk: int, now: float) -> tuple[SubtaskId, ...]:
        """As much of a bundle as the node can finish by the time the pool can be done: all, a part if that is worth reading the
        chunk twice, or nothing. The node that can finish a bundle first never gets nothing."""
        ids = tuple(run.waiting[chunk])
        start = now + node.free_in(now)
        speed, slow = reader.speed, node.width.slowdown(node.width.now)
        cached = run.shapes[chunk].shared_tokens if node.cached(reader, run.id, chunk) else 0.0
        seconds = speed.seconds(run.bundle(chunk, len(ids), cached)) * slow + node.loading(reader)
        foreseen = self._foresee(run, now)
        level = foreseen.finish + SLACK * (foreseen.finish - now)
        typical = speed.seconds(foreseen.typical) * slow
        # A bundle larger than most may not fit where one must begin: whoever would be first with a typical one takes it.
        if start + seconds <= level or start + typical <= foreseen.first + SLACK * (foreseen.first - now):
            return ids
        if node.leases or len(ids) == 1 or not speed.known or not self._spares(run, run.shapes[chunk].shared_tokens):
            return ()
        first = speed.seconds(run.bundle(chunk, 1, cached)) * slow
        more = (seconds - first) / (len(ids) - 1)
        count = int((level - start - first) / more) + 1 if more > 0 else 0
        if count < 1:
            return ()
        run.read_twice += run.shapes[chunk].shared_tokens
        return ids[: min(count, len(ids) - 1)]

    def _foresee(self, run: Run, now: float) -> "_Level":
        """When those who can read the run will be done with all that waits for them; for an interactive run, all interactive."""
        book, interactive = self._book, run.interactive
        waiting = book.backlog.bundles(interactive=interactive)
        level = self._levels.get((run.need, interactive))
        if (
            level is None
            or self._changes - level.changes > STALE * len(book.nodes)
            or now - level.at > STALE * max(1e-3, level.finish - level.at)
            or abs(waiting - level.waiting) > STALE * level.waiting
        ):
            if len(self._levels) > MAX_LEVELS:
                self._levels.clear()
            bundles, typical = book.backlog.typical(run.readers, interactive=interactive)
            free: list[float] = []
            each: list[float] = []
            for id, reader in run.readers.items():
                node = book.nodes[id]
                if node.usable(now):
                    width = node.width
                    seconds = max(1e-9, reader.speed.seconds(typical) * width.slowdown(width.now))
                    free += [now + after for after in node.places_in(now)]
                    each += [seconds] * width.now
            finish = finish_time(free, each, bundles) if free else math.inf
            first = min((at + one for at, one in zip(free, each, strict=True)), default=math.inf)
            level = _Level(finish, first, now, waiting, self._changes, typical)
            if free:
                self._levels[run.need, interactive] = level
        return level

    def _spares(self, run: Run, tokens: float) -> bool:
        return run.read_twice + tokens <= SPARE_SHARE * run.tokens

    # Work of others.

    def _idle(self, now: float) -> list[Node]:
        nodes = [self._book.nodes[id] for id in self._book.idle]
        return sorted((node for node in nodes if node.usable(now)), key=lambda node: node.reader.speed.paces[1])

    def _candidates(self, now: float) -> list[Lease]:
        """What may be taken over, the last to be finished first (at the end of the list)."""
        found: list[tuple[float, int, Lease]] = []
        for number, lease in enumerate(self._book.leases.values()):
            if lease.wanted and not self._book.is_probe(lease):
                before = 0.0 if lease.running else sum(other.remaining(now) for other in lease.node.leases if other.running)
                found.append((before + lease.remaining(now), number, lease))
        return [lease for _, _, lease in sorted(found)]

    def _help_interactive(self, node: Node, now: float) -> list[Decision]:
        """Somebody waits for the end of an interactive run: that comes before what nobody waits for."""
        if len(self._book.leases) > SMALL_POOL or not any(run.interactive and run.open for run in self._book.backlog.runs.values()):
            return []
        return self._take_over(node, [lease for lease in self._candidates(now) if lease.run.interactive], now)

    def _take_over(self, node: Node, candidates: list[Lease], now: float) -> list[Decision]:
        """Gives an idle node the end of what would take longest without it, if that pays."""
        for place in range(len(candidates) - 1, max(-1, len(candidates) - 1 - CANDIDATES), -1):
            lease = candidates[place]
            if lease.node is node or lease.id not in self._book.leases:
                continue
            reader = lease.run.readers.get(node.id)
            if reader is not None and (taken := self._worth_taking(node, reader, lease, now)):
                del candidates[place]
                return self._hand_over(node, reader, lease, taken, now)
        return []

    def _worth_taking(self, node: Node, reader: Reader, lease: Lease, now: float) -> tuple[SubtaskId, ...]:
        """The subtasks at the end of a lease, last first, with which `node` should begin: the two meet in the middle."""
        alone = [id for id in lease.wanted if self._attempts.may(node, id, now) and self._alone(reader, lease, id, now)]
        if not alone:
            return ()
        whole = lease.remaining(now)
        if not lease.running:
            whole += sum(other.remaining(now) for other in lease.node.leases if other.running)
        work = lease.work
        cached = work.shared_tokens if node.cached(reader, lease.run.id, work.chunk) else 0.0
        # A node of which nothing is known may be slow as well.
        caution = 1.0 if reader.speed.known else 2.5
        each = (whole - self._current(lease, now)) / max(1, len(lease.wanted) - 1)
        best, best_end = 0, whole
        for count in range(1, len(alone) + 1):
            mine = caution * reader.speed.seconds(bundle_demand(work.shared_tokens, work.own_tokens, lease.reply, count, cached))
            theirs = whole - count * each if count < len(lease.wanted) else 0.0
            end = max(mine, theirs)
            if end < best_end:
                best, best_end = count, end
        gain = whole - best_end
        if not best or gain < WORTH_TAKING * whole:
            return ()
        if not (
            not lease.running
            or lease.node.suspect
            or lease.late(now)
            or self._spares(lease.run, work.shared_tokens - cached)
            or gain >= WORTH_WASTING * (now + whole - lease.run.began)
        ):
            return ()
        if lease.running:
            lease.run.read_twice += work.shared_tokens - cached
        return tuple(reversed(alone[-best:]))

    def _alone(self, reader: Reader, lease: Lease, subtask: SubtaskId, now: float) -> bool:
        """Whether nobody but `lease` is at it; or all who are would take longer: whoever took it over may be late too."""
        state = self._book.subtasks[subtask]
        holders = state.holders
        if len(holders) + state.hangs >= MAX_COPIES:
            return False
        if len(holders) == 1:
            return True
        mine = reader.speed.seconds(lease.run.bundle(lease.work.chunk, 1))
        return reader.speed.known and all(self._book.leases[id].remaining(now) * (1 - WORTH_TAKING) > mine for id in holders)

    def _current(self, lease: Lease, now: float) -> float:
        """Seconds left of the subtask in work."""
        rest = lease.seconds_of(max(0, len(lease.wanted) - 1))
        scale = lease.remaining(now) / lease.left if lease.left > 0 and lease.running else 1.0
        return max(0.0, lease.remaining(now) - rest * max(1.0, scale))

    def _hand_over(self, node: Node, reader: Reader, lease: Lease, taken: tuple[SubtaskId, ...], now: float) -> list[Decision]:
        """Moves what the other has not begun; what it is working on is copied, and whoever is first counts."""
        current = next(iter(lease.awaited)) if lease.running else None
        decisions = self._book.withdraw(lease, tuple(id for id in taken if id != current), "Another device will be sooner.")
        if lease.running:
            lease.look(lease.at)
        decisions.append(self._book.grant(node, reader, lease.run, lease.work.chunk, taken, now, hedge=True))
        return decisions
