"""Word documents are read as they are printed."""

import io
import zipfile

import pytest

from coordinator.documents.extract import Extract
from coordinator.documents.word.reader import read_word
from coordinator.errors import DocumentError
from coordinator.types import GapKind

NAMESPACES = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in {
        "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "r": "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
        "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
        "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
        "w14": "http://schemas.microsoft.com/office/word/2010/wordml",
        "v": "urn:schemas-microsoft-com:vml",
        "o": "urn:schemas-microsoft-com:office:office",
    }.items()
)
TYPES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def word(body: str, main: str = "word/document.xml", **parts: str | bytes) -> Extract:
    """What is read of a document with `body`; `parts` are further ones by their relation, XML without the namespaces."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("_rels/.rels", _relations({"rId1": ("officeDocument", main)}))
        folder, _, name = main.rpartition("/")
        archive.writestr(main, f"<w:document {NAMESPACES}><w:body>{body}</w:body></w:document>")
        relations = {}
        for relation, content in parts.items():
            kind = relation.rstrip("0123456789")
            file = f"{relation}.bin" if isinstance(content, bytes) else f"{relation}.xml"
            relations[relation] = (kind, file)
            archive.writestr(
                f"{folder}/{file}", content if isinstance(content, bytes) else content.replace(">", f" {NAMESPACES}>", 1)
            )
        archive.writestr(f"{folder}/_rels/{name}.rels", _relations(relations))
    return read_word(target.getvalue())


def _relations(targets: dict[str, tuple[str, str]]) -> str:
    each = "".join(f'<Relationship Id="{id}" Type="{TYPES}/{kind}" Target="{target}"/>' for id, (kind, target) in targets.items())
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{each}</Relationships>'


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def par(*content: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr>{''.join(content)}</w:p>"


def item(text: str, level: int = 0, number: int = 1) -> str:
    return par(run(text), properties=f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


def lines(extract: Extract) -> list[str]:
    return [line for line in extract.text.split("\n") if line]


def levels(*shapes: tuple[str, str], more: str = "") -> str:
    return "".join(
        f'<w:lvl w:ilvl="{level}"><w:start w:val="1"/><w:numFmt w:val="{shape}"/>{more}<w:lvlText w:val="{text}"/></w:lvl>'
        for level, (shape, text) in enumerate(shapes)
    )


def numbering(
    *shapes: tuple[str, str], nums: str = '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>', more: str = ""
) -> str:
    return f'<w:numbering><w:abstractNum w:abstractNumId="0">{levels(*shapes, more=more)}</w:abstractNum>{nums}</w:numbering>'


def test_clauses_are_numbered_as_printed() -> None:
    """Each level counts by itself, begins again after a higher one, and shows the higher ones where its form says so."""
    shapes = numbering(("decimal", "§ %1"), ("decimal", "%1.%2"), ("lowerLetter", "(%3)"))
    body = item("Rent") + item("Due", 1) + item("Late", 1) + item("fee", 2) + item("Notice") + item("Form", 1) + item("letter", 2)

    assert lines(word(body, numbering=shapes)) == [
        "§ 1 Rent",
        "1.1 Due",
        "1.2 Late",
        "(a) fee",
        "§ 2 Notice",
        "2.1 Form",
        "(a) letter",
    ]


@pytest.mark.parametrize(
    ("shape", "first", "twelfth"),
    [
        ("upperRoman", "I", "XII"),
        ("lowerRoman", "i", "xii"),
        ("upperLetter", "A", "L"),
        ("decimalZero", "01", "12"),
        ("ordinal", "1st", "12th"),
        ("japaneseCounting", "一", "十二"),
        ("ideographDigital", "一", "一二"),
        ("decimalFullWidth", "１", "１２"),
        ("decimalEnclosedCircle", "①", "⑫"),
        ("aiueoFullWidth", "ア", "シ"),
        ("irohaFullWidth", "イ", "ヲ"),
    ],
)
def test_numbers_in_every_script(shape: str, first: str, twelfth: str) -> None:
    """What Word counts in, is counted in."""
    found = lines(word("".join(item("x") for _ in range(12)), numbering=numbering((shape, "第%1条"))))

    assert found[0] == f"第{first}条 x"
    assert found[11] == f"第{twelfth}条 x"


def test_lists_that_share_a_definition_count_on_and_those_that_restart_begin_again() -> None:
    """A second list of the same definition goes on; one whose start is overridden begins where that says."""
    nums = (
        '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="0"/></w:num>'
        '<w:num w:numId="3"><w:abstractNumId w:val="0"/>'
        '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride></w:num>'
    )
    body = item("a") + item("b", number=2) + item("c", number=3) + item("d", number=3)

    assert lines(word(body, numbering=numbering(("decimal", "%1."), nums=nums))) == ["1. a", "2. b", "7. c", "8. d"]


def test_a_style_brings_its_number() -> None:
    """Headings are numbered by their style, also through what the style is based on; a paragraph may take its number off."""
    styles = (
        '<w:styles><w:style w:type="paragraph" w:styleId="H1"><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
        '<w:style w:type="paragraph" w:styleId="Mine"><w:basedOn w:val="H1"/></w:style></w:styles>'
    )
    body = (
        par(run("One"), properties='<w:pStyle w:val="H1"/>')
        + par(run("Two"), properties='<w:pStyle w:val="Mine"/>')
        + par(run("None"), properties='<w:pStyle w:val="H1"/><w:numPr><w:numId w:val="0"/></w:numPr>')
    )
    assert lines(word(body, numbering=numbering(("decimal", "Article %1"), more=""), styles=styles)) == [
        "Article 1 One",
        "Article 2 Two",
        "None",
    ]


def test_what_is_not_in_force_is_left_out_and_told() -> None:
    """Struck, deleted and hidden text is in no quotation; an insertion is marked."""
    extract = word(
        par(run("The fee is "), run("500", "<w:strike/>"), run("350 euros."), run("secret", "<w:vanish/>"))
        + par(
            run("Term: "), "<w:del><w:r><w:delText>two</w:delText></w:r></w:del>", f"<w:ins>{run('three')}</w:ins>", run(" years")
        )
        + par(run("Kept", '<w:strike w:val="0"/>'))
    )
    assert lines(extract) == ["The fee is 350 euros.", "Term: [inserted: three] years", "Kept"]
    assert [gap.kind for gap in extract.gaps] == [GapKind.HIDDEN] * 3


def test_fields_and_form_fields_show_their_values() -> None:
    """The code of a field is not text, its result is; a check box and a list show what was chosen; fields stand inside fields."""

    def char(kind: str, inner: str = "") -> str:
        return f'<w:r><w:fldChar w:fldCharType="{kind}">{inner}</w:fldChar></w:r>'

    def code(text: str) -> str:
        return f"<w:r><w:instrText>{text}</w:instrText></w:r>"

    nested = (
        char("begin") + code("IF ") + char("begin") + code("REF x") + char("separate") + run("no") + char("end") + char("separate")
    )
    listing = '<w:ffData><w:ddList><w:result w:val="1"/><w:listEntry w:val="Mon"/><w:listEntry w:val="Thu"/></w:ddList></w:ffData>'
    body = (
        par(run("Rent "), nested, run("1,180"), char("end"), run(" euros"))
        + par(
            char("begin", "<w:ffData><w:checkBox><w:checked/></w:checkBox></w:ffData>"),
            code("FORMCHECKBOX"),
            char("end"),
            run(" yes"),
        )
        + par(run("Day: "), char("begin", listing), code("FORMDROPDOWN"), char("end"))
        + par(
            '<w:sdt><w:sdtPr><w14:checkbox><w14:checked w14:val="0"/></w14:checkbox></w:sdtPr><w:sdtContent/></w:sdt>', run(" pets")
        )
        + par('<w:r><w:sym w:font="Wingdings" w:char="F0FE"/></w:r>', run(" paid"))
    )
    assert lines(word(body)) == ["Rent 1,180 euros", "☒ yes", "Day: Thu", "☐ pets", "☑ paid"]


def test_notes_and_comments_follow_where_they_are_pointed_at() -> None:
    """A mark of a note is no digit of the number before it."""
    extract = word(
        par(run("The fee is 120"), '<w:r><w:footnoteReference w:id="2"/></w:r>', run(" euros."))
        + par(run("End."), '<w:r><w:commentReference w:id="0"/></w:r>'),
        footnotes=f'<w:footnotes><w:footnote w:id="2">{par(run("Without tax."))}</w:footnote></w:footnotes>',
        comments=f'<w:comments><w:comment w:id="0" w:author="Mia">{par(run("Call back."))}</w:comment></w:comments>',
    )
    assert lines(extract) == [
        "The fee is 120 [note 1] euros.",
        "[Footnote 1: Without tax.]",
        "End.",
        "[Comment by Mia: Call back.]",
    ]


def test_text_boxes_equations_readings_and_raised_figures() -> None:
    """A box is read once although the file holds it twice; an equation is a line; a reading does not part the word it is over."""
    box = f"<w:txbxContent>{par(run('In a box.'))}</w:txbxContent>"
    twice = (
        f'<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing>{box}</w:drawing></mc:Choice>'
        f"<mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    )
    fraction = "<m:oMath><m:r><m:t>x=</m:t></m:r><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num>"
    fraction += "<m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath>"
    ruby = f"<w:r><w:ruby><w:rt>{run('しき')}</w:rt><w:rubyBase>{run('敷')}</w:rubyBase></w:ruby></w:r>"
    body = (
        par(run("Rules."), twice)
        + par(fraction)
        + par(ruby, run("金"))
        + par(run("10"), run("6", '<w:vertAlign w:val="superscript"/>'), run(" yen"))
    )
    assert lines(word(body)) == ["Rules.", "In a box.", "x=(a+b)/2", "敷金", "10^6 yen"]


def test_tables_keep_merged_cells_and_name_their_columns() -> None:
    """What spans several rows or columns is said in each; the first row names the columns of figures."""

    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{par(run(text))}</w:tc>"

    def row(*cells: str) -> str:
        return f"<w:tr>{''.join(cells)}</w:tr>"

    extract = word(
        "<w:tbl>"
        + row(cell("Room"), cell("Item"), cell("Cost"))
        + row(cell("Kitchen", '<w:vMerge w:val="restart"/>'), cell("Tap"), cell("80"))
        + row(cell("", "<w:vMerge/>"), cell("Stove"), cell("640"))
        + row(cell("Total", '<w:gridSpan w:val="2"/>'), cell("720"))
        + "</w:tbl>"
    )
    assert lines(extract) == ["Room | Item | Cost", "Kitchen | Tap | 80", "Kitchen | Stove | 640", "Total | Total | 720"]
    assert [[(extract.text[each.start : each.end], each.name) for each in row.cells] for row in extract.rows][1] == [
        ("Kitchen", "Room"),
        ("Stove", "Item"),
        ("640", "Cost"),
    ]


def test_heads_and_feet_once_and_page_numbers_never() -> None:
    """What runs over all pages is said once; what no page shows, and bare page numbers, are not said."""
    references = (
        '<w:sectPr><w:headerReference w:type="default" r:id="header1"/><w:headerReference w:type="even" r:id="header2"/>'
        '<w:footerReference w:type="default" r:id="footer1"/></w:sectPr>'
    )
    extract = word(
        par(run("Text.")) + references,
        header1=f"<w:hdr>{par(run('Contract 4471'))}</w:hdr>",
        header2=f"<w:hdr>{par(run('Never shown'))}</w:hdr>",
        footer1=f"<w:ftr>{par(run('Page 3 of 7'))}</w:ftr>",
    )
    assert lines(extract) == ["Contract 4471", "Text."]


def test_parts_under_other_names_and_embedded_documents() -> None:
    """The package says which part is the document; what is embedded is a document of its own."""
    extract = word(
        par('<w:r><w:object><o:OLEObject r:id="package1"/></w:object></w:r>', run("See the sheet.")),
        main="word/document2.xml",
        package1=b"PK",
    )

    assert lines(extract) == ["See the sheet."]
    assert [(part.name, part.data) for part in extract.parts] == [("package1.bin", b"PK")]


def test_a_deleted_end_of_a_paragraph_joins_it_with_the_next() -> None:
    """Where the deletion of a paragraph's end is tracked, its text goes on."""
    body = "<w:p><w:pPr><w:rPr><w:del/></w:rPr></w:pPr>" + run("One ") + "</w:p>" + par(run("sentence."))
    assert lines(word(body)) == ["One sentence."]


