"""Word documents (.docx, .docm, .dotx, .dotm) to text as it is printed: with numbers of clauses, notes, text boxes, heads."""

import posixpath
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import LEFT_OUT, PAGE_NUMBER, Builder, TableRow
from coordinator.documents.counting import FORMATS
from coordinator.documents.drawings import add_chart, add_diagram
from coordinator.documents.extract import Extract, Part
from coordinator.documents.word.numbering import Numbering
from coordinator.documents.word.runs import Runs, Seen
from coordinator.documents.xml import Archive, attribute, child, children, local
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind

_KIND: Final = "a Word document"
_BLOCK_WRAPPERS: Final = frozenset({"sdtContent", "customXml", "ins", "moveTo", "body", "smartTag", "txbxContent", "dir", "bdo"})
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
        self._related = self._relations(main)
        by_type: dict[str, str] = {}
        for relation, name in self._related.values():
            by_type.setdefault(relation, name)
        self._body = child(archive.xml(main), "body")
        if self._body is None:
            raise DocumentError(f"it is damaged, or not {_KIND}: there is no text in its document")
        styles = {attribute(each, "styleId"): each for each in children(self._part(by_type, "styles"), "style")}
        self._numbering = Numbering(self._part(by_type, "numbering"), styles)
        self._runs = Runs(styles, self._number_of_note)
        self._runs.begin(self._body)
        self._notes: dict[str, dict[str, Element]] = {}
        for kind in ("footnote", "endnote", "comment"):
            if (part := self._part(by_type, f"{kind}s")) is not None:
                self._runs.begin(part)
                self._notes[kind] = {attribute(each, "id"): each for each in children(part, kind)}
        self._note_parts = {kind: by_type.get(f"{kind}s", "") for kind in self._notes}
        self._numbers: dict[tuple[str, str], str] = {}
        settings = self._part(by_type, "settings")
        self._even_pages = _is_on(child(settings, "evenAndOddHeaders"))
        self._note_formats = {
            "footnote": _note_format("footnote", "decimal", settings, self._body),
            "endnote": _note_format("endnote", "lowerRoman", settings, self._body),
        }
        self._left_out: set[str] = set()
        self._told: set[str] = set()
        self._carried = ""
        """Text of a paragraph whose end is deleted or hidden: it goes on with the next."""
        self._has_label = False
        """Whether it begins with its number."""

    def extract(self) -> Extract:
        assert self._body is not None, "looked at before"
        heads, feet = self._heads_and_feet(self._body)
        for line in heads:
            self._builder.paragraph(line)
        self._blocks(self._body, 0)
        self._flush_carried()
        for line in feet:
            self._builder.paragraph(line)
        for kind, reason in LEFT_OUT.items():
            if kind in self._left_out:
                self._builder.gaps.append(Gap(GapKind.HIDDEN, reason))
        if not self._builder.text and not self._builder.parts and any("/media/" in name for name in self._archive.names):
            raise DocumentError("there is no text in it, only pictures; save it as PDF, of which pictures can be read by OCR")
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
        properties = child(paragraph, "pPr")
        mark = child(properties, "rPr")
        text = self._content(paragraph, seen)
        hidden = _is_on(child(mark, "vanish"))
        if not self._carried and text.strip() and hidden:
            # A heading that its paragraph follows on the same line. Where a deletion joins two, the second one's number stays.
            text, self._has_label = self._numbering.label(properties) + text.lstrip(), True
        self._carried += text
        if not hidden and child(mark, "del") is None:
            label = "" if self._has_label else self._numbering.label(properties)
            if self._carried.strip():
                self._builder.paragraph(label + self._carried.lstrip())
            self._carried, self._has_label = "", False
        self._aside(seen, depth)

    def _content(self, paragraph: Element, seen: Seen) -> str:
        """The text of the paragraph without its number."""
        text = self._runs.text(paragraph, seen, self._numbering.style(child(paragraph, "pPr")))
        self._left_out |= seen.left_out
        return text

    def _text(self, paragraph: Element, seen: Seen) -> str:
        """A paragraph of a cell with its number, which may be all that it shows."""
        text, properties = self._content(paragraph, seen), child(paragraph, "pPr")
        if not text.strip() and child(properties, "rPr", "del") is not None:
            return ""
        return (self._numbering.label(properties) + text.lstrip()).rstrip()

    def _flush_carried(self) -> None:
        self._builder.paragraph(self._carried)
        self._carried, self._has_label = "", False

    def _aside(self, seen: Seen, depth: int) -> None:
        """What hangs on a paragraph, after it: boxes, drawings, notes, comments, embedded documents."""
        if depth < MAX_DEPTH:
            for box in seen.boxes:
                self._blocks(box, depth + 1)
        for id in seen.drawn:
            relation, name = self._related.get(id, ("", ""))
            if relation == "chart":
                add_chart(self._builder, self._archive.xml(name))
            elif relation == "diagramData":
                add_diagram(self._builder, self._archive.xml(name))
        for kind, id in seen.notes:
            note = self._notes.get(kind, {}).get(id)
            if note is None or f"{kind} {id}" in self._told:
                continue
            self._told.add(f"{kind} {id}")
            text = "\n".join(self._apart(note, self._note_parts[kind], depth))
            if text and kind == "comment":
                author = attribute(note, "author")
                self._builder.paragraph(f"[Comment{f' by {author}' if author else ''}: {text}]")
            elif text:
                self._builder.paragraph(f"[{kind.capitalize()} {self._number_of_note(kind, id)}: {text}]")
        for id in seen.objects:
            self._embedded(id)

    def _apart(self, story: Element, part: str, depth: int = 0) -> list[str]:
        """The lines of something that stands outside the text, such as a note, in the part of that name."""
        if depth >= MAX_DEPTH:
            return []
        kept = self._builder, self._related, self._carried, self._has_label
        self._builder, self._related, self._carried, self._has_label = Builder(), self._relations(part), "", False
        self._blocks(story, depth + 1)
        self._flush_carried()
        lines, parts = [line.strip() for line in self._builder.text.split("\n") if line.strip()], self._builder.parts
        self._builder, self._related, self._carried, self._has_label = kept
        self._builder.parts += parts
        return lines

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """By id: the kind of what the part points at, and its name."""
        return {id: (relation, name) for id, relation, name in self._archive.related(part) if name in self._archive.names}

    def _number_of_note(self, kind: str, id: str) -> str:
        count = sum(each == kind for each, _ in self._numbers)
        return self._numbers.setdefault((kind, id), FORMATS.get(self._note_formats[kind], str)(count + 1))

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
            spanned = 0
            for cell in _cells(row):
                seen = Seen()
                properties = child(cell, "tcPr")
                if child(properties, "cellDel") is not None:
                    self._left_out.add("deleted")
                    continue
                merge = child(properties, "vMerge")
                text = " ".join(filter(None, self._cell(cell, seen, depth)))
                beside = child(properties, "hMerge")
                if beside is not None and attribute(beside, "val", "continue") != "restart" and cells:
                    text = cells[-1]
                else:
                    spanned += 1
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
            if spanned == 1 and len(cells) > 1 and cells[0]:  # one cell over all columns is a heading, said once
                cells[1:] = [""] * (len(cells) - 1)
            rows.append(TableRow(cells, _is_on(child(row, "trPr", "tblHeader"))))
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
        """Lines of the running heads and feet that some page shows, each once, those that only number the pages aside."""
        found: dict[str, dict[str, None]] = {"headerReference": {}, "footerReference": {}}
        read: set[str] = set()
        for section in (each for each in body.iter() if local(each) == "sectPr"):
            first = _is_on(child(section, "titlePg"))
            for each in section:
                shown = {"first": first, "even": self._even_pages}.get(attribute(each, "type"), True)
                _, name = self._related.get(attribute(each, "id"), ("", ""))
                if local(each) in found and shown and name and name not in read:
                    read.add(name)
                    part = self._archive.xml(name)
                    self._runs.begin(part)
                    lines = (line for line in self._apart(part, name) if not PAGE_NUMBER.fullmatch(line))
                    found[local(each)].update(dict.fromkeys(lines))
        return list(found["headerReference"]), list(found["footerReference"])


def _cells(row: Element) -> Iterator[Element]:
    for each in row:
        match local(each):
            case "tc":
                yield each
            case "sdt" | "sdtContent" | "customXml" | "ins":
                yield from _cells(each)


def _is_on(element: Element | None) -> bool:
    return element is not None and attribute(element, "val", "1") not in ("0", "false", "off")


def _note_format(kind: str, usual: str, *places: Element | None) -> str:
    """How notes are numbered, which settings or sections say."""
    found = (child(each, "numFmt") for place in places if place is not None for each in place.iter() if local(each) == f"{kind}Pr")
    return next((attribute(each, "val") for each in found if each is not None), usual)


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else otherwise
