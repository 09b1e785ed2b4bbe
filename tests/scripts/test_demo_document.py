"""The demo's document comes out of a PDF as it went in."""

import runpy
import subprocess
import sys
from pathlib import Path

import pypdf
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def typeset(out: Path) -> Path:
    subprocess.run([sys.executable, SCRIPTS / "demo_document.py", out], check=True, timeout=120)
    return out


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return typeset(tmp_path_factory.mktemp("handbook") / "handbook.pdf")


@pytest.fixture(scope="module")
def pages(handbook: Path) -> list[str]:
    return [page.extract_text() for page in pypdf.PdfReader(handbook).pages]


@pytest.fixture(scope="module")
def source() -> str:
    script = [sys.executable, SCRIPTS / "demo_document.py", "--text"]
    return subprocess.run(script, check=True, timeout=120, capture_output=True, encoding="utf-8").stdout


def folded(text: str) -> str:
    return " ".join(text.split())


def test_it_is_long_and_numbered(pages: list[str]) -> None:
    """The document is long enough for a demo, and each page carries its number."""
    assert len(pages) >= 24
    assert sum(len(page.split()) for page in pages) > 8_000
    for number, page in enumerate(pages, start=1):
        assert page.strip().endswith(f"page {number}")


def test_nothing_is_lost(pages: list[str], source: str) -> None:
    """Every heading and every paragraph is found again, whole and on one page."""
    folded_pages = [folded(page) for page in pages]
    blocks = [block for piece in source.split("\n\n") if (block := folded(piece).lstrip("# ")) and not block.startswith("|")]
    assert len(blocks) > 200
    for block in blocks:
        assert any(block in page for page in folded_pages), block


def test_a_row_is_a_line(pages: list[str], source: str) -> None:
    """Every row of every table is found again as one line."""
    lines = {folded(line) for page in pages for line in page.splitlines()}
    rows = [line for line in source.splitlines() if line.startswith("|") and not line.startswith("|-")]
    assert len(rows) > 80
    for row in rows:
        assert folded(row.replace("|", " ")) in lines, row


def test_the_bytes_do_not_change(handbook: Path, tmp_path: Path) -> None:
    """A second run writes the same bytes, so that what was learnt of the file stays true."""
    assert typeset(tmp_path / "again.pdf").read_bytes() == handbook.read_bytes()


def test_the_demo_knows_where_its_answer_stands(pages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The facts that the demo asks for stand on the pages that it names, and nowhere else."""
    monkeypatch.syspath_prepend(SCRIPTS)
    facts = runpy.run_path(str(SCRIPTS / "demo.py"))["FACTS"]
    assert len(facts) == 2
    for fact, number in facts.items():
        assert [found for found, page in enumerate(pages, start=1) if fact in folded(page)] == [number]