def test_another_office_file_under_this_name() -> None:
    """A presentation's archive without a document says what is missing."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("ppt/presentation.xml", "<x/>")
    with pytest.raises(DocumentError, match="document"):
        read_word(target.getvalue())


def field(code: str, result: str = "") -> str:
    begin, separate, end = (f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>' for kind in ("begin", "separate", "end"))
    return f"{begin}<w:r><w:instrText>{code}</w:instrText></w:r>{separate + result if result else ''}{end}"


STYLES = (
    '<w:styles><w:style w:type="character" w:styleId="Hidden"><w:rPr><w:vanish/></w:rPr></w:style>'
    '<w:style w:type="character" w:styleId="Below"><w:basedOn w:val="Hidden"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="Secret"><w:rPr><w:vanish/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Old"><w:rPr><w:dstrike/></w:rPr></w:style>'
    '<w:style w:type="character" w:styleId="Up"><w:rPr><w:vertAlign w:val="superscript"/></w:rPr></w:style></w:styles>'
)


def test_styles_hide_strike_and_raise() -> None:
    """A style of the paragraph, or one that the run's style is based on, counts; what the run itself says wins."""
    body = (
        par(run("Rent 900"), run("no1", '<w:rStyle w:val="Below"/>'), run("no2", "<w:dstrike/>"))
        + par(run("no3"), properties='<w:pStyle w:val="Secret"/>')
        + par(run("no4"), properties='<w:pStyle w:val="Old"/>')
        + par(run("kept", '<w:vanish w:val="0"/>'), properties='<w:pStyle w:val="Secret"/>')
        + par(run("10"), run("6", '<w:rStyle w:val="Up"/>'))
    )
    extract = word(body, styles=STYLES)
    assert lines(extract) == ["Rent 900", "kept", "10^6"]
    assert len(extract.gaps) == 2


