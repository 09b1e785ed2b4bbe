"""Words with their places on a page, as plain values. Reading goes along x, and lines follow one another down y, whatever way the
page is turned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from statistics import median
from typing import Final


class Direction(Enum):
    """Where a line of text goes on, on the page as it is stored."""

    RIGHT = "right"
    UP = "up"
    LEFT = "left"
    DOWN = "down"
    """Text turned clockwise, or vertical Japanese: in both the next line is to the left."""


UNTOLD: Final = -1.0
"""The confidence of text that somebody's OCR has put into the file, which does not tell it."""


def least(*confidences: float | None) -> float | None:
    """Of several texts together: that of the one which OCR is least sure of, None where none is by OCR."""
    return min((each for each in confidences if each is not None), default=None)


@dataclass(frozen=True, slots=True)
class Word:
    """A run of characters without a gap. Coordinates are in points, y upwards; the box reaches from the font's descent to its
    ascent, so that words of a line have the same one whatever letters they hold."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    direction: Direction = Direction.RIGHT
    fixed: bool = False
    """Whether it is not from the page's own text: the value of a form's field."""
    confidence: float | None = None
    """How sure OCR is of it, from 0 to 1, or `UNTOLD`; None where it is not by OCR."""

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2


def upright(words: Sequence[Word]) -> list[list[Word]]:
    """The words of each direction, turned so that it is the usual one; the direction with the most text first."""
    groups: dict[Direction, list[Word]] = {}
    for word in words:
        groups.setdefault(word.direction, []).append(_turned(word))
    return sorted(groups.values(), key=lambda group: -sum(len(word.text) for word in group))


def _turned(word: Word) -> Word:
    x0, y0, x1, y1 = word.x0, word.y0, word.x1, word.y1
    match word.direction:
        case Direction.RIGHT:
            return word
        case Direction.UP:
            x0, y0, x1, y1 = word.y0, -word.x1, word.y1, -word.x0
        case Direction.LEFT:
            x0, y0, x1, y1 = -word.x1, -word.y1, -word.x0, -word.y0
        case Direction.DOWN:
            x0, y0, x1, y1 = -word.y1, word.x0, -word.y0, word.x1
    return replace(word, x0=x0, y0=y0, x1=x1, y1=y1)


# As shares of the height of a line, which is about 1.2 times the size of its font.
JOINED_GAP: Final = 0.07
"""Between pieces of one word, which programs place one by one. A space is a fifth of the height at least."""
CELL_GAP: Final = 0.85
"""From which a gap in a line parts cells or columns. Spaces in justified text stay below."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Words of one line without a gap as wide as between cells."""

    text: str
    x0: float
    x1: float


@dataclass(frozen=True, slots=True)
class Line:
    segments: tuple[Segment, ...]
    y0: float
    y1: float
    confidence: float | None = None
    """The least of its words'."""

    @property
    def text(self) -> str:
        return "  ".join(segment.text for segment in self.segments)

    @property
    def x0(self) -> float:
        return self.segments[0].x0

    @property
    def x1(self) -> float:
        return self.segments[-1].x1

    @property
    def height(self) -> float:
        return self.y1 - self.y0


def lines(words: Sequence[Word]) -> list[Line]:
    """The words as lines from the top down. What is smaller and stands above or below is of the line that it overlaps most."""
    rows: list[list[Word]] = []
    tall = sorted(words, key=lambda word: (-word.middle, word.x0))
    usual = median(word.height for word in words) if words else 0.0
    for word in [each for each in tall if each.height >= 0.75 * usual]:
        row = rows[-1] if rows else None
        if row is not None and abs(_middle(row) - word.middle) < 0.4 * min(word.height, row[0].height):
            row.append(word)
        else:
            rows.append([word])
    for word in [each for each in tall if each.height < 0.75 * usual]:
        best = max(rows, key=lambda row: _overlap(word, row), default=None)
        if best is not None and _overlap(word, best) > 0.5 * word.height:
            best.append(word)
        else:
            rows.append([word])
    made = [_line(row) for row in rows]
    return sorted(made, key=lambda line: (-(line.y0 + line.y1), line.x0))


