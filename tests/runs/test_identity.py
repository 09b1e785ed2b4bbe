"""Documents and subtasks of a run that is resumed: the same, or a sentence."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.documents.chunks import make_chunks
from coordinator.documents.ingest import read_documents
from coordinator.documents.retrieval import Index
from coordinator.errors import DocumentError
from coordinator.minions.plan import make_plan
from coordinator.runs.identity import Source, fingerprint, read_again, subtask_keys
from coordinator.types import Document, Reading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "a.txt").write_text("The rent is due on the third.\n\nThe rent is due on the third.\n")
    (folder / "b.html").write_text("<p>The deposit is paid back within six weeks.</p>")
    return folder


def sources(folder: Path) -> tuple[tuple[Document, ...], list[Source]]:
    documents, _ = read_documents([folder])
    return documents, [Source.of(document) for document in documents]


def test_documents_come_back_as_they_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels, names as they were given, texts and pages; from another working folder, and with a new file beside them."""
    monkeypatch.chdir(folder.parent)
    documents, kept = sources(Path("papers"))
    (folder / "aa.txt").write_text("Put there later.")
    monkeypatch.chdir("/")
    again = read_again(kept)
    assert [(each.label, each.name, each.text) for each in again] == [(each.label, each.name, each.text) for each in documents]
    assert all("rent" not in repr(each) for each in kept)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "a.txt").write_text("The rent is due on the fourth."), r"a\.txt has changed"),
        (lambda folder: (folder / "a.txt").write_bytes(b""), r"a\.txt cannot be read any more: .*empty"),
        (lambda folder: (folder / "a.txt").unlink(), r"a\.txt is no longer at"),
        (lambda folder: ((folder / "b.html").unlink(), os.link(folder / "a.txt", folder / "b.html")), r"b\.html"),
        (lambda folder: ((folder / "b.html").unlink(), (folder / "b.html").symlink_to("a.txt")), r"b\.html cannot.*same file"),
        (lambda folder: ((folder / "b.html").unlink(), (folder / "b.html").mkdir()), r"b\.html cannot be read"),
    ],
    ids=["changed", "empty", "gone", "another text", "a link to the other", "a folder"],
)
def test_documents_that_are_not_what_they_were_are_told(folder: Path, change: Callable[[Path], object], says: str) -> None:
    """By name, with the reason and with what to do."""
    _, kept = sources(folder)
    change(folder)
    with pytest.raises(DocumentError, match=f"{says}.*ask the question anew.*kept"):
        read_again(kept)


def test_subtasks_are_named_by_what_they_ask_of_which_text(folder: Path) -> None:
    """Equal sentences at two places are two subtasks; the same plan has the same names, another text or size of chunks has not."""
    documents, _ = sources(folder)

    def keys(documents: tuple[Document, ...], tokens: int = 16) -> dict[tuple[int, int], str]:
        chunks = make_chunks(documents, max_tokens=tokens)
        return subtask_keys(make_plan("When is the rent due?", chunks, Index(chunks), Reading.ALL), chunks)

    names = keys(documents)
    assert len(set(names.values())) == len(names) > 2
    assert keys(documents) == names
    assert fingerprint(keys(documents)) == fingerprint(names)
    assert fingerprint(keys(documents, 100)) != fingerprint(names)
    assert fingerprint(keys(documents[:1])) != fingerprint(names)
