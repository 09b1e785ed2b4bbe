"""Excel workbooks (.xlsx, .xlsm, .xltx): each sheet with its values as they are shown, records with the names of their columns."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import Builder, TableRow
from coordinator.documents.data import add_table
from coordinator.documents.extract import Extract
from coordinator.documents.number_formats import EPOCH_1900, EPOCH_1904, shown_number
from coordinator.documents.xml import Archive, attribute, child, children, local
from coordinator.types import Gap, GapKind, SectionKind

_KIND: Final = "an Excel workbook"
MAX_COLUMNS: Final = 16_384
_MAX_MERGED: Final = 10_000
"""Cells of one merged range that are filled; a merged page of a form is larger, and says one thing."""

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


class _Workbook:
    def __init__(self, archive: Archive, main: str) -> None:
        self._archive = archive
        self._builder = Builder()
        self._book = archive.xml(main)
        related = {id: (kind, name) for id, kind, name in archive.related(main) if name in archive.names}
        self._sheets = {id: name for id, (kind, name) in related.items() if kind == "worksheet"}
        by_kind = dict(related.values())
        self._strings = list(_strings(archive.xml(by_kind["sharedStrings"]))) if "sharedStrings" in by_kind else []
        self._styles = _styles(archive.xml(by_kind["styles"])) if "styles" in by_kind else _Styles((), frozenset())
        from_1904 = attribute(child(self._book, "workbookPr"), "date1904") in ("1", "true")
        self._epoch = EPOCH_1904 if from_1904 else EPOCH_1900
        self._left_out: set[str] = set()

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
        comments = self._comments(name)
        hidden = {
            column
            for each in children(child(sheet, "cols"), "col")
            if attribute(each, "hidden") in ("1", "true")
            for column in range(int(attribute(each, "min", "1")), min(MAX_COLUMNS, int(attribute(each, "max", "1"))) + 1)
        }
        rows: dict[int, dict[int, str]] = {}
        hidden_rows: set[int] = set()
        without_value = 0
        at = 0
        for row in children(child(sheet, "sheetData"), "row"):
            at = int(attribute(row, "r", str(at + 1)))
            if attribute(row, "hidden") in ("1", "true"):
                self._left_out.add("rows")
                hidden_rows.add(at)
                continue
            cells, column = {}, 0
            for cell in children(row, "c"):
                column = _column(attribute(cell, "r")) or column + 1
                value, known = self._value(cell)
                without_value += not known
                if value and column in hidden:
                    self._left_out.add("rows")
                elif value:
                    cells[column] = value
            rows[at] = cells
        _fill_merged(sheet, rows)
        if without_value:
            reason = f"{without_value} formulas have no stored value; open the file in its program and save it"
            self._builder.gaps.append(Gap(GapKind.NOT_READ, reason, (number,)))
        for block in _blocks(rows, hidden_rows):
            add_table(self._builder, block)
        for text in comments:
            self._builder.paragraph(text)

    def _value(self, cell: Element) -> tuple[str, bool]:
        """What a cell shows, and whether that is known."""
        kind, style = attribute(cell, "t", "n"), attribute(cell, "s", "0")
        index = int(style) if style.isdigit() else 0
        raw = child(cell, "v")
        value = raw.text or "" if raw is not None else ""
        if kind == "inlineStr":
            value = _rich(child(cell, "is"))
        elif kind == "s":
            value = self._strings[int(value)] if value.isdigit() and int(value) < len(self._strings) else ""
        elif kind == "b":
            value = "TRUE" if value == "1" else "FALSE"
        elif kind == "n" and value:
            shape = self._styles.formats[index] if index < len(self._styles.formats) else ""
            value = shown_number(value, shape, self._epoch)
        if value and index in self._styles.struck:
            self._left_out.add("struck")
            value = ""
        return value, bool(value) or child(cell, "f") is None or raw is not None

    def _comments(self, sheet: str) -> Iterator[str]:
        for _, kind, name in self._archive.related(sheet):
            if kind == "comments" and name in self._archive.names:
                for each in self._archive.xml(name).iter():
                    if local(each) == "comment":
                        yield f"[Comment on {attribute(each, 'ref')}: {_rich(child(each, 'text'))}]"


def _styles(part: Element) -> _Styles:
    own = {attribute(each, "numFmtId"): attribute(each, "formatCode") for each in children(child(part, "numFmts"), "numFmt")}
    struck_fonts = {
        position
        for position, font in enumerate(children(child(part, "fonts"), "font"))
        if (strike := child(font, "strike")) is not None and attribute(strike, "val", "1") not in ("0", "false")
    }
    formats: list[str] = []
    struck: set[int] = set()
    for position, each in enumerate(children(child(part, "cellXfs"), "xf")):
        id = attribute(each, "numFmtId", "0")
        formats.append(own.get(id) or _FORMATS.get(int(id) if id.isdigit() else 0, ""))
        font = attribute(each, "fontId", "0")
        if font.isdigit() and int(font) in struck_fonts:
            struck.add(position)
    return _Styles(tuple(formats), frozenset(struck))


def _strings(part: Element) -> Iterator[str]:
    return (_rich(each) for each in children(part, "si"))


def _rich(element: Element | None) -> str:
    """The text of a string in pieces; readings over characters are none of it."""
    if element is None:
        return ""
    pieces = []
    for each in element:
        if local(each) == "t":
            pieces.append(each.text or "")
        elif local(each) == "r" and child(each, "rPr", "strike") is None:
            pieces.append(_rich(each))
    return "".join(pieces)


def _column(reference: str) -> int:
    """Number of the column of "AB12", from 1; 0 where there is none."""
    number = 0
    for letter in reference:
        if not "A" <= letter <= "Z":
            break
        number = number * 26 + ord(letter) - 64
    return min(number, MAX_COLUMNS)


def _letters(column: int) -> str:
    text = ""
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text


def _fill_merged(sheet: Element, rows: dict[int, dict[int, str]]) -> None:
    """A cell merged over several says the same in each row; over several columns of a row it is said once."""
    for each in children(child(sheet, "mergeCells"), "mergeCell"):
        match = re.fullmatch(r"([A-Z]+)(\d+):([A-Z]+)(\d+)", attribute(each, "ref"))
        if match is None:
            continue
        left, top, right, bottom = _column(match[1]), int(match[2]), _column(match[3]), int(match[4])
        value = rows.get(top, {}).get(left)
        if value and (right - left + 1) * (bottom - top + 1) <= _MAX_MERGED:
            for row in range(top, bottom + 1):
                for column in range(left, right + 1):
                    if row in rows and any(not left <= other <= right for other in rows[row]):
                        rows[row].setdefault(column, value)


def _blocks(rows: Mapping[int, Mapping[int, str]], hidden: set[int]) -> Iterator[list[TableRow]]:
    """Runs of rows without an empty one between them, hidden ones aside, each from its first column to its last."""
    block: list[int] = []
    for row in sorted(rows):
        if block and (not rows[row] or not hidden.issuperset(range(block[-1] + 1, row))):
            yield _block(block, rows)
            block = []
        if rows[row]:
            block.append(row)
    if block:
        yield _block(block, rows)


def _block(block: list[int], rows: Mapping[int, Mapping[int, str]]) -> list[TableRow]:
    columns = sorted({column for row in block for column in rows[row]})
    span = f"{_letters(columns[0])}{{0}}:{_letters(columns[-1])}{{0}}"
    return [TableRow([rows[row].get(column, "") for column in columns], label=span.format(row)) for row in block]
