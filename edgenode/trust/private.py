"""Reading files that only their owner may read: keys, and secrets of running nodes."""

import os
import stat
from pathlib import Path

from edgenode.errors import TrustError


def read_private(path: Path, limit: int) -> bytes:
    """What is in the file. Raises `FileNotFoundError` and other `OSError`s, and `TrustError`, with a clause that says what is wrong
    with it ("it belongs to another user"), for what is no private file of this user or larger than `limit` bytes.
    """
    if path.is_symlink():
        # Said in words; that no link is followed is seen to below.
        raise TrustError("it is a link to somewhere else")
    # Without following links and without waiting for what is no file; then the open file is looked at, not the name.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        _check(os.fstat(file.fileno()))
        data = file.read(limit + 1)
    if len(data) > limit:
        raise TrustError(f"it is larger than {limit} bytes")
    return data


def _check(told: os.stat_result) -> None:
    if not stat.S_ISREG(told.st_mode):
        raise TrustError("it is no file")
    if os.name != "posix":
        return
    if told.st_uid != os.getuid():
        raise TrustError("it belongs to another user")
    if stat.S_IMODE(told.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise TrustError("other users of this machine can read it")
