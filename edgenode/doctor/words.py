"""Small things said in many findings: spans of time, lists, how a clock is set. Pure."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from edgenode.doctor.facts import System

# A peer may claim any number; a century says it all.
_LONGEST: Final = 36_525 * 86_400.0


def span(seconds: float) -> str:
    """A span of time in its largest fitting unit: "7 minutes", "3 days"."""
    seconds = min(abs(seconds), _LONGEST)
    for unit, length in (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0)):
        if seconds >= 2 * length or (unit == "minute" and seconds >= length):
            count = round(seconds / length)
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return f"{seconds:.0f} seconds"


def listed(words: Iterable[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"; at most eight of them."""
    kept: Sequence[str] = list(dict.fromkeys(words))
    if len(kept) > 8:
        kept = [*kept[:7], f"{len(kept) - 7} more"]
    return kept[0] if len(kept) == 1 else f"{', '.join(kept[:-1])} {last} {kept[-1]}" if kept else ""


def typed(name: str) -> str:
    """A name as it is typed in a shell. Whoever chose it may hope that its owner's neighbour pastes what it says."""
    return shlex.quote(name)


def set_clock(system: System) -> str:
    """How the clock of a machine of that kind is set by the network."""
    match system:
        case System.LINUX:
            return "sudo timedatectl set-ntp true"
        case System.WSL:
            return "sudo hwclock --hctosys, or in Windows: wsl --shutdown"
        case System.MACOS:
            return "sudo sntp -sS time.apple.com"
        case System.WINDOWS:
            return "w32tm /resync"
        case System.TERMUX:
            return "Android's settings, System, Date and time, Set automatically"
        case System.OTHER:
            return "the system's setting for network time"
