"""Blocks of a page in reading order: paragraphs, and tables whose rows keep their own cells."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from coordinator.documents.builder import is_number
from coordinator.documents.pdf.geometry import Line, Segment, Word, least, lines

_PROSE_CHARACTERS: Final = 15
"""A side of a gutter is a column of text if its lines have as many in the median; cells of tables are shorter."""
_PROSE_FILL: Final = 0.6
"""And if they fill so much of its width."""
_MAX_COLUMNS_DEPTH: Final = 5
_LEAST_RUNS: Final = 6
_YEAR: Final = re.compile(
    r"\(?(?:FY\s?)?(?:19|20)\d\d\)?(?:\s?[AE])?|(?:19|20)\d\d[/-]\d\d(?:\d\d)?|(?:平成|令和)\d+年.*|\d{4}年.*"
)
_BULLET: Final = re.compile(
    r"(?:[•‣◦▪●○・※–—*-]|\(?[0-9]{1,3}[.)]|\(?[a-zA-Z][.)]|[(（][0-9０-９一二三四五六七八九十]{1,3}[)）]|[①-⑳])(?:\s|$)"
)
_LABEL_GOES_ON: Final = (",", "(", "-", " and", " of", "、")
_LEADER: Final = re.compile(r"\s*(?:[.·․…‥‧・_]{3,}|…|(?:\s\.){3,})\s*$")
"""Dots that lead the eye from a label to its value."""
_NEXT_SIGN: Final = re.compile(r"(\S.*?)\s+([$€£¥￥])")
_CJK: Final = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Paragraph:
    lines: tuple[Line, ...]
    right: float
    """Where its lines could have gone on to."""
    ends: bool
    """Whether it ends with a sentence: it does not go on on the next page."""


@dataclass(frozen=True, slots=True)
class TableCell:
    text: str
    name: str


@dataclass(frozen=True, slots=True)
class TableLine:
    """A row of a table, or a line of its header, which has no cells."""

    text: str
    cells: tuple[TableCell, ...]
    confidence: float | None
    """As `Line.confidence`."""


@dataclass(frozen=True, slots=True)
class Table:
    lines: tuple[TableLine, ...]


Block = Paragraph | Table

_Strip = tuple[int, int, float]
"""How good a strip without words is (fewer words across it, then its width), and its middle."""


def blocks(words: Sequence[Word], width: float | None) -> list[Block]:
    """The blocks of upright words on a page of that width, if it is known; columns of text come one after the other."""
    regions = list(_regions(list(words), 0))
    # The margin at the right is mostly as wide as the one at the left.
    margin = -math.inf if width is None else width - min((word.x0 for word in words), default=0.0)
    made: list[Block] = []
    for region in regions:
        right = max(word.x1 for word in region)
        made += _blocks_of(lines(region), right if len(regions) > 1 else max(right, margin))
    return made


def _regions(words: list[Word], depth: int) -> Iterator[list[Word]]:
    """The words in parts to be read one after the other: what lies above columns, each column, what lies below."""
    gutter = _gutter(words) if depth < _MAX_COLUMNS_DEPTH else None
    if gutter is None:
        yield words
        return
    across = [word for word in words if word.x0 < gutter < word.x1]
    # Lines that cross the gutter part the page into bands.
    crossing = set(across)
    rest = sorted((word for word in words if word not in crossing), key=lambda word: -word.middle)
    spanning = _bands(across)
    current: list[Word] = []
    at = 0
    for top, bottom, line in spanning:
        while at < len(rest) and rest[at].middle > top:
            current.append(rest[at])
            at += 1
        yield from _split(current, gutter, depth)
        current = []
        inside = list(line)
        while at < len(rest) and rest[at].middle >= bottom:
            inside.append(rest[at])
            at += 1
        yield inside
    current += rest[at:]
    yield from _split(current, gutter, depth)


def _bands(across: list[Word]) -> list[tuple[float, float, list[Word]]]:
    """The bands of the page that words across the gutter take, from the top down, lines that touch as one."""
    bands: list[tuple[float, float, list[Word]]] = []
    for word in sorted(across, key=lambda word: -word.y1):
        if bands and word.y1 > bands[-1][1] - 0.6 * word.height:
            top, bottom, inside = bands[-1]
            bands[-1] = (top, min(bottom, word.y0), [*inside, word])
        else:
            bands.append((word.y1, word.y0, [word]))
    return bands


def _split(words: list[Word], gutter: float, depth: int) -> Iterator[list[Word]]:
    if not words:
        return
    left = [word for word in words if word.x1 <= gutter]
    right = [word for word in words if word.x0 >= gutter]
    if left and right and not (_is_prose(left) and _is_prose(right)) and not (_is_prose(left + right)):
        yield words
        return
    for side in (left, right):
        if side:
            yield from _regions(side, depth + 1)


def _gutter(words: list[Word]) -> float | None:
    """Where a vertical strip that next to no word crosses parts two columns of text; None where there is none."""
    if len(words) < _LEAST_RUNS:
        return None
    left, right = min(word.x0 for word in words), max(word.x1 for word in words)
    width = right - left
    height = median(word.height for word in words)
    if width < 12 * height:
        return None
    size = int(width) + 2
    counts = [0] * (size + 1)
    for word in words:
        counts[int(word.x0 - left)] += 1
        counts[min(size, int(word.x1 - left) + 1)] -= 1
    depth, covered = 0, []
    for change in counts:
        depth += change
        covered.append(depth)
    rows = len({round(word.middle / height) for word in words})
    most = max(1, rows // 8)
    best: _Strip | None = None
    start = None
    for x in range(int(0.12 * width), int(0.88 * width)):
        if covered[x] <= most:
            start = x if start is None else start
        elif start is not None:
            best = _better(best, start, x, covered, height)
            start = None
    if start is not None:
        best = _better(best, start, int(0.88 * width), covered, height)
    if best is None:
        return None
    gutter = left + best[2]
    sides = [word for word in words if word.x1 <= gutter], [word for word in words if word.x0 >= gutter]
    return gutter if all(_is_prose(side) for side in sides) else None


def _better(best: _Strip | None, start: int, end: int, covered: list[int], height: float) -> _Strip | None:
    """The strip that fewest words cross; of equal ones the widest."""
    if end - start < 0.6 * height:
        return best
    crossing = sum(covered[start:end]) / (end - start)
    score = (-round(crossing * 4), end - start)
    if best is None or score > (best[0], best[1]):
        return score[0], score[1], (start + end) / 2
    return best


def _is_prose(words: list[Word]) -> bool:
    """Whether words are a column of running text and no column of cells."""
    found = lines(words)
    if len(found) < 3:
        return False
    width = max(line.x1 for line in found) - min(line.x0 for line in found)
    long = [line for line in found if _length(line.text) >= _PROSE_CHARACTERS and not is_number(line.text)]
    full = [line for line in found if line.x1 - line.x0 > _PROSE_FILL * width and len(line.segments) <= 2]
    return len(long) > 0.6 * len(found) and len(full) > 0.6 * len(found)


def _length(text: str) -> int:
    return len(text) + len(_CJK.findall(text))


def _blocks_of(found: list[Line], right: float) -> Iterator[Block]:
    """Lines as paragraphs and tables. A table is a run of lines of which most have several cells."""
    position = 0
    while position < len(found):
        end = _table_end(found, position)
        if end > position:
            yield _table(found[position:end])
            position = end
            continue
        first = position
        position += 1
        while position < len(found) and _table_end(found, position) == position and _goes_on(found, first, position):
            position += 1
        yield _paragraph(found[first:position], right)


def _table_end(found: list[Line], start: int) -> int:
    """Where the table ends that begins at `start`; `start` where none does. Lines of one cell are part of it (a heading, a label
    that is wrapped) where the table goes on below them."""
    if len(found[start].segments) < 2 and not _heads_table(found, start):
        return start
    rows, end = 0, start
    position = start
    second = math.inf  # where the column behind the labels begins
    while position < len(found):
        line = found[position]
        if position > start and found[position - 1].y0 - line.y1 > 3.0 * line.height:
            break
        if len(line.segments) >= 2:
            rows += 1
            end = position + 1
            second = min(second, line.segments[1].x0)
        elif position - end >= 3 or line.x0 < second < line.x1 - line.height:
            break  # running text, which reaches over the columns
        position += 1
    if rows < 2 or (rows == 2 and not any(is_number(segment.text) for line in found[start:end] for segment in line.segments[1:])):
        # A single line of label and value is a row by itself ("Total  1,190.00").
        values = found[start].segments[1:]
        return start + 1 if values and all(is_number(segment.text) for segment in values) else start
    return end


def _heads_table(found: list[Line], start: int) -> bool:
    """Whether a line of one cell stands over the columns of a table below it, and not where its labels do."""
    below = found[start + 1 : start + 5]
    if not below or len(below[0].segments) < 2 or found[start].y0 - below[0].y1 > 1.5 * below[0].height:
        return False
    return found[start].x0 > min(line.x0 for line in below) + 5 * below[0].height


def _goes_on(found: list[Line], first: int, position: int) -> bool:
    """Whether the line at `position` is of the paragraph that began at `first`."""
    before, line = found[position - 1], found[position]
    gap = before.y0 - line.y1
    usual = found[first].y0 - found[first + 1].y1 if position > first + 1 else gap
    if gap > max(0.9 * line.height, usual + 0.45 * line.height):
        return False
    if not 0.8 < line.height / before.height < 1.25:
        return False
    return line.x0 - before.x0 < 2.5 * line.height or position == first + 1


def _paragraph(found: list[Line], right: float) -> Paragraph:
    last = found[-1]
    ended = bool(SENTENCE_END.search(last.text[-8:]))
    return Paragraph(tuple(found), right, ended)


def paragraph_text(paragraph: Paragraph) -> str:
    """Wrapped lines as one; lines that their writer ended, such as those of a list or an address, apart."""
    right, left = paragraph.right, min(line.x0 for line in paragraph.lines)
    text = ""
    for position, line in enumerate(paragraph.lines):
        if not text:
            text = line.text
            continue
        before = paragraph.lines[position - 1]
        first_word = line.text.split(" ", 1)[0]
        room = right - before.x1
        length = min(len(first_word), 2) if _CJK.match(first_word) else len(first_word)  # Japanese is divided anywhere
        word_width = (line.x1 - line.x0) * length / max(1, len(line.text))
        # The first word of this line would have had room on the one before: somebody ended that line.
        ended_early = room > 1.3 * word_width + 0.5 * line.height and right - left > 8 * line.height
        if _BULLET.match(line.text) or (ended_early and not first_word[:1].islower()):
            text += "\n" + line.text
        else:
            text = join(text, line.text)
    return text


def join(before: str, after: str) -> str:
    """Two lines of a sentence as one: a space between words, none between Japanese characters. A word divided by a hyphen keeps
    a mark for `undivide`."""
    if before.endswith(DIVIDED):
        return before + after
    if before.endswith("-") and before[-2:-1].isalpha() and after[:1].islower():
        return before[:-1] + DIVIDED + after
    if _CJK.match(before[-1:]) and _CJK.match(after[:1]):
        return before + after
    return f"{before} {after}"


SENTENCE_END: Final = re.compile(r"[.!?:;。！？：；]['\"”’」』)）\]]*$")
DIVIDED: Final = "\ufffe"
"""A hyphen at the end of a line (PDFium's mark for it): whether it belongs to the word is seen from the document's other words."""

_FIRST_PARTS: Final = frozenset(
    re.findall(
        r"\w+",
        "long short well self non half full part high low off on over under first second third last late early old new one two"
        " three four five six ten cross post pre anti ex co all in up out so by to",
    )
)
"""Words that commonly keep their hyphen when they begin a compound."""


def undivide(text: str, words: frozenset[str]) -> str:
    """`text` without hyphens that only a line's end has brought about. `words` are those of the document, in lower case."""

    def decide(match: re.Match[str]) -> str:
        first, second = match[1], match[2]
        if f"{first}-{second}".lower() in words:
            return f"{first}-{second}"
        if (first + second).lower() in words:
            return first + second
        return f"{first}-{second}" if first.lower() in _FIRST_PARTS else first + second

    text = re.sub(rf"([^\W_]+){DIVIDED}\s*([^\W_]*)", decide, text)
    return text.replace(DIVIDED, "-")


def _table(found: list[Line]) -> Table:
    columns = _columns(found)
    placed = [[_column_of(segment, columns) for segment in line.segments] for line in found]
    headers = _headers(found, placed)
    names = _names(found[:headers], columns)
    made: list[TableLine] = [TableLine(line.text, (), line.confidence) for line in found[:headers]]
    heading, pending = "", ""
    waiting: float | None = None  # the confidence of what is pending
    again: list[Line] = []
    for line, columns_of in zip(found[headers:], placed[headers:], strict=True):
        if names and _is_header(line, columns_of):
            # The columns get other names: a second table, or the next part of a long one.
            again.append(line)
            names, heading = _names(again, columns), ""
            made.append(TableLine(line.text, (), line.confidence))
            continue
        again.clear()
        if len(line.segments) == 1 and not is_number(line.text):
            # A heading of the rows below it, or the beginning of a label that is wrapped.
            if pending:
                made.append(TableLine(pending, (), waiting))
                heading = pending
            pending, waiting = line.text, line.confidence
            continue
        first, confidence = line.segments[0].text, line.confidence
        if pending:
            wrapped = (
                not is_number(first)
                and not pending.rstrip().endswith((":", "："))
                and (first[:1].islower() or pending.rstrip().endswith(_LABEL_GOES_ON))
            )
            if wrapped:
                first, confidence = join(pending, first), least(confidence, waiting)
            else:
                made.append(TableLine(pending, (), waiting))
                heading = pending
            pending = ""
        texts = _values([first, *(segment.text for segment in line.segments[1:])])
        cells = [TableCell(text, names.get(column, "")) for text, column in zip(texts, columns_of, strict=True)]
        if heading and not cells[0].name and not is_number(first):
            cells[0] = TableCell(first, heading.rstrip(": ："))
        made.append(TableLine("  ".join(texts), tuple(cells), confidence))
    if pending:
        made.append(TableLine(pending, (), waiting))
    return Table(tuple(made))


def _values(texts: Sequence[str]) -> list[str]:
    """The cells of a row without the dots that lead from one to the next, and currency signs in the cell of their amount."""
    values = [_LEADER.sub("", text) for text in texts]
    for position, (text, following) in enumerate(pairwise(tuple(values))):
        sign = _NEXT_SIGN.fullmatch(text)
        if sign and is_number(following) and following[0] not in "$€£¥￥":
            values[position] = _NEXT_SIGN.sub(r"\1", values[position])
            values[position + 1] = f"{sign[2]} {following}"
    return values


def _columns(found: list[Line]) -> list[tuple[float, float]]:
    """The columns' extents: what cells that lie over one another take. A cell over several, as in headers, makes none."""
    several = (line for line in found if len(line.segments) > 1)
    segments = sorted((segment for line in several for segment in line.segments), key=lambda each: each.x1 - each.x0)
    columns: list[tuple[float, float]] = []
    for segment in segments:
        over = [column for column in columns if column[0] < segment.x1 and segment.x0 < column[1]]
        if not over:
            columns.append((segment.x0, segment.x1))
        elif len(over) == 1:
            columns.remove(over[0])
            columns.append((min(over[0][0], segment.x0), max(over[0][1], segment.x1)))
    return sorted(columns)


def _column_of(segment: Segment, columns: Sequence[tuple[float, float]]) -> int:
    """The column that the segment overlaps most, else the nearest."""

    def overlap(position: int) -> float:
        low, high = columns[position]
        return min(high, segment.x1) - max(low, segment.x0)

    return max(range(len(columns)), key=overlap, default=0)


def _headers(found: Sequence[Line], placed: Sequence[Sequence[int]]) -> int:
    """How many of the first lines name columns: those before the first with figures that are no years."""
    if sum(line.segments[0].text.endswith((":", "：")) for line in found) > len(found) / 2:
        return 0  # labels and their values
    for position, line in enumerate(found):
        values = [segment.text for segment, column in zip(line.segments, placed[position], strict=True) if column > 0]
        figures = [text for text in values if is_number(text)]
        if figures and not all(_YEAR.fullmatch(text.strip("*†‡ ")) for text in figures):
            return position
        if position and found[position - 1].segments and _is_row_label(found, position):
            return position
    return min(1, len(found) - 1) if _all_text(found) else 0


def _is_header(line: Line, columns_of: Sequence[int]) -> bool:
    """Whether a line within a table names its columns: it has years or words over them, and nothing where the labels stand."""
    if 0 in columns_of:
        return False
    return all(not is_number(segment.text) or _YEAR.fullmatch(segment.text.strip("*†‡ ")) for segment in line.segments)


def _is_row_label(found: Sequence[Line], position: int) -> bool:
    """Whether a line of one cell at the left is a heading of rows below a complete header."""
    line = found[position]
    return (
        len(line.segments) == 1
        and line.x0 <= min(each.x0 for each in found) + line.height
        and len(found[position - 1].segments) > 1
    )


def _all_text(found: Sequence[Line]) -> bool:
    """Whether a table without figures has a first line that can be its header: a name over each of its columns."""
    most = max(len(line.segments) for line in found)
    return len(found) > 2 and len(found[0].segments) == most and all(_length(segment.text) < 40 for segment in found[0].segments)


def _names(headers: Sequence[Line], columns: Sequence[tuple[float, float]]) -> dict[int, str]:
    """Of each column what stands above it, from the top down; what spans several columns is said of each."""
    names: dict[int, list[str]] = {}
    for line in headers:
        for segment in line.segments:
            over = [position for position, (low, high) in enumerate(columns) if min(high, segment.x1) - max(low, segment.x0) > 0]
            if len(over) > 1 and 0 not in over and len(line.segments) == 1:
                over = list(range(1, len(columns)))  # one line over all the figures
            for position in over or [_column_of(segment, columns)]:
                if segment.text not in names.setdefault(position, []):
                    names[position].append(segment.text)
    return {position: " ".join(parts) for position, parts in names.items()}
