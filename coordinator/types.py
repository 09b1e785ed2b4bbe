"""What a run is made of, as plain values. Offsets are Python string indices into the document's extracted text."""

import bisect
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NewType

from edgenode.types import FailureReason, NodeId

RunId = NewType("RunId", str)


@dataclass(frozen=True, slots=True)
class Document:
    """A document's extracted text with its places."""

    label: str
    """Neutral name within a run ("D1"): what the supervisor sees unless the user allows names."""
    name: str
    """What the user calls it: the path as given, or as found in the folder given."""
    path: Path
    text: str
    page_starts: tuple[int, ...] = ()
    """Offset at which each page starts, ascending, the first 0; empty where the format has no pages."""

    def page_at(self, offset: int) -> int | None:
        """Number of the page (from 1) that holds `offset`, None where there are no pages."""
        return bisect.bisect_right(self.page_starts, offset) or None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be read, and why, as a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of a document short enough to be a quotation. `text` is `document.text[start:end]` with white space folded to
    single spaces; it is what a reader chooses from."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of sentences of one document that is read in one go. `index` counts through all chunks of a run from 0."""

    index: int
    document: str
    """Label of the document."""
    start: int
    end: int
    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """What the model reads: a sentence a line."""
        return "\n".join(sentence.text for sentence in self.sentences)


class Reading(StrEnum):
    """Which chunks are read: `auto` decides by the question."""

    AUTO = "auto"
    RELEVANT = "relevant"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Task:
    """One instruction of the plan: a question with several parts becomes several."""

    index: int
    instruction: str


@dataclass(frozen=True, slots=True)
class Place:
    document: str
    """Label of the document."""
    page: int | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A reader chose a quotation that really is in its chunk. `quote` is `document.text[start:end]`; `answer` is the model's own
    short answer and is verified by nobody."""

    task: int
    chunk: int
    place: Place
    quote: str
    answer: str
    node: NodeId


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A sentence that retrieval found, without any model."""

    task: int
    chunk: int
    place: Place
    quote: str
    score: float


@dataclass(frozen=True, slots=True)
class Abstained:
    """The reader said that its chunk does not answer."""

    task: int
    chunk: int
    node: NodeId


@dataclass(frozen=True, slots=True)
class Rejected:
    """The reader's quotation does not occur in its chunk."""

    task: int
    chunk: int
    quote: str
    node: NodeId


@dataclass(frozen=True, slots=True)
class Failed:
    """A subtask that was given up, and why. `nodes` are those that tried."""

    task: int
    chunk: int
    reason: FailureReason
    message: str
    nodes: tuple[NodeId, ...]


Finding = Answered | Retrieved | Abstained | Rejected | Failed


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The aggregation's reply, parsed and checked. `citations` are positions (from 0) in the findings that were sent."""

    found: bool
    answer: str
    citations: tuple[int, ...]


class Status(StrEnum):
    ANSWERED = "answered"
    NOT_FOUND = "not_found"
    FAILED = "failed"
    DRY_RUN = "dry_run"


@dataclass(frozen=True, slots=True)
class Citation:
    """`document` is the document's name; `quote` is its extracted text from `start` to `end`."""

    document: str
    page: int | None
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class FindingCounts:
    answered: int = 0
    retrieved: int = 0
    abstained: int = 0
    rejected: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class NodeWork:
    """What one node did in a run. `seconds` is the time its engine worked; `aggregations` are the answers it put together of
    the findings."""

    id: NodeId
    name: str
    model: str
    engine: str
    subtasks: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    aggregations: int = 0


@dataclass(frozen=True, slots=True)
class LedgerRequest:
    """One request that was written to the ledger. Tokens are None where no reply told them, `usd` where the price is not known;
    `bytes` counts the body."""

    model: str
    bytes: int
    prompt_tokens: int | None
    completion_tokens: int | None
    usd: float | None


@dataclass(frozen=True, slots=True)
class Ledger:
    requests: tuple[LedgerRequest, ...]
    document_characters: int
    whole_document_tokens: int
    """Estimate of the tokens that sending the whole documents would have cost."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A run's result: what `--json` prints, and what the SDK returns."""

    run: RunId
    status: Status
    text: str
    """Empty where there is no answer; a supervisor's "not found" says what is missing."""
    answered_by: str
    """"supervisor" or "home"."""
    citations: tuple[Citation, ...]
    findings: FindingCounts
    nodes: tuple[NodeWork, ...]
    ledger: Ledger
    seconds: float
    incomplete: str = ""
    """What of the documents the answer does not rest on though it was to be read, why, and what to do; empty where it rests on
    all of it."""


@dataclass(frozen=True, slots=True)
class AggregationRequest:
    """What asks a model, in the cloud or at home, to turn findings into an answer. `system` and `schema` (a JSON schema as text)
    are fixed texts of `coordinator.minions.aggregation`; all that comes from the user or the documents is in `user`."""

    system: str
    user: str
    schema: str
