"""The memory that a process that reads files may take."""

import contextlib
from typing import Final

MEMORY_BYTES: Final = 3 * 2**30
"""Of address space, for the program, the file and all that is made of it. Where the system has no such limit there is none."""
OCR_MEMORY_BYTES: Final = 5 * 2**30
"""For a process that does OCR: its models and a page take up to 1 GB, and its libraries and threads reserve 2 GB that they never
use."""


def limit_memory() -> None:
    """To be called once, when the process starts."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows; macOS knows the limit and does not always take it
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_within(MEMORY_BYTES, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_ocr_memory() -> None:
    """Raises the limit that `limit_memory` has set; where there is none, none is set."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (max(soft, _within(OCR_MEMORY_BYTES, hard)), hard))


def _within(most: int, hard: int) -> int:
    return most if hard < 0 else min(hard, most)  # -1 is no limit
