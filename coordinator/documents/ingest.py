"""Files to documents: which files are read, and what becomes of those that cannot be."""

import hashlib
import io
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from coordinator.documents.extract import Extract
from coordinator.documents.kinds import NOT_READ, OLD_OFFICE, READERS, kind_of, kind_of_text
from coordinator.documents.worker_main import MAX_FILE_BYTES
from coordinator.documents.workers import Job, Workers
from coordinator.errors import DocumentError
from coordinator.types import Document, Skipped
from edgenode.errors import UsageError

MAX_PARTS: Final = 200
"""Documents inside one file, those inside them included: a message has a few attachments, an archive bomb any number."""
STANDARD_INPUT: Final = Path("-")
_MOST_NAMED: Final = 5
"""Of the files of a folder that are not read for one reason, so many are named one by one; more are counted."""

# Folders of programs and not of documents, beside hidden ones.
_PASSED_OVER: Final = frozenset(
    {"node_modules", "__pycache__", "__MACOSX", "site-packages", "$RECYCLE.BIN", "System Volume Information"}
)
_NO_DOCUMENT: Final = re.compile(
    r"~\$.*|.*~|.*\.(?:tmp|lock|part|crdownload)|(?:package|composer)-lock\.json|pnpm-lock\.yaml|npm-shrinkwrap\.json"
    r"|thumbs\.db|desktop\.ini|icon\r",
    re.IGNORECASE,
)
"""Files that programs leave beside documents: locks, backups, halves of downloads."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: Path
    name: str
    ending: str
    data: bytes | None = None


def read_documents(paths: Sequence[Path]) -> tuple[tuple[Document, ...], tuple[Skipped, ...]]:
    """The documents at `paths` (files, folders with all they hold, "-" for standard input), labelled D1, D2 ... in order, and
    what could not be read.

    In a folder, hidden files and what programs leave behind are passed over in silence, and links to other folders are not
    followed. A file that is met twice is read once, and of identical copies the first. Raises UsageError if one of `paths` does not
    exist; whatever is wrong with a file that does exist is a `Skipped` with the reason, and the others are read. What is missing
    of a document that was read is in its `gaps`. Attachments follow the message that holds them.

    Takes seconds for long documents and blocks meanwhile. Every text can be encoded as UTF-8 and has "\\n" as its only line end.
    """
    for path in paths:
        if path != STANDARD_INPUT and not os.path.lexists(path):
            raise UsageError(f"{path}: there is no such file or folder; check the spelling")
    documents: list[Document] = []
    skipped: list[Skipped] = []
    with Workers() as workers:
        # All are handed over before the first is waited for: they are read side by side.
        pending = [each if isinstance(each, Skipped) else (each, _begin(workers, each)) for each in _without_copies(_found(paths))]
        for each in pending:
            for result in (each,) if isinstance(each, Skipped) else _documents(workers, *each):
                if isinstance(result, Skipped):
                    skipped.append(result)
                else:
                    documents.append(replace(result, label=f"D{len(documents) + 1}"))
    return tuple(documents), tuple(_grouped(skipped, paths))


def _found(paths: Sequence[Path]) -> Iterator[_Candidate | Skipped]:
    """Each file once."""
    seen: set[str] = set()
    for path in paths:
        for each in _folder(path) if path.is_dir() else _named(path):
            real = os.path.realpath(each.path) if isinstance(each, _Candidate) and each.data is None else ""
            if not real or real not in seen:
                seen.add(real)
                yield each


def _named(path: Path) -> Iterator[_Candidate | Skipped]:
    """A file that the user names is read whatever its name is: by its ending, else by what it begins with."""
    if path == STANDARD_INPUT:
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            reason = f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it and try again"
            yield Skipped("standard input", _sentence(reason))
        else:
            yield _Candidate(path, "standard input", kind_of_text(data) or kind_of(data), data)
        return
    ending = path.suffix.lower()
    if ending not in READERS:
        found = _kind_inside(path)
        if ending in NOT_READ and (found == ".txt" or ending not in OLD_OFFICE):
            yield Skipped(str(path), _sentence(NOT_READ[ending]))
            return
        ending = found
    yield _Candidate(path, str(path), ending)


def _kind_inside(path: Path) -> str:
    """The ending that a file should have, by what it begins with."""
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            head = file.read(4096)
            return kind_of(head, file if head.startswith(b"PK") else None)
    except OSError:
        return ".txt"  # whose reader says why it cannot be opened


def _folder(folder: Path) -> Iterator[_Candidate | Skipped]:
    unreadable: list[OSError] = []
    nothing = True
    for place, subfolders, files in os.walk(folder, onerror=unreadable.append):
        subfolders[:] = sorted(name for name in subfolders if _is_of_documents(Path(place, name)))
        for name in sorted(files):
            path = Path(place, name)
            kind = path.suffix.lower()
            if name.startswith(".") or _NO_DOCUMENT.fullmatch(name):
                continue
            nothing = False
            if kind in READERS:
                yield _Candidate(path, str(path), kind)
            elif kind in OLD_OFFICE and (found := _kind_inside(path)) != ".txt":
                yield _Candidate(path, str(path), found)
            else:
                unknown = f"files of its kind ({kind or 'no ending'}) are not read from folders"
                yield Skipped(str(path), _sentence(NOT_READ.get(kind, unknown)))
    for error in unreadable:
        nothing = False
        yield Skipped(str(error.filename), _sentence(f"the folder cannot be opened ({error.strerror or type(error).__name__})"))
    if nothing:
        yield Skipped(str(folder), _sentence("the folder holds no document"))


def _is_of_documents(folder: Path) -> bool:
    return not (folder.name.startswith(".") or folder.name in _PASSED_OVER or (folder / "pyvenv.cfg").is_file())


def _without_copies(found: Iterable[_Candidate | Skipped]) -> Iterator[_Candidate | Skipped]:
    """Of identical files the first, and a word about each other one."""
    found = list(found)
    sizes: defaultdict[int, int] = defaultdict(int)
    for each in found:
        sizes[_size(each)] += 1
    first: dict[bytes, str] = {}
    for each in found:
        if isinstance(each, _Candidate) and sizes[_size(each)] > 1 and _size(each) > 0 and (digest := _digest(each.path)):
            if digest in first:
                yield Skipped(each.name, f"It is an identical copy of {first[digest]}, which is read.", is_copy=True)
                continue
            first[digest] = each.name
        yield each


def _size(each: _Candidate | Skipped) -> int:
    try:
        return each.path.stat().st_size if isinstance(each, _Candidate) and each.data is None else -1
    except OSError:
        return -1


def _digest(path: Path) -> bytes:
    """Empty where the file cannot be read, which its reader will say."""
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def _begin(workers: Workers, candidate: _Candidate) -> "Future[Extract]":
    return workers.submit(Job(candidate.ending, candidate.path, candidate.data))


def _documents(workers: Workers, candidate: _Candidate, reading: "Future[Extract]") -> Iterator[Document | Skipped]:
    """The document that a file is, without its label, and those inside it."""
    inside = [("", candidate.name, reading)]
    count = 0
    for part, name, future in inside:  # which grows meanwhile
        try:
            extract = future.result()
        except DocumentError as error:
            yield Skipped(name, _sentence(str(error)))
            continue
        if extract.text:
            yield Document(
                "", name, candidate.path, extract.text, extract.sections, extract.rows, extract.gaps, part, extract.recognised
            )
        for number, each in enumerate(extract.parts, 1):
            count += 1
            below, title = f"{part}/{number}:{each.name}".lstrip("/"), f"{name} > {each.name}"
            kind = Path(each.name).suffix.lower()
            if kind not in READERS and (kind in OLD_OFFICE or kind not in NOT_READ) and (found := kind_of(each.data)) != ".txt":
                kind = found
            if count > MAX_PARTS:
                yield Skipped(title, _sentence(f"the file holds {MAX_PARTS} others before it; save it by itself and try again"))
                break
            if kind in READERS:
                inside.append((below, title, workers.submit(Job(kind, candidate.path, each.data))))
            else:
                yield Skipped(title, _sentence(NOT_READ.get(kind, "it is of a kind that is not read")))


def _grouped(skipped: Iterable[Skipped], paths: Sequence[Path]) -> Iterator[Skipped]:
    """Of many files of a folder with the same reason, one word for all."""
    groups: dict[tuple[str, str], list[Skipped]] = {}
    for each in skipped:
        folder = next((str(path) for path in paths if path.is_dir() and path in Path(each.name).parents), each.name)
        groups.setdefault((folder, each.reason), []).append(each)
    for (folder, reason), files in groups.items():
        if len(files) <= _MOST_NAMED or files[0].is_copy:  # of copies each is named
            yield from files
        else:
            names = ", ".join(os.path.relpath(each.name, folder) for each in files[:_MOST_NAMED])
            yield Skipped(folder, f"{len(files):,} files are not read, {names} and others: {reason[0].lower()}{reason[1:]}")


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."
