"""Text into pieces short enough to be quotations: sentences, list items, headings, rows of tables.

Lines make units first (a paragraph whose lines were only wrapped is one unit, a row of a table is one, a list item is one),
sentence ends divide the units, and what is still too long is cut at the best place there is. Every character that is not white
space ends up in exactly one sentence, so that nothing a document says is out of a reader's reach.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from coordinator.types import Sentence

MAX_SENTENCE_CHARACTERS: Final = 300
"""A quotation stays something a person reads at a glance, and a model's choice among them stays cheap."""

_Span = tuple[int, int]

_LIST_ITEM: Final = re.compile(
    r"\s*(?:[-*+]\s|[•‣◦▪●○・※]|\(?[0-9０-９]{1,3}[.)）．]\s|\(?[a-zA-Z][.)]\s|[(（][0-9０-９一二三四五六七八九十]{1,3}[)）]|[①-⑳])"
)
_HEADING: Final = re.compile(
    r"\s*(?:#{1,6}\s|第[0-9０-９一二三四五六七八九十百]{1,5}[条章節編款項]|(?:[0-9]{1,2}\.){1,4}[0-9]{0,2}\s+[A-Z\u3040-\u9fff]"
    r"|(?:Article|ARTICLE|Section|SECTION|Chapter|CHAPTER|Part|PART|Appendix|APPENDIX|Schedule|SCHEDULE)\s+[0-9IVXA-Z]{1,5}\b)"
)
_RULE: Final = re.compile(r"\s*(?:[-=_*─━]\s?){3,}\s*")
# A row: a bar with white space beside it, a tab between words, or columns set apart by runs of spaces. Two spaces after a full stop
# are an old typist's habit and not a column.
_ROW: Final = re.compile(r"^\s*\||\s\||\|\s|\S\t+\s*\S|\S[ \u3000]{3,}\S|[^\s.!?:][ \u3000]{2,}\S.*[^\s.!?:][ \u3000]{2,}\S")
_SHORT_LINE: Final = 0.6
"""A line at most this share of its paragraph's longest was not broken by the margin, but by its writer."""

_END: Final = re.compile(r"[。！？｡．]+[」』）)】〉》”’\"']*|(?<![.!?…])[.!?…]+[\"'”’)\]»]*(?=\s|$|[\u3040-\u30ff\u4e00-\u9fff])")
_QUOTE_GOES_ON: Final = frozenset("とっがをにのもではなや、。，」』）")
_ABBREVIATION: Final = re.compile(
    r"mr|mrs|ms|dr|prof|rev|hon|gen|col|sgt|capt|lt|st|jr|sr|messrs|vs|viz|cf|al|ca|approx|appt|apt|dept|ext|est|fig|figs|eq|nr|vol"
    r"|pp|arts|secs|para|paras|cls|sched|inc|ltd|co|corp|bros|ave|blvd|rd|jan|feb|apr|jun|jul|aug|sep|sept|oct|nov|dec|mon|tue|wed"
    r"|thu|e\.g|i\.e|tel|incl|excl|bzw|z\.b|nrn|str"
)
_ABBREVIATION_BEFORE_NUMBER: Final = re.compile(r"no|nos|p|art|mar|sat|sun|max|min|fri|sec|ch|cl")
"""These are words as well."""
_OPENER: Final = re.compile(r"The|A|An|It|He|She|We|They|This|That|These|Those|You|I|In|On|At|If|But|And|For|There|Our|Your|No|Yes")
"""Words that more likely begin a sentence after "U.S." than go on with a name."""

_BEST_CUTS: Final = (
    re.compile(r"[.!?。！？][」』）)\"'”’]*(?=\s)|[。！？]"),
    re.compile(r"[;；:：|](?=\s)|[；—]|\t"),
    re.compile(r",(?=\s)|[、，]|[)）」』](?=\s)"),
    re.compile(r"\s"),
)


def split_sentences(text: str, start: int = 0, end: int | None = None) -> tuple[Sentence, ...]:
    """The sentences of `text[start:end]` in order; offsets are into `text`.

    Each character that is no white space is in exactly one of them. None is longer than MAX_SENTENCE_CHARACTERS, empty, or begins
    or ends with white space; a cut that the limit forces never parts a character from its combining marks, unless the marks
    alone exceed the limit.
    """
    end = len(text) if end is None else end
    spans = (span for unit in _units(text, start, end) for piece in _divided(text, *unit) for span in capped(text, *piece))
    return tuple(Sentence(first, last, " ".join(text[first:last].split())) for first, last in spans)


def capped(text: str, start: int, end: int, limit: int = MAX_SENTENCE_CHARACTERS) -> Iterator[_Span]:
    """`text[start:end]`, trimmed, as pieces of at most `limit` characters and about equal length, cut where it hurts least."""
    start, end = _trimmed(text, start, end)
    while end - start > limit:
        cut = _cut(text, start, end, limit)
        first, last = _trimmed(text, start, cut)
        yield first, last
        start, end = _trimmed(text, cut, end)
    if start < end:
        yield start, end


