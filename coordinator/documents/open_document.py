"""OpenDocument files: texts (.odt), sheets (.ods), presentations (.odp)."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import LEFT_OUT, PAGE_NUMBER, Builder, TableRow, fold, lowered, raised
from coordinator.documents.counting import FORMATS
from coordinator.documents.data import add_table
from coordinator.documents.extract import Extract
from coordinator.documents.grid import Grid
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
    list_style: str = ""


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
        self._archive = archive
        self._builder = Builder()
        self._content = archive.xml("content.xml")
        self._common = archive.xml("styles.xml") if "styles.xml" in archive.names else Element("none")
        self._styles: dict[str, _Style] = {}
        self._list_styles: dict[str, dict[int, _Level]] = {}
        self._outline = _List({}, [])
        for each in (*self._common.iter(), *self._content.iter()):
            if local(each) == "style":
                self._styles[attribute(each, "name")] = _style(each)
            elif local(each) == "list-style":
                self._list_styles[attribute(each, "name")] = dict(_levels(each))
            elif local(each) == "outline-style":
                self._outline.style.update(_levels(each))
        self._lists: list[_List] = []
        self._kept: dict[str, list[int]] = {}
        """How far lists have counted, by their style, for those that go on."""
        self._left_out: set[str] = set()
        self._notes: list[str] = []
        self._insertions = {
            attribute(region, "id")
            for region in self._content.iter()
            if local(region) == "changed-region" and child(region, "insertion") is not None
        }
        self._marked: set[str] = set()
        """Insertions whose beginning is marked."""

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
                if self._style_of(page).hidden:
                    self._builder.gaps.append(Gap(GapKind.HIDDEN, f"the hidden slide {number} is left out", (number,)))
                    continue
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
            if re.fullmatch(r"(?:header|footer)(?:-first|-left)?", local(part))
            for each in part.iter()
            if local(each) in ("p", "h")
        )
        return list(dict.fromkeys(text for text in found if re.search(r"[^\W\d]{2}", text) and not PAGE_NUMBER.fullmatch(text)))

    def _blocks(self, parent: Element) -> None:
        for each in parent:
            match local(each):
                case "h":
                    self._paragraph(each, self._number_of(each))
                case "p":
                    self._paragraph(each)
                case "section" if attribute(each, "display") == "none":
                    self._left_out.add("hidden")
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
        for each in _outermost(element, ("text-box", "object")):
            if local(each) == "text-box":
                self._blocks(each)
            else:
                self._object(attribute(each, "href"))

    def _object(self, place: str) -> None:
        """What is embedded as a document of its own kind: of a chart its table, of a formula its text."""
        name = posixpath.normpath(posixpath.join(place, "content.xml"))
        if name not in self._archive.names:
            return
        for each in _outermost(self._archive.xml(name), ("table", "annotation")):
            if local(each) == "table":
                self._builder.table(self._table(each))
            elif each.text and "StarMath" in attribute(each, "encoding"):
                self._builder.paragraph(fold(each.text))

    def _number_of(self, heading: Element) -> str:
        """The number of a heading, which the outline of the document counts."""
        told, start = attribute(heading, "outline-level", "1"), attribute(heading, "start-value")
        level = int(told) if told.isdigit() and len(told) < 3 else 1
        shape = self._outline.style.get(level)
        if shape is None or attribute(heading, "is-list-header") == "true" or not "".join(heading.itertext()).strip():
            return ""
        counts = self._outline.counts
        del counts[level:]
        while len(counts) < level - 1:
            above = self._outline.style.get(len(counts) + 1)
            counts.append(above.start if above else 1)
        if len(counts) < level:
            counts.append(shape.start - 1)
        counts[level - 1] = int(start) if start.isdigit() else counts[level - 1] + 1
        return _label(self._outline, level - 1)

    def _flush_notes(self) -> None:
        for note in self._notes:
            self._builder.paragraph(note)
        self._notes.clear()

    def _list(self, element: Element) -> None:
        name = attribute(element, "style-name")
        style = self._list_styles.get(name) or (self._lists[-1].style if self._lists else self._list_style_of(element))
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

    def _list_style_of(self, element: Element) -> dict[int, _Level]:
        """The style of a list that names none: that of its first paragraph."""
        first = next((each for each in element.iter() if local(each) in ("p", "h")), None)
        return self._list_styles.get(self._style_of(first).list_style, {}) if first is not None else {}

    def _inline(self, element: Element) -> Iterator[str]:
        style = self._style_of(element)
        if any(local(each) == "hidden-paragraph" and attribute(each, "is-hidden", "true") != "false" for each in element):
            style = _Style(hidden=True)
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
                    self._notes.append(self._comment(each))
                case "ruby":
                    base = child(each, "ruby-base")
                    if base is not None:
                        yield from self._inline(base)
                case "hidden-text":
                    self._left_out.add("hidden")
                case "frame":
                    told = "".join((found.text or "") for found in each if local(found) == "desc").strip()
                    if told:
                        yield f" [picture: {told}] "
                case "change-start" if attribute(each, "change-id") in self._insertions:
                    # Only what ends where it begins can be marked.
                    id = attribute(each, "change-id")
                    if any(local(other) == "change-end" and attribute(other, "change-id") == id for other in element):
                        self._marked.add(id)
                        yield "[inserted: "
                case "change-end" if attribute(each, "change-id") in self._marked:
                    self._marked.discard(attribute(each, "change-id"))
                    yield "]"
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
            found = _Style(
                found.struck or style.struck,
                found.hidden or style.hidden,
                found.position or style.position,
                list_style=found.list_style or style.list_style,
            )
            name = style.parent
        return found

    def _table(self, table: Element) -> Iterator[TableRow]:
        above: dict[int, tuple[int, str]] = {}  # by column: for how many more rows, and what
        for header, row in _rows(table, header=False):
            if attribute(row, "visibility") in ("collapse", "filter"):
                self._left_out.add("hidden")
                continue
            cells: list[str] = []
            left: dict[int, tuple[int, str]] = {}
            own, beside, text = 0, 0, ""
            for cell in row:
                if local(cell) == "table-cell":
                    text, own = self._cell(cell), own + 1
                    beside, down = _count(cell, "number-columns-spanned") - 1, _count(cell, "number-rows-spanned") - 1
                    repeats = _repeated(cell, "number-columns-repeated", text)
                    if down:
                        left |= {len(cells) + place: (down, text) for place in range(min(beside, MAX_REPEATED) + repeats)}
                    cells += [text] * repeats
                elif local(cell) == "covered-table-cell":
                    for _ in range(_repeated(cell, "number-columns-repeated", "")):
                        rows, over = above.get(len(cells), (0, ""))
                        if beside:
                            beside, over = beside - 1, text
                        elif rows > 1:
                            left[len(cells)] = (rows - 1, over)
                        cells.append(over)
            above = left
            if own == 1 and len(cells) > 1 and cells[0] and len(set(cells)) == 1:
                cells[1:] = [""] * (len(cells) - 1)  # one cell over all columns is a heading, said once
            for _ in range(_repeated(row, "number-rows-repeated", "".join(cells))):
                yield TableRow(cells, header)

    def _cell(self, cell: Element) -> str:
        """What stands in a cell, on a line; what hangs on it becomes a note."""
        return " ".join(filter(None, self._cell_texts(cell)))

    def _cell_texts(self, parent: Element) -> Iterator[str]:
        for each in parent:
            match local(each):
                case "p" | "h":
                    yield fold("".join(self._inline(each)))
                    for box in _outermost(each, ("text-box",)):
                        yield from self._cell_texts(box)
                case "table":
                    yield "; ".join(filter(None, (", ".join(filter(None, row.cells)) for row in self._table(each))))
                case "annotation":
                    self._notes.append(self._comment(each))
                case _:
                    yield from self._cell_texts(each)

    def _comment(self, annotation: Element) -> str:
        author = "".join((found.text or "") for found in annotation if local(found) == "creator")
        text = fold(" ".join("".join(self._inline(part)) for part in annotation.iter() if local(part) == "p"))
        return f"[Comment{f' by {author}' if author else ''}: {text}]"

    def _sheets(self, book: Element) -> None:
        for number, sheet in enumerate((each for each in book if local(each) == "table"), 1):
            if self._style_of(sheet).hidden:
                reason = f"the hidden sheet {attribute(sheet, 'name')} is left out"
                self._builder.gaps.append(Gap(GapKind.HIDDEN, reason, (number,)))
                continue
            self._builder.section(SectionKind.SHEET, number, attribute(sheet, "name"))
            for table in self._grid(sheet).tables():
                add_table(self._builder, table, sheet=True)
            self._flush_notes()
            for shapes in (each for each in sheet if local(each) == "shapes"):
                self._blocks(shapes)

    def _grid(self, sheet: Element) -> Grid:
        """The cells of a sheet where they stand. A file says of cells and rows how often they come again, which may be a million
        times for empty ones."""
        grid = Grid()
        merged: list[tuple[int, int, int, int]] = []
        hidden = _hidden_columns(sheet)
        number = 1
        for header, row in _rows(sheet, header=False):
            count = _count(row, "number-rows-repeated")
            places = range(number, number + min(count, MAX_REPEATED))
            number += count
            if attribute(row, "visibility") in ("collapse", "filter"):
                grid.hidden.update(places)
                self._left_out |= {"hidden"} if "".join(row.itertext()).strip() else set()
                continue
            cells: dict[int, str] = {}
            column = 1
            for cell in (each for each in row if local(each) in ("table-cell", "covered-table-cell")):
                again = _count(cell, "number-columns-repeated")
                text = (self._cell(cell) or _value(cell)) if local(cell) == "table-cell" else ""
                for place in range(column, column + min(again, MAX_REPEATED)) if text else ():
                    if place in hidden:
                        self._left_out.add("hidden")
                    else:
                        cells[place] = text
                wide, high = _count(cell, "number-columns-spanned"), _count(cell, "number-rows-spanned")
                if text and (wide > 1 or high > 1):
                    merged.append((column, places[0], column + wide - 1, places[0] + high - 1))
                column += again
            for place in places if cells else places[:1]:
                grid.rows[place] = dict(cells)
            if header and not grid.heads:
                grid.heads.add(places[0])
        for each in merged:
            grid.merge(*each)
        return grid


def _hidden_columns(sheet: Element) -> frozenset[int]:
    hidden: set[int] = set()
    column = 1
    for each in sheet.iter():
        if local(each) == "table-column":
            count = _count(each, "number-columns-repeated")
            if attribute(each, "visibility") in ("collapse", "filter"):
                hidden.update(range(column, column + min(count, MAX_REPEATED)))
            column += count
    return frozenset(hidden)


def _value(cell: Element) -> str:
    """The value of a cell that has no text."""
    return next((text for name in ("date-value", "string-value", "boolean-value", "value") if (text := attribute(cell, name))), "")


def _outermost(element: Element, names: tuple[str, ...]) -> Iterator[Element]:
    """Elements of these names inside `element`, and not inside one another."""
    for each in element:
        if local(each) in names:
            yield each
        else:
            yield from _outermost(each, names)


def _rows(table: Element, *, header: bool) -> Iterator[tuple[bool, Element]]:
    for each in table:
        match local(each):
            case "table-row":
                yield header, each
            case "table-header-rows":
                yield from _rows(each, header=True)
            case "table-rows" | "table-row-group":
                yield from _rows(each, header=header)


def _count(element: Element, name: str) -> int:
    told = attribute(element, name, "1")
    return max(1, int(told)) if told.isdigit() and len(told) < 9 else 1


def _repeated(element: Element, name: str, text: str) -> int:
    return min(_count(element, name), MAX_REPEATED if text else 100)


def _style(element: Element) -> _Style:
    style = _Style(parent=attribute(element, "parent-style-name"), list_style=attribute(element, "list-style-name"))
    for each in element:
        if (local(each) == "table-properties" and attribute(each, "display") == "false") or (
            local(each) == "drawing-page-properties" and attribute(each, "visibility") == "hidden"
        ):
            style.hidden = True
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
        if local(each) in ("list-level-style-number", "list-level-style-bullet", "outline-level-style"):
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
