"""Tables of data, mail, sheets, slides, books and the like become text that says what its numbers are."""

import contextlib
import io
import zipfile
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.documents.books import read_epub
from coordinator.documents.data import read_csv, read_json, read_jsonl
from coordinator.documents.extract import Extract
from coordinator.documents.kinds import READERS, reader_of
from coordinator.documents.mail import read_eml, read_mbox, read_mht
from coordinator.documents.open_document import read_odf
from coordinator.documents.rich_text import read_rtf
from coordinator.documents.sheets import read_xlsx
from coordinator.documents.slides import read_pptx
from coordinator.documents.subtitles import read_subtitles
from coordinator.errors import DocumentError
from coordinator.types import GapKind, SectionKind


def lines(extract: Extract) -> list[str]:
    return [line for line in extract.text.split("\n") if line]


def archive(**files: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize(
    "text",
    ["flat,rent\n1,600\n2,650\n", "flat;rent\n1;600\n2;650\n", "flat\trent\n1\t600\n2\t650\n", "sep=|\nflat|rent\n1|600\n2|650"],
)
def test_records_say_the_names_of_their_values(text: str) -> None:
    """Whatever parts the values, each record is a quotation of its own."""
    extract = read_csv(text.encode())

    assert lines(extract) == ["flat: 1 | rent: 600", "flat: 2 | rent: 650"]
    assert [extract.text[row.start : row.end] for row in extract.rows] == lines(extract)
    assert [row.label for row in extract.rows] == ["record 2", "record 3"]


def test_values_with_line_ends_and_bars_stay_in_their_record() -> None:
    """A quoted value may hold what parts others; a Japanese file in its own encoding is read."""
    assert lines(read_csv(b'name,note\nMia,"a, b\nc"\nBen,x | y\n')) == ["name: Mia | note: a, b c", "name: Ben | note: x | y"]
    assert lines(read_csv("部屋,家賃\n一,九万円\n二,八万円\n".encode("cp932"))) == [
        "部屋: 一 | 家賃: 九万円",
        "部屋: 二 | 家賃: 八万円",
    ]


def test_values_without_names_are_rows() -> None:
    """Where the first line holds figures it is a record like the others."""
    assert lines(read_csv(b"1,600\n2,650\n")) == ["1 | 600", "2 | 650"]


@given(st.lists(st.lists(st.text('ab1,;" \n', max_size=6), min_size=2, max_size=4), min_size=1, max_size=5))
def test_any_table_is_read_without_losing_a_value(rows: list[list[str]]) -> None:
    """Every value below the first line, which may be names, stands in the text."""
    import csv

    target = io.StringIO()
    csv.writer(target).writerows(rows)
    try:
        text = read_csv(target.getvalue().encode()).text
    except DocumentError:
        assert not any(value.strip() for row in rows[1:] for value in row)
        return
    for row in rows[1:]:
        for value in row:
            assert " ".join(value.split()) in text or any(character in value for character in '",;\n')


def test_json_is_lines_of_names_and_values() -> None:
    """Objects say the names of their values, nested ones by their path; items of a list are records."""
    data = '{"rent": 950, "pets": false, "tenant": {"name": "Mia"}, "rooms": [{"name": "hall", "m2": 7}, {"name": "bath"}]}'
    assert lines(read_json(data.encode())) == [
        "rent: 950 | pets: false",
        "tenant.name: Mia",
        "rooms",
        "name: hall | m2: 7",
        "name: bath",
    ]
    with pytest.raises(DocumentError):
        read_json(b"{")
    with pytest.raises(DocumentError):
        read_json(b"[" * 100_000)


def test_broken_lines_of_jsonl_are_told() -> None:
    """One damaged line costs that line."""
    extract = read_jsonl(b'{"a": 1}\nnonsense\n{"a": {"b": 2}}\n')
    assert lines(extract) == ["a: 1", "a.b: 2"]
    assert [gap.kind for gap in extract.gaps] == [GapKind.DAMAGED]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1,5;2,5\n3,5;4,5\n", ["1,5 | 2,5", "3,5 | 4,5"]),
        ("name\tprice\nTap\t1,5\nStove\t2,5\n", ["name: Tap | price: 1,5", "name: Stove | price: 2,5"]),
        ("# exported, 2026\n# by Mia\nflat,rent\n1,600\n", ["# exported, 2026", "# by Mia", "flat: 1 | rent: 600"]),
        ("#flat,rent\n1,600\n", ["#flat: 1 | rent: 600"]),
        ("name\nMiller, Inc.\nVogel\nSmith, John, Jr\n", ["name", "Miller, Inc.", "Vogel", "Smith, John, Jr"]),
        (
            "Bank;DE12\n\nday;name;sum\n1.1.26;Vogel;-9,50\n2.1.26;Kim;2\n",
            ["Bank | DE12", "day: 1.1.26 | name: Vogel | sum: -9,50", "day: 2.1.26 | name: Kim | sum: 2"],
        ),
        ("Mia,Berlin,active\nBen,Hamburg,active\n", ["Mia | Berlin | active", "Ben | Hamburg | active"]),
        ("mia@example.org,Berlin\nben@example.org,Hamburg\n", ["mia@example.org | Berlin", "ben@example.org | Hamburg"]),
        ("region,2024,2025\nNorth,5,6\n", ["region: North | 2024: 5 | 2025: 6"]),
        (",rent\nMia,900\n", ["Mia | rent: 900"]),
        ("name,sum,sum\nMia,1,2\n", ["name: Mia | sum: 1 | sum: 2"]),
        ("name,rent,note\nMia,900,\n", ["name: Mia | rent: 900", "Columns without values: note"]),
    ],
)
def test_tables_of_many_makers(text: str, shown: list[str]) -> None:
    """Decimal commas, lines before the table, tables without names, with years for names or a name twice."""
    assert lines(read_csv(text.encode())) == shown


