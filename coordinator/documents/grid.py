"""A sheet's cells to the tables that stand in it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from coordinator.documents.builder import TableRow
from coordinator.documents.data import column_names

_MAX_MERGED: Final = 10_000
"""Cells of one merged range that are filled; a merged page of a form is larger, and says one thing."""
_MOST_GAPS: Final = 20
"""Empty columns; a sheet with more is no row of tables."""
_SAMPLE_ROWS: Final = 50


@dataclass(slots=True)
class Grid:
    """Cells by row and column, both from 1."""

    rows: dict[int, dict[int, str]] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    """Rows that are not shown; they are not in `rows`."""
    heads: set[int] = field(default_factory=set)
    """Rows that the file says name columns."""
    _spread: set[tuple[int, int]] = field(default_factory=set)
    """Cells that only say what the one to their left says."""

    def merge(self, left: int, top: int, right: int, bottom: int) -> None:
        """Has a cell say the same in each row and column that it is merged over; alone in a row it says it once."""
        value = self.rows.get(top, {}).get(left)
        if not value or (right - left + 1) * (bottom - top + 1) > _MAX_MERGED:
            return
        for row in range(top, bottom + 1):
            if row in self.rows and any(not left <= other <= right for other in self.rows[row]):
                for column in range(left, right + 1):
                    if column not in self.rows[row]:
                        self.rows[row][column] = value
                        if column > left:
                            self._spread.add((row, column))

    def tables(self) -> Iterator[list[TableRow]]:
        """Runs of rows without an empty one between them, hidden ones aside, each from its first column to its last; tables that
        stand side by side one after the other."""
        block: list[int] = []
        for row in sorted(self.rows):
            if block and (not self.rows[row] or not self.hidden.issuperset(range(block[-1] + 1, row))):
                yield from self._side_by_side(block)
                block = []
            if self.rows[row]:
                block.append(row)
        if block:
            yield from self._side_by_side(block)

    def _side_by_side(self, block: list[int]) -> Iterator[list[TableRow]]:
        """The table, or several where an empty column parts such as have names for their columns each."""
        columns = sorted({column for row in block for column in self.rows[row]})
        gaps = [place for place, (before, after) in enumerate(pairwise(columns), 1) if after > before + 1]
        start = 0
        for gap in gaps if len(gaps) <= _MOST_GAPS else ():
            parts = (self._table(block[:_SAMPLE_ROWS], part) for part in (columns[start:gap], columns[gap:]) if len(part) > 1)
            if sum(column_names(part, sheet=True) is not None for part in parts) == 2:
                yield self._table(block, columns[start:gap])
                start = gap
        yield self._table(block, columns[start:])

    def _table(self, block: list[int], columns: list[int]) -> list[TableRow]:
        # A column in which nothing stands but what others reach into says nothing.
        own = {column for row in block for column in self.rows[row] if (row, column) not in self._spread}
        columns = [column for column in columns if column in own]
        table = self._rows(block, columns, spread=True)
        # What reaches over columns names each of them; elsewhere it is said once.
        return table if column_names(table[:_SAMPLE_ROWS], sheet=True) else self._rows(block, columns, spread=False)

    def _rows(self, block: list[int], columns: list[int], *, spread: bool) -> list[TableRow]:
        label = f"{letters(columns[0])}{{0}}:{letters(columns[-1])}{{0}}"
        rows = []
        for row in block:
            cells = [self.rows[row].get(column, "") if spread or (row, column) not in self._spread else "" for column in columns]
            if any(cells):
                rows.append(TableRow(cells, row in self.heads, label.format(row)))
        return rows


def letters(column: int) -> str:
    """What sheets call a column, by its number from 1: "AB"."""
    text = ""
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text