def _middle(row: Sequence[Word]) -> float:
    return row[0].middle


def _overlap(word: Word, row: Sequence[Word]) -> float:
    return min(word.y1, row[0].y1) - max(word.y0, row[0].y0)


def _line(row: list[Word]) -> Line:
    row = _once(sorted(row, key=lambda word: word.x0))
    height = max(word.height for word in row)
    body = [word for word in row if word.height > 0.8 * height]
    y0, y1 = min(word.y0 for word in body), max(word.y1 for word in body)
    spaced = _letter_gap(row)
    segments: list[Segment] = []
    for position, word in enumerate(row):
        text = _raised(word, y0, y1)
        if not segments:
            segments.append(Segment(text, word.x0, word.x1))
            continue
        last, gap = segments[-1], word.x0 - row[position - 1].x1
        gap = word.x0 - last.x1 if last.x1 > row[position - 1].x1 else gap
        if gap > CELL_GAP * height * spacing(text, word.x1 - word.x0, height) and gap > 3 * spaced:
            segments.append(Segment(text, word.x0, word.x1))
            continue
        joined = gap < JOINED_GAP * height or (spaced > 0 and gap <= spaced and len(word.text) == 1)
        segments[-1] = Segment(last.text + ("" if joined else " ") + text, last.x0, max(last.x1, word.x1))
    return Line(tuple(_with_currency(segments)), y0, y1, least(*(word.confidence for word in row)))


def spacing(text: str, width: float, height: float) -> float:
    """How far the letters of a word are set apart, as a factor of the usual: spaces beside it are as much wider."""
    return max(1.0, width / len(text) / (0.62 * height)) if len(text) > 2 and text.isascii() and text.isalpha() else 1.0


def _once(row: list[Word]) -> list[Word]:
    """Without what is printed again in nearly the same place, for boldness or as a shadow."""
    kept: list[Word] = []
    for word in row:
        if not any(other.text == word.text and abs(other.x0 - word.x0) < 0.2 * word.height for other in kept[-8:]):
            kept.append(word)
    return kept


def _letter_gap(row: Sequence[Word]) -> float:
    """The widest gap between letters of words whose letters are set apart; 0 where there are no such words."""
    singles = [(before, word) for before, word in pairwise(row) if len(before.text) == 1 and len(word.text) == 1]
    if len(singles) < 4 or any(not word.text.isalpha() or not word.text.isascii() for _, word in singles):
        return 0.0
    gaps = sorted(word.x0 - before.x1 for before, word in singles)
    return 1.5 * gaps[len(gaps) // 3]


def _raised(word: Word, y0: float, y1: float) -> str:
    """The word's text, marked where it stands above the line: 10^6 is not 106."""
    if word.height < 0.8 * (y1 - y0) and word.y0 > y0 + 0.2 * (y1 - y0) and any(map(str.isdigit, word.text)) and len(word.text) < 5:
        return f"^{word.text}"
    return word.text


def _with_currency(segments: list[Segment]) -> list[Segment]:
    """A sign of a currency in a column of its own, and a bracket or a per cent sign behind a number, belong to the number."""
    made: list[Segment] = []
    for segment in segments:
        last = made[-1] if made else None
        if last is not None and last.text in _CURRENCIES and segment.text[:1] in "(-−–0123456789.—":
            made[-1] = Segment(f"{last.text} {segment.text}", last.x0, segment.x1)
        elif last is not None and segment.text in (")", "%", ")%", "%)") and last.text[-1:].isdigit():
            made[-1] = Segment(last.text + segment.text, last.x0, segment.x1)
        else:
            made.append(segment)
    return made


_CURRENCIES: Final = frozenset({"$", "€", "£", "¥", "￥", "US$", "EUR", "USD", "CHF", "$ (", "$("})
