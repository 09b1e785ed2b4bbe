"""Measures whether the row of a table that answers a question is found, in a filing that is made for it.

    python scripts/bench_tables.py [--questions N] [--seed N]

The filing is a PDF of prose and of tables that are alike: twelve product lines by five years for each of seven measures and two
regions, so that every label stands in fourteen tables. Each question asks for one value ("What were the net sales of water pumps
in Europe in 2021?"). Found is a sentence that holds label, column and value of it, among the first 1, 3, 8 and 60 of retrieval.
The baseline is the same text with rows that know their columns but not what stands above their table.
"""

import argparse
import platform
import random
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from fpdf import FPDF

from coordinator.documents.chunks import TARGET_TOKENS, make_chunks
from coordinator.documents.pdf.reader import read_pdf
from coordinator.documents.retrieval import Index
from coordinator.types import Document

LINES = (
    "Industrial valves", "Water pumps", "Home appliances", "Garden tools", "Office furniture", "Paper products",
    "Medical devices", "Dental supplies", "Cable systems", "Lighting fixtures", "Paint and coatings", "Plastic packaging",
)  # fmt: skip
MEASURES = (
    "Net sales", "Cost of sales", "Operating income", "Capital expenditures", "Depreciation", "Identifiable assets", "Backlog",
)  # fmt: skip
REGIONS = ("the Americas", "Europe")
YEARS = (2019, 2020, 2021, 2022, 2023)
WORDS = (
    "the company believes that demand for products in these markets will continue to be affected by conditions and prices of "
    "raw materials management reviews net results of each line every quarter and may adjust its plans during the year"
)
FIRST = (1, 3, 8, 60)


@dataclass(frozen=True, slots=True)
class Value:
    measure: str
    region: str
    line: str
    year: int
    text: str

    @property
    def question(self) -> str:
        return f"What were the {self.measure.lower()} of {self.line.lower()} in {self.region} in {self.year}?"

    def is_in(self, sentence: str) -> bool:
        return self.line in sentence and str(self.year) in sentence and self.text in sentence


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=100, help="asked of the filing (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the filing and of what is asked (%(default)s)")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    data, values = filing(chance)
    asked = chance.sample(values, min(arguments.questions, len(values)))
    began = time.process_time()
    extract = read_pdf(data)
    seconds = time.process_time() - began
    whole = Document("D1", "filing", Path("filing"), extract.text, extract.sections, extract.rows, extract.gaps)
    bare = replace(whole, rows=tuple(replace(row, title="") for row in whole.rows))
    print(f"Python {platform.python_version()} on {platform.machine()}, seed {arguments.seed}: {whole.pages} pages,")
    print(f"{len(whole.rows)} rows, {len(values)} values, {len(asked)} questions; read in {seconds:.1f} s of one processor.")
    print(f"{'found among the first':24}" + "".join(f"{count:>6}" for count in FIRST))
    for name, document in (("rows without titles", bare), ("as it is", whole)):
        print(f"{name:24}" + "".join(f"{share:6.2f}" for share in shares(document, asked)))
    return 0


def shares(document: Document, asked: list[Value]) -> list[float]:
    chunks = make_chunks([document], max_tokens=TARGET_TOKENS)
    index = Index(chunks)
    found = [0] * len(FIRST)
    for value in asked:
        hits = index.sentences(value.question, max(FIRST))
        texts = [chunks[hit.chunk].sentences[hit.sentence].text for hit in hits]
        for position, count in enumerate(FIRST):
            found[position] += any(value.is_in(text) for text in texts[:count])
    return [count / len(asked) for count in found]


def filing(chance: random.Random) -> tuple[bytes, list[Value]]:
    """A PDF, and all values of its tables."""
    pdf = FPDF(unit="pt", format="a4")
    values: list[Value] = []
    for region in REGIONS:
        for measure in MEASURES:
            pdf.add_page()
            pdf.set_font("times", size=10)
            for _ in range(6):
                pdf.multi_cell(0, 12, prose(chance), new_x="LMARGIN", new_y="NEXT")
            pdf.add_page()
            values += table(pdf, measure, region, chance)
    return bytes(pdf.output()), values


def table(pdf: FPDF, measure: str, region: str, chance: random.Random) -> list[Value]:
    made: list[Value] = []
    pdf.set_font("helvetica", size=9)
    pdf.text(60, 80, f"{measure} by product line, {region}")
    pdf.text(60, 92, "(in thousands)")
    pdf.text(330, 116, "Years ended December 31,")
    for column, year in enumerate(YEARS):
        pdf.text(300 + 60 * column - pdf.get_string_width(str(year)), 128, str(year))
    for row, line in enumerate(LINES):
        y = 142 + 12 * row
        pdf.text(60, y, line)
        for column, year in enumerate(YEARS):
            number = f"{chance.randint(100, 99_999):,}"
            text = f"({number})" if chance.random() < 0.1 else number
            pdf.text(300 + 60 * column - pdf.get_string_width(text), y, text)
            made.append(Value(measure, region, line, year, text))
    return made


def prose(chance: random.Random) -> str:
    """Sentences that name lines, measures and years, as those around a report's tables do."""
    sentences = []
    for _ in range(8):
        words = chance.choices(WORDS.split(), k=chance.randint(12, 26))
        words.insert(3, chance.choice(LINES).lower())
        words.insert(6, f"{chance.choice(MEASURES).lower()} in {chance.choice(YEARS)}")
        sentences.append(f"{' '.join(words).capitalize()}.")
    return " ".join(sentences)


if __name__ == "__main__":
    sys.exit(main())
