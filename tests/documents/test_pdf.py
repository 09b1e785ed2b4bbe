"""PDFs are read by where their characters stand, whatever order they were drawn in."""

import random
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from fpdf import FPDF
from hypothesis import given
from hypothesis import strategies as st

from coordinator.documents.extract import Extract
from coordinator.documents.pdf.geometry import Direction, Word, lines, upright
from coordinator.documents.pdf.layout import DIVIDED, join, undivide
from coordinator.documents.pdf.reader import read_pdf
from coordinator.errors import DocumentError
from coordinator.types import GapKind

Draw = Callable[[FPDF], None]


def page(*draws: Draw, pages: int = 1) -> Extract:
    """What is read of a PDF whose one page is drawn by `draws`, in their order."""
    pdf = FPDF(unit="pt", format="a4")
    pdf.set_font("helvetica", size=10)
    for _ in range(pages):
        pdf.add_page()
        for draw in draws:
            draw(pdf)
    return read_pdf(bytes(pdf.output()))


def text(x: float, y: float, what: str, size: float = 10, right: bool = False) -> Draw:
    def draw(pdf: FPDF) -> None:
        pdf.set_font_size(size)
        pdf.text(x - pdf.get_string_width(what) if right else x, y, what)

    return draw


def table(rows: Sequence[Sequence[str]], y: float, xs: Sequence[float]) -> list[Draw]:
    """A table without rules: labels at the left, figures set at the right of their columns."""
    return [
        text(xs[column], y + 14 * row, value, right=column > 0)
        for row, values in enumerate(rows)
        for column, value in enumerate(values)
        if value
    ]


def cells(extract: Extract) -> list[dict[str, str]]:
    return [{cell.name: extract.text[cell.start : cell.end] for cell in row.cells} for row in extract.rows]


SALES = (
    ("", "2021", "2020"),
    ("Phones", "191,973", "137,781"),
    ("Tablets", "31,862", "23,724"),
    ("Watches, glasses and", "", ""),
    ("other things", "38,367", "30,620"),
    ("Total", "365,817", "274,515"),
)


@pytest.mark.parametrize("seed", range(6))
def test_rows_keep_their_numbers_in_whatever_order_they_are_drawn(seed: int) -> None:
    """Cell by cell, column by column or at random: a row is what stands side by side, and its numbers have their column's name."""
    draws = table(SALES, 200, (72, 400, 520))
    random.Random(seed).shuffle(draws)

    assert cells(page(*draws)) == [
        {"": "Phones", "2021": "191,973", "2020": "137,781"},
        {"": "Tablets", "2021": "31,862", "2020": "23,724"},
        {"": "Watches, glasses and other things", "2021": "38,367", "2020": "30,620"},
        {"": "Total", "2021": "365,817", "2020": "274,515"},
    ]


def test_headers_of_several_lines_headings_and_signs_of_currency() -> None:
    """A header over all columns is said of each; a heading names the rows below it; "$" belongs to its number."""
    rows = (
        ("Current assets:", "", ""),
        ("Cash", "34,940", "38,016"),
        ("Other", "(99)", "-"),
        ("Long-term assets:", "", ""),
        ("Land", "12.5", "13.1"),
    )
    extract = page(
        text(385, 150, "Year ended May,", size=12), text(400, 164, "2021", right=True), text(520, 164, "2020", right=True),
        *table(rows, 178, (72, 400, 520)), text(345, 192, "$"), text(465, 192, "$"),
    )  # fmt: skip

    assert cells(extract) == [
        {"Current assets": "Cash", "Year ended May, 2021": "$ 34,940", "Year ended May, 2020": "$ 38,016"},
        {"Current assets": "Other", "Year ended May, 2021": "(99)", "Year ended May, 2020": "-"},
        {"Long-term assets": "Land", "Year ended May, 2021": "12.5", "Year ended May, 2020": "13.1"},
    ]


def test_a_second_table_has_its_own_header() -> None:
    """Running text between two tables parts them; without any, years where the labels stand not are a new header."""
    second = (("", "2011", "2010"), ("Phones", "1,973", "7,781"), ("Tablets", "862", "724"))
    prose = text(
        72, 310, "Sales rose in all of the years that are shown above, as they did in each of the years that went before them."
    )
    for between in ((), (prose,)):
        found = cells(page(*table(SALES, 200, (72, 400, 520)), *between, *table(second, 330, (72, 400, 520))))
        assert found[-1] == {"": "Tablets", "2011": "862", "2010": "724"}


def test_labels_and_values_of_a_form_are_rows_without_names() -> None:
    """A label that ends with a colon is no header of what stands below it."""
    extract = page(
        text(72, 100, "Policy holder:"), text(300, 100, "Erika Vogel"), text(72, 114, "Cause:"), text(300, 114, "water pipe")
    )
    assert extract.text.split("\n") == ["Policy holder:  Erika Vogel", "Cause:  water pipe"]
    assert not any(cell.name for row in extract.rows for cell in row.cells)


