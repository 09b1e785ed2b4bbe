"""Signs of progress from a reader that takes long, so that its time limit is one for each page and not for the whole file."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_SECONDS = 5.0

_tell: Callable[[], None] | None = None
_lock_path: Path | None = None


def listen(tell: Callable[[], None], lock: Path | None) -> None:
    """Has `tell` called for each sign of progress in this process. `lock` is a file that the processes share which read side by
    side: see `alone`."""
    global _tell, _lock_path
    _tell, _lock_path = tell, lock


def tell() -> None:
    """The reader has finished one of its long steps: its time limit begins again."""
    if _tell is not None:
        _tell()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Holds the lock that keeps two processes from doing the same heavy step at a time. Waiting counts as progress: the process
    that holds the lock has a time limit of its own."""
    if _lock_path is None:
        yield
        return
    lock = FileLock(_lock_path)
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            break
        except Timeout:
            tell()
    tell()
    try:
        yield
    finally:
        lock.release()
