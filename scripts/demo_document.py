"""Typesets the demo's document, a long handbook with an annual report written for it, from scripts/demo_text as a PDF.

    python scripts/demo_document.py OUT.pdf   # the same bytes at every run with the same fpdf2
    python scripts/demo_document.py --text    # the text it is made from

The text knows four things: `# chapter` (begins a page), `## section`, `| table | rows |` and paragraphs. A paragraph or a table row
never runs over the end of a page, so that whoever extracts the text finds each sentence on one page and each row on one line.
"""

import argparse
import datetime
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fpdf import FPDF

TEXT = Path(__file__).resolve().parent / "demo_text"
TITLE = "Handbook and Annual Report"
OWNER = "Millrace Housing Cooperative"
EDITION = "Fourteenth edition, in force from 1 January 2026"
FONT = "Helvetica"
MARGIN = 25.0
LINE = 6.4
COLUMN_GAP = 3.0
TABLE_SIZE = 9.5


@dataclass(frozen=True, slots=True)
class Block:
    """One thing to set: `kind` is chapter, section, paragraph or table. Only tables have `rows`, the head first."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


def source() -> str:
    """The whole text, chapter after chapter."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(TEXT.glob("*.md")))


def blocks(text: str) -> Iterator[Block]:
    """The blocks of `text`, which are separated by empty lines or begin with `#`."""
    for piece in text.split("\n\n"):
        lines = piece.strip().splitlines()
        if not lines:
            continue
        if lines[0].startswith("## "):
            yield Block("section", lines[0][3:])
        elif lines[0].startswith("# "):
            yield Block("chapter", lines[0][2:])
        elif lines[0].startswith("|"):
            rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
            # The second line is the rule between head and rows.
            yield Block("table", rows=(rows[0], *rows[2:]))
        else:
            yield Block("paragraph", " ".join(lines))


class Handbook(FPDF):
    """An A4 page in large type, with the owner and the page's number at its foot."""

    def __init__(self) -> None:
        super().__init__(format="A4")
        # A fixed date keeps the bytes, and with them every digest made of the file, the same from run to run.
        self.set_creation_date(datetime.datetime(2025, 11, 20, 9, 0, tzinfo=datetime.UTC))
        self.set_title(f"{OWNER}: {TITLE}")
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(True, MARGIN)

    def footer(self) -> None:
        self.set_y(-16)
        self.set_font(FONT, size=9)
        self.cell(0, 5, f"{OWNER} - page {self.page_no()}", align="C")

    def cover(self) -> None:
        self.add_page()
        self.set_y(95)
        for size, line in ((16, OWNER), (26, TITLE), (12, EDITION)):
            self.set_font(FONT, "B" if size > 12 else "", size)
            self.multi_cell(0, size * 0.7, line, align="C", new_x="LMARGIN", new_y="NEXT")

    def chapter(self, text: str) -> None:
        self.add_page()
        self.set_font(FONT, "B", 20)
        self.multi_cell(0, 11, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(3)

    def section(self, text: str, following: Block) -> None:
        """Sets a heading on the page on which the block that follows it begins."""
        self._make_room(10 + self._height(following))
        self.ln(2)
        self.set_font(FONT, "B", 13)
        self.multi_cell(0, 7, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(1)

    def paragraph(self, block: Block) -> None:
        self._make_room(self._height(block))
        self.set_font(FONT, size=12)
        self.multi_cell(0, LINE, block.text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(2.5)

    def rows(self, block: Block) -> None:
        """Sets the rows of a table, one line each. Raises `ValueError` if it is wider than the page or its rows are uneven."""
        self.set_font(FONT, "B", TABLE_SIZE)
        widths = [max(self.get_string_width(cell) for cell in column) + COLUMN_GAP for column in zip(*block.rows, strict=True)]
        spare = self.epw - sum(widths)
        if spare < 0:
            raise ValueError(f"The table that begins with {block.rows[0]} is {-spare:.0f} mm too wide for the page.")
        self._make_room(self._height(block))
        for number, row in enumerate(block.rows):
            self.set_font(FONT, "" if number else "B", TABLE_SIZE)
            for width, cell in zip(widths, row, strict=True):
                self.cell(width + spare / len(widths), LINE, cell, border="B")
            self.ln(LINE)
        self.ln(3)

    def _height(self, block: Block) -> float:
        """Height that must be free for `block` to begin: all of a paragraph, the first rows of a table."""
        if block.kind == "table":
            return min(len(block.rows), 4) * LINE
        self.set_font(FONT, size=12)
        height = self.multi_cell(0, LINE, block.text, align="L", dry_run=True, output="HEIGHT")
        assert isinstance(height, float), "HEIGHT alone was asked for"
        return height

    def _make_room(self, height: float) -> None:
        if self.will_page_break(height):
            self.add_page()


def typeset(out: Path) -> None:
    """Writes the handbook to `out`, whole or not at all."""
    pdf = Handbook()
    pdf.cover()
    whole = list(blocks(source()))
    for block, following in zip(whole, [*whole[1:], Block("paragraph")], strict=True):
        match block.kind:
            case "chapter":
                pdf.chapter(block.text)
            case "section":
                pdf.section(block.text, following)
            case "table":
                pdf.rows(block)
            case _:
                pdf.paragraph(block)
    half = out.with_name(out.name + ".part")
    pdf.output(str(half))
    half.replace(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", help="PDF to write")
    parser.add_argument("--text", action="store_true", help="print the text instead")
    options = parser.parse_args()
    if options.text:
        sys.stdout.write(source())
    elif options.out is None:
        parser.error("name the PDF to write, or --text")
    else:
        typeset(options.out)


if __name__ == "__main__":
    main()
