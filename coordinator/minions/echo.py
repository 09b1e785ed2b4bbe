"""What of a reader's own words may go to the supervisor: nothing that could carry a message of the reader's."""

import datetime
import re
import unicodedata
from typing import Final

# Letters and digits, punctuation and case aside, of text that stands in the chunk but not in the quotation. Nineteen are about four
# words, which a name or a sum that answers fits into. A Japanese character says about as much as three Latin letters.
LATIN_CHARACTERS: Final = 19
OTHER_CHARACTERS: Final = 7
MAX_DIGITS: Final = 6
"""Of a number that does not stand in the chunk, such as a sum: a number is a message of about three bits for each digit."""
YEARS: Final = range(1900, 2100)

_NUMBER: Final = re.compile(r"([-+]?)([€$£¥]?) ?([0-9]{1,3}(?:[, '][0-9]{3})+|[0-9]+)(?:\.([0-9]+))? ?([€$£¥%]?)")
_ISO: Final = re.compile(r"([0-9]{4})(?:-|/|\. ?|年)([0-9]{1,2})(?:-|/|\. ?|月)([0-9]{1,2})日?")
_DOTTED: Final = re.compile(r"([0-9]{1,2})\. ?([0-9]{1,2})\. ?([0-9]{4})")
_DAY_FIRST: Final = re.compile(r"([0-9]{1,2})(?:st|nd|rd|th)?\.? ([a-z]+),? ([0-9]{4})")
_MONTH_FIRST: Final = re.compile(r"([a-z]+) ([0-9]{1,2})(?:st|nd|rd|th)?,? ([0-9]{4})")
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_YES: Final = frozenset(
    {
        "yes",
        "ja",
        "oui",
        "si",
        "sí",
        "sì",
        "sim",
        "jo",
        "tak",
        "da",
        "да",
        "так",
        "はい",
        "ええ",
        "是",
        "是的",
        "對",
        "对",
        "예",
        "네",
    }
)
_NO: Final = frozenset(
    {"no", "nein", "non", "não", "nee", "nej", "nei", "nie", "нет", "ні", "いいえ", "否", "不", "不是", "아니요", "아니오"}
)


def own_words(answer: str, quote: str, chunk: str) -> str:
    """What may be sent of `answer`, by a reader that chose `quote` from the text `chunk`; empty where nothing may.

    Four things may: words that stand in the quotation as they are said, or few of them in the chunk; a number of few digits; a
    date; yes or no. None of it is sent as the reader wrote it, since case, accents and punctuation could carry a message too: words
    are sent as the text has them, numbers and dates in one spelling, yes and no in English.
    """
    said = " ".join(unicodedata.normalize("NFKC", answer).split()).strip(" .,;:!?。、！？\"'“”„«»「」")
    if not said:
        return ""
    found = _standing(said, quote)
    if not found and _weight(said) <= 1:
        found = _standing(said, chunk)
    return found or _yes_or_no(said) or _date(said.casefold()) or _number(said)


def _weight(text: str) -> float:
    """Its letters and digits as a share of those that may come from outside the quotation."""
    kept = [each for each in text if each.isalnum()]
    other = sum(not each.isascii() for each in kept)
    return max(len(kept) / LATIN_CHARACTERS, other / OTHER_CHARACTERS)


def _standing(said: str, text: str) -> str:
    """`text`'s own spelling of the words `said`, if they stand there one after another; empty if not."""
    words = re.findall(r"[^\W_]+", said)
    if not words:
        return ""
    one_line = " ".join(unicodedata.normalize("NFKC", text).split())
    # Only few signs may stand between two words, so that what is found is no longer than what was said by much.
    for found in re.finditer(r"[\W_]{1,3}?".join(map(re.escape, words)), one_line, re.IGNORECASE):
        start, end = found.span()
        if not (_joined(one_line, start) or _joined(one_line, end)):
            return found.group()
    return ""


def _joined(text: str, at: int) -> bool:
    """Whether a word goes on over `at`. Scripts that put no spaces between words have no such thing."""
    return 0 < at < len(text) and all(each.isalnum() and not _unspaced(each) for each in text[at - 1 : at + 1])


def _unspaced(character: str) -> bool:
    return "\u2e80" <= character <= "\u9fff" or "\u0e00" <= character <= "\u0eff" or "\U00020000" <= character <= "\U0003ffff"


def _yes_or_no(said: str) -> str:
    word = said.casefold()
    return "yes" if word in _YES else "no" if word in _NO else ""


def _date(said: str) -> str:
    try:
        if match := _ISO.fullmatch(said):
            year, month, day = map(int, match.groups())
        elif match := _DOTTED.fullmatch(said):
            day, month, year = map(int, match.groups())
        elif match := _DAY_FIRST.fullmatch(said):
            day, month, year = int(match[1]), _month(match[2]), int(match[3])
        elif match := _MONTH_FIRST.fullmatch(said):
            day, month, year = int(match[2]), _month(match[1]), int(match[3])
        else:
            return ""
        return datetime.date(year, month, day).isoformat() if year in YEARS else ""
    except ValueError:
        return ""


def _month(name: str) -> int:
    full = [number for number, month in enumerate(_MONTHS, 1) if name in {month, month[:3]}]
    if not full:
        raise ValueError(name)
    return full[0]


def _number(said: str) -> str:
    match = _NUMBER.fullmatch(said)
    if match is None:
        return ""
    sign, before, whole, part, after = match.groups(default="")
    whole, part = re.sub(r"[, ']", "", whole).lstrip("0") or "0", part.rstrip("0")
    if len(whole) + len(part) > MAX_DIGITS or (before and after):
        return ""
    unit = before or after
    return f"{'-' if sign == '-' else ''}{whole}{f'.{part}' if part else ''}{f' {unit}' if unit else ''}"
