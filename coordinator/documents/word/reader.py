"""Word documents (.docx, .docm, .dotx, .dotm) to text as it is printed: with numbers of clauses, notes, text boxes, heads."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import LEFT_OUT, Builder, TableRow, fold
from coordinator.documents.extract import Extract, Part
from coordinator.documents.word.numbering import Numbering
from coordinator.documents.word.runs import Runs, Seen
from coordinator.documents.xml import Archive, attribute, child, children, local
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind

_KIND: Final = "a Word document"
_BLOCK_WRAPPERS: Final = frozenset({"sdtContent", "customXml", "ins", "moveTo", "body", "smartTag", "txbxContent", "dir", "bdo"})
_PAGE_NUMBER: Final = re.compile(r"\W*(?:(?:page|seite|p\.|ページ|頁)\W*)?\d*\W*(?:(?:of|von|/|-)\W*\d+\W*)?", re.IGNORECASE)
MAX_DEPTH: Final = 4
"""Of tables, boxes and embedded documents inside one another."""


def read_word(data: bytes) -> Extract:
    archive = Archive(data, _KIND)
    main = archive.main_part(_KIND, "word/document.xml")
    return _Reader(archive, main).extract()


class _Reader:
    def __init__(self, archive: Archive, main: str) -> None:
        self._archive = archive
        self._builder = Builder()
        self._related: dict[str, tuple[str, str]] = {}
        by_type: dict[str, str] = {}
        for id, relation, name in archive.related(main):
            if name in archive.names:
                self._related[id] = (relation, name)
                by_type.setdefault(relation, name)
        self._body = child(archive.xml(main), "body")
        if self._body is None:
            raise DocumentError(f"it is damaged, or not {_KIND}: there is no text in its document")
        styles = {attribute(each, "styleId"): each for each in children(self._part(by_type, "styles"), "style")}
        self._numbering = Numbering(self._part(by_type, "numbering"), styles)
        self._notes = {
            kind: {attribute(each, "id"): each for each in children(self._part(by_type, f"{kind}s"), kind)}
            for kind in ("footnote", "endnote", "comment")
        }
        self._numbers: dict[tuple[str, str], str] = {}
        self._runs = Runs(styles, self._number_of_note)
        settings = self._part(by_type, "settings")
        self._even_pages = child(settings, "evenAndOddHeaders") is not None
        self._left_out: set[str] = set()
        self._told: set[str] = set()
        self._carried = ""
        """Text of a paragraph whose end is deleted: it goes on with the next."""

    def extract(self) -> Extract:
        assert self._body is not None, "looked at before"
        heads, feet = self._heads_and_feet(self._body)
        for text in heads:
            self._builder.paragraph(text)
        self._blocks(self._body, 0)
        self._flush_carried()
        for text in feet:
            self._builder.paragraph(text)
        for kind, reason in LEFT_OUT.items():
            if kind in self._left_out:
                self._builder.gaps.append(Gap(GapKind.HIDDEN, reason))
        return self._builder.extract()

    def _part(self, by_type: dict[str, str], relation: str) -> Element | None:
        return self._archive.xml(by_type[relation]) if relation in by_type else None

    def _blocks(self, parent: Element, depth: int) -> None:
        for each in parent:
            match local(each):
                case "p":
                    self._paragraph(each, depth)
                case "tbl":
                    self._flush_carried()
                    self._table(each, depth)
                case "sdt":
                    if (content := child(each, "sdtContent")) is not None:
                        self._blocks(content, depth)
                case "AlternateContent":
                    if (form := child(each, "Choice")) is not None or (form := child(each, "Fallback")) is not None:
                        self._blocks(form, depth)
                case "altChunk":
                    self._embedded(attribute(each, "id"))
                case name if name in _BLOCK_WRAPPERS:
                    self._blocks(each, depth)

    def _paragraph(self, paragraph: Element, depth: int) -> None:
        seen = Seen()
        text = self._text(paragraph, seen)
        if child(paragraph, "pPr", "rPr", "del") is not None:
            self._carried += text
        else:
            self._builder.paragraph(self._carried + text)
            self._carried = ""
        self._aside(seen, depth)

    def _text(self, paragraph: Element, seen: Seen) -> str:
        """The paragraph with its number, if there is anything of it."""
        text = self._runs.text(paragraph, seen)
        self._left_out |= seen.left_out
        if not text.strip():
            return ""
        label = self._numbering.label(child(paragraph, "pPr"))
        return f"{label} {text.lstrip()}" if label else text

    def _flush_carried(self) -> None:
        self._builder.paragraph(self._carried)
        self._carried = ""

    def _aside(self, seen: Seen, depth: int) -> None:
        """What hangs on a paragraph, after it: boxes, notes, comments, embedded documents."""
        if depth < MAX_DEPTH:
            for box in seen.boxes:
                self._blocks(box, depth + 1)
        for kind, id in seen.notes:
            note = self._notes[kind].get(id)
            if note is None or f"{kind} {id}" in self._told:
                continue
            self._told.add(f"{kind} {id}")
            inner = Seen()
            text = fold(" ".join(self._text(each, inner) for each in note.iter() if local(each) == "p"))
            if text and kind == "comment":
                author = attribute(note, "author")
                self._builder.paragraph(f"[Comment{f' by {author}' if author else ''}: {text}]")
            elif text:
                self._builder.paragraph(f"[{kind.capitalize()} {self._number_of_note(kind, id)}: {text}]")
        for id in seen.objects:
            self._embedded(id)

    def _number_of_note(self, kind: str, id: str) -> str:
        count = sum(each == kind for each, _ in self._numbers)
        return self._numbers.setdefault((kind, id), str(count + 1) if kind == "footnote" else f"{chr(96 + min(count + 1, 26))}")

    def _embedded(self, id: str) -> None:
        _, name = self._related.get(id, ("", ""))
        if name:
            self._builder.parts.append(Part(posixpath.basename(name), self._archive.read(name)))

    def _table(self, table: Element, depth: int) -> None:
        asides: list[Seen] = []
        rows: list[TableRow] = []
        above: dict[int, str] = {}
        for row in self._table_rows(table):
            cells: list[str] = [""] * _number(attribute(child(row, "trPr", "gridBefore"), "val"), 0)
            for cell in _cells(row):
                seen = Seen()
                properties = child(cell, "tcPr")
                merge = child(properties, "vMerge")
                text = " ".join(self._cell(cell, seen, depth))
                if merge is not None and attribute(merge, "val", "continue") != "restart":
                    text = above.get(len(cells), text)
                if merge is not None:
                    above[len(cells)] = text
                else:
                    above.pop(len(cells), None)
                span = min(100, _number(attribute(child(properties, "gridSpan"), "val"), 1))
                # A cell over several columns says the same of each; in a row of its own it is one heading.
                cells += [text] * max(1, span)
                asides.append(seen)
            header = child(row, "trPr", "tblHeader")
            rows.append(TableRow(_headings(cells), header is not None and attribute(header, "val", "1") not in ("0", "false")))
        self._builder.table(rows)
        for seen in asides:
            self._aside(seen, depth + 1)

    def _table_rows(self, table: Element) -> Iterator[Element]:
        for each in table:
            match local(each):
                case "tr":
                    if child(each, "trPr", "del") is not None:
                        self._left_out.add("deleted")
                    elif child(each, "trPr", "hidden") is not None:
                        self._left_out.add("hidden")
                    else:
                        yield each
                case "sdt" | "sdtContent" | "customXml" | "ins":
                    yield from self._table_rows(each)

    def _cell(self, cell: Element, seen: Seen, depth: int) -> Iterator[str]:
        for each in cell:
            match local(each):
                case "p":
                    yield self._text(each, seen)
                case "tbl" if depth < MAX_DEPTH:
                    for row in self._table_rows(each):
                        yield ", ".join(filter(None, (" ".join(self._cell(inner, seen, depth + 1)) for inner in _cells(row)))) + ";"
                case "sdt" | "sdtContent" | "customXml" | "ins":
                    yield from self._cell(each, seen, depth)

    def _heads_and_feet(self, body: Element) -> tuple[list[str], list[str]]:
        """Texts of the running heads and feet that some page shows, each once, those that only number the pages aside."""
        found: dict[str, dict[str, None]] = {"headerReference": {}, "footerReference": {}}
        for section in (each for each in body.iter() if local(each) == "sectPr"):
            first = child(section, "titlePg") is not None
            for each in section:
                shown = {"first": first, "even": self._even_pages}.get(attribute(each, "type"), True)
                _, name = self._related.get(attribute(each, "id"), ("", ""))
                if local(each) in found and shown and name:
                    part = self._archive.xml(name)
                    paragraphs = (fold(self._text(below, Seen())) for below in part.iter() if local(below) == "p")
                    text = fold(" ".join(paragraphs))
                    if text and not _PAGE_NUMBER.fullmatch(text):
                        found[local(each)][text] = None
        return list(found["headerReference"]), list(found["footerReference"])


def _cells(row: Element) -> Iterator[Element]:
    for each in row:
        match local(each):
            case "tc":
                yield each
            case "sdt" | "sdtContent" | "customXml" | "ins":
                yield from _cells(each)


def _headings(cells: list[str]) -> list[str]:
    """A row that is one cell over all columns is a heading, said once."""
    return [cells[0], *([""] * (len(cells) - 1))] if len(set(cells)) == 1 and len(cells) > 1 else cells


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else otherwise
