"""PDFs to text by where the characters stand on the page, whatever order they were drawn in."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from coordinator.documents.builder import title_of
from coordinator.documents.extract import Extract, checked, clean
from coordinator.documents.ocr import HOW_TO_GET, MAX_AREA
from coordinator.documents.ocr.pages import Pictures, pages
from coordinator.documents.pdf.characters import Page, PdfFile
from coordinator.documents.pdf.geometry import UNTOLD, Direction, Line, Word, least, lines, upright
from coordinator.documents.pdf.layout import DIVIDED, SENTENCE_END, Block, Paragraph, Table, blocks, join, paragraph_text, undivide
from coordinator.errors import DocumentError
from coordinator.types import Cell, Gap, GapKind, Recognised, Row, Section, SectionKind

_UNDECODABLE: Final = 0.3
"""Share of unknown characters from which a page is gibberish."""
_COVERS: Final = 0.7
_STAMP_CHARACTERS: Final = 120
"""A page whose picture covers it, with less text than this, is a scan with a stamp or a page number on it."""
_FEW_CHARACTERS: Final = 1_000
"""A page whose picture covers it, with less text than this, is looked at by OCR, and is a scan if that finds twice as much."""
_DRAWING: Final = 50
"""A page without text and with so many lines and areas may hold text that is drawn as outlines of letters."""
_EDGE: Final = 0.12
"""Share of a page's height, from the top and from the bottom, where running heads and feet stand."""
_LEAST_REPEATED: Final = 3
_NEAR: Final = 2
"""A running head is also on a page so near: even and odd pages may have their own."""
_LEADER: Final = re.compile(r"[.·․…‥_‧・]{3,}|…+")
"""Dots that lead the eye from a label to its value."""
_FIGURES: Final = re.compile(r"[0-9０-９]+|\b[ivxlc]+\b")
_PLEASE_WAIT: Final = re.compile(r"please wait|document viewer may not be able|adobe reader", re.IGNORECASE)
_PAGE_NUMBER: Final = re.compile(
    r"\W*(?:(?:page|seite|p\.)\s*)?([ivxlc]{1,7}|[A-Z]-?\d{1,4}|\d{1,4})(?:\s*(?:of|von|/)\s*\d{1,4})?\W*", re.IGNORECASE
)


def read_pdf(data: bytes) -> Extract:
    file = PdfFile(data)
    try:
        found = [file.page(number) for number in range(1, file.count + 1)]
        kinds = _kinds(found, is_xfa=file.is_xfa)
        pictures = Pictures()
        for position, kind in enumerate(kinds):
            unread = kind in (GapKind.SCAN, GapKind.UNDECODABLE)
            own = 0 if unread else _beside_picture(found[position])
            if (unread or own) and pictures.wanted(position + 1):
                page = pictures.page(position + 1, file.picture(position + 1, MAX_AREA), 2 * own)
                if page is not None:
                    found[position], kinds[position] = page, None
    finally:
        file.close()
    return put_together(found, kinds, [*_gaps(found, kinds, pictures), *pictures.gaps()])


def put_together(found: Sequence[Page | None], kinds: Sequence[GapKind | None], gaps: Sequence[Gap]) -> Extract:
    """The text of those pages that have no kind. Raises `DocumentError`, with the gaps as its reason, where that is none."""
    made = _Text()
    read = [page if kinds[position] is None else None for position, page in enumerate(found)]
    heads = _furniture(read)
    for position, page in enumerate(read):
        made.page(position + 1, _label(found[position], heads[position], position + 1))
        if page is None:
            continue
        repeated = heads[position]
        for text, confidence in repeated.new:
            made.paragraph(text, ends=True, lines=[(text, confidence)])
        words = [word for word in page.words if word not in repeated.words and not _LEADER.fullmatch(word.text)]
        for group in upright(words):
            for block in blocks(group, page.width if group[0].direction is Direction.RIGHT else None):
                made.block(block)
        for note in page.notes:
            made.paragraph(f"[Note on the page: {note}]", ends=True)
    return made.extract(gaps)


