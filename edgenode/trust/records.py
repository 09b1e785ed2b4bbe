"""A folder of small JSON files, one for each record, that several processes read and write."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

from edgenode.errors import EdgenodeError, HomeError, UsageError
from edgenode.home import changing, make_private_folder, write_private
from edgenode.text import clean_line

VERSION: Final = 1
MAX_RECORD_BYTES: Final = 65_536
MAX_RECORDS: Final = 1_024
SUFFIX: Final = ".json"
SHORTEST_ID_BEGINNING: Final = 4

Values = Mapping[str, object]
T = TypeVar("T")
_Stamp = tuple[int, int, int]

_UNREAD: Final[_Stamp] = (-1, -1, -1)

_log = logging.getLogger(__name__)


class Records(Generic[T]):
    """The records in `folder`, by name. `parse` makes one (no text) of a name and a file's values, and raises `ValueError`,
    `KeyError`, `TypeError` or an `EdgenodeError` for values that make no sense; `advice` is for a person who has such a file.
    Where they `may_be_empty` an empty file is none.

    A file is read again only when it has changed, so asking often is cheap, and changes made by other processes count at once.
    A file that is damaged or cannot be read is skipped among the others, and warned of once; asked for by its name it is an error.
    May be used by several threads.
    """

    def __init__(
        self,
        folder: Path,
        parse: Callable[[str, Values], T],
        advice: str = "Delete it, and pair again.",
        may_be_empty: bool = False,
    ) -> None:
        self._folder = folder
        self._parse = parse
        self._advice = advice
        self._may_be_empty = may_be_empty
        self._read: dict[str, tuple[_Stamp, T | str]] = {}
        """What each file held when it had that stamp, or what is wrong with it."""

    def all(self) -> dict[str, T]:
        """Ordered by name. Raises `HomeError` when the folder is there and cannot be read."""
        return {name: value for name, (_, value) in self._look().items() if not isinstance(value, str)}

    def unread(self) -> dict[str, str]:
        """Those that are damaged or cannot be read, each with why, a sentence. Raises as `all` does."""
        return {name: value for name, (_, value) in self._look().items() if isinstance(value, str)}

    def get(self, name: str) -> T | None:
        """None where there is none. Raises `HomeError` also when it is there and damaged or cannot be read: that must not pass for
        one that never was."""
        _, value = self._look().get(name, (None, None))
        if isinstance(value, str):
            raise HomeError(value)
        return value

    def write(self, name: str, values: Values) -> None:
        """Makes or replaces a record. Raises `HomeError` when it cannot be written."""
        make_private_folder(self._folder)
        text = json.dumps({"version": VERSION, **values}, ensure_ascii=False, indent=1)
        write_private(self.path(name), text + "\n")

    def remove(self, name: str) -> bool:
        """Whether there was one: of several processes that remove a record at once, one is told so."""
        try:
            self.path(name).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HomeError(f"{self.path(name)} cannot be removed: {error.strerror}.") from error
        return True

    def path(self, name: str) -> Path:
        """Where the record of that name is, or would be."""
        return self._folder / (name + SUFFIX)

    def changing(self) -> AbstractContextManager[None]:
        """Keeps other processes from changing records, for a change that depends on what is there now. Raises `HomeError`."""
        return changing(self._folder)

    def _look(self) -> dict[str, tuple[_Stamp, T | str]]:
        before, now = self._read, dict[str, tuple[_Stamp, T | str]]()
        for name, stamp in self._stamps():
            known = before.get(name)
            try:
                now[name] = known if known and known[0] == stamp else (stamp, self._load(name))
            except FileNotFoundError:  # removed since the folder was listed
                continue
            except OSError as error:
                # It may be readable in a moment (too many open files), without having changed.
                why = f"{self.path(name)} cannot be read: {error.strerror}."
                if known is None or known[0] != _UNREAD:
                    _log.warning("%s", why)
                now[name] = (_UNREAD, why)
        # Replaced whole, never changed: another thread reads it meanwhile.
        self._read = now
        return now

    def _stamps(self) -> list[tuple[str, _Stamp]]:
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if not entry.name.endswith(SUFFIX):
                        continue
                    # Removed since the folder was listed: no longer there.
                    with suppress(FileNotFoundError):
                        told = Path(entry.path).stat()
                        if told.st_size or not self._may_be_empty:
                            found.append((entry.name.removesuffix(SUFFIX), (told.st_ino, told.st_mtime_ns, told.st_size)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise HomeError(f"The folder {self._folder} cannot be read: {error.strerror}.") from error
        return sorted(found)[:MAX_RECORDS]

    def _load(self, name: str) -> T | str:
        path = self.path(name)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_RECORD_BYTES + 1)
            if len(data) > MAX_RECORD_BYTES:
                raise ValueError(f"it is larger than {MAX_RECORD_BYTES} bytes")
            values = json.loads(data)
            if not isinstance(values, dict):
                raise TypeError("it is no JSON object")
            if values.get("version") != VERSION:
                raise ValueError("it was written by another version of edgenode")
            return self._parse(name, values)
        except (ValueError, KeyError, TypeError, RecursionError, EdgenodeError) as error:
            # Once: the result is kept until the file changes.
            why = f"{path} is damaged and was skipped ({clean_line(str(error))}). {self._advice}"
            _log.warning("%s", why)
            return why


def text_of(values: Values, field: str, limit: int = 200) -> str:
    """A field that must be text, cleaned. Raises `KeyError` and `TypeError`."""
    value = values[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is no text")
    return clean_line(value, limit)


def date_of(values: Values, field: str) -> datetime:
    """A field that must be a date with a time zone. Raises `KeyError`, `TypeError` and `ValueError`."""
    return parse_date(text_of(values, field))


def parse_date(text: str) -> datetime:
    """Raises `TypeError` and `ValueError` for what is no date with a time zone."""
    date = datetime.fromisoformat(text)
    if date.tzinfo is None:
        raise ValueError("a date lacks its time zone")
    return date


def find_named(told: str, known: Iterable[tuple[str, str, T]], what: str) -> T:
    """The one of `known` (id, name, value) that a person means by a name, an id, or the beginning of an id.

    Raises `UsageError` when it is none or several: a name that looks like the id of another is no better than that id, since peers
    choose their names. `what` is the kind of thing, for that sentence ("coordinator").
    """
    items = list(known)
    is_beginning = len(told) >= SHORTEST_ID_BEGINNING
    found = [item for item in items if told in (item[0], item[1]) or (is_beginning and item[0].startswith(told))]
    if len(found) == 1:
        return found[0][2]
    shown = clean_line(told, 60)
    if found:
        listed = ", ".join(f"{id} ({name})" for id, name, _ in found)
        raise UsageError(f"“{shown}” may be any of these {what}s: {listed}. Give the id or its first digits.")
    listed = ", ".join(name for _, name, _ in items) or "none"
    raise UsageError(f"No {what} is called “{shown}”. Known: {listed}.")