def test_what_only_a_screen_hides_is_printed() -> None:
    """Page numbers of a table of contents are hidden from web views alone: they are no hidden text."""
    extract = word(par(run("Rent "), run("3", "<w:webHidden/>")))
    assert (extract.text, extract.gaps) == ("Rent 3", ())


def test_letters_of_symbol_fonts_are_signs() -> None:
    """Forms are ticked in Wingdings, and Greek letters are Latin ones in the font Symbol; Japanese beside them stays."""
    wingdings, greek = ('<w:rFonts w:ascii="Wingdings"/>', '<w:rFonts w:ascii="Symbol"/>')
    body = par(run("þ", wingdings), run(" paid "), run("o", wingdings), run(" open "), run("&#xF0FE;印", wingdings))
    assert lines(word(body + par(run("a", greek)))) == ["☑ paid ☐ open ☑印", "α"]


def test_empty_paragraphs_count_and_joined_ones_count_once() -> None:
    """Numbers are as printed: an empty item has one, an item whose end is deleted shares that of the next."""
    deleted = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr><w:rPr><w:del w:id="1"/></w:rPr>'
    body = item("one") + item("") + item("three") + par(run("four "), properties=deleted) + item("goes on") + item("five")
    assert lines(word(body, numbering=numbering(("decimal", "%1.")))) == ["1. one", "3. three", "4. four goes on", "5. five"]