def _kinds(found: Sequence[Page | None], *, is_xfa: bool) -> list[GapKind | None]:
    """Why a page is not read; None for one that is."""
    kinds: list[GapKind | None] = []
    for page in found:
        text = "" if page is None else " ".join(word.text for word in page.words)
        if page is None:
            kinds.append(GapKind.DAMAGED)
        elif is_xfa and len(found) <= 2 and _PLEASE_WAIT.search(text):
            kinds.append(GapKind.PLACEHOLDER)
        elif (page.picture >= _COVERS and not page.ocr and len(text) < _STAMP_CHARACTERS) or (
            not text and (page.picture > 0 or page.drawn >= _DRAWING)
        ):
            kinds.append(GapKind.SCAN)
        elif page.undecodable > _UNDECODABLE:
            kinds.append(GapKind.UNDECODABLE)
        else:
            kinds.append(None)
    return kinds


def _beside_picture(page: Page | None) -> int:
    """How many characters the text of a page has that lies on a picture of its size, and may be all that is on the page, or a long
    stamp on a scan; 0 where there is no doubt."""
    if page is None or page.picture < _COVERS or page.ocr:
        return 0
    length = sum(len(word.text) for word in page.words)
    return length if length < _FEW_CHARACTERS else 0


def _gaps(found: Sequence[Page | None], kinds: Sequence[GapKind | None], pictures: Pictures) -> list[Gap]:
    reasons = {
        GapKind.DAMAGED: "damaged and could not be read",
        GapKind.SCAN: f"only a picture (a scan) and could not be read; {HOW_TO_GET}",
        GapKind.UNDECODABLE: f"in a font that does not tell its characters, and could not be read; {HOW_TO_GET}",
        GapKind.PLACEHOLDER: "a form that only its own program shows; print it to a PDF there and try again",
    }
    gaps = []
    for kind, reason in reasons.items():
        numbers = tuple(position + 1 for position, each in enumerate(kinds) if each is kind and position + 1 not in pictures.told)
        if numbers:
            gaps.append(Gap(kind, f"{pages(numbers)} {'are' if len(numbers) > 1 else 'is'} {reason}", numbers))
    hidden = tuple(position + 1 for position, page in enumerate(found) if page is not None and page.hidden)
    if hidden:
        gaps.append(Gap(GapKind.HIDDEN, f"text that nobody sees on the page is left out on {pages(hidden)}", hidden))
    return gaps


@dataclass(slots=True)
class _Heads:
    """What runs over many pages, on one of them."""

    words: set[Word] = field(default_factory=set)
    new: list[tuple[str, float | None]] = field(default_factory=list)
    """Heads that no earlier page had, with their confidence: they are said once."""
    number: str = ""


def _furniture(pages: Sequence[Page | None]) -> list[_Heads]:
    """Running heads, feet and page numbers: lines near the edge that stand in the same place on several pages near each other,
    but for a number that counts with the pages. A row of a table may stand at the same place of several pages, but its figures
    differ; a line above a table, such as its unit, may be on several pages, but further apart."""
    edge_lines = [
        _edge_lines(page.words, position) if page is not None and page.words else [] for position, page in enumerate(pages)
    ]
    keys = [{key for line in of_page for key in line[0]} for of_page in edge_lines]
    seen = Counter(key for of_page in keys for key in of_page)
    told: set[str] = set()
    made: list[_Heads] = []
    for position, of_page in enumerate(edge_lines):
        heads = _Heads()
        near = set().union(*keys[max(0, position - _NEAR) : position], *keys[position + 1 : position + 1 + _NEAR])
        for line_keys, text, line_words in of_page:
            confidence = least(*(word.confidence for word in line_words))
            number = _PAGE_NUMBER.fullmatch(text)
            repeated = any(seen[key] >= _LEAST_REPEATED and key in near for key in line_keys)
            if repeated or (number is not None and len(pages) >= _LEAST_REPEATED):
                heads.words.update(line_words)
                if number is not None:
                    heads.number = number[1]
                elif (head := _FIGURES.sub("#", text)) not in told:
                    told.add(head)
                    heads.new.append((text, confidence))
                    if inner := re.search(r"(?:page|seite|p\.)\s*(\d{1,4}|[ivxlc]+)\b", text, re.IGNORECASE):
                        heads.number = inner[1]
        made.append(heads)
    return made


