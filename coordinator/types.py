"""What a run is made of, as plain values. Offsets are Python string indices into the document's extracted text."""

import bisect
import itertools
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NewType

from edgenode.types import FailureReason, NodeId

RunId = NewType("RunId", str)

# Longer ones are text and no labels.
_MAX_ROW_LABEL = 80
_MAX_COLUMN_NAME = 60
# A beginning so long, which the names of columns share ("Years ended December 31, 2026"), is said once.
_LONG_SHARED = 12


class SectionKind(StrEnum):
    """What a document's format divides it into."""

    PAGE = "page"
    SHEET = "sheet"
    SLIDE = "slide"
    MESSAGE = "message"
    CHAPTER = "chapter"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document that its format numbers. It reaches from `start` to the start of the next one, and may begin in the
    middle of a sentence, as a page does."""

    kind: SectionKind
    number: int
    """From 1, as a viewer counts: the physical page, the position of the sheet."""
    start: int
    label: str = ""
    """What the document itself calls it: the printed page number where that differs, the sheet's name, a message's subject."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table's row, `text[start:end]`, which is not empty."""

    start: int
    end: int
    name: str = ""
    """The name of its column, from the table's header; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, `text[start:end]`. It is a quotation of its own. `cells` lie within it, in order, and do not overlap; a row
    of which the text says the columns' names already (a record of a CSV file) has cells without names."""

    start: int
    end: int
    cells: tuple[Cell, ...]
    label: str = ""
    """Where it stands in its file, for a person: "row 7" of a sheet."""
    title: str = ""
    """What stands above its table and says what the values are: "Net sales by product line (in thousands)"."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """Text that OCR has read off a picture, `text[start:end]`: a line, or a row of a table. Characters of it may be wrong."""

    start: int
    end: int
    confidence: float | None
    """How sure the OCR is of it by its own account, from 0 to 1; None where the file held the text already and does not tell."""


class GapKind(StrEnum):
    """Why something of a document is not in its text."""

    SCAN = "scan"
    """Pages that are pictures."""
    PICTURE = "picture"
    """A picture that may hold text, on a page that has text as well."""
    HIDDEN = "hidden"
    """Text that nobody sees, which was left out."""
    UNDECODABLE = "undecodable"
    """A font or an encoding that does not tell which characters it shows."""
    PLACEHOLDER = "placeholder"
    """A page that only asks to be opened in another program."""
    DAMAGED = "damaged"
    UNSURE = "unsure"
    """Lines of a picture of which OCR is not sure, which were left out."""
    NOT_READ = "not_read"
    """Something of another kind, such as an attachment that is not read."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a document holds and its text does not."""

    kind: GapKind
    reason: str
    """As a clause that begins with what it is about: "pages 3, 4 are pictures without text"."""
    pages: tuple[int, ...] = ()
    """Numbers of the sections it concerns, where it concerns some of them."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document's extracted text with its places."""

    label: str
    """Neutral name within a run ("D1"): what the supervisor sees unless the user allows names."""
    name: str
    """What the user calls it: the path as given, or as found in the folder given."""
    path: Path
    text: str
    sections: tuple[Section, ...] = ()
    """In order of `start`; empty where the format has none."""
    rows: tuple[Row, ...] = ()
    """Rows of tables in order of `start`; none overlaps another."""
    gaps: tuple[Gap, ...] = ()
    part: str = ""
    """Which part of the file it is, where the file holds several documents: the name of an attachment."""
    recognised: tuple[Recognised, ...] = ()
    """What of the text is by OCR, in order of `start`; none overlaps another."""

    @property
    def pages(self) -> int | None:
        """How many pages it has, None where its format has none."""
        return sum(section.kind is SectionKind.PAGE for section in self.sections) or None

    def section_at(self, offset: int) -> Section | None:
        """The section that holds `offset`."""
        position = bisect.bisect_right(self.sections, offset, key=lambda section: section.start)
        return self.sections[position - 1] if position else None

    def page_at(self, offset: int) -> int | None:
        """Number of the page (from 1) that holds `offset`, None where there are no pages."""
        section = self.section_at(offset)
        return section.number if section is not None and section.kind is SectionKind.PAGE else None

    def where(self, offset: int) -> str:
        """Where `offset` is, for a person: "page 4 (printed iii)", "sheet Flats, row 7", "line 12"."""
        section, row = self.section_at(offset), self.row_at(offset)
        if section is None:
            return row.label if row is not None and row.label else f"line {self.text.count(chr(10), 0, offset) + 1}"
        if section.kind is SectionKind.PAGE:
            return f"page {section.number}" + (f" (printed {section.label})" if section.label else "")
        place = f"{section.kind.value} {section.label or section.number}"
        return f"{place}, {row.label}" if row is not None and row.label else place

    def row_at(self, offset: int) -> Row | None:
        """The row of a table that holds `offset`."""
        position = bisect.bisect_right(self.rows, offset, key=lambda row: row.start)
        row = self.rows[position - 1] if position else None
        return row if row is not None and offset < row.end else None

    def place(self, start: int, end: int) -> "Place":
        """Where `text[start:end]` is, and whether it is by OCR."""
        first = bisect.bisect_right(self.recognised, start, key=lambda each: each.end)
        by_ocr = list(itertools.takewhile(lambda each: each.start < end, self.recognised[first:]))
        told = [each.confidence for each in by_ocr if each.confidence is not None]
        return Place(
            self.label,
            self.page_at(start),
            start,
            end,
            self.where(start),
            bool(by_ocr),
            min(told) if len(told) == len(by_ocr) > 0 else None,
        )

    def quote(self, start: int, end: int) -> str:
        """What stands from `start` to `end`, as it is quoted: the text itself, but whole cells of a table's row with the names of
        their columns, after the table's title and the row's first cell, which mostly say what the row is about:
        "Costs by month — Month: January | Rent: 410.20"."""
        row = self.row_at(start)
        if row is None or end > row.end:
            return self.text[start:end]
        cells = [cell for cell in row.cells if start <= cell.start and cell.end <= end]
        if not row.title and len(cells) == len(row.cells) and not any(cell.name for cell in cells):
            return self.text[start:end]
        if not cells or any(cell.start < edge < cell.end for cell in row.cells for edge in (start, end)):
            return self.text[start:end]
        first = row.cells[0]
        if cells[0] is not first and first.end - first.start <= _MAX_ROW_LABEL:
            cells.insert(0, first)
        named = " | ".join(
            self._named(cell, before.name if before else "") for before, cell in zip((None, *cells), cells, strict=False)
        )
        return f"{row.title} — {named}" if row.title else named

    def _named(self, cell: Cell, before: str) -> str:
        """`before` is the name of the cell before: a long beginning that both share is not said again."""
        value = " ".join(self.text[cell.start : cell.end].split())
        shared = 0
        for word in before.split(" ")[:-1]:
            if not cell.name.startswith(f"{word} ", shared):
                break
            shared += len(word) + 1
        name = cell.name[shared if shared >= _LONG_SHARED else 0 :][:_MAX_COLUMN_NAME]
        return f"{name}: {value}" if name else value


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not read, and why, as a sentence."""

    name: str
    reason: str
    is_copy: bool = False
    """Whether it says the same as a document that is read, so that nothing is missing."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that a run was given and no answer of it rests on: a file that could not be read, or a part of one."""

    name: str
    reason: str
    """As a sentence."""
    pages: tuple[int, ...] = ()
    """Numbers of the pages it concerns; empty for a whole file, and where the kind of file has none."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of a document short enough to be a quotation. `text` is `document.quote(start, end)` with white space folded to
    single spaces; it is what a reader chooses from."""

    start: int
    end: int
    text: str
    is_row: bool = False
    """Whether it is of a table's row, and so says nothing about what stands beside it."""


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
    where: str = ""
    """As `Document.where` tells it. It may hold names of the document's own, so it stays in the house."""
    by_ocr: bool = False
    """Whether any of it was read off a picture by OCR, so that characters may be wrong."""
    confidence: float | None = None
    """Of the line in it that OCR is least sure of, from 0 to 1; None where that is not known, or it is not by OCR."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A reader chose a quotation that really is in its chunk. `quote` is `document.quote(start, end)`; `answer` is the model's own
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
    PARTIAL = "partial"
    """Answered, but from less than was to be read: `Answer.incomplete` says what is missing."""
    NOT_FOUND = "not_found"
    FAILED = "failed"
    DRY_RUN = "dry_run"
    STOPPED = "stopped"
    """Whoever asked chose not to have it read, when they saw how long that takes; `resume` reads it after all."""


@dataclass(frozen=True, slots=True)
class Citation:
    """`document` is the document's name; `quote` is what it says from `start` to `end` (`Document.quote`)."""

    document: str
    page: int | None
    start: int
    end: int
    quote: str
    where: str = ""
    """The page, sheet, row or line, for a person."""
    answer: str = ""
    """What a reader said that the quotation answers, in its own words, verified by nobody; empty where none did."""
    by_ocr: bool = False
    """As `Place.by_ocr`."""
    confidence: float | None = None
    """As `Place.confidence`."""


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
    unchecked: str = ""
    """The server that its models ran on, where the node could not check that this was on its own device; else empty."""


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
    passages: tuple[Citation, ...] = ()
    """Under an answer that a local model wrote: the passages that fit best, beside those that it cites."""
    incomplete: str = ""
    """What of the documents the answer does not rest on though it was to be read, why, and what to do; empty where it rests on
    all of it."""
    unread: tuple[Unread, ...] = ()
    """What the answer does not rest on since it could not be read at all, such as scanned pages without the extra for OCR."""


@dataclass(frozen=True, slots=True)
class AggregationRequest:
    """What asks a model, in the cloud or at home, to turn findings into an answer. `system` and `schema` (a JSON schema as text)
    are fixed texts of `coordinator.minions.aggregation`; all that comes from the user or the documents is in `user`."""

    system: str
    user: str
    schema: str
