"""OpenDocument files are read as their programs show them."""

import io
import zipfile

import pytest

from coordinator.documents.extract import Extract
from coordinator.documents.open_document import read_odf
from coordinator.types import GapKind

OFFICE = " ".join(
    f'xmlns:{prefix}="{prefix}"' for prefix in ("office", "text", "table", "style", "draw", "dc", "presentation", "xlink")
)
HIDDEN = '<style:style style:name="H"><style:text-properties text:display="none"/></style:style>'
UNSEEN = (
    '<style:style style:name="T"><style:table-properties table:display="false"/></style:style>'
    '<style:style style:name="D"><style:drawing-page-properties presentation:visibility="hidden"/></style:style>'
)


def odf(kind: str, body: str, styles: str = "", common: str = "", **more: str) -> Extract:
    """What is read of a file with this body; `common` are styles of all documents, `more` further parts by their folder."""
    files = {
        "content.xml": f"<x {OFFICE}><office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body></x>",
        "styles.xml": f"<x {OFFICE}>{common}</x>",
        **{f"{folder}/content.xml": f"<x {OFFICE}>{content}</x>" for folder, content in more.items()},
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return read_odf(target.getvalue())


def lines(extract: Extract) -> list[str]:
    return [line for line in extract.text.split("\n") if line]


def par(text: str, style: str = "") -> str:
    return f'<text:p text:style-name="{style}">{text}</text:p>'


def cell(text: str, attributes: str = "") -> str:
    return f"<table:table-cell {attributes}>{text if text.startswith('<') else par(text)}</table:table-cell>"


def row(*cells: str, attributes: str = "") -> str:
    made = "".join(each if each.startswith("<table:") else cell(each) for each in cells)
    return f"<table:table-row {attributes}>{made}</table:table-row>"


def table(*rows: str, attributes: str = "") -> str:
    return f"<table:table {attributes}>{''.join(rows)}</table:table>"


COVERED = "<table:covered-table-cell/>"


def box(*paragraphs: str) -> str:
    return f"<draw:frame><draw:text-box>{''.join(paragraphs)}</draw:text-box></draw:frame>"


def test_tables_with_spans_say_the_same_in_each_place() -> None:
    """In texts and in sheets, over rows and over columns, with names in two rows."""
    head = row(cell("Room", 'table:number-rows-spanned="2"'), cell("2026", 'table:number-columns-spanned="2"'), COVERED)
    names = row(COVERED, "plan", "actual")
    rows = row(cell("Kitchen", 'table:number-rows-spanned="2"'), "1", "2") + row(COVERED, "3", "4")

    written = table(f"<table:table-header-rows>{head}{names}</table:table-header-rows>", rows)
    assert lines(odf("text", written)) == ["Room | 2026 | 2026", "Room | plan | actual", "Kitchen | 1 | 2", "Kitchen | 3 | 4"]
    counted = odf("spreadsheet", table(head, names, rows))
    assert lines(counted)[1] == "Room: Kitchen | 2026 plan: 3 | 2026 actual: 4"
    assert [each.label for each in counted.rows] == ["A3:C3", "A4:C4"]


def test_what_hangs_on_cells_stays_out_of_their_values() -> None:
    """A comment or a note is said after the table and never beside a number; a table in a cell stays in its row."""
    comment = f"<office:annotation><dc:creator>Vogel</dc:creator>{par('why?')}</office:annotation>"
    note = f"<text:note><text:note-citation>1</text:note-citation><text:note-body>{par('Net.')}</text:note-body></text:note>"
    inner = table(row("Tap", "80"), row("Stove", "640"))
    extract = odf("text", table(row("Rent", cell(f"{comment}{par('900')}")), row(f"Heat{note}", "80"), row("Hall", cell(inner))))
    assert lines(extract) == [
        "Rent | 900",
        "Heat [note 1] | 80",
        "Hall | Tap, 80; Stove, 640",
        "[Comment by Vogel: why?]",
        "[Note 1: Net.]",
    ]


def test_cells_of_a_sheet_stand_where_they_stand() -> None:
    """Hundreds of empty cells or a million empty rows move nothing to another column or place."""
    gap = '<table:table-cell table:number-columns-repeated="{}"/>'
    far = odf("spreadsheet", table(row("name", gap.format(300), "rent"), row("Mia", gap.format(250), "odd", gap.format(49), "900")))
    assert "rent: odd" not in far.text
    assert far.rows[-1].label.endswith(":KP2")
    empty = row(gap.format(9), attributes='table:number-rows-repeated="1048000"')
    assert odf("spreadsheet", table(row("a", "b"), empty, row("x", "1"))).rows[-1].label == "A1048002:B1048002"


def test_what_a_sheet_hides_is_left_out_and_told() -> None:
    """Columns, rows and whole sheets may be hidden."""
    columns = '<table:table-column/><table:table-column table:visibility="collapse"/><table:table-column/>'
    shown = table(columns, row("a", "no1", "c"), row("1", "no2", "3"), row("no3", attributes='table:visibility="collapse"'))
    extract = odf("spreadsheet", shown + table(row("no4"), attributes='table:style-name="T"'), UNSEEN)
    assert lines(extract) == ["a: 1 | c: 3"]
    assert {gap.kind for gap in extract.gaps} == {GapKind.HIDDEN}
    assert len(extract.gaps) == 2


def test_shapes_and_values_without_text() -> None:
    """A sheet's boxes are read, and a value that the program would have to show."""
    value = '<table:table-cell office:value="5"/>'
    assert lines(
        odf("spreadsheet", table(f"<table:shapes>{box(par('Boxed'))}</table:shapes>", row("a", "b"), row("x", value)))
    ) == ["a: x | b: 5", "Boxed"]


def test_numbers_of_headings_and_lists() -> None:
    """Headings count by the outline of the document; a list may take its style from its paragraphs."""
    outline = (
        '<text:outline-style><text:outline-level-style text:level="1" style:num-format="1" style:num-suffix="."/>'
        '<text:outline-level-style text:level="2" style:num-format="1" text:display-levels="2"/></text:outline-style>'
    )
    headings = "".join(
        f'<text:h text:outline-level="{level}">{text}</text:h>'
        for level, text in ((1, "Rent"), (2, "Due"), (1, "Notice"), (2, "How"))
    )
    assert lines(odf("text", headings, common=outline)) == ["1. Rent", "1.1 Due", "2. Notice", "2.1 How"]
    styles = (
        '<style:style style:name="P" style:list-style-name="L"/><text:list-style style:name="L">'
        '<text:list-level-style-number text:level="1" style:num-format="a" style:num-suffix=")"/></text:list-style>'
    )
    assert lines(odf("text", f"<text:list><text:list-item>{par('x', 'P')}</text:list-item></text:list>", styles)) == ["a) x"]


def test_changes_boxes_heads_and_hidden_parts() -> None:
    """What is inserted is marked and what is deleted left out, boxes are read once, heads of first pages as well; hidden parts are
    left out."""
    changes = (
        '<text:tracked-changes><text:changed-region text:id="a"><text:deletion>no1</text:deletion></text:changed-region>'
        '<text:changed-region text:id="b"><text:insertion/></text:changed-region></text:tracked-changes>'
    )
    body = (
        changes
        + par(
            'Fee <text:change text:change-id="a"/><text:change-start text:change-id="b"/>350<text:change-end text:change-id="b"/>.'
        )
        + par(box(par("Outer"), par(box(par("Inner")))))
        + f'<text:section text:display="none">{par("no2")}</text:section>'
        + par('<text:hidden-paragraph text:is-hidden="true"/>no3')
    )
    heads = {"header": "Contract", "header-first": "First", "footer": "Page 1"}
    head = "".join(f"<style:{name}>{par(text)}</style:{name}>" for name, text in heads.items())
    extract = odf("text", body, common=head)
    assert lines(extract) == ["Contract", "First", "Fee [inserted: 350].", "Outer", "Inner"]
    assert len(extract.gaps) == 2


def test_charts_in_texts_and_hidden_slides() -> None:
    """A chart is its table; a slide that the show passes over is told."""
    chart = odf("text", par('See <draw:object xlink:href="./Object"/>'), Object=table(row("", "2026"), row("Heat", "120")))
    assert lines(chart) == ["See", " | 2026", "Heat | 120"]
    page = '<draw:page draw:style-name="{}">{}</draw:page>'
    show = odf("presentation", page.format("", box(par("Seen"))) + page.format("D", box(par("no"))), UNSEEN)
    assert show.text == "Seen"
    assert [(gap.kind, gap.pages) for gap in show.gaps] == [(GapKind.HIDDEN, (2,))]


@pytest.mark.parametrize("count", ["-1", "x", "99999999999", "0"])
def test_counts_that_are_none(count: str) -> None:
    """A file may say anything of how often a cell comes again."""
    body = row(cell("a", f'table:number-columns-repeated="{count}" table:number-columns-spanned="{count}"'), "b")
    for kind in ("text", "spreadsheet"):
        assert "b" in odf(kind, table(body)).text
