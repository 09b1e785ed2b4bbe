"""Whether one node is there: events and the time in, decisions out. The roster carries them out.

A node is *joined* while its work stream is open and it is heard, *suspect* while that is in doubt, *gone* when it could not be
reached or said goodbye. Only a joined node gets leases; a suspect keeps what it holds as long as its stream is open. Gone nodes
are dialled on: whoever asks a question wants a device that was woken up to take part.
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from coordinator.events import NodeState

# Both sides send a heartbeat a second. A Pi that reads with all its cores may be late by two; three missed are a sign.
SUSPECT_SECONDS: Final = 3.0
# Twice that, so that a frozen process is noticed within 5 s by its state and its stream is given up soon after.
LOST_SECONDS: Final = 6.0
# A timer that goes off later than this tells of this process and not of the node: what the node sent meanwhile may be unread.
OVERSLEPT_SECONDS: Final = 0.5
CATCH_UP_SECONDS: Final = 1.0

TRIES_UNTIL_GONE: Final = 2
# From the start of one dial to the next, by how many failed in a row. The roster ends a dial after `DIAL_LIMIT_SECONDS`: the system
# sends the first packet again after 1 and 3 s and then not before 7. So packets go out at most 2 s apart for as long as a node is
# away, while a busy Pi has time to answer.
DIAL_LIMIT_SECONDS: Final = 4.0
DIAL_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
DIAL_PAUSE_SECONDS: Final = 0.2
ANEW: Final = "It is connected to anew, since certificates are looked at then."
# Somebody must act before a node that refuses us changes its mind.
REFUSED_SECONDS: Final = 5.0
# A sighting is anybody's claim: it hastens a dial, and a flood of them does not become a flood of dials.
NUDGED_SECONDS: Final = 1.0

FLAPPING_SECONDS: Final = 60.0
MAX_HOLD_SECONDS: Final = 30.0
# Losses that reach the longest hold-off.
MAX_LOSSES: Final = 7


@dataclass(frozen=True, slots=True)
class Dial:
    """Decision: connect now. One of `connected`, `failed` or `refused` must follow."""


@dataclass(frozen=True, slots=True)
class Close:
    """Decision: the stream is given up. Nothing need follow; what its end then says is ignored."""

    why: str


@dataclass(frozen=True, slots=True)
class Became:
    """Decision: the state changed. `why` is a sentence, empty when the node joined."""

    state: NodeState
    why: str


Decision = Dial | Close | Became


class _Link(Enum):
    NONE = "none"
    DIALLING = "dialling"
    OPEN = "open"


def hold_off(losses: int) -> float:
    """Seconds that a node which came back gets no work, by its losses within `FLAPPING_SECONDS`: none after the first, then 1, 2, 4
    and so on to `MAX_HOLD_SECONDS`."""
    return 0.0 if losses < 2 else min(MAX_HOLD_SECONDS, 2.0 ** (losses - 2))


class Member:
    """One paired node. Times are seconds of any clock that only goes forward; a new member is to be dialled at once.

    `tick` must be called at `wakes_at`. Every event returns the decisions that follow from it, in order.
    """

    def __init__(self, now: float) -> None:
        self.state = NodeState.SUSPECT
        self.why = "It is being connected to."
        self.wakes_at = now
        """When `tick` is to be called next; infinite while there is nothing to wait for but events."""
        self._link = _Link.NONE
        self._tries = 0
        self._refused = False
        self._left = False
        self._dialled = -math.inf
        self._dial_at = now
        self._heard = now
        self._until = math.inf
        self._held_until = now
        self._losses: deque[float] = deque(maxlen=MAX_LOSSES)

    @property
    def is_open(self) -> bool:
        """Whether it has a stream, so that what it holds is not lost."""
        return self._link is _Link.OPEN

    @property
    def is_undecided(self) -> bool:
        """Whether the first attempts are still going on: worth waiting for."""
        return self._link is not _Link.OPEN and not self._refused and self.state is NodeState.SUSPECT

    def sighted(self, now: float) -> list[Decision]:
        """Somebody says that it is there."""
        self._left = False
        self._dial_at = min(self._dial_at, max(now, self._dialled + NUDGED_SECONDS))
        return self._follow(now)

    def goodbye(self, now: float) -> list[Decision]:
        """Somebody says that it leaves. While its stream is open it is believed, and not the rumour."""
        self._left = True
        if self._link is not _Link.OPEN:
            self.why = "It was stopped."
        return self._follow(now)

    def connected(self, now: float, until: float = math.inf) -> list[Decision]:
        """A stream is open, dialled by either side. It takes the place of one that was open and of a dial that is going on, and is
        given up for a new one at the time `until`."""
        self._link = _Link.OPEN
        self._until = until
        self._left = self._refused = False
        self._tries = 0
        self._heard = now
        self._held_until = now + hold_off(self._recent_losses(now))
        return self._follow(now)

    def heard(self, now: float) -> list[Decision]:
        """A frame came on the open stream."""
        if self._link is not _Link.OPEN:
            return self._follow(now)
        self._heard = now
        return self._follow(now)

    def lost(self, why: str, now: float) -> list[Decision]:
        """The open stream is over."""
        if self._link is not _Link.OPEN:
            return self._follow(now)
        self._lose(why, now)
        return self._follow(now)

    def failed(self, why: str, now: float) -> list[Decision]:
        """A dial came to nothing: the node cannot be reached."""
        if self._link is not _Link.DIALLING:
            return self._follow(now)
        self._link = _Link.NONE
        self._refused = False
        self._tries += 1
        self.why = why
        pause = DIAL_SECONDS[min(self._tries, len(DIAL_SECONDS)) - 1]
        self._dial_at = max(self._dialled + pause, now + DIAL_PAUSE_SECONDS)
        return self._follow(now)

    def refused(self, why: str, now: float) -> list[Decision]:
        """A dial reached the node, and one of the two sides does not accept the other."""
        if self._link is not _Link.DIALLING:
            return self._follow(now)
        self._link = _Link.NONE
        self._refused = True
        self._left = False
        self._tries = 0
        self.why = why
        self._dial_at = now + REFUSED_SECONDS
        return self._follow(now)

    def tick(self, now: float) -> list[Decision]:
        """Time passed."""
        if self._link is _Link.OPEN and now > self.wakes_at + OVERSLEPT_SECONDS:
            limit = SUSPECT_SECONDS if self.wakes_at < self._heard + LOST_SECONDS else LOST_SECONDS
            self._heard = max(self._heard, now - limit + CATCH_UP_SECONDS)
        if self._link is _Link.OPEN and now >= self._until:
            # Ended by this side: no loss.
            self._link, self._dial_at, self.why = _Link.NONE, now, ANEW
            return [Close(ANEW), *self._follow(now)]
        return self._follow(now)

    # What follows decides. Everything above only records.

    def _follow(self, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        if self._link is _Link.OPEN and now >= self._heard + LOST_SECONDS:
            self._lose(f"It was silent for {LOST_SECONDS:.0f} s.", now)
            decisions.append(Close(self.why))
        state, why = self._judge(now)
        if state is not self.state:
            decisions.append(Became(state, why))
        self.state, self.why = state, why
        if self._link is _Link.NONE and now >= self._dial_at:
            self._link = _Link.DIALLING
            self._dialled = now
            self._dial_at = math.inf
            decisions.append(Dial())
        self.wakes_at = self._next(now)
        return decisions

    def _judge(self, now: float) -> tuple[NodeState, str]:
        if self._link is not _Link.OPEN:
            gone = self._left or self._tries >= TRIES_UNTIL_GONE
            return (NodeState.GONE if gone else NodeState.SUSPECT), self.why
        if now >= self._heard + SUSPECT_SECONDS:
            return NodeState.SUSPECT, "It has been silent for seconds."
        if now < self._held_until:
            return NodeState.SUSPECT, "It came and went several times within a minute, and must stay for a while to get work."
        return NodeState.JOINED, ""

    def _next(self, now: float) -> float:
        match self._link:
            case _Link.NONE:
                return self._dial_at
            case _Link.DIALLING:
                return math.inf
            case _Link.OPEN:
                times = (self._held_until, self._heard + SUSPECT_SECONDS, self._heard + LOST_SECONDS)
                return min(self._until, *(time for time in times if time > now))

    def _lose(self, why: str, now: float) -> None:
        self._link = _Link.NONE
        self._losses.append(now)
        self._tries = 0
        self.why = why
        # At once, unless it comes and goes.
        self._dial_at = now + min(DIAL_SECONDS[-1], hold_off(self._recent_losses(now)))

    def _recent_losses(self, now: float) -> int:
        return sum(now - loss < FLAPPING_SECONDS for loss in self._losses)
