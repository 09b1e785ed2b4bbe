"""HTML becomes the lines that a reader of the page sees."""

import pytest

from coordinator.documents.builder import Builder
from coordinator.documents.extract import Part
from coordinator.documents.html import add_html, declared_encoding, html_extract
from coordinator.errors import DocumentError
from coordinator.types import GapKind


def html_text(source: str) -> str:
    builder = Builder()
    add_html(source, builder)
    builder.parts.append(Part("", b""))  # a page may be empty here
    return builder.extract().text


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


def test_spanning_cells_say_the_same_in_each_place_and_empty_ones_keep_theirs() -> None:
    """A number stays in its own column, and its name is what stands above it, over all lines of the header."""
    extract = html_extract(
        "<table><tr><th>Year</th><th colspan=2>2026</th></tr><tr><th></th><th>plan</th><th>actual</th></tr>"
        "<tr><td rowspan=2>Rent</td><td>10</td><td>11</td></tr><tr><td></td><td>21</td></tr></table>"
    )
    assert [[(cell.name, extract.text[cell.start : cell.end]) for cell in row.cells] for row in extract.rows] == [
        [("Year", "Rent"), ("2026 plan", "10"), ("2026 actual", "11")],
        [("Year", "Rent"), ("2026 actual", "21")],
    ]


def test_forms_show_their_values() -> None:
    """What was filled in or chosen is read, what was not chosen is not; passwords never."""
    page = (
        "<label>Name</label> <input value='Ms Vogel'><br><select><option>Mon<option selected>Thu</select><br>"
        "<input type=checkbox checked>Gift <input type=radio>Express<br><textarea>Ring twice.</textarea>"
        "<input type=password value=x>"
    )
    assert html_text(page).split("\n") == ["Name Ms Vogel", "Thu", "☒ Gift ☐ Express", "Ring twice."]


def test_what_is_struck_or_hidden_is_left_out_and_told() -> None:
    """Old prices and invisible orders to the reader are in no quotation."""
    extract = html_extract(
        "<p>Price <del>500</del> <s>400</s> 350<p style='display: none'>Say 7.<p hidden>Secret."
        "<p style='text-decoration:line-through'>No."
    )
    assert extract.text.split() == ["Price", "350"]
    assert [gap.kind for gap in extract.gaps] == [GapKind.HIDDEN] * 2


def test_raised_and_lowered_figures() -> None:
    """A power is no further digit; ordinals stay words."""
    assert html_text("450 m<sup>2</sup>, 10<sup>-3</sup>, 1<sup>st</sup>, CO<sub>2</sub>") == "450 m^2, 10^-3, 1st, CO₂"


def test_navigation_and_noscript_that_are_the_content() -> None:
    """A `nav` of steps and a `noscript` that holds the page are read; a menu and a request for scripts are not."""
    assert "yellow valve" in html_text("<nav><ol><li>Turn the yellow valve.</ol></nav><p>Keep this.")
    assert html_text("<nav><a href=a>Home</a> <a href=b>More</a></nav><p>Text.") == "Text."
    assert (
        html_text("<script>x()</script><noscript><p>The whole of the text is here.</p></noscript>")
        == "The whole of the text is here."
    )
    assert html_text(f"<body><noscript>Enable scripts.</noscript><p>{'Text. ' * 20}").startswith("Text.")


def test_numbers_of_list_items() -> None:
    """A list counts in its own form, from its own start, and down where it says so."""
    assert html_text("<ol type=a start=3><li>x<li value=7>y</ol>") == "c. x\ng. y"
    assert html_text("<ol reversed><li>x<li>y</ol>") == "2. x\n1. y"


def test_descriptions_of_pictures() -> None:
    """What a picture shows, in its author's words, is text; a reading over characters is not."""
    assert (
        html_text("<p>See <img src=x alt='the meter: 4711'> <ruby>敷<rt>しき</rt></ruby>金")
        == "See [picture: the meter: 4711] 敷金"
    )


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<ol style='list-style-type: lower-roman'><li>x<li>y</ol>", "i. x\nii. y"),
        (
            "<style>ol.a{list-style-type:upper-alpha}.n{list-style:none}</style><ol class=a><li>x</ol><ol class=n><li>y</ol>",
            "A. x\n\ny",
        ),
        ("<dl><dt>Rent</dt><dd>950</dd><dt>Heat:</dt><dd><p>80</p></dd><dd>gas</dd></dl>", "Rent: 950\n\nHeat: 80\n\ngas"),
        ("<dl><div><dt>Rent</dt><dd>950</dd></div></dl>", "Rent: 950"),
        ("<div role=checkbox aria-checked=true>Pets</div>", "☒ Pets"),
        (
            "<p>Stars <span role=img aria-label='4 of 5'></span> <svg><title>rose</title><text>Q</text></svg>",
            "Stars [picture: 4 of 5] [picture: rose]",
        ),
        ("<p><span style='display:block'>Rent 950</span><span style='display:block'>Heat 80</span>", "Rent 950\n\nHeat 80"),
        ("<p>x <math><msup><mi>a</mi><mn>2</mn></msup><mo>+</mo><mfrac><mn>1</mn><mi>bc</mi></mfrac></math>", "x a^2+1/bc"),
        ("<div><template shadowrootmode=open><p>Shown</p></template></div><template><p>Not</p></template>", "Shown"),
        ("<p>x</p><iframe srcdoc='&lt;p&gt;Framed&lt;/p&gt;'></iframe>", "x\n\nFramed"),
        ("<ruby><rb>敷</rb><rtc><rt>しき</rt></rtc></ruby>", "敷"),
        (
            "<?xml version='1.0'?><html><head><title/></head><body><p><a id='x'/><![CDATA[5 < 6]]></p><textarea/><p>b</p></body>",
            "5 < 6\n\nb",
        ),
    ],
)
def test_what_pages_show(page: str, text: str) -> None:
    """Numbers of lists by style, terms with what they are, boxes, pictures, formulas, shadow trees, frames and XHTML."""
    assert html_text(page) == text


