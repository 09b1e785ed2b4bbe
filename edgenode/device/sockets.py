"""Whose server listens at a port of this device. Any user of a machine may listen at a port that nobody uses."""

import os
from pathlib import Path
from typing import Final

FIRST_USER: Final = 1000
"""User ids below this are the system's on Linux: root and services such as `ollama`."""
_LISTENS: Final = "0A"


def owners_of_port(port: int, tables: tuple[Path, ...] = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))) -> frozenset[int] | None:
    """User ids of those who listen at TCP `port`, at whatever address; None where the platform does not tell."""
    owners: set[int] = set()
    told = False
    for table in tables:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        told = True
        for line in lines:
            fields = line.split()
            if len(fields) > 7 and fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                owners.add(int(fields[7]))
    return frozenset(owners) if told else None


def stranger_at(port: int) -> int | None:
    """The id of another ordinary user who listens at `port`; None where it is this user or the system, or the platform does not
    tell."""
    own = os.getuid() if hasattr(os, "getuid") else None
    owners = owners_of_port(port) or frozenset()
    return next((owner for owner in sorted(owners) if owner >= FIRST_USER and owner != own), None)
