"""Bytes of a text file to text, whatever encoding a home's files of the last thirty years happen to be in.

UTF-8, UTF-16 and the three Japanese encodings can nearly always be told apart by decoding strictly; what is left is decided by how
plausible the decoded characters are as text. That judgement is made here rather than by a detection library because such
libraries need a page or so of text, and a note of ten Japanese characters must come out right too.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import charset_normalizer

from coordinator.errors import DocumentError

SAMPLE_BYTES: Final = 65_536
"""How much is looked at to choose an encoding: the choice does not get better with more, only slower."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UTF16: Final = ("utf-16-le", "utf-16-be")
_ONE_BYTE: Final = ("cp932", "euc_jp", "cp1252", "cp1250")
_PAIRS: Final = re.compile(rb"(?:[\x00-\x7f]|[\xa1-\xfe]{2})*[\xa1-\xfe]?")
_FEWEST_PAIRS: Final = 20
_ISO_2022_JP_ESCAPES: Final = (b"\x1b$B", b"\x1b$@", b"\x1b(J", b"\x1b(I")
_EUC_CHARACTER: Final = re.compile(rb"([\x00-\x7f]+)|\x8e([\xa1-\xdf])|([\xa1-\xfe]{2})|(\x8f[\xa1-\xfe]{2})|[\x80-\xff]")
_PLAUSIBLE: Final = 0.3
"""Least mean weight of the characters outside ASCII. Of 25 short Japanese texts in five encodings the right
reading scored .6 and more, a wrong one mostly below .2."""
_LEAST_FOR_STATISTICS: Final = 40
_NO_TEXT: Final = "it does not hold text in any encoding known here; if it is text, save it as UTF-8 and try again"
_TYPOGRAPHY: Final = frozenset("‘’“”–—…•€£¥§©®™°±²³½¼¾«»×·¡¿")
_NO_LETTERS: Final = frozenset("¹²³°±¿¡©®§£¥¢¤¦¬µ¶¼½¾")
_JAPANESE_MARKS: Final = frozenset(
    "、。，．・：；？！ー々〆〇「」『』（）【】〔〕［］〈〉《》～〜…‥※○●◎□■△▲▽▼→←↑↓　〒℃①②③④⑤⑥⑦⑧⑨⑩㈱"
)


def decode(data: bytes, declared: str | None = None) -> str:
    """The text of `data`, without its byte order mark; otherwise unchanged.

    `declared` is the encoding that the file names for itself (an HTML `meta`); it is believed when the bytes decode strictly.
    Raises DocumentError, with a reason that completes "FILE cannot be read: ...", when the bytes are not text.
    """
    if not data:
        return ""
    text = (
        _marked(data) or (_plainly_utf8(data) if declared else None) or _declared(data, declared) or _strict(data) or _judged(data)
    )
    if _looks_binary(text):
        raise DocumentError(_NO_TEXT)
    return text


def _marked(data: bytes) -> str | None:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    return None


def _plainly_utf8(data: bytes) -> str | None:
    """As UTF-8 where it has characters of it: no other encoding's text happens to be right UTF-8, whatever it is declared to be."""
    if data.isascii() or b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeError:
        return None


def _declared(data: bytes, declared: str | None) -> str | None:
    if not declared:
        return None
    try:
        codec = codecs.lookup({"shift_jis": "cp932", "x-sjis": "cp932", "iso-8859-1": "cp1252"}.get(declared.lower(), declared))
        # Python also registers codecs that are not character encodings (zlib, rot13): bytes.decode refuses those with LookupError.
        if b"\0" in data and not codec.name.startswith(("utf-16", "utf-32")):
            return None
        if codec.name == "gb2312":
            return data.decode("gb18030")
        return data.decode(codec.name)
    except (LookupError, UnicodeError, ValueError):
        return None


def _strict(data: bytes) -> str | None:
    """The encodings that rule themselves out: ISO-2022-JP (seven bits and escapes), then UTF-8 without NUL."""
    if any(escape in data for escape in _ISO_2022_JP_ESCAPES):
        try:
            return data.decode("iso2022_jp_ext")
        except UnicodeError:
            return _iso_2022_jp(data)
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeError:
        return None


def _iso_2022_jp(data: bytes) -> str:
    """With the characters that makers of computers added, such as ①, which the standard does not know."""
    text, kind = "", b"("
    for piece in re.split(rb"(\x1b\$[B@]|\x1b\([BJI])", data):
        if piece.startswith(b"\x1b"):
            kind = piece[1:]
        elif kind.startswith(b"$"):
            text += _euc_jp(bytes(byte | 0x80 if 0x20 < byte < 0x7F else byte for byte in piece))
        else:
            text += (
                bytes(byte | 0x80 for byte in piece).decode("cp932", "replace")
                if kind == b"(I"
                else piece.decode("ascii", "replace")
            )
    return text


def _euc_jp(data: bytes) -> str:
    """With the additions of makers of computers, by way of the encoding that has them."""
    try:
        return data.decode("euc_jp")
    except UnicodeError:
        return "".join(map(_euc_character, _EUC_CHARACTER.finditer(data)))


