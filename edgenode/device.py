"""What this device has."""

import os
from typing import Final

UNKNOWN_MEMORY_BYTES: Final = 4 * 1024**3


def memory_bytes() -> int:
    """Physical memory; where the platform does not tell, a modest guess."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_MEMORY_BYTES


def cores() -> int:
    """Processor cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