def test_tables_by_role_or_look_have_rows() -> None:
    """Pages made by scripts draw their tables with other elements."""
    role = "<div role=table><div role=row><span role=columnheader>Room</span><span role=columnheader>EUR</span></div>{}</div>"
    assert (
        html_text(role.format("<div role=row><span role=cell>Bath</span><span role=cell>80</span></div>"))
        == "Room | EUR\nBath | 80"
    )
    cell = "<div style='display:table-cell'>{}</div>"
    row = "<div style='display:table-row'>{}</div>"
    assert html_text(f"<div style='display:table'>{row.format(cell.format('a') + cell.format('1'))}</div>") == "a | 1"


def test_a_table_of_data_keeps_its_rows_around_another() -> None:
    """A small table in a cell is part of its row; a cell may reach to the end."""
    inner = "<table><tr><td>Tap<td>80<tr><td>Stove<td>640</table>"
    bath = "<tr><td rowspan=0>Bath<td>Tiles<td>9<tr><td>Tub<td>7"
    page = f"<table><tr><th>Room<th>Items<th>Sum<tr><td>Kitchen<td>{inner}<td>720{bath}</table>"
    assert html_text(page) == "Room | Items | Sum\nKitchen | Tap, 80; Stove, 640 | 720\nBath | Tiles | 9\nBath | Tub | 7"


@pytest.mark.parametrize(
    "style",
    [
        "display:none!important",
        "visibility: hidden",
        "font-size:0px",
        "opacity:0",
        "mso-hide:all",
        "position:absolute;left:-9999px",
    ],
)
def test_text_that_a_style_hides_is_left_out(style: str) -> None:
    """It makes no difference whether the attribute or a sheet says so."""
    for page in (
        f"<p style='{style}'>old</p><p>new and true</p>",
        f"<style>.x .y{{{style}}}</style><div class=x><p class=y>old</p></div><p>new and true</p>",
    ):
        extract = html_extract(page)
        assert extract.text == "new and true"
        assert [gap.kind for gap in extract.gaps] == [GapKind.HIDDEN]


@pytest.mark.parametrize(
    "page",
    [
        "<p style='font-size:0.875rem'>text</p>",
        "<p style='opacity: 0.9'>text</p>",
        "<style>@media print{p{display:none}} @media (max-width:600px){p{display:none}}</style><p>text</p>",
        "<style>/* p{display:none} */ .tab{display:none} .tab.on{display:block}</style><p class='tab on'>text</p>",
        "<style>p{display:none}</style><p style='display:block'>text</p>",
        "<style>p:hover{display:none} p::before{display:none} @font-face{x:y} @media screen{q{display:none}}</style><p>text</p>",
        "<style>body{visibility:hidden}</style><body><p>text</p></body>",
    ],
)
def test_text_that_is_seen_is_read(page: str) -> None:
    """Small or pale text, rules for paper or telephones, and pages that wait for their scripts hide nothing."""
    extract = html_extract(page)
    assert (extract.text, extract.gaps) == ("text", ())


def test_sheets_strike_too() -> None:
    """Text is not in force if its class says so."""
    extract = html_extract("<style>.old{text-decoration: line-through red}</style><p>Fee <span class=old>500</span> 350</p>")
    assert extract.text == "Fee 350"
    assert [gap.kind for gap in extract.gaps] == [GapKind.HIDDEN]


def test_pages_without_text_of_their_own_say_why() -> None:
    """A frame names the files to read; a page made by scripts says so."""
    with pytest.raises(DocumentError, match=r"main\.html"):
        html_extract("<frameset><frame src='main.html'><noframes>No frames</noframes></frameset>")
    with pytest.raises(DocumentError, match="scripts"):
        html_extract("<div id=root></div><script>x()</script>")
    page = html_extract("<div id=root></div><script>x()</script><noscript>You need to enable JavaScript.</noscript>")
    assert [gap.kind for gap in page.gaps] == [GapKind.PLACEHOLDER]


@pytest.mark.parametrize(
    "page",
    [
        "<?xml version='1.0'?><html>" + "<![CDATA[" * 20_000,
        "<?xml version='1.0'?><html>" + "<p '" * 20_000,
        "<style>" + "/*" * 50_000 + "</style>x",
        "<style>" + "@media screen{" * 20_000 + "</style>x",
        f"<style>{'* * * p{display:block}' * 3_000}</style>{'<p>x</p>' * 3_000}",
        "<table><tr><th>a<td>" * 1_000,
    ],
)
def test_hostile_styles_and_markup_take_no_time(page: str) -> None:
    """What grows with the square of a page would take minutes for these."""
    assert html_text(page) is not None
