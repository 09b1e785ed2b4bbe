"""Files to documents: which files are read, and what becomes of those that cannot be."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordinator.documents.readers import KINDS, Extract, read_text
from coordinator.errors import DocumentError
from coordinator.types import Document, Skipped
from edgenode.errors import UsageError

MAX_FILE_BYTES: Final = 200_000_000
"""A scanned book with its pictures is smaller; memory on a small machine is not much larger."""

_NOT_READ: Final = {
    ".doc": "it is in the old Word format; save it as .docx and try again",
    ".xls": "it is a spreadsheet; save it as PDF or as text and try again",
    ".xlsx": "it is a spreadsheet; save it as PDF or as text and try again",
    ".ods": "it is a spreadsheet; save it as PDF or as text and try again",
    ".ppt": "it is a presentation; save it as PDF and try again",
    ".pptx": "it is a presentation; save it as PDF and try again",
    ".odp": "it is a presentation; save it as PDF and try again",
    ".odt": "it is in the OpenDocument format; save it as .docx or PDF and try again",
    ".rtf": "it is in the Rich Text format; save it as .docx or PDF and try again",
    ".pages": "it is in the Pages format; save it as .docx or PDF and try again",
}
"""Documents that people have and that are not read: silence about them in a folder would pass for having read them."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: Path
    name: str


def read_documents(paths: Sequence[Path]) -> tuple[tuple[Document, ...], tuple[Skipped, ...]]:
    """The documents at `paths` (files, or folders with all they hold), labelled D1, D2 ... in order, and what could not be read.

    In a folder, hidden files and those of unknown kinds are passed over in silence, links to other folders are not followed. A file
    that is met twice is read once. Raises UsageError if one of `paths` does not exist; whatever is wrong with a file that does
    exist is a `Skipped` with the reason, and the others are read. A PDF of which only some pages could be read is in both.

    Takes seconds for a long PDF and blocks meanwhile. Every text can be encoded as UTF-8 and has "\\n" as its only line end.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{path}: there is no such file or folder; check the spelling")
    documents: list[Document] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    for found in _candidates(paths):
        if isinstance(found, Skipped):
            skipped.append(found)
            continue
        real = os.path.realpath(found.path)
        if real in seen:
            continue
        seen.add(real)
        try:
            extract = _extract(found.path)
        except DocumentError as error:
            skipped.append(Skipped(found.name, _sentence(str(error))))
            continue
        documents.append(Document(f"D{len(documents) + 1}", found.name, found.path, extract.text, extract.page_starts))
        skipped += [Skipped(found.name, _sentence(gap)) for gap in extract.gaps]
    return tuple(documents), tuple(skipped)


def _candidates(paths: Sequence[Path]) -> Iterator[_Candidate | Skipped]:
    for path in paths:
        if path.is_dir():
            yield from _folder(path)
        else:
            yield _Candidate(path, str(path))


def _folder(folder: Path) -> Iterator[_Candidate | Skipped]:
    unreadable: list[OSError] = []
    nothing = True
    for place, subfolders, files in os.walk(folder, onerror=unreadable.append):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            kind = path.suffix.lower()
            if not name.startswith(".") and (kind in KINDS or kind in _NOT_READ):
                nothing = False
                yield _Candidate(path, str(path))
    for error in unreadable:
        nothing = False
        yield Skipped(str(error.filename), _sentence(f"the folder cannot be opened ({_cause(error)})"))
    if nothing:
        yield Skipped(str(folder), _sentence(f"the folder holds no document that can be read ({', '.join(sorted(KINDS))})"))


def _extract(path: Path) -> Extract:
    """Raises DocumentError, with a reason, whatever is wrong with the file."""
    kind = path.suffix.lower()
    if kind in _NOT_READ:
        raise DocumentError(_NOT_READ[kind])
    data = _bytes(path)
    if not data:
        raise DocumentError("it is empty (0 bytes)")
    return KINDS.get(kind, read_text)(data)


def _bytes(path: Path) -> bytes:
    try:
        # Only regular files: opening a pipe would wait for somebody to write to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise DocumentError("it is no regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"it cannot be opened ({_cause(error)})") from error
    if len(data) > MAX_FILE_BYTES:
        raise DocumentError(f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it and try again")
    return data


def _cause(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."