def _euc_character(match: re.Match[bytes]) -> str:
    plain, kana, pair, triple = match.groups()
    if plain is not None:
        return plain.decode("ascii")
    if pair is None:
        known = kana.decode("cp932") if kana else triple.decode("euc_jp", "replace") if triple else ""
        return known or "\ufffd"
    row, cell = pair[0] - 0xA0, pair[1] - 0xA0
    lead = (row - 1) // 2 + (0x81 if row < 63 else 0xC1)
    trail = cell + 0x9E if row % 2 == 0 else cell + (0x3F if cell < 64 else 0x40)
    return bytes((lead, trail)).decode("cp932", "replace")


def _judged(data: bytes) -> str:
    """The most plausible reading. A reading with a few broken bytes may win: a damaged letter is better than no letter."""
    if (other := _not_japanese(data[:SAMPLE_BYTES])) is not None:
        return data.decode(other, errors="replace")
    candidates = _UTF16 if data.count(0) > len(data) // 50 else ("utf-8", *_ONE_BYTE, *(_UTF16 if len(data) % 2 == 0 else ()))
    head, telling = data[:SAMPLE_BYTES], _telling_lines(data)
    scores = {name: _plausibility(_read_as(name, head if name in _UTF16 else telling)) for name in candidates}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] >= _PLAUSIBLE:
        return _read_as(best, data)
    # Statistics see a language in any few bytes.
    guess = charset_normalizer.from_bytes(data[:SAMPLE_BYTES]).best() if len(data) >= _LEAST_FOR_STATISTICS else None
    if guess is not None:
        return data.decode(guess.encoding, errors="replace")
    if scores[best] > 0:
        return _read_as(best, data)
    raise DocumentError(_NO_TEXT)


def _not_japanese(sample: bytes) -> str | None:
    """The encoding of Chinese and Korean text in pairs of bytes, as EUC-JP has them: Japanese has kana, Korean has hangul alone.
    Words in half-width katakana are pairs of bytes as well, below those of most characters."""
    high = bytes(byte for byte in sample if byte > 0x7F)
    if len(high) < 2 * _FEWEST_PAIRS or max(high) < 0xE0 or not _PAIRS.fullmatch(sample):
        return None
    leads = [lead for lead in high[::2] if lead > 0xA3]
    if not leads or sum(lead in (0xA4, 0xA5) for lead in leads) > len(leads) / 20:
        return None
    return "cp949" if sum(0xB0 <= lead <= 0xC8 for lead in leads) > 0.97 * len(leads) else "gb18030"


def _read_as(encoding: str, data: bytes) -> str:
    return _euc_jp(data) if encoding == "euc_jp" else data.decode(encoding, errors="replace")


def _telling_lines(data: bytes) -> bytes:
    """The lines that hold something beside ASCII, up to the sample's size: the others read the same in every encoding here."""
    lines: list[bytes] = []
    size = 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            lines.append(line)
            size += len(line)
            if size >= SAMPLE_BYTES:
                break
    return b"".join(lines)


def _plausibility(text: str) -> float:
    """Mean weight of the characters outside ASCII: near 1 for text that somebody wrote, below 0 for a wrong guess."""
    weights = list(_weights(text))
    # UTF-16 read the wrong way round may leave nothing but ASCII; so may a right guess. Control characters tell which.
    if not weights:
        return 0.0 if _looks_binary(text) else 1.0
    return sum(weights) / len(weights)


def _weights(text: str) -> Iterator[float]:
    padded = f" {text} "
    for before, character, after in zip(padded, text, padded[2:], strict=False):
        if character < "\x80":
            if character < " " and not character.isspace():
                yield -3.0
            continue
        if character in _NO_LETTERS and before.isalpha() and after.isalpha() and before < "\x80" > after:
            yield -0.8  # a sign inside a word: a letter of another encoding
            continue
        beside_latin = (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha())
        yield _weight(character, beside_latin, alone=before.isspace() and after.isspace())


def _weight(character: str, beside_latin: bool, alone: bool) -> float:
    if character == "\ufffd":
        return -5.0
    if character in _JAPANESE_MARKS:
        return 0.8
    if character in _TYPOGRAPHY:
        return 0.6
    code = ord(character)
    if 0x3041 <= code <= 0x30FF:  # kana
        return 1.0
    if 0xFF01 <= code <= 0xFF5E:  # full-width letters and digits
        return 0.8
    if 0xFF61 <= code <= 0xFF9F:  # half-width katakana: what EUC-JP looks like when read as cp932
        return -0.3
    if 0x4E00 <= code <= 0x9FFF:
        return _kanji_weight(character) - (0.6 if beside_latin else 0.0)
    category = unicodedata.category(character)
    if category in {"Cc", "Cs", "Co", "Cn"}:
        return -3.0
    if category.startswith("L") and code < 0x250:
        return 0.8 if beside_latin else 0.4 if alone else -0.2  # alone: French "à", Swedish "ö"
    return -0.3


def _kanji_weight(character: str) -> float:
    """By the levels of JIS X 0208: level 1 holds the kanji in daily use, what is in neither is rare."""
    try:
        lead = character.encode("cp932")[0]
    except UnicodeError:
        return -1.0
    if lead > 0xEA:  # vendors' additions, such as the ladder-like form of "taka" in family names
        return 0.3
    return 0.8 if lead < 0x98 else 0.1


def _looks_binary(text: str) -> bool:
    """More than one control character in twenty is no text; those that slipped into a real text are fewer."""
    sample = text[:SAMPLE_BYTES]
    odd = sum(1 for character in sample if (character < " " and not character.isspace()) or character in "\x7f\ufffd")
    return odd * 20 > len(sample)
