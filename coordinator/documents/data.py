"""Files of records: CSV and its like, JSON. Each record is a line that says the names of its values."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, Final

from coordinator.documents.builder import SEPARATOR, Builder, TableRow, could_name, figures_below, fold, is_number
from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, clean
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind

_DELIMITERS: Final = ",;\t|"
_SAMPLE_LINES: Final = 200
_LEAST_AGREEMENT: Final = 0.34
"""Share of the lines that have to be parted alike."""
_ALL_BUT_SOME: Final = 0.8
_MOST_TITLES: Final = 20
"""Lines before a table."""
_MOST_LINES: Final = 50
"""In one value."""
_LONGEST_NAME: Final = 80
_PERIOD: Final = re.compile(r"\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}[-/.]\d{4}|\d{1,2}月")
_VALUE: Final = re.compile(r"\S@\S|://|\d{4}-\d\d-\d\d")
"""What stands in values and in no name of a column."""
MAX_FIELD_CHARACTERS: Final = 1_000_000
MAX_DEPTH: Final = 50


def read_csv(data: bytes) -> Extract:
    """Comma, semicolon, tab or bar between the values; with or without a line of names."""
    text = clean(decode(data))
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    builder = Builder()
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r"sep=(.)\s*", first)  # a line for Excel alone
    if told:
        text = rest
    notes = _notes(text)
    for note in notes:
        builder.paragraph(note)
        text = text.partition("\n")[2]
    delimiter = told[1] if told else _delimiter(text)
    if not delimiter:
        for line in text.split("\n"):
            builder.paragraph(line)
        return builder.extract()
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True))
        if any(value.count("\n") > _MOST_LINES for row in rows for value in row):  # a quotation mark that is none swallowed them
            rows = [row for line in text.split("\n") for row in csv.reader([line], delimiter=delimiter, skipinitialspace=True)]
    except csv.Error as error:
        raise DocumentError(f"it is damaged, or not a table of values ({error})") from error
    add_table(builder, [TableRow(row, label=f"record {position}") for position, row in enumerate(rows, 1 + len(notes))])
    return builder.extract()


def add_table(builder: Builder, rows: Sequence[TableRow], *, sheet: bool = False) -> None:
    """Adds a table of data: records where its first rows name the columns, else rows as they are. Shorter lines before that are a
    title, or say what the table is about. In a `sheet` two columns of words may as well be labels and what they label."""
    rows = [row for row in rows if any(cell.strip() for cell in row.cells)]
    if not rows:
        return
    start = _start(rows)
    for row in rows[:start]:
        builder.paragraph(SEPARATOR.join(filter(None, map(fold, row.cells))))
    rows = rows[start:]
    names = column_names(rows, sheet=sheet)
    if names is None:
        builder.table(rows)
        return
    count, titles = names
    builder.records(titles, rows[count:])
    used = {position for row in rows[count:] for position, cell in enumerate(row.cells) if cell.strip()}
    if unused := [name for position, name in enumerate(titles) if name and position not in used]:
        builder.paragraph(f"Columns without values: {', '.join(unused)}")


def column_names(rows: Sequence[TableRow], *, sheet: bool = False) -> tuple[int, list[str]] | None:
    """How many of the first rows name the columns, and the names; None where none do."""
    if len(rows) < 2:
        return None
    if len(rows) > 2 and (names := _two_lines_of_names(rows)) is not None:
        return 2, names
    names = [fold(cell) for cell in rows[0].cells]
    if rows[0].header or _names_columns(names, rows[1:], sheet=sheet):
        return 1, names
    return None


def read_json(data: bytes) -> Extract:
    try:
        value: Any = json.loads(clean(decode(data)), object_pairs_hook=_object)
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
                builder.records((), [_record(json.loads(line, object_pairs_hook=_object), f"line {number}")])
            except (ValueError, RecursionError):
                broken.append(number)
    if broken:
        lines = ", ".join(map(str, broken[:10])) + (" and more" if len(broken) > 10 else "")
        builder.gaps.append(Gap(GapKind.DAMAGED, f"what stands on line {lines} is not JSON and was not read"))
    return builder.extract()


def _notes(text: str) -> list[str]:
    """Lines before the table that begin with "#": all but one that has the names, which parts them as the table does."""
    lines = text.split("\n", _SAMPLE_LINES)
    count = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    if count and count < len(lines) and not re.match(r"#\s", last := lines[count - 1]):
        count -= any(mark in last and last.count(mark) == lines[count].count(mark) for mark in _DELIMITERS)
    return lines[:count]


def _delimiter(text: str) -> str:
    """The one that parts most lines into the same number of values; empty where there is one value on each."""
    agreements = {mark: _agreement(text, mark) for mark in _DELIMITERS}
    best = max(agreements, key=lambda mark: agreements[mark])
    if best == ",":  # which also stands in numbers
        best = next((mark for mark in ";\t|" if agreements[mark][0] >= 0.9 * agreements[","][0]), best)
    return best if agreements[best][0] > _LEAST_AGREEMENT else ""


def _agreement(text: str, delimiter: str) -> tuple[float, int]:
    rows = islice(csv.reader(io.StringIO(text), delimiter=delimiter), _SAMPLE_LINES)
    try:
        widths = [len(row) for row in rows if row]
    except csv.Error:
        return 0.0, 0
    parted = [width for width in widths if width > 1]
    usual = max(sorted(set(parted)), key=parted.count, default=1)
    return (parted.count(usual) / len(widths) if parted else 0.0), usual


def _filled(row: TableRow) -> int:
    return sum(bool(cell.strip()) for cell in row.cells)


def _start(rows: Sequence[TableRow]) -> int:
    """Where the table begins: at the first row that fills as many columns as most do. All rows are one where none does."""
    counts = [_filled(row) for row in rows[:_SAMPLE_LINES]]
    usual = max(sorted(set(counts)), key=counts.count)
    for position, row in enumerate(rows[:_MOST_TITLES]):
        unnamed_first = counts[position] == usual - 1 and len(row.cells) > 1 and not row.cells[0].strip()
        if counts[position] >= usual or unnamed_first or row.header:
            return position
    return 0


def _names_columns(names: Sequence[str], rows: Sequence[TableRow], *, sheet: bool) -> bool:
    """Whether the first row can be the names of the columns: one over each column that holds something, none of them a value."""
    sample = rows[:_SAMPLE_LINES]
    if not _are_periods(names, sample) and not all(
        could_name(name) and len(name) <= _LONGEST_NAME and not _VALUE.search(name) for name in names if name
    ):
        return False
    used = Counter(position for row in sample for position, cell in enumerate(row.cells) if cell.strip())
    # The first column of a table often has no name; a value too many in a few rows takes no name from the others.
    unnamed = [position for position in used if position and not (position < len(names) and names[position])]
    if any(used[position] > max(1, len(sample) // 10) or len(sample) < 4 for position in unnamed):
        return False
    given = [name for name in names if name]
    if len(used) == 2 and _are_labels(sample, sorted(used), sheet=sheet):
        return False
    if any(figures_below(sample, position) for position, name in enumerate(names) if name):
        return not (sheet and any(name and name == other for name, other in pairwise(names)))  # merged: no names, or more below
    if len(given) < 2 or len(set(given)) < len(given):
        return False
    # What comes again below is a value like the others.
    return not any(
        fold(row.cells[position]) == name
        for row in sample
        for position, name in enumerate(names)
        if name and position < len(row.cells)
    )


def _are_periods(names: Sequence[str], rows: Sequence[TableRow]) -> bool:
    """Whether all names but the first are days, months or years in figures, or count on from one, over numbers that are none."""
    periods = [name for name in names[1:] if name]
    if len(periods) < 2 or not names[0] or is_number(names[0]) or len(set(periods)) < len(periods):
        return False
    count_on = (
        all(name.isdigit() and int(name) == int(periods[0]) + place for place, name in enumerate(periods)) and len(periods[0]) < 5
    )
    if not count_on and not all(_PERIOD.fullmatch(name) for name in periods):
        return False
    below = [
        row.cells[place] for row in rows for place in range(1, len(names)) if place < len(row.cells) and row.cells[place].strip()
    ]
    return any(map(is_number, below)) and not any(_PERIOD.fullmatch(value.strip()) for value in below)


def _are_labels(rows: Sequence[TableRow], columns: Sequence[int], *, sheet: bool) -> bool:
    """Whether the first of two columns labels what stands in the second, so that the first row is a row like the others: its values
    are of several kinds, or there is no telling."""
    labels, values = (
        [row.cells[place].strip() for row in rows if place < len(row.cells) and row.cells[place].strip()] for place in columns
    )
    numbers = sum(map(is_number, values))
    if any(label.endswith((":", "：")) for label in labels):
        return True
    return sheet and len(set(labels)) == len(labels) and numbers < _ALL_BUT_SOME * len(values)


def _two_lines_of_names(rows: Sequence[TableRow]) -> list[str] | None:
    """Names from two rows: the upper ones stand over several columns each, once in the first of them or again in each."""
    upper, lower = [fold(cell) for cell in rows[0].cells], [fold(cell) for cell in rows[1].cells]
    width = max(len(upper), len(lower))
    upper, lower = upper + [""] * (width - len(upper)), lower + [""] * (width - len(lower))
    over = [position for position in range(1, width) if lower[position] and upper[position] in ("", upper[position - 1])]
    if not over or not all(could_name(name) for name in (*upper, *lower)) or sum(map(bool, lower)) < 2 or not any(upper):
        return None
    if not all(figures_below(rows[2:], position) for position in over):
        return None
    for position in over:
        upper[position] = upper[position] or upper[position - 1]
    return [" ".join(dict.fromkeys(filter(None, pair))) for pair in zip(upper, lower, strict=True)]


def _add_value(builder: Builder, value: Any, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DocumentError("it nests deeper than any document")
    if isinstance(value, dict):
        plain = {key: each for key, each in value.items() if not isinstance(each, dict | list)}
        if plain:
            names = [f"{path}.{key}" if path else str(key) for key in plain]
            builder.records(names, [TableRow([_shown(each) for each in plain.values()], label=path)])
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """With all values, should a name be given twice."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        made[name if name not in made else f"{name} ({sum(key == name or key.startswith(f'{name} (') for key in made) + 1})"] = (
            value
        )
    return made


def _shown(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
