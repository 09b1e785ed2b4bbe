"""Numbers of sheets and charts as their format shows them (ECMA-376 part 1, 18.8.31)."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Final

EPOCH_1900: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - dates in sheets have no zone
EPOCH_1904: Final = datetime(1904, 1, 1)  # noqa: DTZ001
_LAST_DAY: Final = 2_958_466
"""Of the year 9999."""
_LEAP_DAY: Final = 60
"""29 February 1900, which sheets count though it never was."""
_MOST_DECIMALS: Final = 15

_TOKEN: Final = re.compile(
    r'"([^"]*)"|\\(.)|_.|\*.|\[\$([^\]-]*)[^\]]*\]|\[([^\]]*)\]|General|([Ee][+-])|(AM/PM|A/P)|(.)', re.IGNORECASE
)
_CONDITION: Final = re.compile(r"\[(<=|>=|<>|<|>|=)\s*(-?[\d.]+)\]")
_ERAS: Final = ((2019, 5, 1, "令和"), (1989, 1, 8, "平成"), (1926, 12, 25, "昭和"), (1912, 7, 30, "大正"), (1868, 1, 25, "明治"))
_WEEKDAYS: Final = "月火水木金土日"


def shown_number(value: str, shape: str, epoch: datetime = EPOCH_1900) -> str:
    """The number `value` as a cell of the format `shape` shows it, dates as "2027-03-01"; empty where the format hides it."""
    try:
        number = Decimal(value)
        if not number.is_finite():
            return value
    except InvalidOperation:
        return value
    if not shape:
        return general(number)
    section, number = _section(shape, number)
    tokens, letters, elapsed = _read(section)
    if elapsed or re.search(r"[ymdhs]|aaa", letters):
        return _moment(float(number), letters, elapsed, epoch)
    if not section and ";" in shape:
        return ""
    return _number(number, tokens)


@lru_cache
def _parts(shape: str) -> tuple[list[str], list[tuple[re.Match[str] | None, str]]]:
    """The parts of a format for numbers, and each with the condition it has."""
    sections = re.findall(r'((?:"[^"]*"|\\.|[^;"])*)(?:;|\Z)', shape)[:3] or [""]
    if len(sections) > 1 and not sections[-1] and shape[-1:] != ";":
        sections.pop()  # the end of the text matches once more
    return sections, [(_CONDITION.search(each), each) for each in sections]


@lru_cache
def _read(section: str) -> tuple[list[tuple[str, str]], str, str]:
    """The pieces of a format, the letters among them, and what spans of time are counted in, if it shows one."""
    tokens = list(_tokens(section))
    elapsed = next((text for kind, text in tokens if kind == "elapsed"), "")
    return tokens, "".join(text for kind, text in tokens if kind == "sign").lower(), elapsed


def _section(shape: str, number: Decimal) -> tuple[str, Decimal]:
    """The part of a format that is for this number, and the number with the sign that this part leaves to be shown."""
    sections, conditions = _parts(shape)
    if any(match for match, _ in conditions):
        for match, each in conditions:
            if match is None or _holds(number, match[1], Decimal(match[2])):
                return each, number
        return sections[-1], number
    if number < 0 and len(sections) > 1:
        # A part for negative numbers shows the sign as it likes; one that only colours them is no sign on paper.
        signed = re.search(r"[-−(▲△]", re.sub(r"\[[^\]]*\]|_.", "", sections[1])) or not sections[1]
        return sections[1], abs(number) if signed else number
    return (sections[2] if number == 0 and len(sections) > 2 else sections[0]), number


def _holds(number: Decimal, sign: str, other: Decimal) -> bool:
    return {
        "<": number < other,
        "<=": number <= other,
        ">": number > other,
        ">=": number >= other,
        "=": number == other,
        "<>": number != other,
    }[sign]


def _tokens(section: str) -> Iterator[tuple[str, str]]:
    """Pieces of a format: "literal", "sign" (a letter or mark with a meaning), "general", "exponent", "elapsed" (such as [h])."""
    for match in _TOKEN.finditer(section):
        quoted, escaped, currency, bracket, exponent, half, sign = match.groups()
        if quoted is not None or escaped is not None or currency is not None:
            yield "literal", quoted or escaped or currency or ""
        elif bracket is not None:
            if re.fullmatch(r"h+|m+|s+", bracket, re.IGNORECASE):
                yield "elapsed", bracket.lower()
        elif exponent is not None:
            yield "exponent", exponent
        elif half is not None:
            continue
        elif sign is not None:
            yield "sign", sign
        elif match[0].lower() == "general":
            yield "general", ""


def _number(number: Decimal, tokens: list[tuple[str, str]]) -> str:
    digits = [place for place, (kind, text) in enumerate(tokens) if kind == "general" or (kind == "sign" and text in "0#?@")]
    if not digits:
        # Without a place for digits the format is text alone ("none" for zero), or nothing that says anything.
        return "".join(text for _, text in tokens).strip() or general(number)
    first, last = digits[0], digits[-1] + 1
    while last < len(tokens) and tokens[last] == ("sign", ","):
        last += 1
    middle = tokens[first:last]
    before, after = ("".join(text for _, text in part) for part in (tokens[:first], tokens[last:]))
    number = number.scaleb(2 * sum(token == ("sign", "%") for token in tokens))
    signs = "".join(text for kind, text in middle if kind == "sign")
    minus = "-" if number < 0 else ""
    number = abs(number)
    if any(kind in ("general", "exponent") for kind, _ in middle) or "@" in signs or "/" in signs:
        shown = general(number)
    else:
        shown = _placed(number, middle, signs)
    return f"{minus if re.search(r'[1-9]', shown) else ''}{before}{shown}{after}".strip()


def _placed(number: Decimal, middle: list[tuple[str, str]], signs: str) -> str:
    scaled = re.search(r",+(?=\.|\Z)", signs)
    if scaled:  # each comma behind the digits leaves out three of them
        number = number.scaleb(-3 * len(scaled[0]))
    whole, _, part = signs.partition(".")
    decimals = min(_MOST_DECIMALS, len(re.findall(r"[0#?]", part)))
    rounded = number.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP) if number < 10**15 else number
    text = f"{rounded:.{decimals}f}"
    integer, _, fraction = text.partition(".")
    while len(fraction) > part.count("0") and fraction.endswith("0"):
        fraction = fraction[:-1]
    integer = integer.lstrip("0").rjust(whole.count("0"), "0")
    if any(kind == "literal" or text not in "0#?,%" for kind, text in middle) and "." not in signs:
        return _spread(integer, middle)
    if "," in whole.rstrip(","):
        integer = f"{int(integer or '0'):,}".rjust(whole.count("0"), "0")
    return (integer or "0") + (f".{fraction}" if fraction else "")


def _spread(digits: str, middle: list[tuple[str, str]]) -> str:
    """Digits among which the format sets marks, as in 150-0001."""
    shown, left = "", digits
    places = sum(kind == "sign" and text in "0#?" for kind, text in middle)
    for kind, text in reversed(middle):
        if kind == "literal" or text not in "0#?":
            shown = text + shown
        else:
            places -= 1
            digit, left = (left, "") if places == 0 else (left[-1:], left[:-1])
            shown = digit + shown
    return shown


def general(number: Decimal) -> str:
    """A number without a format: 15 digits at most, as all sheets keep."""
    return f"{int(number)}" if number == number.to_integral_value() and abs(number) < 10**15 else f"{float(number):.15g}"


def _moment(number: float, letters: str, elapsed: str, epoch: datetime) -> str:
    if elapsed:
        return _elapsed(number, letters, elapsed)
    if not 0 <= number < _LAST_DAY:
        return general(Decimal(repr(number)))
    moment = epoch + timedelta(seconds=round(number * 86_400))
    if epoch == EPOCH_1900 and 1 <= number < _LEAP_DAY:
        moment += timedelta(days=1)
    if not re.search(r"[ymdhs]", letters):
        return _WEEKDAYS[moment.weekday()]
    has_time = bool(re.search(r"[hs]", letters))
    if has_time and not re.search(r"[yd]|mmm", letters):
        return f"{moment:%H:%M:%S}".removesuffix(":00")
    day = f"{moment:%Y-%m-%d}" if "d" in letters or "m" not in letters or has_time else f"{moment:%Y-%m}"
    shown = f"{day} {moment:%H:%M}" if has_time else day
    return f"{shown} ({_in_era(moment)})" if "g" in letters else shown


def _elapsed(number: float, letters: str, elapsed: str) -> str:
    """A span of time, in hours that may be more than a day's, in minutes or in seconds."""
    seconds = round(abs(number) * 86_400)
    minus = "-" if number < 0 and seconds else ""
    if elapsed[0] == "s":
        return f"{minus}{seconds}"
    if elapsed[0] == "m":
        return f"{minus}{seconds // 60}" + (f":{seconds % 60:02}" if "s" in letters else "")
    rest = f":{seconds // 60 % 60:02}" if "m" in letters else ""
    return f"{minus}{seconds // 3600}{rest}" + (f":{seconds % 60:02}" if "s" in letters else "")


def _in_era(moment: datetime) -> str:
    """A day as Japan counts its years."""
    for year, month, day, name in _ERAS:
        if (moment.year, moment.month, moment.day) >= (year, month, day):
            count = moment.year - year + 1
            return f"{name}{'元' if count == 1 else count}年{moment.month}月{moment.day}日"
    return f"{moment.year}年{moment.month}月{moment.day}日"