def _edge_lines(words: Sequence[Word], position: int) -> list[tuple[tuple[str, ...], str, list[Word]]]:
    """Lines at the top and the bottom of the page at `position`: keys of which one is the same for the same line of other pages,
    text and words."""
    top = max(word.y1 for word in words)
    bottom = min(word.y0 for word in words)
    height = max(1.0, top - bottom)
    edge = [word for word in words if word.middle > top - _EDGE * height or word.middle < bottom + _EDGE * height]
    wide = [word for word in words if word.middle > top - 2 * _EDGE * height or word.middle < bottom + 2 * _EDGE * height]
    found = lines(wide)
    of_tables = {side for at, pair in enumerate(pairwise(found)) if _are_rows(*pair) for side in (at, at + 1)}
    made = []
    for at, line in enumerate(found):
        of_line = [word for word in edge if line.y0 - 1 <= word.middle <= line.y1 + 1]
        if at in of_tables or not of_line:
            continue
        keys = tuple(f"{text}@{round(line.y0 / 6)}" for text in _without_count(line.text, position))
        made.append((keys, line.text, of_line))
    return made[:2] + [each for each in made[-2:] if each not in made[:2]]


def _are_rows(line: Line, following: Line) -> bool:
    """Whether two lines are of one table: they stand close together and have several cells each."""
    return line.y0 - following.y1 < line.height and min(len(line.segments), len(following.segments)) > 1


def _without_count(text: str, position: int) -> Iterator[str]:
    """`text` as it is, and with its first and its last number less the position of its page: a page's number stays the same so."""
    yield text
    figures = list(_FIGURES.finditer(text))
    for figure in {each.start(): each for each in (figures[:1] + figures[-1:])}.values():
        count = str(int(figure[0]) - position) if figure[0].isdecimal() else ""
        yield f"{text[: figure.start()]}#{count}{text[figure.end() :]}"


