"""Whether a folder can be made and written, found out without making or writing anything."""

import errno
import os
from pathlib import Path


def unusable(folder: Path) -> str:
    """Why nothing can be kept in `folder`, in the words of the commands that would try, and what to do; empty where it can be."""
    nearest = folder
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        is_folder = nearest.is_dir()
    except OSError as error:
        return _said(folder, nearest, "read", error.errno)
    made = "written" if nearest == folder else "made"
    if not is_folder:
        return _said(folder, nearest, "made", errno.EEXIST if nearest == folder else errno.ENOTDIR)
    if os.access(nearest, os.W_OK | os.X_OK):
        return ""
    return _said(folder, nearest, made, errno.EROFS if _read_only(nearest) else errno.EACCES)


def _read_only(folder: Path) -> bool:
    if not hasattr(os, "statvfs"):  # Windows
        return False
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _said(folder: Path, nearest: Path, done: str, number: int | None) -> str:
    remedy = "set EDGENODE_DATA to a folder that you may write"
    if number in {errno.EEXIST, errno.ENOTDIR}:
        return f"The folder {folder} cannot be made: {nearest} is a file. Move that file away, or {remedy}."
    why = os.strerror(number) if number else "it is out of reach"
    return f"The folder {folder} cannot be {done}: {why}. Let yourself write in {nearest}, or {remedy}."
