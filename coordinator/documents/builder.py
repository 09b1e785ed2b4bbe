"""Text put together from paragraphs, tables and sections, with the places of each: what most readers make their `Extract` with."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from coordinator.documents.extract import Extract, Part, checked, clean
from coordinator.types import Cell, Gap, Row, Section, SectionKind

SEPARATOR: Final = " | "

LEFT_OUT: Final = {
    "struck": "text that is struck out is left out, as it is not in force",
    "deleted": "text whose deletion is tracked is left out, as it is not in force",
    "hidden": "hidden text is left out",
}
"""Reasons of gaps, by the kind of text that is there and is not read."""

PAGE_NUMBER: Final = re.compile(
    r"\W*(?:(?:page|seite|p\.|ページ|頁)\W*)?\d*\W*(?:(?:of|von|/|-)\W*\d+\W*)?(?:(?:ページ|頁)\W*)?", re.IGNORECASE
)
"""What a running head or foot may say and is no text of the document."""
_RAISED: Final = re.compile(r"[\d０-９+\-−–=()]*[\d０-９][\d０-９+\-−–=()n]*|[+\-−]")
_LOWERED: Final = str.maketrans("0123456789+-=()", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎")
_UNIT: Final = re.compile(
    r"[(\[（［].{1,60}[)\]）］]|単位.{1,20}"
    r"|(?:(?:amounts?|dollars?|euros?|figures) )?(?:are )?in (?:thousands|millions|billions|[A-Z]{3})\b.{0,40}",
    re.IGNORECASE,
)
"""A line below a table's title that says what its figures count."""
_MAX_TITLE: Final = 100
_NUMBER: Final = re.compile(r"[(\-−+~<>≈]?\s*[$€£¥￥]?\s*[\d０-９][\d０-９.,'’\s/:%％‰()\-−+]*\s*(?:[$€£¥￥円]|EUR|USD|JPY|CHF|%)?")


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row as it is read: a text for each column, "" where nothing stands. Spanned cells hold their text in each place."""

    cells: Sequence[str]
    header: bool = False
    """Whether the file says that it is a header."""
    label: str = ""
    """As `Row.label`."""


class Builder:
    """Collects what a reader finds, in reading order. All text is cleaned as it comes in."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._after = ""
        """What stands between the last piece and the next, once there is one."""
        self._above: list[str] = []
        """Paragraphs since the last table."""
        self._rows: list[Row] = []
        self._sections: list[tuple[SectionKind, int, str]] = []
        self._placed: list[Section] = []
        self.gaps: list[Gap] = []
        self.parts: list[Part] = []

    @property
    def text(self) -> str:
        """What has been added so far."""
        return "".join(self._pieces)

    def section(self, kind: SectionKind, number: int, label: str = "") -> None:
        """What comes next belongs to it."""
        self._sections.append((kind, number, fold(clean(label))))

    def paragraph(self, text: str) -> None:
        """Adds lines of text as a paragraph; nothing, if there is no text in it. Tabs stay: they set columns apart."""
        text = "\n".join(filter(None, (re.sub(r"[^\S\t]+", " ", line).strip() for line in clean(text).split("\n"))))
        if text:
            self._add(text, after="\n\n")
            self._above.append(text)

    def table(self, rows: Iterable[TableRow]) -> None:
        """Adds a table, a line for each row. A single column is layout, and its cells are paragraphs."""
        rows = [TableRow([fold(clean(cell)) for cell in row.cells], row.header, row.label) for row in rows]
        rows = [row for row in rows if any(row.cells)]
        if all(len(row.cells) < 2 for row in rows):
            for row in rows:
                self.paragraph(row.cells[0])
            return
        headers = _headers(rows)
        names = _names(rows[:headers])
        title = title_of(self._above)
        self._above.clear()
        for position, row in enumerate(rows):
            line = SEPARATOR.join(row.cells)
            start = self._add(line, after="\n")
            if position >= headers:
                self._rows.append(_row(row, start, names, title))
        self._after = "\n\n"

    def records(self, names: Sequence[str], rows: Iterable[TableRow]) -> None:
        """Adds the records of a table of data, a line for each: its values with their columns' names, empty ones aside."""
        names = [fold(clean(name)) for name in names]
        for row in rows:
            line, cells = "", []
            for position, value in enumerate(row.cells):
                value = fold(clean(value))
                if value:
                    name = names[position] if position < len(names) else ""
                    line += (SEPARATOR if line else "") + (f"{name}: " if name else "")
                    start = len(line) - (len(name) + 2 if name else 0)
                    line += value
                    cells.append((start, len(line)))
            if line:
                at = self._add(line, after="\n")
                placed = tuple(Cell(at + start, at + end) for start, end in cells)
                self._rows.append(Row(at, at + len(line), placed, row.label))
        self._after = "\n\n"

    def extract(self) -> Extract:
        """Raises `DocumentError` where there is no text, or too much."""
        text = self.text
        if not self.parts:  # a message that only carries others says nothing itself
            checked(text)
        return Extract(text, tuple(self._placed), tuple(self._rows), tuple(self.gaps), tuple(self.parts))

    def _add(self, text: str, after: str) -> int:
        if self._pieces:
            self._pieces.append(self._after)
            self._length += len(self._after)
        start = self._length
        # An empty section has no place of its own: it begins where the next one does.
        self._placed += [Section(kind, number, start, label) for kind, number, label in self._sections]
        self._sections.clear()
        self._pieces.append(text)
        self._length += len(text)
        self._after = after
        return start


