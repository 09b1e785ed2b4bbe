"""What makes a run that is resumed the same run: the texts of its documents, and the subtasks that its plan asks for."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.documents.ingest import STANDARD_INPUT, read_documents
from coordinator.errors import DocumentError
from coordinator.minions.plan import Plan
from coordinator.types import Chunk, Document

SubtaskKeys = dict[tuple[int, int], str]
"""(task, chunk) -> what names the subtask for good: a digest of the task's words, the chunk's place and its text."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document was read, and the digest of what was read there. Its text is not kept."""

    label: str
    name: str
    path: str
    digest: str
    part: str = ""
    """Which of the documents inside the file, as `Document.part`."""

    @classmethod
    def of(cls, document: Document) -> "Source":
        path = str(document.path) if document.path == STANDARD_INPUT else os.path.abspath(document.path)  # noqa: PTH100 (links stay)
        return cls(document.label, document.name, path, _digest(document), document.part)


def read_again(sources: Sequence[Source]) -> tuple[Document, ...]:
    """The documents of an earlier sitting, with the labels and names they had. Blocks as `read_documents` does.

    Raises `DocumentError` when one is gone, cannot be read any more, or says something else than it did.
    """
    for source in sources:
        if source.path == str(STANDARD_INPUT):
            raise DocumentError("A document came from standard input, which cannot be read again. Ask the question again.")
        if not os.path.lexists(source.path):
            raise DocumentError(f"{source.name} is no longer at {source.path}. {_ADVICE}")
    documents, skipped = read_documents([Path(path) for path in dict.fromkeys(source.path for source in sources)])
    found = {(str(document.path), document.part): document for document in documents}
    reasons = {each.name: each.reason for each in skipped}
    again: list[Document] = []
    for source in sources:
        document = found.get((source.path, source.part))
        if document is None:
            reason = reasons.get(source.path, "It is now the same file as another of the documents.")
            raise DocumentError(f"{source.name} cannot be read any more: {reason} {_ADVICE}")
        document = replace(document, label=source.label, name=source.name)
        if _digest(document) != source.digest:
            raise DocumentError(f"{source.name} has changed since the run was begun. {_ADVICE}")
        again.append(document)
    return tuple(again)


def subtask_keys(plan: Plan, chunks: Sequence[Chunk]) -> SubtaskKeys:
    """The names of all subtasks of a plan, in its order."""
    return {
        (task, bundle.chunk): _key(plan.tasks[task].instruction, chunks[bundle.chunk])
        for bundle in plan.bundles
        for task in bundle.tasks
    }


def fingerprint(keys: SubtaskKeys) -> str:
    """The same for plans that ask the same of the same pieces of text."""
    return hashlib.sha256("".join(f"{task}.{chunk}:{key}\n" for (task, chunk), key in keys.items()).encode()).hexdigest()


_ADVICE = "Put it back as it was and resume again, or ask the question anew. What was found until now is kept."


def _digest(document: Document) -> str:
    # Rows and sections, too: they decide how the text is divided and quoted.
    places = repr((document.sections, document.rows))
    return hashlib.sha256(f"{places}\n{document.text}".encode("utf-8", "surrogatepass")).hexdigest()


def _key(instruction: str, chunk: Chunk) -> str:
    what = f"{instruction}\0{chunk.document}\0{chunk.start}\0{chunk.end}\0{chunk.text}"
    return hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()[:32]