def test_a_number_may_be_all_that_a_cell_shows() -> None:
    """Rows are often numbered by empty items in their first cells."""
    cells = "".join(f"<w:tr><w:tc>{item('')}</w:tc><w:tc>{par(run(text))}</w:tc></w:tr>" for text in ("Tap", "Stove"))
    assert lines(word(f"<w:tbl>{cells}</w:tbl>", numbering=numbering(("decimal", "%1.")))) == ["1. | Tap", "2. | Stove"]


def test_a_heading_and_its_paragraph_on_one_line() -> None:
    """A hidden end of a paragraph joins it to the next, as lawyers' headings are."""
    mark = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr><w:rPr><w:vanish/><w:specVanish/></w:rPr>'
    body = par(run("Rent."), properties=mark) + par(run(" It is 950 EUR."))
    assert lines(word(body, numbering=numbering(("decimal", "§ %1")))) == ["§ 1 Rent. It is 950 EUR."]


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ("japaneseCounting", "第一条賃料"),
        ("ideographTraditional", "第甲条賃料"),
        ("cardinalText", "第One条賃料"),
        ("ordinalText", "第First条賃料"),
    ],
)
def test_numbers_without_a_gap(shape: str, shown: str) -> None:
    """Where a list sets nothing between number and text, nothing is there."""
    extract = word(item("賃料"), numbering=numbering((shape, "第%1条"), more='<w:suff w:val="nothing"/>'))
    assert lines(extract) == [shown]


