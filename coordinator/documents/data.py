"""Files of records: CSV and its like, JSON. Each record is a line that says the names of its values."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from coordinator.documents.builder import Builder, TableRow, is_number
from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, clean
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind

_DELIMITERS: Final = ",;\t|"
_SAMPLE_LINES: Final = 200
MAX_FIELD_CHARACTERS: Final = 1_000_000
MAX_DEPTH: Final = 50


def read_csv(data: bytes) -> Extract:
    """Comma, semicolon, tab or bar between the values; with or without a line of names."""
    text = clean(decode(data))
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r"sep=(.)\s*", first)  # a line for Excel alone
    delimiter, text = (told[1], rest) if told else (_delimiter(text), text)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise DocumentError(f"it is damaged, or not a table of values ({error})") from error
    builder = Builder()
    add_table(builder, [TableRow(row, label=f"record {number}") for number, row in enumerate(rows, 1)])
    return builder.extract()


def add_table(builder: Builder, rows: Sequence[TableRow]) -> None:
    """Adds a table of data: records where its first row names the columns, else rows as they are. Lines of a single value before
    that are a title."""
    rows = [row for row in rows if any(cell.strip() for cell in row.cells)]
    while len(rows) > 1 and _filled(rows[0]) == 1 and _filled(rows[1]) > 1:
        builder.paragraph(next(cell for cell in rows[0].cells if cell.strip()))
        rows = rows[1:]
    if len(rows) > 1 and _names_columns(rows):
        builder.records(rows[0].cells, rows[1:])
    else:
        builder.table(rows)


def read_json(data: bytes) -> Extract:
    try:
        value: Any = json.loads(clean(decode(data)))
    except (ValueError, RecursionError) as error:
        raise DocumentError("it is damaged, or not JSON") from error
    builder = Builder()
    _add_value(builder, value, "", 0)
    return builder.extract()


def read_jsonl(data: bytes) -> Extract:
    """A value on each line."""
    builder = Builder()
    broken: list[int] = []
    for number, line in enumerate(clean(decode(data)).split("\n"), 1):
        if line.strip():
            try:
                builder.records((), [_record(json.loads(line), f"line {number}")])
            except (ValueError, RecursionError):
                broken.append(number)
    if broken:
        lines = ", ".join(map(str, broken[:10])) + (" and more" if len(broken) > 10 else "")
        builder.gaps.append(Gap(GapKind.DAMAGED, f"what stands on line {lines} is not JSON and was not read"))
    return builder.extract()


def _delimiter(text: str) -> str:
    """The one that parts most lines into the same number of values."""

    def agreement(delimiter: str) -> tuple[float, int]:
        rows = islice(csv.reader(io.StringIO(text), delimiter=delimiter), _SAMPLE_LINES)
        try:
            widths = [len(row) for row in rows if row]
        except csv.Error:
            return 0.0, 0
        usual = max(set(widths), key=widths.count, default=1)
        return (widths.count(usual) / len(widths) if usual > 1 else 0.0), usual

    return max(_DELIMITERS, key=agreement)


def _filled(row: TableRow) -> int:
    return sum(bool(cell.strip()) for cell in row.cells)


def _names_columns(rows: Sequence[TableRow]) -> bool:
    """Whether the first row can be the names of the columns: a different one over each column that holds something."""
    names = [cell.strip() for cell in rows[0].cells]
    if rows[0].header:
        return True
    used = {position for row in rows[1:] for position, cell in enumerate(row.cells) if cell.strip()}
    given = [name for name in names if name]
    if len(given) < 2 or len(set(given)) < len(given) or any(is_number(name) for name in given):
        return False
    # The first column of a table often has no name.
    return all(position < len(names) and (names[position] or position == 0) for position in used)


def _add_value(builder: Builder, value: Any, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DocumentError("it nests deeper than any document")
    if isinstance(value, dict):
        plain = {key: each for key, each in value.items() if not isinstance(each, dict | list)}
        if plain:
            if path:
                builder.paragraph(path)
            builder.records(list(plain), [TableRow([_shown(each) for each in plain.values()], label=path)])
        for key, each in value.items():
            if isinstance(each, dict | list):
                _add_value(builder, each, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        if path:
            builder.paragraph(path)
        for number, each in enumerate(value, 1):
            builder.records((), [_record(each, f"item {number}")])
    else:
        builder.paragraph(f"{path}: {_shown(value)}" if path else _shown(value))


def _record(value: Any, label: str) -> TableRow:
    """One value with all that is in it on a line: "name.first: Mia"."""
    return TableRow([f"{path}: {text}" if path else text for path, text in _leaves(value, "", 0)], label=label)


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        raise DocumentError("it nests deeper than any document")
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        yield path, ", ".join(map(_shown, value))
    elif isinstance(value, list):
        for number, each in enumerate(value, 1):
            yield from _leaves(each, f"{path} {number}".strip(), depth + 1)
    else:
        yield path, _shown(value)


def _shown(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
