"""Files to documents: which files are read, and what becomes of those that cannot be."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from coordinator.documents.extract import Extract
from coordinator.documents.kinds import NOT_READ, READERS
from coordinator.documents.workers import Job, Workers
from coordinator.errors import DocumentError
from coordinator.types import Document, Skipped
from edgenode.errors import UsageError

MAX_PARTS: Final = 200
"""Documents inside one file, those inside them included: a message has a few attachments, an archive bomb any number."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: Path
    name: str


def read_documents(paths: Sequence[Path]) -> tuple[tuple[Document, ...], tuple[Skipped, ...]]:
    """The documents at `paths` (files, or folders with all they hold), labelled D1, D2 ... in order, and what could not be read.

    In a folder, hidden files and those of unknown kinds are passed over in silence, links to other folders are not followed. A file
    that is met twice is read once. Raises UsageError if one of `paths` does not exist; whatever is wrong with a file that does
    exist is a `Skipped` with the reason, and the others are read. What is missing of a document that was read is in its `gaps`.
    Attachments follow the message that holds them.

    Takes seconds for a long PDF and blocks meanwhile. Every text can be encoded as UTF-8 and has "\\n" as its only line end.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{path}: there is no such file or folder; check the spelling")
    candidates = [*_once(_candidates(paths))]
    documents: list[Document] = []
    skipped: list[Skipped] = []
    with Workers() as workers:
        reading = [each if isinstance(each, Skipped) else _read(workers, each) for each in candidates]
        for candidate, extract in zip(candidates, reading, strict=True):
            if isinstance(candidate, Skipped):
                skipped.append(candidate)
                continue
            if isinstance(extract, Skipped):
                skipped.append(extract)
                continue
            for found in _documents(workers, candidate, extract):
                if isinstance(found, Skipped):
                    skipped.append(found)
                else:
                    documents.append(replace(found, label=f"D{len(documents) + 1}"))
    return tuple(documents), tuple(skipped)


def _once(candidates: Iterator[_Candidate | Skipped]) -> Iterator[_Candidate | Skipped]:
    seen: set[str] = set()
    for each in candidates:
        real = "" if isinstance(each, Skipped) else os.path.realpath(each.path)
        if not real or real not in seen:
            seen.add(real)
            yield each


def _read(workers: Workers, candidate: _Candidate) -> Future[Extract] | Skipped:
    kind = candidate.path.suffix.lower()
    if kind in NOT_READ:
        return Skipped(candidate.name, _sentence(NOT_READ[kind]))
    return workers.submit(Job(kind, candidate.path))


def _documents(workers: Workers, candidate: _Candidate, reading: Future[Extract]) -> Iterator[Document | Skipped]:
    """The document that a file is, without its label, and those inside it."""
    inside = [("", candidate.name, reading)]
    count = 0
    for part, name, future in inside:  # which grows meanwhile
        try:
            extract = future.result()
        except DocumentError as error:
            yield Skipped(name, _sentence(str(error)))
            continue
        yield Document("", name, candidate.path, extract.text, extract.sections, extract.rows, extract.gaps, part)
        for number, each in enumerate(extract.parts, 1):
            count += 1
            below, title = f"{part}/{number}:{each.name}".lstrip("/"), f"{name} > {each.name}"
            kind = Path(each.name).suffix.lower()
            if count > MAX_PARTS:
                yield Skipped(title, _sentence(f"the file holds {MAX_PARTS} others before it; save it by itself and try again"))
                break
            if kind in READERS:
                inside.append((below, title, workers.submit(Job(kind, candidate.path, each.data))))
            else:
                yield Skipped(title, _sentence(NOT_READ.get(kind, "it is of a kind that is not read")))


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
            if not name.startswith(".") and (kind in READERS or kind in NOT_READ):
                nothing = False
                yield _Candidate(path, str(path))
    for error in unreadable:
        nothing = False
        yield Skipped(str(error.filename), _sentence(f"the folder cannot be opened ({_cause(error)})"))
    if nothing:
        yield Skipped(str(folder), _sentence(f"the folder holds no document that can be read ({', '.join(sorted(READERS))})"))


def _cause(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."
