"""What a reader's reply is worth, and what retrieval finds without any reader."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from coordinator.minions.echo import own_words
from coordinator.minions.fairness import fair
from coordinator.minions.plan import Plan
from coordinator.minions.quotation import fold, locate, normalise
from coordinator.minions.reply import object_in
from coordinator.types import Abstained, Answered, Chunk, Document, Rejected, Retrieved, Sentence, Task
from edgenode.text import clean_line
from edgenode.types import NodeId

MAX_REPLY_CHARACTERS: Final = 8_000
MAX_QUOTE_CHARACTERS: Final = 400
"""A sentence has at most 300 characters; some slack for engines that know no schema and whose models copy."""
MAX_ANSWER_CHARACTERS: Final = 80
"""A few words, also in English: what the reply's schema allows, and what is kept of an answer."""
MAX_RETRIEVED_PER_TASK: Final = 60
"""More than the default egress budget holds, but for very long documents."""
AMONG: Final = 10
"""Of several documents, so many times more sentences are looked through for those of others than the strongest."""
MAX_RETRIEVED_FOR_OVERVIEW: Final = 8
"""A task of an overview ("summarise") has few words in common with what it wants: retrieval is no guide there, readers are."""


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

    Answered if its quotation occurs in the chunk after normalisation, with the place of the sentence that equals it if there is
    one; rejected if it does not, or is too long or too short to be one; abstained if it is null. Raises `MalformedReply` for
    anything else. Of the answer only what `own_words` allows is kept.
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
        place=document.place(start, end),
        quote=document.quote(start, end),
        answer=own_words(clean_line(answer, MAX_ANSWER_CHARACTERS), document.text[start:end], chunk.text),
        node=node,
    )


def retrieved_findings(
    plan: Plan, chunks: Sequence[Chunk], documents: Mapping[str, Document], index: SentenceIndex
) -> tuple[Retrieved, ...]:
    """The sentences that retrieval holds strongest for each task, by task, the strongest first. A sentence found for several tasks
    is given for each. `documents` are by label."""
    limit = MAX_RETRIEVED_FOR_OVERVIEW if plan.overview else MAX_RETRIEVED_PER_TASK
    found: list[Retrieved] = []
    for task in plan.tasks:
        hits = index.sentences(task.instruction, limit if len(documents) == 1 else AMONG * limit)
        quotable = [hit for hit in hits if is_quotable(chunks[hit.chunk].sentences[hit.sentence].text)]
        chosen = fair(quotable, lambda hit: chunks[hit.chunk].document, lambda hit: chunks[hit.chunk].sentences[hit.sentence].text)[
            :limit
        ]
        for hit in sorted(chosen, key=lambda hit: -hit.score):
            sentence = chunks[hit.chunk].sentences[hit.sentence]
            found.append(_retrieved(task, chunks[hit.chunk], sentence, documents, hit.score))
    return tuple(found)


def _parse(text: str) -> tuple[str | None, str]:
    if len(text) > MAX_REPLY_CHARACTERS:
        raise MalformedReply("it is too long")
    reply = object_in(text, "quote")
    if reply is None:
        raise MalformedReply("it is not a quotation and an answer in JSON")
    quote, answer = reply["quote"], reply.get("answer") or ""
    if not (quote is None or isinstance(quote, str)) or not isinstance(answer, str):
        raise MalformedReply("its quotation or its answer is not a text")
    return quote, answer


def _place(quote: str, chunk: Chunk, document: Document) -> tuple[int, int] | None:
    wanted = normalise(quote)
    for sentence in chunk.sentences:
        if normalise(sentence.text) == wanted:
            return sentence.start, sentence.end
    return locate(quote, document.text, chunk.start, chunk.end)


def _retrieved(task: Task, chunk: Chunk, sentence: Sentence, documents: Mapping[str, Document], score: float) -> Retrieved:
    document = documents[chunk.document]
    return Retrieved(
        task=task.index,
        chunk=chunk.index,
        place=document.place(sentence.start, sentence.end),
        quote=document.quote(sentence.start, sentence.end),
        score=round(score, 4),
    )
