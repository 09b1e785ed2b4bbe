"""Measures how PDFs are read: words found, rows of tables that keep their own numbers, seconds and memory.

    python scripts/bench_pdf.py FOLDER

Beside each FILE.pdf stands FILE.txt with what it says, a row of a table on a line (what `pdftotext -layout` makes will do).
A row is a line with a label and at least two numbers. It keeps its own numbers if all of them are on one line of what was read,
with the label. It shows another row's if its label is on a line with numbers that are all not its own. The baseline is PDFium's
text as it comes. Nothing leaves this machine.
"""

import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pypdfium2

from coordinator.documents.pdf.reader import read_pdf
from coordinator.errors import DocumentError

NUMBER = re.compile(r"\(?-?\d[\d,.]*\)?%?")


def ours(data: bytes) -> str:
    return read_pdf(data).text


def as_it_comes(data: bytes) -> str:
    with pypdfium2.PdfDocument(data) as document:
        return "\n".join(page.get_textpage().get_text_range() for page in document)


def rows(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Label and numbers of each row."""
    for line in text.split("\n"):
        numbers = [match for match in NUMBER.finditer(line) if len(re.sub(r"\D", "", match[0])) > 1]
        label = " ".join(re.findall(r"[^\W\d_]+", line[: numbers[0].start()])) if numbers else ""
        if len(numbers) > 1 and len(label) > 3:
            yield label.lower(), frozenset(match[0].strip("()") for match in numbers)


def measure(read: Callable[[bytes], str], data: bytes, reference: str) -> tuple[int, int, int, int, int, float]:
    """Words and words found, rows, rows kept, rows with another's numbers, seconds of processor time."""
    started = time.process_time()
    try:
        text = read(data)
    except DocumentError as error:
        print(f"  refused: {error}", file=sys.stderr)
        text = ""
    seconds = time.process_time() - started
    wanted = re.findall(r"\w+", reference.lower())
    there = set(re.findall(r"\w+", text.lower()))
    found = dict(rows(text))
    kept = foreign = total = 0
    for label, numbers in rows(reference):
        total += 1
        shown = [have for name, have in found.items() if label in name]
        kept += any(numbers <= have for have in shown)
        foreign += bool(shown) and all(not numbers & have for have in shown)
    return len(wanted), sum(word in there for word in wanted), total, kept, foreign, seconds


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    files = [path for path in sorted(Path(sys.argv[1]).glob("*.pdf")) if path.with_suffix(".txt").is_file()]
    if not files:
        sys.exit(f"{sys.argv[1]} holds no FILE.pdf with a FILE.txt beside it.")
    system = f"{platform.system()}, Python {platform.python_version()}, PDFium by pypdfium2 {pypdfium2.PYPDFIUM_INFO}"
    print(f"{len(files)} files; {system}")
    print("reader    words found  rows  keep their numbers  show another row's  seconds")
    for name, read in (("edgenode", ours), ("PDFium", as_it_comes)):
        sums = [0.0] * 6
        for path in files:
            reference = path.with_suffix(".txt").read_text(encoding="utf-8")
            for position, value in enumerate(measure(read, path.read_bytes(), reference)):
                sums[position] += value
        words, there, total, kept, foreign, seconds = sums
        shares = (there / max(1, words), kept / max(1, total), foreign / max(1, total))
        print(f"{name:<9} {shares[0]:11.3f} {total:5.0f} {shares[1]:19.3f} {shares[2]:19.3f} {seconds:8.2f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
