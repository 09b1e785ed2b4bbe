"""Numbers of list items in the forms that documents count in."""

from collections.abc import Callable
from typing import Final

_KANJI: Final = "〇一二三四五六七八九"
_LEGAL: Final = "零壱弐参四五六七八九"
_AIUEO: Final = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
_STEMS: Final = "甲乙丙丁戊己庚辛壬癸"
_BRANCHES: Final = "子丑寅卯辰巳午未申酉戌亥"
_RUSSIAN: Final = "абвгдежзиклмнопрстуфхцчшщэюя"
_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS: Final = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth"
}  # fmt: skip
_IROHA: Final = "イロハニホヘトチリヌルヲワカヨタレソツネナラムウヰノオクヤマケフコエテアサキユメミシヱヒモセスン"
_ROMAN: Final = (
    (1000, "m"),
    (900, "cm"),
    (500, "d"),
    (400, "cd"),
    (100, "c"),
    (90, "xc"),
    (50, "l"),
    (40, "xl"),
    (10, "x"),
    (9, "ix"),
    (5, "v"),
    (4, "iv"),
    (1, "i"),
)


def _letters(number: int) -> str:
    """a to z, then aa, bb: as Word counts."""
    return chr(97 + (number - 1) % 26) * ((number - 1) // 26 + 1)


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        text += letters * (number // value)
        number %= value
    return text


def _counting(digits: str, tens: str) -> Callable[[int], str]:
    """Numbers as Japanese and Chinese write them, up to 9,999: 二十三."""

    def text(number: int) -> str:
        if not 0 < number < 10_000:
            return str(number)
        parts = []
        for power, unit in ((3, tens[2]), (2, tens[1]), (1, tens[0]), (0, "")):
            digit = number // 10**power % 10
            if digit:
                parts.append(("" if digit == 1 and power and digits is _KANJI else digits[digit]) + unit)
        return "".join(parts)

    return text


def _listed(characters: str) -> Callable[[int], str]:
    return lambda number: characters[(number - 1) % len(characters)]


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _in_words(number: int) -> str:
    """Numbers up to 99 in English words, which is as far as clauses count."""
    if number > 99:
        return str(number)
    tens, ones = divmod(number, 10)
    words = _ONES[number] if number < 20 else _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    return words.capitalize()


def _ordinal_in_words(number: int) -> str:
    if number > 99:
        return _ordinal(number)
    head, dash, last = _in_words(number).lower().rpartition("-")
    last = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return f"{head}{dash}{last}".capitalize()


def _full_width(number: int) -> str:
    return str(number).translate({48 + digit: 0xFF10 + digit for digit in range(10)})


def _circled(number: int) -> str:
    return chr(0x2460 + number - 1) if 1 <= number <= 20 else f"({number})"


FORMATS: Final[dict[str, Callable[[int], str]]] = {
    "lowerLetter": _letters,
    "upperLetter": lambda number: _letters(number).upper(),
    "lowerRoman": _roman,
    "upperRoman": lambda number: _roman(number).upper(),
    "decimalZero": lambda number: f"{number:02}",
    "ordinal": _ordinal,
    "none": lambda _: "",
    "decimalFullWidth": _full_width,
    "decimalFullWidth2": _full_width,
    "decimalEnclosedCircle": _circled,
    "decimalEnclosedCircleChinese": _circled,
    "decimalEnclosedParen": lambda number: f"({number})",
    "decimalEnclosedFullstop": lambda number: f"{number}.",
    "ideographDigital": lambda number: "".join(_KANJI[int(digit)] for digit in str(number)),
    "japaneseDigitalTenThousand": lambda number: "".join(_KANJI[int(digit)] for digit in str(number)),
    "japaneseCounting": _counting(_KANJI, "十百千"),
    "chineseCounting": _counting(_KANJI, "十百千"),
    "chineseCountingThousand": _counting(_KANJI, "十百千"),
    "taiwaneseCountingThousand": _counting(_KANJI, "十百千"),
    "koreanCounting": _counting(_KANJI, "十百千"),
    "japaneseLegal": _counting(_LEGAL, "拾百阡"),
    "aiueoFullWidth": _listed(_AIUEO),
    "aiueo": _listed(_AIUEO),
    "ideographTraditional": _listed(_STEMS),
    "ideographZodiac": _listed(_BRANCHES),
    "ideographEnclosedCircle": lambda number: chr(0x3280 + number - 1) if number <= 10 else f"({number})",
    "russianLower": _listed(_RUSSIAN),
    "russianUpper": _listed(_RUSSIAN.upper()),
    "cardinalText": _in_words,
    "ordinalText": _ordinal_in_words,
    "numberInDash": lambda number: f"- {number} -",
    "irohaFullWidth": _listed(_IROHA),
    "iroha": _listed(_IROHA),
}
"""By the names that Word gives them. A number below 1 has a form in none of them."""