LEFT = ("The tenant must give notice", "in writing, and the period is", "three months for the flats", "and six weeks for garages.")
RIGHT = (
    "Deposits are returned within",
    "thirty days of the hand-over,",
    "less what is owed by then for",
    "damage and for the cleaning.",
)


@pytest.mark.parametrize("offset", [0, 5])
def test_columns_of_text_are_read_one_after_the_other(offset: float) -> None:
    """Whether their lines stand side by side or not, and below a title that is over both."""
    draws = [text(72, 80, "House rules of the cooperative for all of its tenants and guests", size=14)]
    draws += [text(72, 120 + 13 * row, line) for row, line in enumerate(LEFT)]
    draws += [text(320, 120 + 13 * row + offset, line) for row, line in enumerate(RIGHT)]
    random.Random(0).shuffle(draws)

    extract = page(*draws)

    assert [paragraph.replace("\n", " ") for paragraph in extract.text.split("\n\n")] == [
        "House rules of the cooperative for all of its tenants and guests",
        " ".join(LEFT),
        " ".join(RIGHT),
    ]


def test_words_divided_at_line_ends_are_joined_and_compounds_keep_their_hyphen() -> None:
    """What the document says elsewhere decides; a known first part keeps its hyphen."""
    known = frozenset({"maintenance", "e-mail"})
    assert undivide(join("for main-", "tenance of"), known) == "for maintenance of"
    assert undivide(join("by e-", "mail to"), known) == "by e-mail to"
    assert undivide(join("a long-", "term guest"), known) == "a long-term guest"
    assert undivide(join("the land-", "lord"), known) == "the landlord"
    assert join("From 2020-", "2021") == "From 2020- 2021"
    assert DIVIDED not in undivide(f"end{DIVIDED}", known)


def test_raised_figures_are_no_digits_of_the_number_before_them() -> None:
    """A footnote's mark behind an amount, a power, a square: all are shown as raised."""
    extract = page(
        text(72, 100, "The fee is EUR 120"),
        text(160, 96, "1", size=6),
        text(72, 130, "The plot has 450 m"),
        text(156, 126, "2", size=6),
    )
    assert "EUR 120^1" in extract.text
    assert "1201" not in extract.text
    assert "m^2" in extract.text


def test_letters_set_apart_are_words_and_double_printing_is_read_once() -> None:
    """Spaced letters are closed up; a shadow is not a second text."""

    def spaced(pdf: FPDF) -> None:
        pdf.set_char_spacing(4)
        pdf.text(72, 100, "NOTICE PERIOD")
        pdf.set_char_spacing(0)

    extract = page(spaced, text(72, 130, "Total due: 1,250 EUR"), text(72.4, 130, "Total due: 1,250 EUR"))
    assert "NOTICE PERIOD" in extract.text
    assert extract.text.count("1,250") == 1


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_turned_pages_are_read_upright(angle: int) -> None:
    """Text turned on the page is read along its own lines."""

    def turned(pdf: FPDF) -> None:
        with pdf.rotation(angle, x=300, y=400):
            for draw in (text(200, 380, "The first line of a text"), text(200, 394, "goes on in the second.")):
                draw(pdf)

    assert page(turned).text.replace("\n", " ") == "The first line of a text goes on in the second."


def test_running_heads_and_page_numbers_stay_out_of_sentences() -> None:
    """A sentence goes on over the page; the head is said once; the printed number is the page's label."""
    pdf = FPDF(unit="pt", format="a4")
    pdf.set_font("helvetica", size=10)
    parts = ("Cover of it.", "Bicycles may be kept in the cellar by those", "who have a badge of the house.", "The end of it.")
    for number, part in enumerate(parts, 1):
        pdf.add_page()
        for draw in (text(72, 60, "Harbour Homes - House rules"), text(72, 300, part), text(300, 790, str(number + 10))):
            draw(pdf)

    extract = read_pdf(bytes(pdf.output()))

    assert "Bicycles may be kept in the cellar by those who have a badge of the house." in extract.text
    assert extract.text.count("Harbour Homes") == 1
    assert [(section.number, section.label) for section in extract.sections] == [(1, "11"), (2, "12"), (3, "13"), (4, "14")]
    assert extract.text[extract.sections[2].start :].startswith("who have")


def test_rows_at_the_foot_of_pages_are_no_running_feet() -> None:
    """They have the same words in the same place, but figures that do not count with the pages."""
    pdf = FPDF(unit="pt", format="a4")
    pdf.set_font("helvetica", size=10)
    for number in range(1, 7):
        pdf.add_page()
        text(72, 40, f"Annual report 2026, page {number}")(pdf)
        for row, label in enumerate(("", "Rent", "Heating", "Total")):
            text(72, 400 + 14 * row, label)(pdf)
            for column in range(3):
                value = str(2024 + column) if row == 0 else f"{number * 1_117 + row * 31 + column:,}"
                text(300 + 70 * column, 400 + 14 * row, value, right=True)(pdf)
    extract = read_pdf(bytes(pdf.output()))
    assert [each[""] for each in cells(extract)] == ["Rent", "Heating", "Total"] * 6
    assert extract.text.count("Annual report") == 1


