"""PowerPoint presentations (.pptx, .pptm, .ppsx): each slide with its text, tables and notes."""

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import Builder, TableRow, lowered, raised
from coordinator.documents.drawings import add_chart, add_diagram
from coordinator.documents.extract import Extract
from coordinator.documents.xml import Archive, attribute, child, children, local
from coordinator.types import Gap, GapKind, SectionKind

_KIND: Final = "a PowerPoint presentation"
_EMPTY_PLACEHOLDERS: Final = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})


def read_pptx(data: bytes) -> Extract:
    archive = Archive(data, _KIND)
    main = archive.main_part(_KIND, "ppt/presentation.xml")
    names = {id: name for id, kind, name in archive.related(main) if kind == "slide" and name in archive.names}
    builder = Builder()
    for number, each in enumerate(children(child(archive.xml(main), "sldIdLst"), "sldId"), 1):
        # Two attributes are called id: the slide's number, and what it is related by.
        name = next((names[value] for value in each.attrib.values() if value in names), None)
        if name is None:
            continue
        slide = archive.xml(name)
        if attribute(slide, "show", "1") in ("0", "false"):
            builder.gaps.append(Gap(GapKind.HIDDEN, f"the hidden slide {number} is left out", (number,)))
            continue
        builder.section(SectionKind.SLIDE, number)
        _shapes(builder, child(slide, "cSld", "spTree"))
        for _, kind, part in archive.related(name):
            if part in archive.names and kind == "diagramData":
                add_diagram(builder, archive.xml(part))
            elif part in archive.names and kind == "chart":
                add_chart(builder, archive.xml(part))
            elif part in archive.names and kind == "notesSlide":
                notes = [
                    text for shape in archive.xml(part).iter() if local(shape) == "sp" and (text := " ".join(_paragraphs(shape)))
                ]
                if notes:
                    builder.paragraph(f"[Notes: {' '.join(notes)}]")
            elif part in archive.names and kind == "comments":
                for comment in archive.xml(part).iter():
                    if local(comment) == "text" and (comment.text or "").strip():
                        builder.paragraph(f"[Comment: {comment.text}]")
    return builder.extract()


def _shapes(builder: Builder, tree: Element | None) -> None:
    for each in tree if tree is not None else ():
        if any(local(part) == "cNvPr" and attribute(part, "hidden") in ("1", "true") for part in each.iter()):
            builder.gaps.append(Gap(GapKind.HIDDEN, "hidden shapes of slides are left out"))
            continue
        match local(each):
            case "sp":
                for text in _paragraphs(each):
                    builder.paragraph(text)
            case "grpSp":
                _shapes(builder, each)
            case "AlternateContent":
                _shapes(builder, child(each, "Choice") if child(each, "Choice") is not None else child(each, "Fallback"))
            case "graphicFrame":
                for table in (part for part in each.iter() if local(part) == "tbl"):
                    first = attribute(child(table, "tblPr"), "firstRow") in ("1", "true")
                    rows = list(_rows(table))
                    builder.table(
                        TableRow(cells, header=first and number == 0 and len(rows) > 1) for number, cells in enumerate(rows)
                    )
            case "pic":
                told = next((attribute(part, "descr") for part in each.iter() if local(part) == "cNvPr"), "")
                if told:
                    builder.paragraph(f"[picture: {told}]")


def _paragraphs(shape: Element) -> Iterator[str]:
    place = next((attribute(each, "type") for each in shape.iter() if local(each) == "ph"), "")
    if place in _EMPTY_PLACEHOLDERS:
        return
    for each in shape.iter():
        if local(each) == "p" and (text := _text(each).strip()):
            yield text


def _text(paragraph: Element) -> str:
    pieces: list[str] = []
    for each in paragraph:
        match local(each):
            case "r" | "fld":
                properties, text = child(each, "rPr"), child(each, "t")
                shown = text.text or "" if text is not None else ""
                if attribute(properties, "strike", "noStrike") != "noStrike":
                    continue
                baseline = attribute(properties, "baseline", "0")
                change = lowered if baseline.startswith("-") else raised if baseline != "0" else str
                pieces.append(change(shown))
            case "br":
                pieces.append("\n")
            case "m" | "AlternateContent":
                pieces += [part.text or "" for part in each.iter() if local(part) == "t"]
    return "".join(pieces)


def _rows(table: Element) -> Iterator[list[str]]:
    above: list[str] = []
    for row in children(table, "tr"):
        cells: list[str] = []
        for cell in children(row, "tc"):
            text = " ".join(filter(None, map(_text, (each for each in cell.iter() if local(each) == "p"))))
            if attribute(cell, "hMerge") in ("1", "true") and cells:
                text = cells[-1]
            elif attribute(cell, "vMerge") in ("1", "true") and len(cells) < len(above):
                text = above[len(cells)]
            cells.append(text)
        above = cells
        yield cells
