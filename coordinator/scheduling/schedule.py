"""Which node gets which work: a pure machine. Events and the time (seconds, any origin) go in as calls; decisions come out.

Work is leased as bundles that share a chunk. A subtask ends in exactly one way: settled, or given up with its reason. What a
node failed goes to another; a node that is gone gives back all it held; what is late, judged by what the speed model foresaw, is
taken over by devices that would be sooner, and whoever is first counts. `book` keeps the records, `placement` chooses.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from coordinator.scheduling import measure
from coordinator.scheduling.attempts import Attempts
from coordinator.scheduling.book import Book
from coordinator.scheduling.decisions import Candidate, Decision, Need, Work
from coordinator.scheduling.estimate import Device, Estimate, demand_of, estimate
from coordinator.scheduling.holdings import Lease, Node
from coordinator.scheduling.limits import NO_ROOM, PASSING, REFUSAL_PAUSE_SECONDS
from coordinator.scheduling.overdue import Overdue
from coordinator.scheduling.placement import Placement
from coordinator.scheduling.readers import Reader
from coordinator.scheduling.speed import PredictionError, SpeedModel
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId, Usage

ANY_MODEL: Final = Need()


class Schedule:
    """The work of all runs that share a pool. Calls return the decisions that follow; `finished` tells when no run is left. `tick`
    is to be called at `wakes_at`, or often. Ids of leases begin with `prefix`."""

    def __init__(self, prefix: str = "", now: float = 0.0) -> None:
        self._book = Book(prefix)
        self._attempts = Attempts(self._book)
        self._placement = Placement(self._book, self._attempts)
        self._overdue = Overdue(self._book, self._attempts, self._placement)
        self._expecting = False
        self._round_at = now

    @property
    def finished(self) -> bool:
        return not self._book.subtasks

    @property
    def wakes_at(self) -> float:
        """By when `tick` is to be called; infinite when there is nothing to wait for."""
        book = self._book
        rounds = [self._round_at] if book.idle and book.subtasks else []
        return min((book.wakes.next, *(run.look_at for run in book.backlog.runs.values()), *rounds))

    @property
    def error(self) -> PredictionError:
        """How far off the predictions of subtasks were."""
        return self._book.error

    def speed(self, node: NodeId) -> SpeedModel | None:
        """What has been learnt of a node that is there, with the model that it used last."""
        known = self._book.nodes.get(node)
        return known.reader.speed if known else None

    def foresee(self, work: Iterable[Work], need: Need, *, interactive: bool = True) -> Estimate:
        """How long a run would take that began now."""
        readers = {id: fitting[0] for id in self._book.nodes if (fitting := self._book.readers.fitting(id, need))}
        bundles, demand = demand_of(work)
        others = sum(run.bundles > 0 and (run.interactive or not interactive) for run in self._book.backlog.runs.values())
        return estimate(self._devices(readers, {}), bundles, demand, runs=1 + others)

    def left(self, run: str, now: float) -> Estimate | None:
        """How long a run will still take. None when it is over."""
        state = self._book.backlog.runs.get(run)
        if state is None:
            return None
        held = {id: self._book.nodes[id].free_in(now) for id in state.readers}
        devices = self._devices(state.readers, held)
        others = sum(other.bundles > 0 and other.interactive >= state.interactive for other in self._book.backlog.runs.values())
        bundles, demand = state.left()
        waiting = estimate(devices, bundles, demand, runs=max(1, others))
        mine = (lease for device in devices for lease in device.node.leases if lease.run is state and lease.wanted)
        last = max((lease.remaining(now) for lease in mine), default=0.0)
        return Estimate(len(devices), None if waiting.seconds is None else max(waiting.seconds, last))

    def _devices(self, readers: Mapping[NodeId, Reader], free_in: Mapping[NodeId, float]) -> list[Device]:
        """Those of the readers that can take work."""
        nodes = self._book.nodes
        return [Device(nodes[id], reader, free_in.get(id, 0.0)) for id, reader in readers.items() if nodes[id].able]

    def add(
        self, run: str, work: Iterable[Work], now: float, *, interactive: bool = True, need: Need = ANY_MODEL
    ) -> list[Decision]:
        """Another run joins, or a run gets more work. Ids of subtasks must differ from those of all other runs. Without any subtask
        there is no run. Probes that are still running end."""
        bundles = tuple(bundle for bundle in work if bundle.subtasks)
        if not bundles:
            return []
        self._expecting = False
        decisions: list[Decision] = []
        for lease in tuple(self._book.leases.values()):
            if self._book.is_probe(lease):
                decisions += self._book.withdraw(lease, tuple(lease.wanted), "There is work.")
        joined = self._book.open(run, interactive, need, now)
        self._book.add(joined, bundles)
        joined.moved = now
        self._placement.changed()
        return decisions + self._feed_all(now)

    def expect(self, now: float) -> list[Decision]:
        """A run is about to come: nodes of which nothing is known, those that join later too, are probed while there is no work."""
        if self._book.subtasks:
            return []
        self._expecting = True
        return [each for node in tuple(self._book.nodes.values()) for each in self._probe(node, now)]

    def withdraw_run(self, run: str, now: float) -> list[Decision]:
        """Nobody wants the run's answer any more."""
        decisions: list[Decision] = []
        for id in [id for id, state in self._book.subtasks.items() if state.run.id == run]:
            decisions += self._book.strike(id, "The run was withdrawn.")
        return decisions + self._placement.feed_idle(now)

    def node_joined(
        self, node: NodeId, now: float, *, models: Sequence[Candidate], ready: bool = True, resting: bool = False, slots: int = 1
    ) -> list[Decision]:
        """A node can be given work for its models, which are in its own order of preference. `slots` is how many leases it can work
        on at once; whether more than one pays is measured. When its models change it is gone and joins anew. `ready` and `resting`
        as in `node_ready`."""
        if node in self._book.nodes or not models:
            return []
        joined = self._book.join(node, tuple(models), slots, ready, resting and not ready)
        if joined.record.paused_until > now:
            self._book.wakes.add(joined.record.paused_until, joined)
        self._placement.changed()
        return self._placement.feed(joined, now) + self._probe(joined, now)

    def node_ready(self, node: NodeId, ready: bool, now: float, *, resting: bool = False) -> list[Decision]:
        """The node can take work and is heard, or it gets none until it can; what it holds it keeps. `resting` says of one that
        is not ready that it is well and will be (it cools down, or is kept free): runs wait for it for longer."""
        resting = resting and not ready
        known = self._book.nodes.get(node)
        if known is None or (known.ready, known.resting, known.suspect) == (ready, resting, False):
            return []
        if known.resting and not resting:
            known.rested = now
        known.ready, known.resting, known.suspect = ready, resting, False
        self._placement.changed()
        # Without it, what others failed may be for them again.
        return self._placement.feed(known, now) + self._probe(known, now) if ready else self._feed_all(now)

    def node_resized(self, node: NodeId, slots: int, now: float) -> list[Decision]:
        """The node can work on another number of leases at once. What it holds it keeps."""
        if (known := self._book.nodes.get(node)) is None or known.width.slots == slots:
            return []
        known.resize(slots, now)
        return self._placement.feed(known, now)

    def node_suspect(self, node: NodeId, now: float) -> list[Decision]:
        """The node has not been heard: it gets nothing new, what it has not begun goes back, the rest is taken over by whoever is
        sooner. `node_ready` ends it."""
        known = self._book.nodes.get(node)
        if known is None or known.suspect:
            return []
        known.suspect = True
        self._placement.changed()
        decisions: list[Decision] = []
        for lease in known.leases:
            if not lease.running:
                wanted, unheard = tuple(lease.wanted), "The device is not heard."
                decisions += self._book.withdraw(lease, wanted, unheard) + self._book.requeue(lease, wanted, unheard)
        return decisions + self._feed_all(now)

    def node_gone(self, node: NodeId, why: str, now: float, *, vanished: bool = True) -> list[Decision]:
        """A node is gone: all it held goes back, first in line. That it vanished may be for what it was working on, and counts."""
        gone = self._book.leave(node, now)
        if gone is None:
            return []
        self._placement.changed()
        decisions: list[Decision] = []
        for lease in tuple(gone.leases):
            wanted = tuple(lease.wanted)
            # Subtasks are done in order: the first open one alone was in work, and may be what took the node down.
            first = wanted[:1] if vanished and lease.running and wanted[:1] == tuple(lease.awaited)[:1] else ()
            self._book.leases.pop(lease.id, None)
            if self._book.is_probe(lease):
                continue
            lease.run.moved = now
            for id in wanted:
                self._book.subtasks[id].holders.discard(lease.id)
            for id in first:
                decisions += self._attempts.lost(id, node, FailureReason.STOPPING, why, now)
            decisions += self._book.requeue(lease, wanted, why)
        gone.leases.clear()
        return decisions + self._feed_all(now)

    def refused(self, lease: LeaseId, reason: FailureReason, message: str, now: float) -> list[Decision]:
        """The node did not take a lease. For want of room that passes and counts for nothing; else it is set aside for longer and
        longer, and what it refused is for others."""
        held = self._book.leases.get(lease)
        if held is None:
            return []
        wanted = tuple(held.wanted)
        self._book.end(held, now)
        held.node.cache = None
        self._overdue.pause(held.node, REFUSAL_PAUSE_SECONDS, now)
        if reason not in NO_ROOM:
            self._overdue.set_aside(held.node, now)
            if reason not in PASSING:
                held.node.refusals += 1
                held.node.refusal = (reason, message)
                for subtask in wanted:
                    self._attempts.refused(subtask, held.node.id, reason, message, now)
        decisions = self._book.requeue(held, wanted, message)
        return decisions + self._attempts.give_up_hopeless(now, wanted) + self._feed_all(now)

    def progress(
        self, lease: LeaseId, subtask: SubtaskId, prompt_tokens: int, read_tokens: int, completion_tokens: int, now: float
    ) -> list[Decision]:
        """How far a lease has come with a subtask; the first word of each says that the node has begun it. Only that and getting
        further are signs of life."""
        held = self._book.leases.get(lease)
        if held is None:
            return []
        before, begun = (held.speed.changes, held.speed.known), held.begun
        if not measure.take_progress(held, subtask, prompt_tokens, read_tokens, completion_tokens, now):
            return []
        held.node.gets_on(now)
        held.run.moved = now
        self._learnt(held, before)
        if begun:
            return []
        # Only now it can be foreseen when it will be done.
        self._book.wakes.add(held.due, held)
        return self._placement.feed(held.node, now)

    def is_open(self, subtask: SubtaskId) -> bool:
        """Whether the subtask has not ended yet."""
        return subtask in self._book.subtasks

    def settled(self, lease: LeaseId, subtask: SubtaskId, now: float, usage: Usage | None = None) -> list[Decision] | None:
        """A usable result came. None means that it must not be counted: the subtask ended before, or is a probe's."""
        held = self._close(lease, subtask, now, usage)
        if held is not None:
            held.node.gets_on(now)
            held.run.moved = now
            held.node.record.failures = 0
            if subtask not in self._book.subtasks:
                # Whoever held it has room again: looked at in the next tick.
                self._book.wakes.add(now, held.node)
        if subtask not in self._book.subtasks:
            return None
        decisions = self._book.strike(subtask, "Another device was first.")
        return decisions + (self._placement.feed(held.node, now) if held is not None else [])

    def failed(self, lease: LeaseId, subtask: SubtaskId, reason: FailureReason, message: str, now: float) -> list[Decision]:
        """An attempt at a subtask failed, or its reply was of no use (`BAD_REPLY`)."""
        before = self._book.leases.get(lease)
        wanted = before is not None and subtask in before.wanted
        held = self._close(lease, subtask, now, None, completed=False)
        if held is None:
            return []
        decisions: list[Decision] = []
        node = held.node
        if wanted:
            # That it has stopped what was taken back says nothing: a hung engine may say so, too.
            node.gets_on(now)
            held.run.moved = now
        if wanted and not self._book.is_probe(held):
            self._book.subtasks[subtask].holders.discard(lease)
            decisions += self._attempts.failed(subtask, held.node.id, reason, message, now)
            decisions += self._book.requeue(held, (subtask,), message)
            if reason is not FailureReason.CANCELLED:
                self._overdue.set_aside(node, now)
        decisions += self._attempts.give_up_hopeless(now, (subtask,)) + self._placement.feed(node, now)
        return decisions + (self._feed_all(now) if wanted else [])

    def tick(self, now: float) -> list[Decision]:
        """Time passed: leases are renewed or expire, pauses end, late work is taken over, and a run without nodes ends at last."""
        decisions: list[Decision] = []
        for run in tuple(self._book.backlog.runs.values()):
            if now >= run.look_at:
                decisions += self._attempts.look_at(run, now)
        while (what := self._book.wakes.pop(now)) is not None:
            if isinstance(what, Lease):
                taken_back = self._overdue.look_at(what, now)
                decisions += taken_back
                if what.stuck and taken_back:
                    decisions += self._feed_all(now)
            elif isinstance(what, Node) and self._book.nodes.get(what.id) is what:
                self._overdue.end_pause(what, now)
                decisions += self._placement.feed(what, now)
        if self._book.idle and now >= self._round_at:
            decisions += self._placement.round(now)
            self._round_at = self._placement.round_after(now)
        return decisions

    # What follows decides. Everything above only records.

    def _feed_all(self, now: float) -> list[Decision]:
        decisions = self._placement.feed_idle(now)
        if len(self._book.nodes) <= 64 and self._book.backlog.bundles():
            for node in tuple(self._book.nodes.values()):
                if node.leases:
                    decisions += self._placement.feed(node, now)
        return decisions

    def _close(self, lease: LeaseId, subtask: SubtaskId, now: float, usage: Usage | None, completed: bool = True) -> Lease | None:
        """Strikes a subtask off its lease, and the lease off its node when it was the last. None when it was not open there."""
        held = self._book.leases.get(lease)
        if held is None or subtask not in held.awaited:
            return None
        if completed and held.running and subtask == next(iter(held.awaited)):
            before = held.speed.changes, held.speed.known
            measure.take_outcome(held, usage, now, self._book.error)
            self._learnt(held, before)
        self._book.close(held, subtask, now)
        if (state := self._book.subtasks.get(subtask)) is not None:
            state.holders.discard(lease)
        return held

    def _learnt(self, lease: Lease, before: tuple[int, bool]) -> None:
        changes, known = before
        if lease.speed.known and not known:
            self._book.first_known(lease.speed)
        if lease.speed.changes != changes or lease.speed.known != known:
            self._placement.changed()

    def _probe(self, node: Node, now: float) -> list[Decision]:
        """Has a node of which nothing is known read a little, if work is expected and it has nothing to do."""
        if not self._expecting or node.leases or node.probed or node.reader.speed.known or not node.usable(now):
            return []
        return [self._book.probe(node, now)]
