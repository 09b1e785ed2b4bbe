"""What nodes hold, how far they have come with it, and when they will be done."""

import math
from dataclasses import dataclass, field

from coordinator.scheduling.backlog import Run
from coordinator.scheduling.decisions import Work
from coordinator.scheduling.limits import (
    DEVIATIONS,
    GAP_SECONDS,
    HICCUP_SECONDS,
    LEASE_SECONDS,
    LOOKAHEAD_GAPS,
    MAX_OVERDUE,
    OVERDUE,
    STOP_SECONDS,
)
from coordinator.scheduling.readers import Reader, Record
from coordinator.scheduling.speed import Demand, SpeedModel, reading
from coordinator.scheduling.width import Width
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId


@dataclass(slots=True, eq=False)
class SubtaskState:
    chunk: int
    run: Run
    holders: set[LeaseId] = field(default_factory=set)
    failed_on: dict[NodeId, int] = field(default_factory=dict)
    """How often each node failed it; 0 for those that only went away, hung or refused it, which may not be its fault."""
    final_on: set[NodeId] = field(default_factory=set)
    refusals: dict[NodeId, int] = field(default_factory=dict)
    """How often each node refused it or did not begin with it, or hung with it and had done nothing since it failed last."""
    losses: int = 0
    """How often one that was well until then went away or hung with it."""
    hangs: int = 0
    last: tuple[FailureReason, str] = (FailureReason.UNSPECIFIED, "no reason given")
    failed_at: float = -math.inf
    stranded_at: float | None = None
    """Since when it waits for nodes that are not able to take it."""


