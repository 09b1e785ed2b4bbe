"""Whether the quotations that an answer cites hold what it says: its numbers, names and days. Small models write "Monday" above a
quotation that says Tuesday."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

_NUMBER: Final = re.compile(r"\d+(?:[.,'’ ]\d+)*")
_COUNTED: Final = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_WORDS_OF_NUMBERS: Final = {word: str(number) for number, word in enumerate(_COUNTED, 2)}
_KANJI: Final = {character: number for number, character in enumerate("〇一二三四五六七八九")} | {"零": 0}
_KANJI_NUMBER: Final = re.compile(r"[〇零一二三四五六七八九十百千万億]+(?=[日月年円人回枚本個か条項割%％時分週間歳]|万|億)")
_UNITS: Final = {"十": 10, "百": 100, "千": 1_000, "万": 10_000, "億": 100_000_000}
_DAYS: Final = re.compile(
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:january|february|march|april|june|july|august|september|october|november|december)\b"
    r"|[月火水木金土日]曜",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-Z][a-z]+(?:[-'’][A-Z]?[a-z]+)?\b")
_NO_NAMES: Final = re.compile(
    r"The|An?|It|He|She|We|They|This|That|These|Those|You|I|In|On|At|If|But|And|For|There|Our|Your|No|Yes|Not"
)


def unsupported(answer: str, quotations: Iterable[str], question: str) -> tuple[str, ...]:
    """Numbers, days, months and names of `answer` that are neither in the quotations nor in the question, in order.

    Numbers compare by value ("1,200" and "1200", "six" and "6", 二十七万 and 270,000), words without regard to case and width. A
    name is a word with a capital that does not begin a sentence.
    """
    sources = [_normal(text) for text in (*quotations, question)]
    numbers = {number for text in sources for number in _numbers(text)}
    folded = " ".join(sources).casefold()
    text = _normal(answer)
    missing = [number for number in _numbers(text) if number not in numbers]
    days = [match[0] for match in _DAYS.finditer(text)]
    names = [
        match[0]
        for match in _NAME.finditer(text)
        if not _NO_NAMES.fullmatch(match[0]) and match[0].lower() not in _WORDS_OF_NUMBERS
    ]
    missing += [word for word in (*days, *names) if word.casefold() not in folded]
    return tuple(dict.fromkeys(missing))


def supporting(answer: str, cited: Sequence[int], quotations: Sequence[str], question: str) -> tuple[int, ...]:
    """Positions in `quotations` to cite for `answer`: those cited, if they hold what it says; else the first that does by
    itself; empty where none does. `quotations` are in order of strength."""
    if not unsupported(answer, [quotations[position] for position in cited], question):
        return tuple(cited)
    return next(((position,) for position, text in enumerate(quotations) if not unsupported(answer, [text], question)), ())


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _numbers(text: str) -> list[str]:
    """The numbers of a text by their values, as far as they can be compared."""
    # 27万 is one number.
    text = re.sub(r"(\d[\d,]*(?:\.\d+)?)([万億])", _with_unit, text)
    found = [_value(match[0]) for match in _NUMBER.finditer(text)]
    found += [_WORDS_OF_NUMBERS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _WORDS_OF_NUMBERS]
    found += [str(_from_kanji(match[0])) for match in _KANJI_NUMBER.finditer(text)]
    return found


def _with_unit(match: re.Match[str]) -> str:
    return f"{round(float(match[1].replace(',', '')) * _UNITS[match[2]])} "


def _value(text: str) -> str:
    """Separators of thousands aside; a last group of one or two digits is a fraction."""
    groups = re.split(r"[.,'’ ]", text)
    if len(groups) > 1 and len(groups[-1]) < 3:
        whole, fraction = "".join(groups[:-1]), groups[-1].rstrip("0")
        return f"{int(whole)}.{fraction}" if fraction else str(int(whole))
    return str(int("".join(groups)))


def _from_kanji(text: str) -> int:
    total = section = digit = 0
    for character in text:
        if character in _KANJI:
            digit = digit * 10 + _KANJI[character] if digit else _KANJI[character]
        elif _UNITS[character] >= 10_000:
            total += (section + digit or 1) * _UNITS[character]
            section = digit = 0
        else:
            section += (digit or 1) * _UNITS[character]
            digit = 0
    return total + section + digit
