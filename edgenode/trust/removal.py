"""Who was shut out: a mark for each in a folder, which counts by being there, whatever is in it."""

import os
import re
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from edgenode.errors import HomeError
from edgenode.home import changing, make_private_folder
from edgenode.trust.records import MAX_RECORDS

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


class Removals:
    """The marks in `folder`, each named after who was shut out and `suffix`. Changes by other processes count at once.

    The date of a mark tells one removal from every other, but for one of the same in the same tick of the file system's clock (2 s
    on FAT). It is compared for being the same and never with a clock, so that no clock that was wrong lets somebody in or keeps
    somebody out. Every method raises `HomeError` when the folder cannot be used.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self._folder = folder
        self._suffix = suffix

    def changing(self) -> AbstractContextManager[None]:
        """Keeps other processes from shutting out and from letting in, for a change that depends on who is."""
        return changing(self._folder)

    def make_room(self) -> None:
        """Makes the folder, if that can be done, while there may be room for it: then a mark of a record needs none."""
        with suppress(HomeError):
            make_private_folder(self._folder)

    def of(self, id: str) -> datetime | None:
        """When it was shut out; None for one that is not."""
        if not is_identity(id):  # a peer may have said it
            return None
        try:
            time = self._path(id).stat().st_mtime_ns
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HomeError(f"{self._path(id)} cannot be read: {error.strerror}.") from error
        return EPOCH + time // 1_000 * MICROSECOND

    def all(self) -> frozenset[datetime]:
        """When each that there is a mark of was shut out, of the first `MAX_RECORDS` by name."""
        try:
            names = sorted(path.name for path in self._folder.iterdir() if path.name.endswith(self._suffix))
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise HomeError(f"The folder {self._folder} cannot be read: {error.strerror}.") from error
        ids = [name.removesuffix(self._suffix) for name in names]
        return frozenset(filter(None, map(self.of, ids[:MAX_RECORDS])))

    def mark(self, id: str, record: Path, when: datetime) -> None:
        """Shuts it out. The mark is made of the record that says it was let in, where there is one: to rename needs no room on a
        full disk, no look into what may be damaged, and leaves no moment in which neither is there."""
        mark, time = self._path(id), (when - EPOCH) // MICROSECOND * 1_000
        with suppress(OSError):
            record.replace(mark)
        try:
            mark.touch(mode=0o600)
            os.utime(mark, ns=(time, time))
        except OSError as error:
            raise HomeError(f"{mark} cannot be written: {error.strerror}.") from error

    def clear(self, id: str) -> None:
        """Lets it in again, once there is a record that says so."""
        try:
            self._path(id).unlink(missing_ok=True)
        except OSError as error:
            raise HomeError(f"{self._path(id)} cannot be removed: {error.strerror}.") from error

    def _path(self, id: str) -> Path:
        assert is_identity(id), "it becomes a file's name"
        return self._folder / (id + self._suffix)


def is_identity(text: str) -> bool:
    """Whether it may be the id of a node, or of an authority."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None