@dataclass(slots=True, eq=False)
class Lease:
    """`awaited` are the subtasks of which the node owes an outcome, in its order; `wanted` those of them that still count."""

    id: LeaseId
    node: "Node"
    reader: Reader
    run: Run
    work: Work
    awaited: dict[SubtaskId, None]
    wanted: dict[SubtaskId, None]
    granted: float
    cached: float
    """Tokens of the prompt of the subtask in work that are expected from the prompt cache."""
    at_once: int
    """It is begun as soon as its node works on fewer leases than this."""
    loading: float | None = None
    """Seconds that the node is expected to load the model before it begins; None if it has it loaded."""
    started: float = math.inf
    """When the subtask in work began, or might have until its node says so; infinite while others are before it."""
    began: float = 0.0
    """The same by its node's own clock."""
    begun: bool = False
    """Whether the node has said that the subtask in work has begun. Until then it may wait for other coordinators' turns."""
    at: float = 0.0
    """Last sign of life, and the tokens it told of."""
    read: float = 0.0
    written: float = 0.0
    mark: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Time by its node's clock, and tokens, up to which progress has been measured."""
    predicted: float = 0.0
    """Seconds of the subtask in work, as foreseen when it began."""
    halfway: tuple[float, float] | None = None
    """Seconds and share of the subtask at which progress first claimed half of it."""
    left: float = 0.0
    """Seconds left at the last sign, and until the next sign is expected."""
    step: float = 0.0
    due: float = math.inf
    limit: float = math.inf
    """The subtask in work may not take longer than this, whatever progress is claimed."""
    extended: bool = False
    stuck: bool = False
    """Taken back because it was overdue; the node has not answered yet."""

    @property
    def speed(self) -> SpeedModel:
        return self.reader.speed

    @property
    def loads_for(self) -> float:
        """Seconds of loading that are still to come, as far as is known."""
        return self.loading or 0.0

    @property
    def rereading(self) -> float:
        """Seconds by which it takes longer if its engine has no prompt cache, as long as none was seen."""
        return 0.0 if self.reader.caches else self.speed.seconds(reading(0.0, self.cached)) * self.node.slowdown()

    @property
    def running(self) -> bool:
        return self.started < math.inf

    @property
    def prompt(self) -> float:
        return self.work.shared_tokens + self.work.own_tokens

    @property
    def reply(self) -> float:
        return self.work.reply_tokens * self.run.replies

    def start(self, now: float, *, begun: bool = False) -> None:
        """The next of its subtasks is in work from now on: by what is foreseen, or because its node says so."""
        self.begun = begun
        self.started = self.at = now
        self.began = self.node.clock(now)
        self.read = self.cached
        self.written = 0.0
        self.mark = (self.began, self.cached, 0.0)
        self.halfway = None
        self.extended = False
        self.expect()

    def expect(self) -> None:
        """Foresees how long the subtask in work takes as a whole."""
        slow = self.node.slowdown()
        demand = reading(self.cached, self.prompt, calls=1.0, written=self.reply)
        self.predicted = self.speed.seconds(demand) * slow + self.loads_for
        factor = max(OVERDUE, min(MAX_OVERDUE, math.exp(DEVIATIONS * self.speed.spread(demand))))
        self.limit = self.started + HICCUP_SECONDS + (self.predicted + self.rereading) * 1.5 * factor
        self.look(self.at, calls=1.0)

    def look(self, now: float, calls: float = 0.0) -> None:
        """Foresees from the last sign of life what is left, and by when the next must come."""
        node, model = self.node, self.speed
        slow = node.slowdown()
        demand = reading(self.read, self.prompt, calls=calls, written=max(self.reply - self.written, 0.1 * self.reply))
        current = model.seconds(demand) * slow + self.loads_for
        if model.doubt > 0.05 and self.predicted > 0:
            # What this node's progress claims has run ahead of its outcomes: part of it is judged by the time alone.
            by_time = max(0.0, self.predicted - (now - self.started))
            current = model.credit * current + (1 - model.credit) * max(current, by_time)
        self.left = current + self.seconds_of(max(0, len(self.wanted) - 1))
        self.step = current
        if node.stride is not None and model.credit > 0.5:
            pace = Demand(calls, min(node.stride, self.prompt - self.read), node.stride * self.read, node.write_stride)
            self.step = min(current, model.seconds(pace) * slow + self.loads_for)
        factor = max(OVERDUE, min(MAX_OVERDUE, math.exp(DEVIATIONS * model.spread(demand))))
        # What a node has not begun it is not late with, whatever it does meanwhile.
        due = now + HICCUP_SECONDS + (self.step + self.rereading) * factor
        self.due = min(self.limit, due) if self.begun else self.started + LEASE_SECONDS

    def seconds_of(self, count: int) -> float:
        """Seconds of further subtasks of this lease, the chunk being read."""
        if not count:
            return 0.0
        shared = self.work.shared_tokens
        each = reading(shared, self.prompt, calls=1.0, written=self.reply)
        return count * self.speed.seconds(each) * self.node.slowdown()

    def remaining(self, now: float) -> float:
        """Seconds until it is done, judged by its last sign of life and by the silence since: a device that is late by a factor is
        taken to work slower by that factor."""
        if not self.running:
            return self.left
        silence = now - self.at
        if not self.wanted:
            stop = min(STOP_SECONDS, self.step)
            return stop - silence if silence < stop else silence
        if silence <= self.step:
            return self.left - silence
        rest = self.left - self.step
        return rest * silence / max(self.step, 1e-6) + (silence - self.step)

    def late(self, now: float) -> bool:
        """Whether the silence is longer than twice what was to be expected, beyond a hiccup."""
        return self.running and now - self.at > 2 * self.step + HICCUP_SECONDS