def test_a_value_too_many_takes_no_names_from_the_others() -> None:
    """One ragged row, or a quotation mark that is never closed, costs itself."""
    rows = "".join(f"T{number},{number}\n" for number in range(60))
    assert lines(read_csv(f"tenant,rent\nMia,5,note\n{rows}".encode()))[:2] == [
        "tenant: Mia | rent: 5 | note",
        "tenant: T0 | rent: 0",
    ]
    assert lines(read_csv(f'tenant,rent\n"12 inch,5\n{rows}'.encode()))[-1] == "tenant: T59 | rent: 59"


def test_json_names_given_twice() -> None:
    """No value is lost because its name comes again."""
    assert lines(read_json(b'{"a": 1, "a": 2}')) == ["a: 1 | a (2): 2"]


def message(body: str = "The rent rises.", html: str | None = None, subject: str = "Rent") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.org", "b@example.org", subject
    made.set_content(body, cte="base64")
    if html is not None:
        made.add_alternative(html, subtype="html")
    return made


def test_mail_is_decoded_with_its_attachments_as_documents() -> None:
    """The body is read once, however often it is there; what is attached is a document of its own, a message too."""
    made = message(html="<p>The rent rises.</p>")
    made.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="lease.pdf")
    made.add_attachment(message(subject="Inner"))

    extract = read_eml(made.as_bytes())

    assert lines(extract) == ["From: a@example.org", "To: b@example.org", "Subject: Rent", "The rent rises."]
    assert [part.name for part in extract.parts] == ["lease.pdf", "Inner.eml"]
    assert "The rent rises." in read_eml(extract.parts[1].data).text


def test_the_form_of_a_message_that_says_more_is_read() -> None:
    """A plain part that only points at the other is no loss of the other."""
    made = message("See HTML.", html=f"<p>{'The rent rises in May. ' * 5}</p>")
    assert "rises in May" in read_eml(made.as_bytes()).text


def test_a_mailbox_has_its_messages_as_sections() -> None:
    """A quoted "From" line does not part a message."""
    box = b"".join(
        b"From a@example.org Mon Jan  1 00:00:00 2027\n" + message(f"Text {number}.\n").as_bytes() + b"\n" for number in (1, 2)
    )
    extract = read_mbox(box)
    assert [(section.kind, section.number, section.label) for section in extract.sections] == [
        (SectionKind.MESSAGE, 1, "Rent"),
        (SectionKind.MESSAGE, 2, "Rent"),
    ]
    assert "Text 2." in extract.text[extract.sections[1].start :]
    with pytest.raises(DocumentError):
        read_mbox(b"no mailbox\nat all\n")


