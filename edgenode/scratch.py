"""A folder of this process below the system's folder for temporary files."""

import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import filelock

from edgenode.errors import HomeError

PREFIX: Final = "edgenode-run-"
LOCK: Final = "edgenode.lock"
# A folder younger than this may belong to a process that has not locked it yet.
YOUNG_SECONDS: Final = 60.0
# The path of a unix socket has at most 104 bytes on some systems, and the names of those in the folder need a few.
SOCKET_FOLDER_BYTES: Final = 88
# gRPC reads the path of a socket as part of a URL.
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.+-]+")
_SHORT: Final = Path("/tmp")  # noqa: S108 - mkdtemp makes a private folder in it


class ScratchFolder:
    """A new folder, `path`, which only its owner can enter. `close` removes it. If the process is killed, the next that makes one
    removes it: the lock in it dies with its process.

    `for_sockets`: the path is short and plain enough for gRPC's unix sockets. Raises `HomeError` where no folder can be made.
    """

    def __init__(self, *, for_sockets: bool = False) -> None:
        try:
            parent = Path(tempfile.gettempdir())
            if for_sockets and not _takes_sockets(parent / (PREFIX + "12345678")):
                parent = _SHORT
            _remove_stale(parent)
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            self._lock = filelock.FileLock(self.path / LOCK, thread_local=False)
            self._lock.acquire(timeout=0)
        except (OSError, filelock.Timeout) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise HomeError(
                f"No folder for temporary files can be made: {why}. Set TMPDIR to a folder that exists and that you can write to."
            ) from error

    def close(self) -> None:
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def _takes_sockets(folder: Path) -> bool:
    return len(os.fsencode(folder)) <= SOCKET_FOLDER_BYTES and _PLAIN.fullmatch(str(folder)) is not None


def _remove_stale(parent: Path) -> None:
    """Removes the folders of this user's processes that were killed."""
    for folder in parent.glob(PREFIX + "*"):
        # Whatever cannot be read or locked is in use, or is not ours.
        with suppress(OSError, filelock.Timeout):
            about = folder.lstat()
            if hasattr(os, "getuid") and about.st_uid != os.getuid():
                continue
            if time.time() - about.st_mtime < YOUNG_SECONDS or folder.is_symlink() or not (folder / LOCK).is_file():
                continue
            with filelock.FileLock(folder / LOCK).acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
