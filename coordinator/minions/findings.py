"""What a reader's reply is worth, and what retrieval finds without any reader."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from coordinator.minions.plan import Plan
from coordinator.minions.quotation import fold, locate, normalise
from coordinator.types import Abstained, Answered, Chunk, Document, Place, Rejected, Retrieved, Sentence, Task
from edgenode.text import clean_line
from edgenode.types import NodeId

MAX_REPLY_CHARACTERS: Final = 8_000
MAX_QUOTE_CHARACTERS: Final = 400
"""A sentence has at most 300 characters; some slack for engines that know no schema and whose models copy."""
MAX_FINDING_ANSWER_CHARACTERS: Final = 200
MAX_RETRIEVED_PER_TASK: Final = 60
"""More than the default egress budget holds, but for very long documents."""
MAX_RETRIEVED_FOR_OVERVIEW: Final = 8
"""A task of an overview ("summarise") has few words in common with what it wants: retrieval is no guide there, readers are."""

# Ranking of retrieved sentences: a sentence gains from those beside it and from the best of its chunk. Measured on the State of the
# Union (76 questions, 4,000 characters of findings): evidence recall .80 by the sentences' own BM25 scores, .90 with neighbours at .35,
# .91 with both; flat between .2 and .5, and .3 and .6. Evidence is a passage rather than a sentence.
_NEIGHBOUR_SHARE: Final = 0.35
_CHUNK_SHARE: Final = 0.5
_MAX_HITS: Final = 5_000


class MalformedReply(ValueError):
    """A reply that is not of the schema. The subtask may succeed elsewhere."""


class Hit(Protocol):
    @property
    def chunk(self) -> int: ...
    @property
    def sentence(self) -> int: ...
    @property
    def score(self) -> float: ...


class SentenceIndex(Protocol):
    """What finding by retrieval needs of `coordinator.documents.retrieval.Index`."""

    def sentences(self, query: str, limit: int) -> Sequence[Hit]:
        """The sentences most like `query`, the best first, at most `limit`."""


def is_quotable(text: str) -> bool:
    """Whether a quotation says anything: it has at least two letters or digits."""
    return sum(character.isalnum() for character in text) >= 2


def check_reply(text: str, task: Task, chunk: Chunk, document: Document, node: NodeId) -> Answered | Abstained | Rejected:
    """What a reader's reply to `task` about `chunk` comes to.

    Answered if its quotation occurs in the chunk after normalisation, with the place of the sentence that equals it if there is one;
    rejected if it does not, or is too long or too short to be one; abstained if it is null. Raises `MalformedReply` for anything else.
    """
    quote, answer = _parse(text)
    if quote is None:
        return Abstained(task.index, chunk.index, node)
    place = _place(quote, chunk, document) if is_quotable(quote) and len(fold(quote)) <= MAX_QUOTE_CHARACTERS else None
    if place is None:
        return Rejected(task.index, chunk.index, clean_line(quote, MAX_QUOTE_CHARACTERS), node)
    start, end = place
    return Answered(
        task=task.index,
        chunk=chunk.index,
        place=Place(document.label, document.page_at(start), start, end),
        quote=document.text[start:end],
        answer=clean_line(answer, MAX_FINDING_ANSWER_CHARACTERS),
        node=node,
    )


def retrieved_findings(
    plan: Plan, chunks: Sequence[Chunk], documents: Mapping[str, Document], index: SentenceIndex
) -> tuple[Retrieved, ...]:
    """The sentences that retrieval holds strongest for each task, by task, the strongest first. A sentence found for several tasks is
    given for each. `documents` are by label."""
    limit = MAX_RETRIEVED_FOR_OVERVIEW if plan.overview else MAX_RETRIEVED_PER_TASK
    return tuple(
        _retrieved(task, chunks[chunk], chunks[chunk].sentences[sentence], documents, score)
        for task in plan.tasks
        for (chunk, sentence), score in _strongest(index.sentences(task.instruction, _MAX_HITS), chunks, limit)
    )


def _parse(text: str) -> tuple[str | None, str]:
    if len(text) > MAX_REPLY_CHARACTERS:
        raise MalformedReply("it is too long")
    try:
        reply: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedReply("it is not JSON") from None
    if not isinstance(reply, dict) or reply.keys() != {"quote", "answer"}:
        raise MalformedReply("it is not a quotation and an answer")
    quote, answer = reply["quote"], reply["answer"]
    if not (quote is None or isinstance(quote, str)) or not isinstance(answer, str):
        raise MalformedReply("its quotation or its answer is not a text")
    return quote, answer


def _place(quote: str, chunk: Chunk, document: Document) -> tuple[int, int] | None:
    wanted = normalise(quote)
    for sentence in chunk.sentences:
        if normalise(sentence.text) == wanted:
            return sentence.start, sentence.end
    return locate(quote, document.text, chunk.start, chunk.end)


def _strongest(hits: Sequence[Hit], chunks: Sequence[Chunk], limit: int) -> list[tuple[tuple[int, int], float]]:
    """Position (chunk, sentence) and strength of the strongest sentences: hits, and what stands beside them."""
    own = {(hit.chunk, hit.sentence): hit.score for hit in hits if hit.score > 0}
    of_chunk: dict[int, float] = {}
    for (chunk, _), score in own.items():
        of_chunk[chunk] = max(of_chunk.get(chunk, 0.0), score)
    beside = ((chunk, sentence + step) for (chunk, sentence) in own for step in (-1, 1))
    positions = {
        (chunk, sentence): None
        for chunk, sentence in itertools.chain(own, beside)
        if 0 <= sentence < len(chunks[chunk].sentences) and is_quotable(chunks[chunk].sentences[sentence].text)
    }
    strengths = (
        own.get((chunk, sentence), 0.0)
        + _NEIGHBOUR_SHARE * (own.get((chunk, sentence - 1), 0.0) + own.get((chunk, sentence + 1), 0.0))
        + _CHUNK_SHARE * of_chunk[chunk]
        for chunk, sentence in positions
    )
    return sorted(zip(positions, strengths, strict=True), key=lambda pair: (-pair[1], pair[0]))[:limit]


def _retrieved(task: Task, chunk: Chunk, sentence: Sentence, documents: Mapping[str, Document], score: float) -> Retrieved:
    document = documents[chunk.document]
    return Retrieved(
        task=task.index,
        chunk=chunk.index,
        place=Place(document.label, document.page_at(sentence.start), sentence.start, sentence.end),
        quote=document.text[sentence.start : sentence.end],
        score=round(score, 4),
    )