def test_fields_that_keep_their_text_in_their_code() -> None:
    """Circled characters, fractions, symbols and prompts are shown, though the file has no result of the field."""
    body = par(
        field(" EQ \\o\\ac(○,印) "), run(" "), field(" EQ \\f(1,2) "), run(" "), field(' SYMBOL 254 \\f "Wingdings" '), run(" ")
    ) + par(field(" MACROBUTTON NoMacro [name] "))
    assert lines(word(body)) == ["印 1/2 ☑", "[name]"]


def test_a_field_without_an_end_hides_nothing() -> None:
    """All that follows the beginning of a damaged field is text."""
    assert lines(word(par(run("A"), '<w:r><w:fldChar w:fldCharType="begin"/></w:r>') + par(run("The rent.")))) == ["A", "The rent."]


def test_rows_of_equal_values_keep_them() -> None:
    """Only one cell over all columns is a heading: three zeros are three values."""
    rows = "".join("<w:tr>" + "".join(f"<w:tc>{par(run(text))}</w:tc>" for text in row) + "</w:tr>" for row in ("abc", "000"))
    assert lines(word(f"<w:tbl>{rows}</w:tbl>")) == ["a | b | c", "0 | 0 | 0"]


def test_deleted_and_merged_cells() -> None:
    """A cell whose deletion is tracked is left out; one that an older Word merged with that beside it says the same."""
    row = (
        f"<w:tr><w:tc>{par(run('d'))}</w:tc><w:tc><w:tcPr><w:cellDel/></w:tcPr>{par(run('99'))}</w:tc>"
        f"<w:tc>{par(run('4'))}</w:tc></w:tr>"
        f'<w:tr><w:tc><w:tcPr><w:hMerge w:val="restart"/></w:tcPr>{par(run("H"))}</w:tc>'
        f"<w:tc><w:tcPr><w:hMerge/></w:tcPr>{par()}</w:tc>"
        f"<w:tc>{par(run('x'))}</w:tc></w:tr>"
    )
    assert lines(word(f"<w:tbl>{row}</w:tbl>")) == ["d | 4", "H | H | x"]


