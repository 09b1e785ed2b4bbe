"""What can befall a home while it reads, and schedules of it made from a seed. Pure: `chaos` carries them out."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

COORDINATOR: Final = 0
"""The victim that is the coordinator's host; nodes are counted from 1."""


class Kind(StrEnum):
    KILL = "killed by signal 9"
    """A node is started again when the fault ends. The coordinator's run is resumed at once."""
    FREEZE = "frozen"
    CUT = "cable cut"
    BAD_LINE = "line loses 10 % each way and takes 500 ms"
    MOVE = "off the network, back with another address"
    AHEAD = "clock 5 hours ahead"
    BEHIND = "clock 5 hours behind"
    CRASH = "engine killed by SIGSEGV"
    """Its node starts it again, whenever the fault ends."""


DOWN: Final = frozenset({Kind.KILL, Kind.FREEZE, Kind.CUT, Kind.MOVE})
"""While these last, a node does nothing for the run."""
_EXCLUDING: Final = (
    frozenset({Kind.KILL, Kind.FREEZE, Kind.CRASH}),
    frozenset({Kind.CUT, Kind.BAD_LINE, Kind.MOVE}),
    frozenset({Kind.AHEAD, Kind.BEHIND}),
)
"""Of each of these one victim has one at most: they would undo each other."""

# As often killed as all else together.
_COORDINATORS: Final = (*[Kind.KILL] * 5, Kind.FREEZE, Kind.CUT, Kind.BAD_LINE, Kind.AHEAD, Kind.BEHIND)
# The coordinator's troubles are everybody's: short, and they always end.
_COORDINATORS_SECONDS: Final = 4.0
_SECONDS: Final = (0.5, 8.0)
_LASTING: Final = 0.3
"""How many of the faults do not end before the run."""
_MOMENTS: Final = (0.05, 0.7)
_COUNT: Final = (3, 6)


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` is the share of the run's subtasks done when it begins; `seconds` is how long it lasts, None to the end of the run."""

    kind: Kind
    victim: int
    at: float
    seconds: float | None

    def __str__(self) -> str:
        who = "the coordinator" if self.victim == COORDINATOR else f"node {self.victim}"
        lasts = "to the end" if self.seconds is None else f"for {self.seconds} s"
        return f"at {self.at:.0%} {who}: {self.kind}, {lasts}"


def make_schedule(seed: int, nodes: int) -> tuple[Fault, ...]:
    """Several faults in the order of their moments, always the same for a seed. One of the nodes 1 to `nodes` is never down, so
    that the run can end; the coordinator's troubles always end."""
    chance = random.Random(seed)
    able = chance.randint(1, nodes)
    count = chance.randint(*_COUNT)
    taken: set[tuple[int, frozenset[Kind]]] = set()
    faults: list[Fault] = []
    while len(faults) < count:
        victim = chance.randint(COORDINATOR, nodes)
        kind = chance.choice(_COORDINATORS if victim == COORDINATOR else tuple(Kind))
        at = round(chance.uniform(*_MOMENTS), 2)
        seconds = round(chance.uniform(*_SECONDS), 1)
        lasting = chance.random() < _LASTING
        group = next(each for each in _EXCLUDING if kind in each)
        if (victim == able and kind in DOWN) or (victim, group) in taken:
            continue
        taken.add((victim, group))
        if victim == COORDINATOR:
            seconds, lasting = min(seconds, _COORDINATORS_SECONDS), False
        faults.append(Fault(kind, victim, at, None if lasting else seconds))
    return tuple(sorted(faults, key=lambda fault: fault.at))
