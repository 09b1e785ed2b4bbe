"""Quotations and the text they are from, compared after Unicode (NFKC) and white-space normalisation."""

import functools
import unicodedata
from collections.abc import Iterator
from typing import Final

_HANGUL_VOWELS_AND_FINALS: Final = range(0x1161, 0x1200)


def fold(text: str) -> str:
    """`text` on one line: runs of white space as one space, none at the ends."""
    return " ".join(text.split())


def normalise(text: str) -> str:
    """`text` in the form in which quotations are compared."""
    return fold(unicodedata.normalize("NFKC", text))


def locate(quote: str, text: str, start: int, end: int) -> tuple[int, int] | None:
    """Where `quote` occurs within `text[start:end]`, as offsets into `text`; None if it does not, or is only white space.

    The first place whose text equals the quotation when both are normalised. Failing that, the first that holds it: a quotation
    that ends within a character which normalisation spells out ("(株" of "㈱") has the whole character.
    """
    wanted = normalise(quote)
    if not wanted:
        return None
    normal, starts, ends = _mapped(text, start, end)
    holding: tuple[int, int] | None = None
    at = normal.find(wanted)
    while at >= 0:
        place = (starts[at], ends[at + len(wanted) - 1])
        if normalise(text[place[0] : place[1]]) == wanted:
            return place
        holding = holding or place
        at = normal.find(wanted, at + 1)
    return holding


def _mapped(text: str, start: int, end: int) -> tuple[str, list[int], list[int]]:
    """`text[start:end]` normalised, and for each of its characters where the characters it came from start and end."""
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for first, last in _segments(text, start, end):
        for character in unicodedata.normalize("NFKC", text[first:last]):
            if not character.isspace():
                characters.append(character)
            elif characters and characters[-1] == " ":
                ends[-1] = last
                continue
            else:
                characters.append(" ")
            starts.append(first)
            ends.append(last)
    return "".join(characters), starts, ends


def _segments(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The smallest spans of `text` that can be normalised each by itself: normalisation joins a character with those before it only
    if it is a combining mark or the second half of a composition."""
    first = start
    for position in range(start + 1, end):
        if _begins(text[position]):
            yield first, position
            first = position
    if first < end:
        yield first, end


@functools.lru_cache(maxsize=65_536)
def _begins(character: str) -> bool:
    if character < "\u0300":
        return True
    head = unicodedata.normalize("NFKD", character)[0]
    return not (unicodedata.combining(head) or ord(head) in _HANGUL_VOWELS_AND_FINALS or head in _second_halves())


@functools.cache
def _second_halves() -> frozenset[str]:
    """Characters that are no combining marks and yet join with the one before them: vowel signs of several Indian scripts."""
    # All canonical compositions of this kind are below U+12000 but for a few of rare scripts, which only lose the exact place.
    decompositions = (unicodedata.decomposition(chr(point)).split() for point in range(0x0300, 0x12000))
    seconds = (chr(int(parts[1], 16)) for parts in decompositions if len(parts) == 2 and not parts[0].startswith("<"))
    return frozenset(character for character in seconds if not unicodedata.combining(character))