def _label(page: Page | None, heads: _Heads, number: int) -> str:
    """What is printed on the page, or what the file calls it, where that is not its number."""
    label = heads.number or (page.label if page is not None else "")
    return label if label and label != str(number) else ""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A paragraph, or a row of a table with the extents and names of its cells."""

    text: str
    cells: tuple[tuple[int, int, str], ...] = ()
    lines: tuple[tuple[str, float], ...] = ()
    """Those by OCR that it was made of, with their confidence."""
    title: str = ""
    """Of the table that it is a row of."""


class _Text:
    """The text of a document as it is put together from blocks, with rows and sections in their places."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._separators: list[str] = []
        self._above: list[str] = []
        """Paragraphs since the last table or the top of the page."""
        self._sections: list[tuple[int, str, int]] = []
        """Number, label, and before which piece each page begins."""
        self._open = False
        """Whether the last paragraph may go on on the next page."""
        self._fresh_page = False

    def page(self, number: int, label: str) -> None:
        self._sections.append((number, label, len(self._pieces)))
        self._fresh_page = True
        self._above.clear()

    def block(self, block: Block) -> None:
        if isinstance(block, Paragraph):
            self.paragraph(paragraph_text(block), ends=block.ends, lines=[(line.text, line.confidence) for line in block.lines])
        else:
            self._table(block)

    def paragraph(self, text: str, *, ends: bool, lines: Sequence[tuple[str, float | None]] = ()) -> None:
        text = clean(text).strip()
        if not text:
            return
        separator = "\n\n"
        if self._fresh_page and self._open and _continues(self._pieces[-1].text, text):
            last = self._pieces[-1].text
            joined = join(last, text)
            # The mark between the two, if any, stands at the end of the piece before.
            separator = joined[len(last) : len(joined) - len(text)] if joined.startswith(last) else ""
            if not joined.startswith(last):
                self._pieces[-1] = replace(self._pieces[-1], text=joined[: len(joined) - len(text)])
        self._add(_Piece(text, lines=tuple((line, each) for line, each in lines if each is not None)), separator)
        self._above.append(text)
        self._open = not ends

    def _table(self, table: Table) -> None:
        title = title_of(self._above)
        self._above.clear()
        for position, line in enumerate(table.lines):
            text, cells, at = clean(line.text), [], 0
            for cell in line.cells:
                value = clean(cell.text)
                start = text.find(value, at)
                if start >= 0 and value:
                    cells.append((start, start + len(value), clean(cell.name)))
                    at = start + len(value)
            of_ocr = () if line.confidence is None else ((text, line.confidence),)
            self._add(_Piece(text, tuple(cells), of_ocr, title), "\n" if position else "\n\n")
        self._open = False

    def _add(self, piece: "_Piece", separator: str) -> None:
        self._separators.append(separator if self._pieces else "")
        self._pieces.append(piece)
        self._fresh_page = False

    def extract(self, gaps: Sequence[Gap]) -> Extract:
        words = frozenset(re.findall(r"[^\W_]+(?:-[^\W_]+)*", " ".join(piece.text for piece in self._pieces).lower()))
        parts: list[str] = []
        starts: list[int] = []
        rows: list[Row] = []
        recognised: list[Recognised] = []
        at = 0
        for piece, separator in zip(self._pieces, self._separators, strict=True):
            cells = piece.cells
            text = piece.text.replace(DIVIDED, "-") if cells else undivide(piece.text, words)
            parts.append(separator)
            at += len(separator)
            starts.append(at)
            parts.append(text)
            if cells:
                placed = tuple(Cell(at + start, at + end, "" if name == text[start:end] else name) for start, end, name in cells)
                rows.append(Row(at, at + len(text), placed, title=piece.title))
            recognised += (Recognised(at + start, at + end, each) for start, end, each in _spans(text, piece.lines))
            at += len(text)
        whole = "".join(parts)
        if not whole.strip() and gaps:
            raise DocumentError(_nothing(gaps))
        starts.append(at)
        sections = tuple(Section(SectionKind.PAGE, number, starts[piece], label) for number, label, piece in self._sections)
        return Extract(checked(whole), sections, tuple(rows), tuple(gaps), recognised=tuple(recognised))


def _spans(text: str, lines: Sequence[tuple[str, float]]) -> Iterator[tuple[int, int, float | None]]:
    """Where each line that OCR has read stands in the text that was made of them. Where that cannot be seen, as a divided word was
    put together, all of the text with the least confidence."""
    at = 0
    placed: list[tuple[int, int, float | None]] = []
    for line, confidence in lines:
        wanted = clean(line).strip().rstrip(DIVIDED + "-")
        start = text.find(wanted, at)
        if start < 0:
            worst = min(each for _, each in lines)
            yield 0, len(text), None if worst == UNTOLD else worst
            return
        at = start + len(wanted)
        placed.append((start, at, None if confidence == UNTOLD else confidence))
    yield from placed


def _continues(before: str, after: str) -> bool:
    """Whether a sentence goes on: nothing ended it, and what follows does not begin one."""
    if SENTENCE_END.search(before[-8:]):
        return False
    if before.endswith(("-", DIVIDED, ",", "、")):
        return True
    return after[:1].islower() or after[:1].isdigit() or bool(re.match(r"[\u3040-\u9fff]", after))


def _nothing(gaps: Sequence[Gap]) -> str:
    kinds = {gap.kind for gap in gaps}
    if kinds == {GapKind.DAMAGED}:
        return "it is damaged: no page of it can be read"
    return gaps[0].reason
