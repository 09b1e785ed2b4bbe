"""Rows of tables are found by their label and column, and quoted so that their values say what they are."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fpdf import FPDF

from coordinator.documents.chunks import make_chunks
from coordinator.documents.extract import Extract
from coordinator.documents.html import read_html
from coordinator.documents.pdf.reader import read_pdf
from coordinator.documents.retrieval import Index
from coordinator.minions import aggregation
from coordinator.minions.findings import retrieved_findings
from coordinator.minions.plan import make_plan
from coordinator.minions.selection import select
from coordinator.types import Cell, Document, Reading, Row

LINES = ("Industrial valves", "Water pumps", "Garden tools", "Office furniture", "Dental supplies", "Cable systems")
MEASURES = ("Net sales", "Cost of sales", "Operating income", "Backlog")
YEARS = (2019, 2020, 2021, 2022)


def value(measure: int, line: int, year: int) -> str:
    """Another number for each cell of the filing, some of them losses."""
    number = 1_000 + 9_973 * measure + 613 * line + 97 * (year - 2019)
    return f"({number:,})" if (measure + line + year) % 7 == 0 else f"{number:,}"


def filing_pdf() -> Extract:
    """Alike tables on pages of their own, a title and a unit above each, with leaders and signs of currency in their own column."""
    pdf = FPDF(unit="pt", format="a4")
    for measure, title in enumerate(MEASURES):
        pdf.add_page()
        pdf.set_font("helvetica", size=9)
        pdf.text(72, 72, f"{title} by product line")
        pdf.text(72, 84, "(in thousands)")
        pdf.text(330, 110, "Years ended December 31,")
        for column, year in enumerate(YEARS):
            pdf.text(300 + 60 * column - pdf.get_string_width(str(year)), 122, str(year))
        for row, line in enumerate(LINES):
            pdf.text(72, 136 + 12 * row, f"{line} ............" if measure % 2 else line)
            for column, year in enumerate(YEARS):
                said = value(measure, row, year)
                pdf.text(300 + 60 * column - pdf.get_string_width(said), 136 + 12 * row, said)
                if row == 0:
                    pdf.text(258 + 60 * column, 136, "$")
        for page in range(2):
            pdf.add_page()
            for row in range(40):
                pdf.text(
                    72,
                    72 + 12 * row,
                    f"The net sales of {LINES[row % 6].lower()} were reviewed {row + page} times.",
                )
    return read_pdf(bytes(pdf.output()))


def filing_html() -> Extract:
    """The same as a page of the web, with headings above the tables."""
    years = "".join(f"<th>{year}</th>" for year in YEARS)
    tables = []
    for measure, title in enumerate(MEASURES):
        rows = "".join(
            f"<tr><td>{line}</td>{''.join(f'<td>{value(measure, row, year)}</td>' for year in YEARS)}</tr>"
            for row, line in enumerate(LINES)
        )
        tables.append(
            f"<h3>{title} by product line</h3><table><tr><th></th>{years}</tr>{rows}</table><p>What sold was sold well.</p>"
        )
    return read_html("".join(tables).encode())


@pytest.mark.parametrize("made", [filing_pdf, filing_html])
def test_the_value_asked_for_reaches_the_request_with_its_label_column_and_table(made: Callable[[], Extract]) -> None:
    """Of alike rows in alike tables, the one of the question's measure and label is the strongest of all findings."""
    document = document_of(made())
    chunks = make_chunks([document], max_tokens=1_500)
    index = Index(chunks)
    for measure, title in enumerate(MEASURES):
        for row, line in enumerate(LINES):
            question = f"What was the {title.lower()} of {line.lower()} in 2021?"
            plan = make_plan(question, chunks, index, Reading.AUTO)
            found = retrieved_findings(plan, chunks, {document.label: document}, index)
            best = sorted(found, key=lambda each: -each.score)[:3]
            (right,) = [each for each in best if title in each.quote and line in each.quote]
            assert f"2021: {value(measure, row, 2021)}" in right.quote.replace("$ ", "")
            request = aggregation.request(question, select(found, 4_000, question, {}))
            assert right.quote in request.user.replace("\\", "")


def document_of(extract: Extract) -> Document:
    return Document("D1", "filing", Path("filing"), extract.text, extract.sections, extract.rows, extract.gaps)


def rows_of(text: str, names: Sequence[str], title: str) -> Document:
    """A document of one line, whose words are the cells of a row."""
    cells, at = [], 0
    for word, name in zip(text.split(), names, strict=True):
        start = text.index(word, at)
        at = start + len(word)
        cells.append(Cell(start, at, name))
    return Document("D1", "one", Path("one"), text, (), (Row(0, len(text), tuple(cells), title=title),))


def test_a_beginning_that_columns_share_is_said_once() -> None:
    """A long one, so that a row of many columns stays one quotation; a short one is said again."""
    shared = "Years ended December 31, "
    document = rows_of("Pumps 10 20 30", ("", f"{shared}2021", f"{shared}2022", "Change"), "Sales")
    assert document.quote(0, len(document.text)) == f"Sales — Pumps | {shared}2021: 10 | 2022: 20 | Change: 30"
    assert document.quote(9, 11) == f"Sales — Pumps | {shared}2022: 20"
    assert rows_of("a 1 2", ("", "In 2021", "In 2022"), "").quote(0, 5) == "a | In 2021: 1 | In 2022: 2"


@pytest.mark.parametrize(
    ("above", "title"),
    [
        ("<p>Rents by month</p>", "Rents by month"),
        ("<p>Rents by month</p><p>(in euros)</p>", "Rents by month (in euros)"),
        ("<p>It was dry. The rents were as follows:</p>", "The rents were as follows"),
        ("<p>The rents are those of the year before.</p>", ""),
        ("<p>" + "a long line that goes on " * 9 + "</p>", ""),
        ("", ""),
        ("<p>家賃一覧</p><p>（単位：円）</p>", "家賃一覧 （単位：円）"),
    ],
)
def test_the_title_of_a_table_stands_above_it(above: str, title: str) -> None:
    """A short line, with a unit below it, or the words before a colon; no sentence of the text before."""
    extract = read_html(f"{above}<table><tr><th>Month</th><th>Rent</th></tr><tr><td>May</td><td>400</td></tr></table>".encode())
    assert [row.title for row in extract.rows] == [title]


def test_a_second_table_does_not_take_the_title_of_the_first() -> None:
    """What stands above a table ends at the table before."""
    table = "<table><tr><th>Month</th><th>Rent</th></tr><tr><td>May</td><td>400</td></tr></table>"
    assert [row.title for row in read_html(f"<p>Rents</p>{table}{table}".encode()).rows] == ["Rents", ""]