def test_an_encrypted_message_is_told() -> None:
    """What cannot be read of a message is a gap and not silence."""
    data = b"From: a@b.c\nSubject: x\nContent-Type: application/pkcs7-mime\n\nMIIB"
    assert [gap.kind for gap in read_eml(data).gaps] == [GapKind.NOT_READ]


def test_a_web_archive_is_its_page() -> None:
    """The page is read, its pictures and styles are not."""
    made = EmailMessage()
    made.add_related("<p>The gas valve is yellow.</p>", subtype="html")
    made.add_related(b"GIF8", maintype="image", subtype="gif")
    assert read_mht(b"Subject: x\n" + made.as_bytes()).text == "The gas valve is yellow."


SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def workbook(*sheets: tuple[str, str], styles: str = "", strings: str = "") -> bytes:
    """An Excel workbook of (attributes with the name, XML of the sheet)."""
    listed = "".join(f'<sheet {names} sheetId="{n}" r:id="r{n}"/>' for n, (names, _) in enumerate(sheets, 1))
    related = "".join(f'<Relationship Id="r{n}" Type="{TYPES}/worksheet" Target="s{n}.xml"/>' for n in range(1, len(sheets) + 1))
    related += f'<Relationship Id="st" Type="{TYPES}/styles" Target="styles.xml"/><Relationship Id="ss" Type="{TYPES}/sharedStrings" Target="ss.xml"/>'
    return archive(
        **{
            "xl/workbook.xml": f'<workbook xmlns="{SHEETS}" xmlns:r="{TYPES}"><sheets>{listed}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{RELATIONS}">{related}</Relationships>',
            "xl/styles.xml": f'<styleSheet xmlns="{SHEETS}">{styles}</styleSheet>',
            "xl/ss.xml": f'<sst xmlns="{SHEETS}">{strings}</sst>',
        },
        **{f"xl/s{n}.xml": f'<worksheet xmlns="{SHEETS}">{xml}</worksheet>' for n, (_, xml) in enumerate(sheets, 1)},
    )


def cell(at: str, text: str) -> str:
    return f'<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>'


def test_sheets_are_records_with_their_places() -> None:
    """Values are shown as their cells show them, formulas by their value; hidden sheets and rows are left out and told."""
    styles = (
        '<numFmts><numFmt numFmtId="170" formatCode="#,##0.00\\ &quot;EUR&quot;"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="10"/><xf numFmtId="170"/></cellXfs>'
    )
    xml = (
        f'<sheetData><row r="1">{cell("A1", "House 7")}</row>'
        f'<row r="3">{cell("A3", "tenant")}{cell("B3", "since")}{cell("C3", "share")}{cell("D3", "rent")}</row>'
        '<row r="4"><c r="A4" t="s"><v>0</v></c><c r="B4" s="1"><v>46023</v></c><c r="C4" s="2"><v>0.125</v></c>'
        '<c r="D4" s="3"><f>600*2</f><v>1200.5</v></c></row>'
        f'<row r="5" hidden="1">{cell("A5", "Old")}</row><row r="6">{cell("A6", "Ben")}<c r="D6"><f>1+1</f></c></row></sheetData>'
    )
    extract = read_xlsx(
        workbook(('name="Flats"', xml), ('name="Old" state="hidden"', "<sheetData/>"), styles=styles, strings="<si><t>Mia</t></si>")
    )

    assert lines(extract) == ["House 7", "tenant: Mia | since: 2026-01-01 | share: 12.50% | rent: 1,200.50 EUR", "tenant: Ben"]
    assert [(section.kind, section.label) for section in extract.sections] == [(SectionKind.SHEET, "Flats")]
    assert extract.rows[0].label == "A4:D4"
    assert sorted(gap.kind for gap in extract.gaps) == [GapKind.HIDDEN, GapKind.HIDDEN, GapKind.NOT_READ]


def test_merged_cells_of_a_sheet_say_the_same_in_each_row() -> None:
    """A label merged over rows belongs to each of them."""
    xml = (
        f'<sheetData><row r="1">{cell("A1", "room")}{cell("B1", "item")}</row><row r="2">{cell("A2", "Bath")}{cell("B2", "Tap")}</row>'
        f'<row r="3">{cell("B3", "Tiles")}</row></sheetData><mergeCells><mergeCell ref="A2:A3"/></mergeCells>'
    )
    assert lines(read_xlsx(workbook(('name="x"', xml)))) == ["room: Bath | item: Tap", "room: Bath | item: Tiles"]