def fold(text: str) -> str:
    """`text` on one line."""
    return " ".join(text.split())


def raised(text: str) -> str:
    """Text that stands above the line: figures with a sign, since 10^6 is not 106; letters as they are ("1st")."""
    return f"^{text.strip()}" if _RAISED.fullmatch(text.strip()) else text


def lowered(text: str) -> str:
    """Text that stands below the line, with the figures there are for it, which compare as the plain ones do: CO₂."""
    return text.translate(_LOWERED)


def is_number(text: str) -> bool:
    """Whether a cell holds an amount, a date in figures, or the like, and no name of a column."""
    return bool(_NUMBER.fullmatch(text.strip()))


def title_of(above: Sequence[str]) -> str:
    """What the rows of a table are about, by the text above it, the nearest last: a short line that is no sentence, or one that
    ends in a colon; with the one before it where it only tells the unit. "" where there is none."""
    lines = [line for text in above[-2:] for line in text.split("\n")]
    if not lines:
        return ""
    last = fold(lines[-1])
    if _UNIT.fullmatch(last):
        before = _title(fold(lines[-2])) if len(lines) > 1 else ""
        return f"{before} {last}" if before else last
    return _title(last)


def _title(line: str) -> str:
    if line.endswith((":", "：")):
        # The last sentence of a paragraph that leads to the table.
        line = re.split(r"(?<=[.!?。！？])\s*", line)[-1].rstrip(":： ")
        return line if len(line) <= _MAX_TITLE else ""
    return line if len(line) <= _MAX_TITLE and not re.search(r"[.!?。！？,;、]$", line) else ""


def _row(row: TableRow, start: int, names: Sequence[str], title: str) -> Row:
    cells: list[Cell] = []
    at = start
    for position, value in enumerate(row.cells):
        if value:
            name = names[position] if position < len(names) else ""
            cells.append(Cell(at, at + len(value), "" if name == value else name))
        at += len(value) + len(SEPARATOR)
    return Row(start, at - len(SEPARATOR), tuple(cells), row.label, title)


def _headers(rows: Sequence[TableRow]) -> int:
    """How many of the first rows hold names of columns: those that the file marks; else the first, if it looks like names above
    a table of figures. A wrong name would be a lie in each quotation, so in doubt there are none."""
    marked = 0
    while marked < len(rows) - 1 and rows[marked].header:
        marked += 1
    if marked or len(rows) < 2:
        return marked
    first = rows[0].cells
    if sum(map(bool, first)) < max(2, len(first) - 1) or not all(map(could_name, first)):
        return 0
    # Below a name over several columns stand theirs.
    count = 2 if len(rows) > 2 and _spans(first) and all(map(could_name, rows[1].cells)) else 1
    return count if any(figures_below(rows[count:], position) for position in range(len(first))) else 0


def figures_below(rows: Sequence[TableRow], position: int) -> bool:
    """Whether a column holds mostly numbers, which a name above it is not."""
    column = [row.cells[position] for row in rows if position < len(row.cells) and row.cells[position].strip()]
    return bool(column) and sum(map(is_number, column)) > len(column) / 2


def could_name(text: str) -> bool:
    """Whether a cell can be the name of a column: no amount, but a year may be."""
    return not is_number(text) or _is_year(text)


def _spans(cells: Sequence[str]) -> bool:
    return any(before and before == after for before, after in pairwise(cells))


def _is_year(text: str) -> bool:
    return bool(re.fullmatch(r"(?:FY\s?)?(?:19|20)\d\d(?:/\d\d)?|令和\d+年度?|\d{4}年度?", text.strip()))


def _names(headers: Sequence[TableRow]) -> list[str]:
    """Of each column: what its headers say from the top down, each word of it once."""
    columns = max((len(row.cells) for row in headers), default=0)
    told = [[row.cells[position] for row in headers if position < len(row.cells)] for position in range(columns)]
    return [" ".join(dict.fromkeys(filter(None, column))) for column in told]
