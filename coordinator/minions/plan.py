"""The plan made at home: which task is asked of which chunk, the most promising first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from coordinator.minions.question import is_overview, split_question
from coordinator.types import Chunk, Reading, Task

__all__ = ["Bundle", "Plan", "Relevance", "is_overview", "make_plan", "split_question"]


class Relevance(Protocol):
    """What a plan needs of `coordinator.documents.retrieval.Index`."""

    def chunk_scores(self, query: str) -> Sequence[float]:
        """A score for each chunk, the higher the likelier, not below 0."""

    def relevant_chunks(self, query: str) -> Sequence[int]:
        """Indices of the chunks that may answer."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The subtasks that share a chunk. `tasks` are indices of the plan's tasks, ascending, never empty."""

    chunk: int
    tasks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """`bundles` are in the order in which they are worth reading, one for each chunk that is read. There may be none: with
    `Reading.RELEVANT` where no chunk is relevant."""

    question: str
    tasks: tuple[Task, ...]
    overview: bool
    bundles: tuple[Bundle, ...]


def make_plan(question: str, chunks: Sequence[Chunk], index: Relevance, reading: Reading) -> Plan:
    """Plans the reading of `chunks`, of which `index` knows the relevance.

    `ALL`, and `AUTO` for an overview: every task of every chunk. Otherwise each task of the chunks that are relevant to it or to
    the whole question; a task for which retrieval finds none (a question in another language than the document has no words in
    common with it) is asked of all chunks with `AUTO`, of none with `RELEVANT`. Raises `UsageError` for a question without letters.
    """
    tasks = split_question(question)
    overview = is_overview(question)
    everything = frozenset(range(len(chunks)))
    wanted: list[frozenset[int]] = []
    for task in tasks:
        if reading is Reading.ALL or (reading is Reading.AUTO and overview):
            wanted.append(everything)
            continue
        relevant = everything.intersection((*index.relevant_chunks(task.instruction), *index.relevant_chunks(question)))
        wanted.append(relevant if relevant or reading is Reading.RELEVANT else everything)
    promise = _promise([question, *(task.instruction for task in tasks)], len(chunks), index)
    read = sorted(frozenset[int]().union(*wanted), key=lambda chunk: (-promise[chunk], chunk))
    bundles = (Bundle(chunk, tuple(task.index for task in tasks if chunk in wanted[task.index])) for chunk in read)
    return Plan(question, tasks, overview, tuple(bundles))


def _promise(queries: Sequence[str], count: int, index: Relevance) -> list[float]:
    """For each chunk the best of its scores for the queries, each query's measured against its own best chunk."""
    best = [0.0] * count
    for query in dict.fromkeys(queries):
        scores = index.chunk_scores(query)
        top = max(scores, default=0.0)
        if top > 0:
            best = [max(old, score / top) for old, score in zip(best, scores, strict=True)]
    return best