def grid(*rows: tuple[str | int, ...]) -> str:
    """Rows of a sheet; "" for no cell."""
    made = ""
    for number, row in enumerate(rows, 1):
        cells = (
            cell(f"{chr(65 + column)}{number}", value)
            if isinstance(value, str)
            else f'<c r="{chr(65 + column)}{number}"><v>{value}</v></c>'
            for column, value in enumerate(row)
            if value != ""
        )
        made += f'<row r="{number}">{"".join(cells)}</row>'
    return f"<sheetData>{made}</sheetData>"


def sheet(*rows: tuple[str | int, ...], merged: tuple[str, ...] = ()) -> list[str]:
    """The lines of a workbook with these rows in its one sheet."""
    ranges = "".join(f'<mergeCell ref="{each}"/>' for each in merged)
    return lines(read_xlsx(workbook(('name="x"', grid(*rows) + f"<mergeCells>{ranges}</mergeCells>"))))


def test_names_in_two_rows_are_joined() -> None:
    """A year over several columns belongs to each of them, merged or not."""
    rows: tuple[tuple[str | int, ...], ...] = (
        ("Region", "2026", "", "2027", ""),
        ("", "plan", "actual", "plan", "actual"),
        ("North", 30, 31, 32, 33),
    )
    told = ["Region: North | 2026 plan: 30 | 2026 actual: 31 | 2027 plan: 32 | 2027 actual: 33"]
    assert sheet(*rows) == told
    assert sheet(*rows, merged=("A1:A2", "B1:C1", "D1:E1")) == told


def test_tables_side_by_side_are_read_one_after_the_other() -> None:
    """A row of one table is no row of its neighbour; a form with space between label and value stays together."""
    assert sheet(("name", "rent", "", "name", "price"), ("Mia", 900, "", "Tap", 80), ("", "", "", "Tub", 5)) == [
        "name: Mia | rent: 900",
        "name: Tap | price: 80",
        "name: Tub | price: 5",
    ]
    form = (("Tenant", "", "Vogel"), ("Rent", "", 950), ("Begins", "", "May"))
    assert sheet(*form) == ["Tenant | Vogel", "Rent | 950", "Begins | May"]


def test_columns_named_by_months() -> None:
    """Months, years or a count above figures are names; a form on squared paper has none, and says each value once."""
    months = '<numFmts><numFmt numFmtId="170" formatCode="mmm\\-yy"/></numFmts><cellXfs><xf/><xf numFmtId="170"/></cellXfs>'
    head = f'<row r="1">{cell("A1", "Item")}<c r="B1" s="1"><v>46023</v></c><c r="C1" s="1"><v>46054</v></c></row>'
    row = f'<row r="2">{cell("A2", "Rent")}<c r="B2"><v>950</v></c><c r="C2"><v>960</v></c></row>'
    book = workbook(('name="x"', f"<sheetData>{head}{row}</sheetData>"), styles=months)
    assert lines(read_xlsx(book)) == ["Item: Rent | 2026-01: 950 | 2026-02: 960"]
    assert sheet(("Item", 1, 2, 3), ("Rent", 95, 96, 97)) == ["Item: Rent | 1: 95 | 2: 96 | 3: 97"]
    form = (("Name", "", "Vogel", "", "", ""), ("Street", "", "Main 1", "", "Phone", "0171"))
    assert sheet(*form, merged=("A1:B1", "C1:F1", "A2:B2", "C2:D2")) == ["Name | Vogel |  | ", "Street | Main 1 | Phone | 0171"]


