"""Why a node that can be reached does not join, in words a person can act on. Pure."""

from typing import Final

from coordinator.remedies import pair
from edgenode import __version__
from edgenode.trust.certificates import CLOCK_TOLERANCE
from edgenode.trust.frames import Introduction
from edgenode.trust.verdict import Verdict
from edgenode.types import NodeId

# So much of an id tells devices apart that do not want to be mistaken for one another.
ID_CHARACTERS: Final = 12


def not_paired(name: str, id: NodeId, is_shared: bool = False) -> str:
    """`is_shared` tells that another node goes by its name, as in the next."""
    return f"It is not paired: {pair('', id[:ID_CHARACTERS]) if is_shared else pair(name, id)}"


def was_removed(name: str, id: NodeId, is_shared: bool = False) -> str:
    return f"It was unpaired. To take it back: {pair('', id[:ID_CHARACTERS]) if is_shared else pair(name, id)}"


def why_refused(met: Introduction, verdict: Verdict | None, name: str, now: float) -> str:
    """The reason, empty where there is none that this side knows. `verdict` is what the node said of a certificate, None where it
    was shown one and could not tell; `now` is in seconds since 1970."""
    who = name or met.name or met.id
    off = met.time - now
    if verdict in (Verdict.EXPIRED, Verdict.NOT_YET_VALID, Verdict.OWN_EXPIRED) or abs(off) > CLOCK_TOLERANCE.total_seconds():
        if abs(off) > CLOCK_TOLERANCE.total_seconds() / 2:
            side = "ahead of" if off > 0 else "behind"
            return f"The clock of {who} is {duration(abs(off))} {side} this machine's, too far for certificates: set the wrong one."
        return f"The certificates that {who} and this coordinator show are out of date. Pair it again: {pair(who, met.id)}"
    match verdict:
        case Verdict.UNKNOWN_AUTHORITY:
            return f"{who} does not trust this coordinator (any more): run edgenode pair on it, then {pair(who, met.id)}"
        case Verdict.WRONG_ROLE:
            return f"{who} takes this for another node and not for a coordinator. Pair it again: {pair(who, met.id)}"
    if release(met.version) != release(__version__):
        return (
            f"{who} runs edgenode {met.version or '(no version)'} and this coordinator {__version__}, which are too different. "
            "Update the older: pip install -U edgenode"
        )
    return "" if verdict else f"{who} cannot read whom it trusts: run edgenode trusted on it, which names the file."


def release(version: str) -> tuple[str, ...]:
    """The part of a version that two sides must share to understand each other: the first number, below 1 the second as well."""
    parts = tuple(version.split(".")[:2])
    return parts if parts[:1] == ("0",) else parts[:1]


def duration(seconds: float) -> str:
    """About how long, in the largest unit that fits: "3 days"."""
    for unit, size in (("year", 31_557_600), ("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{round(seconds)} s"
