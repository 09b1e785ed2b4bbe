"""Excel workbooks (.xlsx, .xlsm, .xltx): each sheet with its values as they are shown, records with the names of their columns."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import Builder
from coordinator.documents.data import add_table
from coordinator.documents.drawings import plain_text
from coordinator.documents.extract import Extract
from coordinator.documents.grid import Grid
from coordinator.documents.number_formats import EPOCH_1900, EPOCH_1904, shown_number
from coordinator.documents.xml import Archive, attribute, child, children, local
from coordinator.types import Gap, GapKind, SectionKind

_KIND: Final = "an Excel workbook"
MAX_COLUMNS: Final = 16_384
_BESIDE: Final = frozenset({"comments", "threadedComment", "drawing"})

# Number formats that every program knows by number (ECMA-376, 18.8.30), as far as they are not plain numbers.
_FORMATS: Final[dict[int, str]] = {
    **dict.fromkeys((14, 15, 16, 17, 27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58), "yyyy-mm-dd"),
    **dict.fromkeys((18, 19, 20, 21, 32, 33, 34, 35, 45, 46, 47, 55, 56), "hh:mm:ss"),
    22: "yyyy-mm-dd hh:mm",
    2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 37: "#,##0", 38: "#,##0", 39: "#,##0.00", 40: "#,##0.00",
}  # fmt: skip


def read_xlsx(data: bytes) -> Extract:
    archive = Archive(data, _KIND)
    main = archive.main_part(_KIND, "xl/workbook.xml")
    return _Workbook(archive, main).extract()


@dataclass(frozen=True, slots=True)
class _Styles:
    formats: tuple[str, ...]
    """Of each cell style, by its number."""
    struck: frozenset[int]
    bold: frozenset[int]


class _Workbook:
    def __init__(self, archive: Archive, main: str) -> None:
        self._archive = archive
        self._builder = Builder()
        self._book = archive.xml(main)
        related = {id: (kind, name) for id, kind, name in archive.related(main) if name in archive.names}
        self._sheets = {id: name for id, (kind, name) in related.items() if kind == "worksheet"}
        by_kind = dict(related.values())
        self._left_out: set[str] = set()
        self._strings: list[str] = []
        for each in children(archive.xml(by_kind["sharedStrings"]), "si") if "sharedStrings" in by_kind else ():
            self._strings.append(self._rich(each))
        self._styles = _styles(archive.xml(by_kind["styles"])) if "styles" in by_kind else _Styles((), frozenset(), frozenset())
        from_1904 = attribute(child(self._book, "workbookPr"), "date1904") in ("1", "true")
        self._epoch = EPOCH_1904 if from_1904 else EPOCH_1900

    def extract(self) -> Extract:
        for number, sheet in enumerate(children(child(self._book, "sheets"), "sheet"), 1):
            name = self._sheets.get(attribute(sheet, "id"))
            if name is None:
                continue  # a chart
            if attribute(sheet, "state", "visible") != "visible":
                self._builder.gaps.append(
                    Gap(GapKind.HIDDEN, f"the hidden sheet {attribute(sheet, 'name')} is left out", (number,))
                )
                continue
            self._builder.section(SectionKind.SHEET, number, attribute(sheet, "name"))
            self._sheet(name, number)
        if "rows" in self._left_out:
            self._builder.gaps.append(Gap(GapKind.HIDDEN, "hidden rows and columns are left out"))
        if "struck" in self._left_out:
            self._builder.gaps.append(Gap(GapKind.HIDDEN, "values that are struck out are left out, as they are not in force"))
        return self._builder.extract()

    def _sheet(self, name: str, number: int) -> None:
        sheet = self._archive.xml(name)
        hidden = {
            column
            for each in children(child(sheet, "cols"), "col")
            if attribute(each, "hidden") in ("1", "true")
            for column in range(int(attribute(each, "min", "1")), min(MAX_COLUMNS, int(attribute(each, "max", "1"))) + 1)
        }
        grid = Grid(heads=self._heads(name, sheet))
        bold: set[int] = set()
        without_value = 0
        at = 0
        for row in children(child(sheet, "sheetData"), "row"):
            at = int(attribute(row, "r", str(at + 1)))
            if attribute(row, "hidden") in ("1", "true"):
                self._left_out.add("rows")
                grid.hidden.add(at)
                continue
            cells, column, plain = {}, 0, 0
            for cell in children(row, "c"):
                column = _column(attribute(cell, "r")) or column + 1
                value, known = self._value(cell)
                without_value += not known
                if value and column in hidden:
                    self._left_out.add("rows")
                elif value:
                    cells[column] = value
                    plain += not self._is_bold(cell)
            grid.rows[at] = cells
            if not plain and len(cells) > 1:
                bold.add(at)
        for place, shown in grid.rows.items():
            # Bold names stand above all that is in the next row, which is not bold; its first column may have none.
            below = sorted(grid.rows.get(place + 1, ()))
            if place in bold and place + 1 not in bold and below and shown.keys() >= set(below[1:]):
                grid.heads.add(place)
        _fill_merged(sheet, grid)
        if without_value:
            reason = f"{without_value} formulas have no stored value; open the file in its program and save it"
            self._builder.gaps.append(Gap(GapKind.NOT_READ, reason, (number,)))
        for table in grid.tables():
            add_table(self._builder, table, sheet=True)
        for text in self._beside(name):
            self._builder.paragraph(text)

    def _heads(self, name: str, sheet: Element) -> set[int]:
        """Rows that the file says name columns: those that a filter or a table begins with."""
        ranges = [attribute(each, "ref") for each in children(sheet, "autoFilter")]
        for _, kind, part in self._archive.related(name):
            if (
                kind == "table"
                and part in self._archive.names
                and attribute(table := self._archive.xml(part), "headerRowCount", "1") != "0"
            ):
                ranges.append(attribute(table, "ref"))
        return {int(match[1]) for each in ranges if (match := re.match(r"[A-Z]{1,3}(\d{1,7}):", each))}

    def _is_bold(self, cell: Element) -> bool:
        style = attribute(cell, "s", "0")
        return style.isdigit() and int(style) in self._styles.bold

    def _value(self, cell: Element) -> tuple[str, bool]:
        """What a cell shows, and whether that is known."""
        kind, style = attribute(cell, "t", "n"), attribute(cell, "s", "0")
        index = int(style) if style.isdigit() else 0
        raw = child(cell, "v")
        value = raw.text or "" if raw is not None else ""
        if kind == "inlineStr":
            value = self._rich(child(cell, "is"))
        elif kind == "s":
            value = self._strings[int(value)] if value.isdigit() and int(value) < len(self._strings) else ""
        elif kind == "d":
            value = value.removesuffix("T00:00:00").replace("T", " ")
        elif kind == "b":
            value = "TRUE" if value == "1" else "FALSE"
        elif kind == "n" and value:
            shape = self._styles.formats[index] if index < len(self._styles.formats) else ""
            value = shown_number(value, shape, self._epoch)
        if value and index in self._styles.struck:
            self._left_out.add("struck")
            value = ""
        return value, bool(value) or child(cell, "f") is None or raw is not None

    def _rich(self, element: Element | None) -> str:
        """The text of a string in pieces; readings over characters are none of it."""
        pieces = []
        for each in element if element is not None else ():
            struck = child(each, "rPr", "strike")
            if local(each) == "t":
                pieces.append(each.text or "")
            elif local(each) == "r" and _is_on(struck):
                self._left_out.add("struck")
            elif local(each) == "r":
                pieces.append(self._rich(each))
        return "".join(pieces)

    def _beside(self, sheet: str) -> Iterator[str]:
        """What hangs on cells or lies over them: comments, and the texts of shapes."""
        parts = [
            (kind, self._archive.xml(name))
            for _, kind, name in self._archive.related(sheet)
            if kind in _BESIDE and name in self._archive.names
        ]
        for kind, part in parts:
            for each in part.iter():
                if kind == "threadedComment" and local(each) == kind:
                    text = child(each, "text")
                    yield f"[Comment on {attribute(each, 'ref')}: {text.text or '' if text is not None else ''}]"
                elif kind == "comments" and local(each) == "comment":
                    said = self._rich(child(each, "text"))
                    if not said.startswith("[Threaded comment]"):  # told by itself, above
                        yield f"[Comment on {attribute(each, 'ref')}: {said}]"
                elif kind == "drawing" and local(each) == "txBody":
                    yield "\n".join(plain_text(line) for line in each if local(line) == "p")


def _styles(part: Element) -> _Styles:
    own = {attribute(each, "numFmtId"): attribute(each, "formatCode") for each in children(child(part, "numFmts"), "numFmt")}
    struck_fonts, bold_fonts = (
        {position for position, font in enumerate(children(child(part, "fonts"), "font")) if _is_on(child(font, name))}
        for name in ("strike", "b")
    )
    formats: list[str] = []
    struck: set[int] = set()
    bold: set[int] = set()
    for position, each in enumerate(children(child(part, "cellXfs"), "xf")):
        id = attribute(each, "numFmtId", "0")
        formats.append(own.get(id) or _FORMATS.get(int(id) if id.isdigit() else 0, ""))
        font = attribute(each, "fontId", "0")
        if font.isdigit() and int(font) in struck_fonts:
            struck.add(position)
        if font.isdigit() and int(font) in bold_fonts:
            bold.add(position)
    return _Styles(tuple(formats), frozenset(struck), frozenset(bold))


def _is_on(element: Element | None) -> bool:
    return element is not None and attribute(element, "val", "1") not in ("0", "false")


def _column(reference: str) -> int:
    """Number of the column of "AB12", from 1; 0 where there is none."""
    number = 0
    for letter in reference:
        if not "A" <= letter <= "Z":
            break
        number = number * 26 + ord(letter) - 64
    return min(number, MAX_COLUMNS)


def _fill_merged(sheet: Element, grid: Grid) -> None:
    for each in children(child(sheet, "mergeCells"), "mergeCell"):
        match = re.fullmatch(r"([A-Z]+)(\d+):([A-Z]+)(\d+)", attribute(each, "ref"))
        if match is not None:
            grid.merge(_column(match[1]), int(match[2]), _column(match[3]), int(match[4]))