def test_what_lies_over_cells_is_read() -> None:
    """Shapes hold text; a thread of comments is told once and without the words of the program that made it."""
    data = workbook(('name="x"', grid(("a", "b"), ("x", 1))))
    more = {
        "xl/_rels/s1.xml.rels": f'<Relationships xmlns="{RELATIONS}">'
        + "".join(
            f'<Relationship Id="{kind}" Type="{TYPES}/{kind}" Target="{kind}.xml"/>'
            for kind in ("drawing", "comments", "threadedComment")
        )
        + "</Relationships>",
        "xl/drawing.xml": "<d:wsDr xmlns:d='d' xmlns:a='a'><d:txBody><a:p><a:r><a:t>Boxed</a:t></a:r></a:p></d:txBody></d:wsDr>",
        "xl/comments.xml": '<comments><comment ref="B2"><text><t>[Threaded comment] Your version</t></text></comment>'
        '<comment ref="A2"><text><t>Old</t></text></comment></comments>',
        "xl/threadedComment.xml": '<ThreadedComments><threadedComment ref="B2"><text>Why?</text></threadedComment></ThreadedComments>',
    }
    target = io.BytesIO(data)
    with zipfile.ZipFile(target, "a") as made:
        for name, content in more.items():
            made.writestr(name, content)
    assert lines(read_xlsx(target.getvalue())) == ["a: x | b: 1", "Boxed", "[Comment on A2: Old]", "[Comment on B2: Why?]"]


OFFICE = 'xmlns:office="o" xmlns:text="t" xmlns:table="b" xmlns:style="s" xmlns:fo="f" xmlns:draw="d" xmlns:dc="c"'


def odf(kind: str, body: str, styles: str = "") -> Extract:
    content = f"<office:document-content {OFFICE}><office:automatic-styles>{styles}</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    return read_odf(archive(**{"content.xml": content}))


def test_open_texts_with_lists_notes_and_what_is_not_in_force() -> None:
    """Numbers of lists, notes, comments, struck text and raised figures are told as in Word documents."""
    styles = (
        '<style:style style:name="S"><style:text-properties style:text-line-through-style="solid"/></style:style>'
        '<style:style style:name="U"><style:text-properties style:text-position="super 58%"/></style:style>'
        '<text:list-style style:name="L"><text:list-level-style-number text:level="1" style:num-format="a" style:num-prefix="(" style:num-suffix=")"/></text:list-style>'
    )
    body = (
        '<text:p>The fee is <text:span text:style-name="S">500 </text:span>350<text:note><text:note-citation>1</text:note-citation>'
        "<text:note-body><text:p>Net.</text:p></text:note-body></text:note> euros.</text:p>"
        '<text:list text:style-name="L"><text:list-item><text:p>taps</text:p></text:list-item><text:list-item><text:p>doors</text:p></text:list-item></text:list>'
        '<text:p>10<text:span text:style-name="U">6</text:span> yen<text:s text:c="2"/>now</text:p>'
    )
    extract = odf("text", body, styles)
    assert lines(extract) == ["The fee is 350 [note 1] euros.", "[Note 1: Net.]", "(a) taps", "(b) doors", "10^6 yen now"]
    assert [gap.kind for gap in extract.gaps] == [GapKind.HIDDEN]


def test_open_sheets_are_records() -> None:
    """The million empty rows that end a sheet cost nothing."""
    cells = "".join(f"<table:table-cell><text:p>{text}</text:p></table:table-cell>" for text in ("flat", "rent"))
    values = "".join(f"<table:table-cell><text:p>{text}</text:p></table:table-cell>" for text in ("1", "600"))
    empty = '<table:table-row table:number-rows-repeated="1048574"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
    body = f'<table:table table:name="Flats"><table:table-row>{cells}</table:table-row><table:table-row>{values}</table:table-row>{empty}</table:table>'

    extract = odf("spreadsheet", body)

    assert lines(extract) == ["flat: 1 | rent: 600"]
    assert extract.sections[0].label == "Flats"


