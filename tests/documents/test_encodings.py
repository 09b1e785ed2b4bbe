"""Files in every encoding that a home has come out as the text that was written."""

import random

import pytest

from coordinator.documents.encodings import decode
from coordinator.errors import DocumentError

LETTER = "賃貸借契約の解約について\n\n解約は一か月前までに書面で通知すること。敷金は四十五日以内に返還されます。ＡＢＣ　①　カナ"
SHORT = [
    "こんにちは",
    "東京都",
    "テスト",
    "契約書",
    "領収書",
    "家賃",
    "ガス・水道",
    "氏名 山田太郎",
    "Wi-Fiルーターの設定",
    "医療費控除の明細書",
]
WESTERN = ["café", "Müller & Söhne", "Straße", "à la carte", "“quoted” — €5", "São Paulo", "naïve façade", "Übergrößenträger"]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp932", "euc_jis_2004", "iso2022_jp_ext"]
)
def test_a_japanese_letter_comes_out_right_in_every_encoding(encoding: str) -> None:
    """A letter of a few lines is read in each encoding that Japanese files come in."""
    text = LETTER.replace("①", "1") if encoding in {"iso2022_jp_ext", "euc_jis_2004"} else LETTER

    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp932", "euc_jp", "iso2022_jp"])
@pytest.mark.parametrize("text", SHORT)
def test_a_few_japanese_characters_suffice(text: str, encoding: str) -> None:
    """Two or three words are told apart as well, where no statistics could help."""
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("text", WESTERN)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le", "utf-16-be"])
def test_western_text_comes_out_right(text: str, encoding: str) -> None:
    """Accents and typographic quotes of old Windows files are not taken for Japanese, nor the other way round."""
    assert decode(text.encode(encoding)) == text


def test_plain_english_in_utf_16_without_a_mark() -> None:
    """The NUL in every second byte says UTF-16, and on which side it stands says which."""
    text = "The tenant shall pay 900 EUR.\r\n" * 3

    assert decode(text.encode("utf-16-le")) == decode(text.encode("utf-16-be")) == text


def test_half_width_katakana_among_other_text() -> None:
    """A bank's half-width katakana stay what they are."""
    text = "ﾌﾘｺﾐ 山田花子様からのお振り込みがありました。"

    assert decode(text.encode("cp932")) == text


def test_a_broken_byte_does_not_cost_the_encoding() -> None:
    """One damaged character leaves the rest readable, in UTF-8 and in cp932."""
    for encoding in ("utf-8", "cp932"):
        data = bytearray((LETTER * 20).encode(encoding))
        data[300] = 0xFF
        assert decode(bytes(data)).count("書面で通知すること") >= 19


def test_russian_is_left_to_statistics() -> None:
    """What none of the expected encodings explains goes to the detection library."""
    text = "Квартиросъёмщик обязан вносить арендную плату до пятого числа каждого месяца. " * 5

    assert decode(text.encode("cp1251")) == text


def test_a_declared_encoding_is_believed_if_it_fits() -> None:
    """A page's own word decides between encodings that would both fit, and is ignored when it is wrong or unknown."""
    assert decode("ﾃｽﾄ".encode("cp932"), "Shift_JIS") == "ﾃｽﾄ"
    assert decode("契約書です".encode(), "euc-jp") == "契約書です"
    assert decode("契約書です".encode(), "no-such-encoding") == "契約書です"
    assert decode("契約書です".encode(), "rot13") == "契約書です"


@pytest.mark.parametrize("size", [40, 200, 5_000])
def test_binary_junk_is_refused(size: int) -> None:
    """Random bytes are no text in any encoding."""
    generator = random.Random(size)
    for _ in range(20):
        with pytest.raises(DocumentError):
            decode(generator.randbytes(size))


def test_a_few_nul_bytes_are_not_binary_junk() -> None:
    """A text into which NULs slipped is still a text."""
    text = "The rent is due on the first of each month. " * 10 + "\0"

    assert decode(text.encode()) == text


def test_nothing_is_nothing() -> None:
    """No bytes are no characters."""
    assert decode(b"") == ""


@pytest.mark.parametrize(
    ("text", "encoding", "declared"),
    [
        ("Größe: 950 €", "utf-8", "iso-8859-1"),
        ("家賃は九万円です。", "utf-8", "Shift_JIS"),
        ("家賃は九万円です。", "cp932", "utf-8"),
        ("The rent is 950 EUR.", "utf-16-le", "utf-8"),
        ("租金每月九百元。", "gb18030", "gb2312"),
    ],
)
def test_a_wrong_declaration_does_no_harm(text: str, encoding: str, declared: str) -> None:
    """What the bytes say counts more than what the file says of them."""
    assert decode(text.encode(encoding), declared) == text


@pytest.mark.parametrize("declared", [None, "euc-jp", "iso-2022-jp"])
def test_characters_that_makers_of_computers_added(declared: str | None) -> None:
    """Circled figures and old forms of names are in no standard, and in many files."""
    text = "①家賃は九万円、㈱髙橋の口座へ。"
    pairs = [character.encode("cp932") for character in text]
    rows = bytearray()
    for first, second in pairs:
        row = 2 * (first - (0x81 if first < 0xA0 else 0xC1)) + (2 if second >= 0x9F else 1)
        rows += bytes((0xA0 + row, 0xA0 + (second - 0x9E if second >= 0x9F else second - (0x40 if second >= 0x80 else 0x3F))))
    seven_bits = b"\x1b$B" + bytes(byte & 0x7F for byte in rows) + b"\x1b(B"
    data = seven_bits if declared == "iso-2022-jp" else bytes(rows)
    assert decode(data, declared) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("租金每月九百元，于每月三日前支付。押金为两个月租金。", "gbk"),
        ("임대료는 매월 구백 유로이며 매월 셋째 날까지 지불해야 합니다.", "euc-kr"),
        ("Czynsz wynosi dziewięćset złotych miesięcznie, właściciel zaś żąda kaucji.", "cp1250"),
        ("家賃は毎月九万円とし、毎月末日までに貸主の口座に振り込む。", "euc_jp"),
        ("賃貸借契約書　貸主　山田太郎　借主　鈴木花子　敷金　礼金　更新料　管理費　共益費", "cp932"),
    ],
)
def test_neighbours_of_japanese(text: str, encoding: str) -> None:
    """Chinese and Korean are pairs of bytes as Japanese is, and Polish has letters where German has signs."""
    assert decode(text.encode(encoding)) == text
