"""OpenDocument files: texts (.odt), sheets (.ods), presentations (.odp)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import LEFT_OUT, Builder, TableRow, fold, lowered, raised
from coordinator.documents.counting import FORMATS
from coordinator.documents.data import add_table
from coordinator.documents.extract import Extract
from coordinator.documents.xml import Archive, attribute, child, local
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind, SectionKind

_KIND: Final = "an OpenDocument file"
MAX_REPEATED: Final = 1_000
"""Cells or rows that a file says are repeated, as far as they are believed: a sheet ends in a million empty ones."""
_LIST_FORMATS: Final = {
    "1": "decimal",
    "a": "lowerLetter",
    "A": "upperLetter",
    "i": "lowerRoman",
    "I": "upperRoman",
    "一, 二, 三, ...": "japaneseCounting",
}


def read_odf(data: bytes) -> Extract:
    archive = Archive(data, _KIND)
    if "content.xml" not in archive.names:
        raise DocumentError(f"it is damaged, or not {_KIND}: there is no content.xml in it")
    manifest = archive.xml("META-INF/manifest.xml") if "META-INF/manifest.xml" in archive.names else Element("none")
    if any(local(each) == "encryption-data" for each in manifest.iter()):
        raise DocumentError("it is encrypted; save a copy without a password and try again")
    return _Reader(archive).extract()


@dataclass(slots=True)
class _Style:
    struck: bool = False
    hidden: bool = False
    position: str = ""
    """"super" or "sub"."""
    parent: str = ""


@dataclass(slots=True)
class _Level:
    shape: str
    before: str
    after: str
    start: int
    levels: int
    """How many levels its label shows."""


@dataclass(slots=True)
class _List:
    style: dict[int, _Level]
    counts: list[int] = field(default_factory=list)


class _Reader:
    def __init__(self, archive: Archive) -> None:
        self._builder = Builder()
        self._content = archive.xml("content.xml")
        self._common = archive.xml("styles.xml") if "styles.xml" in archive.names else Element("none")
        self._styles: dict[str, _Style] = {}
        self._list_styles: dict[str, dict[int, _Level]] = {}
        for each in (*self._common.iter(), *self._content.iter()):
            if local(each) == "style":
                self._styles[attribute(each, "name")] = _style(each)
            elif local(each) == "list-style":
                self._list_styles[attribute(each, "name")] = dict(_levels(each))
        self._lists: list[_List] = []
        self._kept: dict[str, list[int]] = {}
        """How far lists have counted, by their style, for those that go on."""
        self._left_out: set[str] = set()
        self._notes: list[str] = []

    def extract(self) -> Extract:
        body = child(self._content, "body")
        kind = next(iter(body), None) if body is not None else None
        if kind is None:
            raise DocumentError(f"it is damaged, or not {_KIND}: there is no text in it")
        for text in self._heads():
            self._builder.paragraph(text)
        if local(kind) == "spreadsheet":
            self._sheets(kind)
        elif local(kind) == "presentation":
            for number, page in enumerate((each for each in kind if local(each) == "page"), 1):
                self._builder.section(SectionKind.SLIDE, number)
                self._blocks(page)
        else:
            self._blocks(kind)
        if any(local(each) == "tracked-changes" and any(local(part) == "deletion" for part in each.iter()) for each in kind):
            self._left_out.add("deleted")
        for what, reason in LEFT_OUT.items():
            if what in self._left_out:
                self._builder.gaps.append(Gap(GapKind.HIDDEN, reason))
        return self._builder.extract()

    def _heads(self) -> list[str]:
        """Running heads and feet, each once, without bare page numbers."""
        found = (
            fold(" ".join(self._inline(each)))
            for part in self._common.iter()
            if local(part) in ("header", "footer")
            for each in part
            if local(each) in ("p", "h")
        )
        return list(dict.fromkeys(text for text in found if re.search(r"[^\W\d]{2}", text)))

    def _blocks(self, parent: Element) -> None:
        for each in parent:
            match local(each):
                case "p" | "h":
                    self._paragraph(each)
                case "list":
                    self._list(each)
                case "table":
                    self._builder.table(self._table(each))
                    self._flush_notes()
                case "tracked-changes" | "forms" | "sequence-decls" | "variable-decls" | "user-field-decls":
                    continue
                case "notes":  # of a presentation
                    texts = [fold(" ".join(self._inline(part))) for part in each.iter() if local(part) == "p"]
                    if any(texts):
                        self._builder.paragraph(f"[Notes: {' '.join(filter(None, texts))}]")
                case _:
                    self._blocks(each)

    def _paragraph(self, element: Element, label: str = "") -> None:
        text = "".join(self._inline(element)).strip()
        if text:
            self._builder.paragraph(f"{label} {text}" if label else text)
        self._flush_notes()
        for box in element.iter():
            if local(box) == "text-box":
                self._blocks(box)

    def _flush_notes(self) -> None:
        for note in self._notes:
            self._builder.paragraph(note)
        self._notes.clear()

    def _list(self, element: Element) -> None:
        name = attribute(element, "style-name")
        style = self._list_styles.get(name) or (self._lists[-1].style if self._lists else {})
        made = _List(style, list(self._lists[-1].counts) if self._lists else [])
        depth = len(made.counts)
        level = style.get(depth + 1)
        going_on = not self._lists and attribute(element, "continue-numbering") == "true"
        made.counts.append(self._kept.get(name, [0])[0] if going_on else (level.start - 1 if level else 0))
        self._lists.append(made)
        for item in element:
            if local(item) not in ("list-item", "list-header"):
                continue
            label = ""
            if local(item) == "list-item":
                told = attribute(item, "start-value")
                made.counts[depth] = int(told) if told.isdigit() else made.counts[depth] + 1
                label = _label(made, depth)
            for each in item:
                if local(each) in ("p", "h"):
                    self._paragraph(each, label)
                    label = ""
                elif local(each) == "list":
                    self._list(each)
        if depth == 0:
            self._kept[name] = made.counts[:1]
        self._lists.pop()

    def _inline(self, element: Element) -> Iterator[str]:
        style = self._style_of(element)
        if style.struck or style.hidden:
            if "".join(element.itertext()).strip():
                self._left_out.add("struck" if style.struck else "hidden")
            return
        if style.position:
            inside = "".join(self._pieces(element))
            yield raised(inside) if style.position == "super" else lowered(inside)
            return
        yield from self._pieces(element)

    def _pieces(self, element: Element) -> Iterator[str]:
        yield element.text or ""
        for each in element:
            match local(each):
                case "s":
                    yield " "
                case "tab":
                    yield " "
                case "line-break":
                    yield "\n"
                case "note":
                    mark = fold("".join((found.text or "") for found in each if local(found) == "note-citation"))
                    yield f" [note {mark}]"
                    body = child(each, "note-body")
                    text = fold(" ".join("".join(self._inline(part)) for part in (body if body is not None else ())))
                    self._notes.append(f"[Note {mark}: {text}]")
                case "annotation":
                    author = "".join((found.text or "") for found in each if local(found) == "creator")
                    text = fold(" ".join("".join(self._inline(part)) for part in each if local(part) in ("p", "list")))
                    self._notes.append(f"[Comment{f' by {author}' if author else ''}: {text}]")
                case "ruby":
                    base = child(each, "ruby-base")
                    if base is not None:
                        yield from self._inline(base)
                case "hidden-text" | "hidden-paragraph":
                    self._left_out.add("hidden")
                case "frame":
                    told = "".join((found.text or "") for found in each if local(found) == "desc").strip()
                    if told:
                        yield f" [picture: {told}] "
                case "annotation-end" | "bookmark" | "soft-page-break" | "change" | "change-start" | "change-end":
                    pass
                case _:
                    yield from self._inline(each)
            yield each.tail or ""

    def _style_of(self, element: Element) -> _Style:
        name, found, seen = attribute(element, "style-name"), _Style(), set[str]()
        while name in self._styles and name not in seen:
            seen.add(name)
            style = self._styles[name]
            found = _Style(found.struck or style.struck, found.hidden or style.hidden, found.position or style.position)
            name = style.parent
        return found

    def _table(self, table: Element) -> Iterator[TableRow]:
        for header, row in _rows(table, header=False):
            cells: list[str] = []
            for cell in row:
                if local(cell) not in ("table-cell", "covered-table-cell"):
                    continue
                text = self._cell(cell)
                cells += [text] * _repeated(cell, "number-columns-repeated", text)
            repeats = _repeated(row, "number-rows-repeated", "".join(cells))
            for _ in range(repeats):
                yield TableRow(cells, header)

    def _cell(self, cell: Element) -> str:
        texts = (fold(" ".join(self._inline(each))) for each in cell.iter() if local(each) in ("p", "h"))
        return " ".join(filter(None, texts))

    def _sheets(self, book: Element) -> None:
        for number, sheet in enumerate((each for each in book if local(each) == "table"), 1):
            self._builder.section(SectionKind.SHEET, number, attribute(sheet, "name"))
            block: list[TableRow] = []
            for position, row in enumerate(self._table(sheet), 1):
                if any(row.cells):
                    block.append(TableRow(row.cells, row.header, f"row {position}"))
                elif block:
                    add_table(self._builder, _trimmed(block), sheet=True)
                    block = []
            add_table(self._builder, _trimmed(block), sheet=True)
            self._flush_notes()


def _trimmed(block: list[TableRow]) -> list[TableRow]:
    used = [position for row in block for position, cell in enumerate(row.cells) if cell]
    first, last = min(used, default=0), max(used, default=0)
    return [TableRow(row.cells[first : last + 1], row.header, row.label) for row in block]


def _rows(table: Element, *, header: bool) -> Iterator[tuple[bool, Element]]:
    for each in table:
        match local(each):
            case "table-row":
                if attribute(each, "visibility") not in ("collapse", "filter"):
                    yield header, each
            case "table-header-rows":
                yield from _rows(each, header=True)
            case "table-rows" | "table-row-group":
                yield from _rows(each, header=header)


def _repeated(element: Element, name: str, text: str) -> int:
    told = attribute(element, name, "1")
    count = int(told) if told.isdigit() and len(told) < 9 else 1
    return min(count, MAX_REPEATED) if text else min(count, 100)


def _style(element: Element) -> _Style:
    style = _Style(parent=attribute(element, "parent-style-name"))
    for each in element:
        if local(each) == "text-properties":
            line = attribute(each, "text-line-through-style") or attribute(each, "text-line-through-type")
            style.struck = line not in ("", "none")
            style.hidden = attribute(each, "display") == "none"
            position = attribute(each, "text-position").split(" ")[0]
            number = position.rstrip("%").lstrip("-")
            if position in ("super", "sub"):
                style.position = position
            elif number.isdigit() and int(number):
                style.position = "sub" if position.startswith("-") else "super"
    return style


def _levels(style: Element) -> Iterator[tuple[int, _Level]]:
    for each in style:
        if local(each) in ("list-level-style-number", "list-level-style-bullet"):
            number, start, shown = (attribute(each, name, "1") for name in ("level", "start-value", "display-levels"))
            kind = "-" if local(each).endswith("bullet") else attribute(each, "num-format") or "none"
            if number.isdigit() and start.isdigit() and shown.isdigit():
                yield (
                    int(number),
                    _Level(kind, attribute(each, "num-prefix"), attribute(each, "num-suffix"), int(start), int(shown)),
                )


def _label(made: _List, depth: int) -> str:
    level = made.style.get(depth + 1)
    if level is None or level.shape == "none":
        return ""
    if level.shape == "-":
        return "-"
    parts = []
    for position in range(max(0, depth + 1 - level.levels), depth + 1):
        shape = made.style.get(position + 1)
        make = FORMATS.get(_LIST_FORMATS.get(shape.shape if shape else "1", "decimal"), str)
        parts.append(make(made.counts[position]) if made.counts[position] > 0 else str(made.counts[position]))
    return f"{level.before}{'.'.join(parts)}{level.after}"
