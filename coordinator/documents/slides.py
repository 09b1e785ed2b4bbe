"""PowerPoint presentations (.pptx, .pptm, .ppsx): each slide with its text, tables and notes."""

import posixpath
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import LEFT_OUT, Builder, TableRow, lowered, raised
from coordinator.documents.counting import FORMATS
from coordinator.documents.drawings import add_chart, add_diagram, plain_text
from coordinator.documents.extract import Extract, Part
from coordinator.documents.xml import Archive, attribute, child, children, local
from coordinator.types import Gap, GapKind, SectionKind

_KIND: Final = "a PowerPoint presentation"
_NUMBER_FORMS: Final = (
    ("alphaLc", "lowerLetter"),
    ("alphaUc", "upperLetter"),
    ("romanLc", "lowerRoman"),
    ("romanUc", "upperRoman"),
    ("circleNum", "decimalEnclosedCircle"),
    ("ea1Jpn", "japaneseCounting"),
    ("ea1Ch", "chineseCounting"),
)
"""Beginnings of the names of forms of numbers, with those of `FORMATS`."""
_EMPTY_PLACEHOLDERS: Final = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})


def read_pptx(data: bytes) -> Extract:
    return _Deck(Archive(data, _KIND)).extract()


class _Deck:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._builder = Builder()
        self._left_out: set[str] = set()

    def extract(self) -> Extract:
        main = self._archive.main_part(_KIND, "ppt/presentation.xml")
        names = {id: name for id, kind, name in self._archive.related(main) if kind == "slide" and name in self._archive.names}
        for number, each in enumerate(children(child(self._archive.xml(main), "sldIdLst"), "sldId"), 1):
            # Two attributes are called id: the slide's number, and what it is related by.
            name = next((names[value] for value in each.attrib.values() if value in names), None)
            if name is not None:
                self._slide(name, number)
        if "shapes" in self._left_out:
            self._builder.gaps.append(Gap(GapKind.HIDDEN, "hidden shapes of slides are left out"))
        if "struck" in self._left_out:
            self._builder.gaps.append(Gap(GapKind.HIDDEN, LEFT_OUT["struck"]))
        return self._builder.extract()

    def _slide(self, name: str, number: int) -> None:
        slide = self._archive.xml(name)
        if attribute(slide, "show", "1") in ("0", "false"):
            self._builder.gaps.append(Gap(GapKind.HIDDEN, f"the hidden slide {number} is left out", (number,)))
            return
        self._builder.section(SectionKind.SLIDE, number)
        self._shapes(child(slide, "cSld", "spTree"))
        for _, kind, part in self._archive.related(name):
            if part not in self._archive.names:
                continue
            if kind == "diagramData":
                add_diagram(self._builder, self._archive.xml(part))
            elif kind == "chart":
                add_chart(self._builder, self._archive.xml(part))
            elif kind == "notesSlide":
                shapes = (each for each in self._archive.xml(part).iter() if local(each) == "sp")
                if notes := " ".join(text for shape in shapes for text in self._paragraphs(shape)):
                    self._builder.paragraph(f"[Notes: {notes}]")
            elif kind == "comments":
                self._comments(self._archive.xml(part))
            elif kind in ("package", "oleObject"):
                self._builder.parts.append(Part(posixpath.basename(part), self._archive.read(part)))

    def _comments(self, part: Element) -> None:
        """Comments of older programs have a text, those of newer ones paragraphs."""
        for each in part.iter():
            if local(each) == "text" and (each.text or "").strip():
                self._builder.paragraph(f"[Comment: {each.text}]")
            elif local(each) == "txBody" and (said := " ".join(plain_text(line) for line in each if local(line) == "p").strip()):
                self._builder.paragraph(f"[Comment: {said}]")

    def _shapes(self, tree: Element | None) -> None:
        for each in tree if tree is not None else ():
            own = next((child(part, "cNvPr") for part in each if local(part).startswith("nv")), None)
            if attribute(own, "hidden") in ("1", "true"):
                self._left_out.add("shapes")
                continue
            match local(each):
                case "sp":
                    for text in self._paragraphs(each):
                        self._builder.paragraph(text)
                case "grpSp":
                    self._shapes(each)
                case "AlternateContent":
                    self._shapes(_form(each))
                case "graphicFrame":
                    for table in (part for part in each.iter() if local(part) == "tbl"):
                        first = attribute(child(table, "tblPr"), "firstRow") in ("1", "true")
                        rows = list(self._rows(table))
                        self._builder.table(
                            TableRow(cells, header=first and number == 0 and len(rows) > 1) for number, cells in enumerate(rows)
                        )
                case "pic" if told := attribute(own, "descr"):
                    self._builder.paragraph(f"[picture: {told}]")

    def _paragraphs(self, shape: Element) -> Iterator[str]:
        place = next((attribute(each, "type") for each in shape.iter() if local(each) == "ph"), "")
        if place in _EMPTY_PLACEHOLDERS:
            return
        counts: dict[int, int] = {}
        for each in shape.iter():
            if local(each) == "p" and (text := self._text(each).strip()):
                yield _number(each, counts) + text

    def _text(self, paragraph: Element) -> str:
        pieces: list[str] = []
        for each in paragraph:
            match local(each):
                case "r" | "fld":
                    properties, text = child(each, "rPr"), child(each, "t")
                    shown = text.text or "" if text is not None else ""
                    if attribute(properties, "strike", "noStrike") != "noStrike":
                        self._left_out |= {"struck"} if shown.strip() else set()
                        continue
                    baseline = attribute(properties, "baseline", "0")
                    change = lowered if baseline.startswith("-") else raised if baseline not in ("0", "0%") else str
                    pieces.append(change(shown))
                case "br":
                    pieces.append("\n")
                case "m" | "AlternateContent":
                    form = each if local(each) == "m" else _form(each)
                    pieces += [part.text or "" for part in (form.iter() if form is not None else ()) if local(part) == "t"]
        return "".join(pieces)

    def _rows(self, table: Element) -> Iterator[list[str]]:
        above: list[str] = []
        for row in children(table, "tr"):
            cells: list[str] = []
            for cell in children(row, "tc"):
                text = " ".join(filter(None, map(self._text, (each for each in cell.iter() if local(each) == "p"))))
                if attribute(cell, "hMerge") in ("1", "true") and cells:
                    text = cells[-1]
                elif attribute(cell, "vMerge") in ("1", "true") and len(cells) < len(above):
                    text = above[len(cells)]
                cells.append(text)
            above = cells
            yield cells


def _form(alternatives: Element) -> Element | None:
    """Of the forms in which something is given, that for newer programs."""
    return child(alternatives, "Choice") if child(alternatives, "Choice") is not None else child(alternatives, "Fallback")


def _number(paragraph: Element, counts: dict[int, int]) -> str:
    """The number of a paragraph with the space behind it, and counts it by its level; "" where it has none."""
    properties = child(paragraph, "pPr")
    told, shape = attribute(properties, "lvl", "0"), child(properties, "buAutoNum")
    level = int(told) if told.isdigit() and len(told) < 3 else 0
    for deeper in [each for each in counts if each > level or (each == level and shape is None)]:
        del counts[deeper]
    if shape is None:
        return ""
    start = attribute(shape, "startAt", "1")
    counts[level] = counts[level] + 1 if level in counts else int(start) if start.isdigit() and len(start) < 6 else 1
    kind = attribute(shape, "type")
    make = next((FORMATS[form] for name, form in _NUMBER_FORMS if kind.startswith(name)), str)
    shown = make(counts[level])
    ends = {"ParenBoth": f"({shown})", "ParenR": f"{shown})", "Period": f"{shown}."}
    return next((text for name, text in ends.items() if kind.endswith(name)), shown) + " "