@dataclass(slots=True, eq=False)
class Node:
    id: NodeId
    record: Record
    reader: Reader
    """The model that it used last, or will first."""
    width: Width
    ready: bool = True
    suspect: bool = False
    resting: bool = False
    """Of one that is not ready: it is well, and takes nothing only for a while."""
    rested: float = -math.inf
    """When it last ceased to rest."""
    leases: list[Lease] = field(default_factory=list)
    """In the order in which it does them."""
    moved: float = -math.inf
    """When it last got anywhere."""
    crowd: int = 0
    """How many leases are in work, since when, and what its clock showed then."""
    crowded_at: float = 0.0
    worked: float = 0.0
    refusals: int = 0
    """How many leases it refused since it last worked on one, for other reasons than want of room; and with what words."""
    refusal: tuple[FailureReason, str] = (FailureReason.UNSPECIFIED, "")
    loaded: Reader | None = None
    """The model of its last lease of this stay."""
    cache: tuple[str, int] | None = None
    """Run and chunk that its last lease left in that model's prompt cache."""
    probed: bool = False
    gap: float = GAP_SECONDS
    wait: float = 0.0
    """Seconds that leases waited there for the turns of other coordinators lately."""
    stride: float | None = None
    """Tokens read between two signs of life, None while none were seen."""
    write_stride: float = 16.0
    wakes_at: float = -math.inf
    """When it is to be looked at again for its next lease."""

    @property
    def stuck(self) -> bool:
        """Whether it owes an answer about what was taken back from it because it was overdue."""
        return any(lease.stuck for lease in self.leases)

    @property
    def able(self) -> bool:
        """Whether it can be given work, now, after what it holds or after a pause."""
        return self.ready and not self.suspect and not self.stuck

    def usable(self, now: float) -> bool:
        """Whether it can be given work, now or after what it holds."""
        return self.able and self.record.paused_until <= now

    def gets_on(self, now: float) -> None:
        """It works."""
        self.moved = now
        self.refusals = 0

    def slowdown(self) -> float:
        return self.width.slowdown(self.crowd) if self.width.slots > 1 else 1.0

    def clock(self, now: float) -> float:
        """The seconds in which a lease that is alone would have come as far as those side by side have."""
        return self.worked + (now - self.crowded_at) / self.slowdown()

    def crowded(self, leases: int, now: float) -> None:
        """So many leases are in work from now on."""
        if leases != self.crowd:
            self.worked, self.crowded_at = self.clock(now), now
            self.crowd = leases

    def resize(self, slots: int, now: float) -> None:
        """It works on another number of leases at once: what that gains is to be measured anew."""
        self.worked, self.crowded_at = self.clock(now), now
        self.width = Width(slots)

    def cached(self, reader: Reader, run: str, chunk: int) -> bool:
        """Whether its prompt cache begins with the chunk after what it holds."""
        return self.cache == (run, chunk) and self.loaded is reader

    def loading(self, reader: Reader) -> float:
        """Seconds until this model can read, as far as is known."""
        return 0.0 if self.loaded is None or self.loaded is reader else reader.load

    def places_in(self, now: float) -> list[float]:
        """For each lease that it works on at once, seconds until that could be something new; the least first."""
        if self.width.now == 1:
            return [sum(lease.remaining(now) for lease in self.leases)]
        ends = sorted(lease.remaining(now) for lease in self.leases if lease.running)
        ends = [0.0] * (self.width.now - len(ends)) + ends[-self.width.now :]
        for lease in self.leases:
            if not lease.running:
                ends[0] += lease.remaining(now)
                ends.sort()
        return ends

    def free_in(self, now: float) -> float:
        """Seconds until it could begin something new."""
        return self.places_in(now)[0] if self.leases else 0.0

    def has_place(self, now: float) -> bool:
        held = len(self.leases)
        if held < self.width.now or (held == self.width.now and not any(lease.wanted for lease in self.leases)):
            return True
        return held == self.width.now and not self.record.failures and self.begins_soon(now) <= 0

    def begins_soon(self, now: float) -> float:
        """Seconds until its next lease should be sent, so that it does not wait for a round trip; nor, where others wait, for one
        more turn of theirs because it came too late."""
        ahead = LOOKAHEAD_GAPS * self.gap
        return min(
            lease.remaining(now) - (max(ahead, self.wait) if lease.begun else ahead) for lease in self.leases[: self.width.now]
        )
