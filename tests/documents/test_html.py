"""HTML becomes the lines that a reader of the page sees."""

import pytest

from coordinator.documents.html import declared_encoding, html_text
from coordinator.errors import DocumentError


def test_blocks_become_paragraphs_and_rows_become_lines() -> None:
    """Headings, paragraphs, items and rows come out apart; wrapped source lines and inline tags do not matter."""
    page = """<!DOCTYPE html><html><head><title>Lease &amp; annex</title><style>p{a>b}</style>
    <script>var x = "<p>no</p>";</script></head>
    <body><nav><a href="/">Home</a></nav><!-- <p>gone</p> --><h1>The <b>big</b>
    title</h1><p title="a>b">One paragraph
    wrapped.<br>Second line.</p><div>Left</div><div>Right</div>
    <ul><li>first<li><p>second</p></ul><ol><li>do</li><li>undo</li></ol>
    <table><tr><th>Name</th><th>Due</th><th>EUR</th></tr><tr><td><p>Gas</p></td><td></td><td>1&nbsp;&lt; 2</td></tr></table>After"""

    assert html_text(page).replace("\xa0", " ") == (
        "Lease & annex\n\nThe big title\n\nOne paragraph wrapped.\nSecond line.\n\nLeft\n\nRight\n\n- first\n- second"
        "\n\n1. do\n2. undo\n\nName | Due | EUR\nGas |  | 1 < 2\n\nAfter"
    )


def test_a_table_for_layout_does_not_become_one_line() -> None:
    """A page inside one table cell keeps its paragraphs, and a table inside it its rows."""
    page = "<table><tr><td><p>One.</p><p>Two.</p><table><tr><td>a</td><td>b</td></tr></table></td></tr></table>"

    assert html_text(page) == "One.\n\nTwo.\n\na | b"


def test_a_menu_that_never_ends_does_not_hide_the_page() -> None:
    """Navigation is dropped only where it is closed."""
    assert html_text("<nav><p>Menu</p><p>The text.</p>") == "Menu\n\nThe text."


def test_preformatted_columns_stay_apart() -> None:
    """Columns made of spaces survive as tabs."""
    assert html_text("<pre>Gas   30\nPower   44</pre>") == "Gas\t30\nPower\t44"


def test_text_that_only_looks_like_markup_survives() -> None:
    """Signs of comparison and stray ampersands are text."""
    assert html_text("<p>5 < 6 & 7 > 3") == "5 < 6 & 7 > 3"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'<meta charset="Shift_JIS">', "Shift_JIS"),
        (b'<META http-equiv=Content-Type content="text/html; charset=euc-jp">', "euc-jp"),
        (b'<?xml version="1.0" encoding="UTF-8"?><html>', "UTF-8"),
        (b"<p>none</p>", None),
    ],
)
def test_the_encoding_a_page_names(head: bytes, expected: str | None) -> None:
    """Both forms of meta, and the XML declaration, are understood."""
    assert declared_encoding(head) == expected


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<", "</a ", "<a b='", "<![CDATA[", "<script>", "&", "<a \"'", "<!", "<td>", "<li>", "<svg>x</svg>", "<a'x'", "<br>"],
)
def test_broken_markup_is_read_in_one_pass(piece: str) -> None:
    """Thousands of broken tags give no more than what they are (the standard parser takes minutes for some)."""
    assert len(html_text(piece * 9_000)) <= len(piece) * 9_000


@pytest.mark.parametrize("piece", ["<div>", "<nav>", "<B>"])
def test_markup_without_a_bottom_is_refused(piece: str) -> None:
    """Elements inside one another by the ten thousand are no page, and the parser would take minutes."""
    with pytest.raises(DocumentError, match="inside one another"):
        html_text(piece * 30_000)