def test_heads_are_read_like_the_text() -> None:
    """A table in a foot keeps its rows, a text box in a head is said once though it is there in two forms; a head for first pages
    is left out where they have none of their own."""
    box = f"<w:txbxContent>{par(run('Ring 0171'))}</w:txbxContent>"
    forms = (
        f"<w:r><mc:AlternateContent><mc:Choice><w:drawing>{box}</w:drawing></mc:Choice><mc:Fallback><w:pict>{box}</w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )
    cells = f"<w:tr><w:tc>{par(run('Bank'))}</w:tc><w:tc>{par(run('IBAN 12'))}</w:tc></w:tr>"
    body = par(run("Body")) + (
        '<w:sectPr><w:headerReference w:type="default" r:id="header1"/><w:footerReference w:type="default" r:id="footer1"/>'
        '<w:headerReference w:type="first" r:id="header2"/><w:titlePg w:val="0"/></w:sectPr>'
    )
    extract = word(
        body,
        header1=f"<w:hdr>{par(run('Contract 7'), forms)}</w:hdr>",
        header2=f"<w:hdr>{par(run('Never'))}</w:hdr>",
        footer1=f"<w:ftr><w:tbl>{cells}</w:tbl></w:ftr>",
    )
    assert lines(extract) == ["Contract 7", "Ring 0171", "Body", "Bank | IBAN 12"]


def test_charts_and_diagrams_are_text() -> None:
    """A chart is the table it is drawn from, with gaps where values are missing; a diagram is its words; lettering is text."""

    def points(*values: tuple[int, str]) -> str:
        return "".join(f'<c:pt idx="{position}"><c:v>{value}</c:v></c:pt>' for position, value in values)

    chart = (
        f"<c:chartSpace xmlns:c='c'><c:ser><c:tx>{points((0, '2026'))}</c:tx>"
        f"<c:cat>{points((0, 'Heat'), (1, 'Water'), (2, 'Lift'))}</c:cat>"
        f"<c:val><c:formatCode>0%</c:formatCode>{points((0, '0.12'), (2, '0.3'))}</c:val></c:ser></c:chartSpace>"
    )
    diagram = (
        "<d:dataModel xmlns:d='d' xmlns:a='a'><d:pt><d:t><a:p><a:r><a:t>Apply first</a:t></a:r></a:p></d:t></d:pt></d:dataModel>"
    )
    body = par(
        '<w:r><w:drawing><c:chart xmlns:c="c" r:id="chart1"/></w:drawing></w:r>',
        '<w:r><w:drawing><d:relIds xmlns:d="d" r:dm="diagramData1"/></w:drawing></w:r>',
        '<w:r><w:pict><v:shape><v:textpath string="DRAFT"/></v:shape></w:pict></w:r>',
    )
    assert lines(word(body, chart1=chart, diagramData1=diagram)) == [
        "DRAFT",
        " | 2026",
        "Heat | 12%",
        "Water | ",
        "Lift | 30%",
        "Apply first",
    ]


def test_notes_keep_their_tables_and_their_numbers() -> None:
    """A footnote's table has rows; endnotes count in small Roman figures unless the document says how."""
    rows = "".join(
        f"<w:tr><w:tc>{par(run(a))}</w:tc><w:tc>{par(run(b))}</w:tc></w:tr>" for a, b in (("Rent", "950"), ("Heat", "80"))
    )
    body = par(run("A"), '<w:r><w:footnoteReference w:id="2"/></w:r>', '<w:r><w:endnoteReference w:id="2"/></w:r>')
    extract = word(
        body,
        footnotes=f'<w:footnotes><w:footnote w:id="2">{par(run("Net:"))}<w:tbl>{rows}</w:tbl></w:footnote></w:footnotes>',
        endnotes=f'<w:endnotes><w:endnote w:id="2">{par(run("Annex."))}</w:endnote></w:endnotes>',
    )
    assert lines(extract) == ["A [note 1] [note i]", "[Footnote 1: Net:", "Rent | 950", "Heat | 80]", "[Endnote i: Annex.]"]


def test_a_document_of_pictures_says_so() -> None:
    """What was scanned into a document is no text; the reason says what to do."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("word\\document.xml", f"<w:document {NAMESPACES}><w:body>{par()}</w:body></w:document>")
        archive.writestr("word\\media\\scan.png", b"x")
    with pytest.raises(DocumentError, match="pictures"):
        read_word(target.getvalue())