def test_slides_with_their_notes() -> None:
    """Slides come in the order of the show, with tables and notes; hidden ones are told."""
    a = 'xmlns:a="a" xmlns:p="p" xmlns:r="r"'
    shape = "<p:sp><p:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></p:txBody></p:sp>"
    table = (
        "<p:graphicFrame><a:tbl><a:tblPr firstRow='1'/>"
        + "".join(
            "<a:tr>" + "".join(f"<a:tc><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:tc>" for text in row) + "</a:tr>"
            for row in (("Month", "EUR"), ("May", "410"))
        )
        + "</a:tbl></p:graphicFrame>"
    )
    slide = f"<p:sld {a}><p:cSld><p:spTree>{{}}</p:spTree></p:cSld></p:sld>"

    def relations(*each: tuple[str, str, str]) -> str:
        return (
            f'<Relationships xmlns="{RELATIONS}">'
            + "".join(f'<Relationship Id="{i}" Type="{TYPES}/{k}" Target="{t}"/>' for i, k, t in each)
            + "</Relationships>"
        )

    data = archive(
        **{
            "ppt/presentation.xml": f'<p:presentation {a}><p:sldIdLst><p:sldId id="1" r:id="b"/><p:sldId id="2" r:id="a"/><p:sldId id="3" r:id="c"/></p:sldIdLst></p:presentation>',
            "ppt/_rels/presentation.xml.rels": relations(("a", "slide", "1.xml"), ("b", "slide", "2.xml"), ("c", "slide", "3.xml")),
            "ppt/1.xml": slide.format(shape.format("Second.")),
            "ppt/2.xml": slide.format(shape.format("First.") + table),
            "ppt/3.xml": slide.format(shape.format("Never.")).replace("<p:sld ", '<p:sld show="0" '),
            "ppt/_rels/1.xml.rels": relations(("n", "notesSlide", "n.xml")),
            "ppt/n.xml": slide.format(shape.format("Say this.")),
        }
    )
    extract = read_pptx(data)
    assert lines(extract) == ["First.", "Month | EUR", "May | 410", "Second.", "[Notes: Say this.]"]
    assert [section.number for section in extract.sections] == [1, 2]
    assert [(gap.kind, gap.pages) for gap in extract.gaps] == [(GapKind.HIDDEN, (3,))]


def test_books_are_read_in_the_order_of_their_spine() -> None:
    """Chapters come as the book orders them; a book locked to its seller is refused with that reason."""
    files = {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="O/p.opf"/></rootfiles></container>',
        "O/p.opf": '<package><manifest><item id="a" href="a%20b.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="b"/><itemref idref="a"/></spine></package>',
        "O/a b.xhtml": "<p>Second.</p>",
        "O/b.xhtml": "<p>First.</p>",
    }
    extract = read_epub(archive(**files))
    assert lines(extract) == ["First.", "Second."]
    assert [section.kind for section in extract.sections] == [SectionKind.CHAPTER] * 2
    locked = {**files, "META-INF/encryption.xml": '<encryption><CipherReference URI="O/b.xhtml"/></encryption>'}
    with pytest.raises(DocumentError, match="DRM"):
        read_epub(archive(**locked))


def test_subtitles_are_passages_with_their_times() -> None:
    """Sentences go on over captions, markup is no text, a caption shown twice is said once."""
    data = b"1\n00:00:01,000 --> 00:00:02,000\n<i>The gas valve</i>\n\n2\n00:00:02,000 --> 00:00:04,000\nis yellow.\n\n3\n00:00:04,000 --> 00:00:05,000\nis yellow.\n"
    assert lines(read_subtitles(data)) == ["[0:00:01] The gas valve is yellow."]
    with pytest.raises(DocumentError):
        read_subtitles(b"Just text.")


def test_rich_text_is_decoded() -> None:
    """Characters of any code page and Unicode ones, tables, notes, numbers of lists; struck and hidden text is left out."""
    data = (
        rb"{\rtf1\ansi\ansicpg1252\uc1{\fonttbl{\f0 Arial;}{\f1\fcharset128 MS;}}{\stylesheet{\s0 Normal;}}{\*\generator x;}"
        rb"{\listtext 1.\tab}M\'fcnchen \u8364?9{\super 2}{\strike old} {\v secret}new\par {\f1 \'8b\'e0}\par"
        rb"\trowd\intbl a\cell 1\cell\row\trowd\intbl b\cell 2\cell\row\pard End{\footnote Net.}.\par}"
    )
    extract = read_rtf(data)
    assert lines(extract) == ["1. München €9^2 new", "金", "a | 1", "b | 2", "End [note].", "[Note: Net.]"]
    assert {gap.kind for gap in extract.gaps} == {GapKind.HIDDEN}


@pytest.mark.parametrize("ending", sorted(set(READERS) - {".pdf"}))
@given(data=st.binary(max_size=200))
def test_no_reader_stumbles_over_nonsense(ending: str, data: bytes) -> None:
    """Whatever bytes a file holds, it is read or refused with a reason."""
    with contextlib.suppress(DocumentError):
        reader_of(ending)(data)