def _units(text: str, start: int, end: int) -> Iterator[_Span]:
    for paragraph in _paragraphs(text, start, end):
        longest = max(last - first for first, last in paragraph)
        unit = paragraph[0]
        for before, line in pairwise(paragraph):
            if _parts(text[slice(*before)], text[slice(*line)], longest):
                yield unit
                unit = line
            else:
                unit = (unit[0], line[1])
        yield unit


def _paragraphs(text: str, start: int, end: int) -> Iterator[list[_Span]]:
    """Runs of lines without a blank one between them; lines are trimmed."""
    lines: list[_Span] = []
    while start < end:
        newline = text.find("\n", start, end)
        stop = end if newline < 0 else newline
        line = _trimmed(text, start, stop)
        if line[0] < line[1]:
            lines.append(line)
        elif lines:
            yield lines
            lines = []
        start = stop + 1
    if lines:
        yield lines


def _parts(before: str, line: str, longest: int) -> bool:
    """Whether a new unit begins with `line`, whose paragraph's longest line has `longest` characters."""
    if any(pattern.match(line) for pattern in (_LIST_ITEM, _HEADING, _RULE)) or before.lstrip().startswith("#"):
        return True
    if _ROW.search(line) or _ROW.search(before) or _RULE.fullmatch(before):
        return True
    if len(before) > longest * _SHORT_LINE or before[-1] in ",;、，-–—":
        return False
    return line[0].isupper() or line[0].isdigit() or not line[0].isascii()


def _divided(text: str, start: int, end: int) -> Iterator[_Span]:
    """A unit at its sentence ends. A row of a table stays whole: half a row says nothing."""
    if _ROW.search(text[start:end]) and "\n" not in text[start:end]:
        yield start, end
        return
    unit, first = text[start:end], 0
    for match in _END.finditer(unit):
        if match.end() < len(unit) and _ends_sentence(unit, first, match):
            yield start + first, start + match.end()
            first = match.end()
    yield start + first, end


def _ends_sentence(text: str, first: int, match: re.Match[str]) -> bool:
    stop = match.group()
    following = text[match.end() : match.end() + 24]
    word_after = following.split(maxsplit=1)[0] if following.strip() else ""
    if stop[0] in "。！？｡":
        if stop[-1] in "」』）)":
            return following[:1] not in _QUOTE_GOES_ON
        spoken = text[max(first, match.start() - MAX_SENTENCE_CHARACTERS) : match.start()]
        return spoken.count("「") <= spoken.count("」")
    if stop[0] == "．":
        return not following[:1].isdigit()
    if word_after[:1].islower():
        return False
    return stop[0] != "." or len(stop.rstrip("\"'”’)]»")) > 1 or not _is_abbreviation(text, first, match.start(), word_after)


def _is_abbreviation(text: str, first: int, dot: int, word_after: str) -> bool:
    """Whether the full stop at `dot` belongs to its word: "Mr.", "No. 5", "J. Smith", "U.S. Army", or an item's "3."."""
    words = text[max(first, dot - 24) : dot].split()
    if not words:
        return False
    word = words[-1].lstrip("(\"'“‘[")
    # Only an opening number is a label; "it cost 3." ends a sentence.
    if len(words) == 1 and dot - first <= 4 and re.fullmatch(r"[0-9]{1,3}|[a-zA-Z]|[ivxIVX]{1,4}", word):
        return True
    if len(word) == 1 and word.isupper() and word != "I":
        return True
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", word):
        return not _OPENER.fullmatch(word_after)
    lowered = word.lower()
    if _ABBREVIATION_BEFORE_NUMBER.fullmatch(lowered):
        return word_after[:1].isdigit()
    return bool(_ABBREVIATION.fullmatch(lowered))


def _cut(text: str, start: int, end: int, limit: int) -> int:
    pieces = -(-(end - start) // limit)
    ideal = start + (end - start) / pieces
    low = start + max(1, (end - start) // (2 * pieces))
    high = start + limit
    for pattern in _BEST_CUTS:
        places = [m.end() for m in pattern.finditer(text, low, high) if not _joined(text, m.end())]
        if places:
            return min(places, key=lambda place: abs(place - ideal))
    return next((place for place in range(high, start, -1) if not _joined(text, place)), high)


def _joined(text: str, place: int) -> bool:
    """Whether a cut at `place` would part one visible character: marks, joiners, selectors, skin tones, surrogates."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    return (
        unicodedata.category(after).startswith("M")
        or "\u200d" in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
    )


def _trimmed(text: str, start: int, end: int) -> _Span:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