def test_text_that_nobody_sees_is_left_out_and_told() -> None:
    """White on white, beyond the page, without ink, under a picture: none is read. White on black is."""

    def unseen(pdf: FPDF) -> None:
        pdf.set_text_color(255, 255, 255)
        pdf.text(72, 200, "Whitened")
        pdf.set_fill_color(0, 0, 0)
        pdf.rect(60, 300, 200, 30, style="F")
        pdf.text(72, 320, "Banner")
        pdf.set_text_color(0, 0, 0)
        pdf.text(700, 100, "Beyond")
        pdf.text(72, 400, "Covered")
        pdf.set_fill_color(200, 0, 0)
        pdf.rect(60, 380, 200, 30, style="F")

    extract = page(text(72, 100, "Amount due: 210 euros."), unseen)

    assert extract.text.split() == ["Amount", "due:", "210", "euros.", "Banner"]
    assert [(gap.kind, gap.pages) for gap in extract.gaps] == [(GapKind.HIDDEN, (1,))]


def test_a_scan_with_a_stamp_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that covers the page is what it says; a stamp of a program on it is not."""
    monkeypatch.setitem(sys.modules, "rapidocr", None)

    def scan(pdf: FPDF) -> None:
        from PIL import Image

        pdf.image(Image.new("L", (60, 80), 180), x=0, y=0, w=595, h=842)

    with pytest.raises(DocumentError, match="scan"):
        page(scan, text(72, 40, "Scanned with PhoneScanner"))


def test_pages_whose_fonts_tell_nothing_are_gaps() -> None:
    """Characters of a private area are gibberish to everybody but their font."""
    data = bytes(_private_font_pdf())
    with pytest.raises(DocumentError):
        read_pdf(data)


def _private_font_pdf() -> bytes:
    codes = "".join(f"{0xE000 + number:04x}" for number in range(1, 40))
    rows = "\n".join(f"<{0xE000 + number:04x}> <{0xE000 + number:04x}>" for number in range(1, 40))
    table = f"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange 39 beginbfchar\n{rows}\nendbfchar endcmap end"
    content = f"BT /F1 12 Tf 50 700 Td <{codes}> Tj ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts [6 0 R] /ToUnicode 7 0 R >>",
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>",
        f"<< /Length {len(table)} >>\nstream\n{table}\nendstream",
    ]
    body = "%PDF-1.7\n" + "".join(f"{number} 0 obj\n{each}\nendobj\n" for number, each in enumerate(objects, 1))
    return (body + "trailer << /Root 1 0 R >>\n").encode("latin-1")


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 60), st.text("abc1", min_size=1, max_size=6)),
        min_size=1,
        max_size=40,
        unique_by=lambda each: each[:2],
    ),
    st.randoms(use_true_random=False),
)
def test_any_arrangement_of_words_gives_each_word_once(placed: list[tuple[int, int, str]], chance: random.Random) -> None:
    """Whatever stands where, in whatever order, no word is lost and a line goes from left to right."""
    words = [Word(what, 60.0 * x, 12.0 * y, 60.0 * x + 6 * len(what), 12.0 * y + 10) for x, y, what in placed]
    chance.shuffle(words)
    found = lines(words)
    assert sorted(segment.text for line in found for segment in line.segments) == sorted(what for _, _, what in placed)
    assert all(line.y0 >= below.y0 for line, below in pairwise(found))


@pytest.mark.parametrize("direction", list(Direction))
def test_turning_keeps_the_order_of_reading(direction: Direction) -> None:
    """A word further along its line has the greater x, the next line the smaller y."""
    along = {Direction.RIGHT: (1, 0), Direction.LEFT: (-1, 0), Direction.UP: (0, 1), Direction.DOWN: (0, -1)}[direction]
    down = {Direction.RIGHT: (0, -1), Direction.LEFT: (0, 1), Direction.UP: (1, 0), Direction.DOWN: (-1, 0)}[direction]

    def word(what: str, column: int, row: int) -> Word:
        x, y = 300 + 50 * (column * along[0] + row * down[0]), 300 + 50 * (column * along[1] + row * down[1])
        return Word(what, x - 5, y - 5, x + 5, y + 5, direction)

    (group,) = upright([word("a", 0, 0), word("b", 1, 0), word("c", 0, 1)])
    a, b, c = group
    assert a.x0 < b.x0
    assert abs(a.middle - b.middle) < 1
    assert c.middle < a.middle
    assert abs(a.x0 - c.x0) < 1


@given(st.binary(max_size=300))
def test_damaged_files_are_refused_with_a_reason(data: bytes) -> None:
    """Whatever follows the magic, there is a reason and no crash."""
    with pytest.raises(DocumentError):
        read_pdf(b"%PDF-1.7\n" + data)
