"""Scans and photos are read by OCR, which is an extra, and everything that comes of it says so."""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from fpdf import FPDF
from fpdf.enums import TextMode
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console

from coordinator.account import print_answer
from coordinator.documents.extract import Extract
from coordinator.documents.ingest import read_documents
from coordinator.documents.kinds import READERS, kind_of
from coordinator.documents.ocr import available, pages
from coordinator.documents.ocr.pictures import read_picture
from coordinator.documents.pdf.reader import read_pdf
from coordinator.errors import DocumentError
from coordinator.minions.selection import line, select
from coordinator.output import answer_json
from coordinator.runs.aggregate import _citation
from coordinator.runs.records import decode_finding, encode_finding
from coordinator.types import (
    Answer,
    Citation,
    Document,
    FindingCounts,
    GapKind,
    Ledger,
    Recognised,
    Retrieved,
    RunId,
    Section,
    SectionKind,
    Status,
)

needs_ocr = pytest.mark.skipif(not available(), reason="the extra ocr is not installed")

PARAGRAPH = ("The tenant pays the rent on the third", "working day of each month.")
ROWS = (("Month", "Rent", "Heating"), ("January", "1,450.00", "112.40"), ("February", "1,475.50", "98.75"))
JAPANESE = Path(__file__).parent / "data" / "japanese_page.png"


def drawn(size: int = 24) -> Image.Image:
    """A page with two lines of text and a table."""
    picture = Image.new("RGB", (36 * size, 16 * size), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    for number, text in enumerate(PARAGRAPH):
        draw.text((size, size * (1 + 1.5 * number)), text, "black", font)
    for number, row in enumerate(ROWS):
        for column, text in enumerate(row):
            draw.text((size * (1 + 11 * column), size * (7 + 2 * number)), text, "black", font)
    return picture


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def holds(extract: Extract) -> bool:
    """Whether it is the page `drawn`, with every row's own numbers, and all of it marked as by OCR."""
    document = Document("D1", "page", Path("page"), extract.text, extract.sections, extract.rows, recognised=extract.recognised)
    quoted = [document.quote(row.start, row.end) for row in extract.rows]
    words = [word for row in ROWS for word in row]
    assert extract.text.split() == [*" ".join(PARAGRAPH).split(), *words]
    assert quoted == [" | ".join(f"{name}: {value}" for name, value in zip(ROWS[0], row, strict=True)) for row in ROWS[1:]]
    marked = "".join(extract.text[each.start : each.end] for each in extract.recognised)
    assert "".join(marked.split()) == "".join(extract.text.split())
    return all(each.confidence is not None and each.confidence > 0.9 for each in extract.recognised)


@needs_ocr
@pytest.mark.parametrize("angle", [90, 180, 270, 3])
def test_a_page_is_read_whichever_way_it_is_turned(angle: int) -> None:
    """Text, columns and rows are those of the upright page, for one put on askew, too."""
    assert holds(read_picture(saved(drawn().rotate(angle, expand=True, fillcolor="white"), "PNG")))


@needs_ocr
def test_japanese_is_read() -> None:
    """Kanji, kana and figures in a sentence and in a table, with the models that come with the package."""
    extract = read_picture(JAPANESE.read_bytes())
    document = Document("D1", "page", JAPANESE, extract.text, extract.sections, extract.rows)

    assert "賃貸借契約書" in extract.text
    assert "賃料は月額八万五千円とし、毎月末日までに支払う。" in extract.text
    assert "ペットの飼育は、書面による承諾がなければできない。" in extract.text
    assert [document.quote(row.start, row.end) for row in extract.rows] == [
        "月: 一月 | 家賃: 85,000円 | 暖房費: 11,240円",
        "月: 二月 | 家賃: 85,000円 | 暖房費: 9,875円",
    ]


def photo(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {1: 0, 3: 180, 6: 90, 8: 270}[orientation]
    return saved(drawn().rotate(turned, expand=True), "JPEG", quality=90, exif=exif)


def sixteen_bits() -> bytes:
    grey = drawn().convert("L")
    return saved(grey.convert("I").point(lambda value: value * 257).convert("I;16"), "PNG")


def transparent() -> bytes:
    grey = drawn().convert("L")
    ink = Image.new("RGBA", grey.size, "black")
    ink.putalpha(grey.point(lambda value: 255 - value))
    return saved(ink, "WEBP", lossless=True)


@needs_ocr
@pytest.mark.parametrize(
    "make",
    [
        lambda: photo(6),
        lambda: photo(3),
        lambda: saved(drawn().convert("CMYK"), "JPEG", quality=90),
        lambda: saved(drawn().convert("1"), "TIFF", compression="group4"),
        lambda: saved(drawn().quantize(4), "GIF"),
        lambda: saved(drawn(120), "JPEG", quality=60),
        lambda: saved(drawn(), "BMP"),
        sixteen_bits,
        transparent,
    ],
    ids=["photo on its side", "photo upside down", "CMYK", "fax", "palette", "12 megapixels", "BMP", "16 bits", "transparent"],
)
def test_every_way_of_storing_a_picture_is_read(make: Callable[[], bytes]) -> None:
    """What is seen is what is read: colours, depth, transparency and a camera's orientation are seen to."""
    assert holds(read_picture(make()))


@needs_ocr
def test_each_page_of_a_tiff_is_a_page_and_one_that_is_damaged_a_gap(tmp_path: Path) -> None:
    """Pages of a fax keep their numbers where one of them cannot be decoded, and a blank one is told. In a process of its own."""
    blank = Image.new("RGB", (400, 500), "white")
    made = bytearray(saved(blank, "TIFF", save_all=True, append_images=[drawn(), drawn()], compression="tiff_deflate"))
    with Image.open(io.BytesIO(made)) as picture:
        picture.seek(1)
        strip = picture.tag_v2[273][0]
    made[strip : strip + 40] = bytes(40)
    (tmp_path / "fax.tif").write_bytes(made)

    (document,), skipped = read_documents([tmp_path / "fax.tif"])

    assert not skipped
    assert document.pages == 3
    place = document.place(document.text.index("February"), len(document.text))
    assert (place.page, place.by_ocr, place.confidence is not None) == (3, True, True)
    assert document.quote(place.start, place.end).endswith("Heating: 98.75")
    assert {(gap.kind, gap.pages) for gap in document.gaps} == {(GapKind.SCAN, (1,)), (GapKind.DAMAGED, (2,))}


def bomb() -> bytes:
    """A picture of 20,000 x 20,000 pixels in some kilobytes."""
    row = zlib.compressobj()
    data = b"".join(row.compress(bytes(2_501)) for _ in range(20_000)) + row.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


@needs_ocr
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bomb(), "20,000 x 20,000"),
        (saved(drawn(), "PNG")[:3_000], "cut off"),
        (saved(drawn(), "JPEG")[:3_000], "cut off"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"<svg/>", "damaged"),
        (saved(Image.radial_gradient("L"), "JPEG"), "no text"),
        (saved(Image.new("L", (1, 1)), "PNG"), "no text"),
        (saved(Image.new("L", (9_000, 1), 255), "PNG"), "no text"),
    ],
    ids=["bomb", "cut PNG", "cut JPEG", "only its beginning", "another kind", "photo", "pixel", "line"],
)
def test_a_picture_that_cannot_be_read_has_its_reason(data: bytes, said: str) -> None:
    """What is wrong is said in a sentence, before memory is taken for it."""
    with pytest.raises(DocumentError, match=said):
        read_picture(data)


@needs_ocr
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_read(kind: str) -> None:
    """The rest of it is a gap."""
    extract = read_picture(saved(drawn(), kind, save_all=True, append_images=[Image.new("RGB", drawn().size, "red")]))

    assert holds(extract)
    assert [gap.kind for gap in extract.gaps] == [GapKind.NOT_READ]


def scan(*, layer: str = "", text: str = "") -> bytes:
    """A PDF of three pages: text, a picture of a page (with a text over it, or one that is not seen), and text."""
    pdf = FPDF(unit="pt", format=(288, 160))
    pdf.set_font("helvetica", size=9)
    pdf.add_page()
    pdf.text(20, 20, "Pets are allowed.")
    pdf.add_page()
    pdf.image(drawn(), 0, 0, 288, 128)
    pdf.text(200, 150, text)
    with pdf.local_context(text_mode=TextMode.INVISIBLE):
        for number, each in enumerate(layer.splitlines()):
            pdf.text(20, 20 + 12 * number, each)
    pdf.add_page()
    pdf.text(20, 20, "Smoking is not allowed.")
    return bytes(pdf.output())


@needs_ocr
@pytest.mark.parametrize("text", ["", "LEASE 000417"])
def test_scanned_pages_of_a_pdf_are_read_in_their_place(text: str) -> None:
    """Between pages with text, whose text is not by OCR; a stamp on a scan is part of what is seen."""
    extract = read_pdf(scan(text=text))
    document = Document("D1", "lease.pdf", Path("lease.pdf"), extract.text, extract.sections, recognised=extract.recognised)

    places = {
        word: document.place(extract.text.index(word), extract.text.index(word) + len(word))
        for word in ("Pets are allowed", "third working day", "112.40", "Smoking", *filter(None, [text]))
    }
    assert {word: (place.page, place.by_ocr) for word, place in places.items() if word != text} == {
        "Pets are allowed": (1, False),
        "third working day": (2, True),
        "112.40": (2, True),
        "Smoking": (3, False),
    }
    assert not text or places[text].page == 2
    assert extract.gaps == ()


@needs_ocr
def test_a_long_stamp_does_not_hide_that_a_page_is_a_scan() -> None:
    """Where OCR finds far more than the text that lies on a picture of the page, the page is what OCR finds."""
    pdf = FPDF(unit="pt", format=(400, 300))
    pdf.set_font("helvetica", size=5)
    pdf.add_page()
    page = Image.new("L", (1200, 900), 255)
    for number in range(12):
        ImageDraw.Draw(page).text((60, 60 + 60 * number), " ".join(PARAGRAPH), 0, ImageFont.load_default(30))
    pdf.image(page, 0, 0, 400, 300)
    stamp = (
        "Downloaded from the archive of the county court by a reader who has agreed to its terms of use, which forbid any other."
    )
    pdf.text(20, 290, stamp)

    extract = read_pdf(bytes(pdf.output()))

    assert len(stamp.replace(" ", "")) > 90
    assert extract.text.count("working day") == 12
    assert extract.recognised


@needs_ocr
def test_a_small_line_on_an_empty_page_is_found() -> None:
    """A page is looked at again where nothing is found on it and yet something stands there."""
    page = Image.new("L", (1200, 1700), 255)
    ImageDraw.Draw(page).text((100, 200), "The rent is 900 euros.", 0, ImageFont.load_default(11))

    assert "900" in read_picture(saved(page, "PNG")).text


def test_a_page_that_is_only_drawn_is_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters that are stored as their outlines are no text to anybody but OCR."""
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    pdf = FPDF(unit="pt", format=(400, 300))
    pdf.add_page()
    for number in range(60):
        pdf.rect(20 + 5 * number, 50, 4, 8, style="F")
    pdf.add_page()
    pdf.set_font("helvetica", size=9)
    pdf.text(20, 20, "Pets are allowed.")
    pdf.add_page()
    pdf.rect(20, 50, 300, 200)

    assert [(gap.kind, gap.pages) for gap in read_pdf(bytes(pdf.output())).gaps] == [(GapKind.SCAN, (1,))]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
def test_a_picture_is_known_by_its_beginning(kind: str) -> None:
    """Whatever its name is, and where it has none, as on standard input."""
    assert READERS[kind_of(saved(drawn(), kind))] == READERS[".jpg"]


def test_a_text_layer_is_by_somebodys_ocr() -> None:
    """A scan that was read before is taken as it is, marked as by OCR of unknown confidence."""
    extract = read_pdf(scan(layer="The tenant pays the rent\non the third working day."))
    document = Document("D1", "lease.pdf", Path("lease.pdf"), extract.text, extract.sections, recognised=extract.recognised)
    place = document.place(extract.text.index("third"), extract.text.index("third") + 5)

    assert (place.page, place.by_ocr, place.confidence) == (2, True, None)
    assert not document.place(0, 4).by_ocr


@needs_ocr
def test_lines_of_low_confidence_are_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What OCR is not sure of is no text of the document; the user learns that it is missing, and where."""
    from coordinator.documents.ocr import engine

    monkeypatch.setattr(engine, "LEAST_CONFIDENCE", 0.9)
    picture = drawn()
    first_line = 0, 0, picture.width, 56
    picture.paste(picture.crop(first_line).rotate(180), first_line)

    extract = read_picture(saved(picture, "PNG"))

    assert "tenant" not in extract.text
    assert "working day of each month." in extract.text
    assert [(gap.kind, gap.pages) for gap in extract.gaps] == [(GapKind.UNSURE, (1,))]


@needs_ocr
def test_only_so_many_pages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of endless scans ends, and says what of it was not read."""
    monkeypatch.setattr(pages, "MAX_PAGES", 1)
    small = Image.new("L", (100, 100), 255)

    extract = read_picture(saved(drawn(), "TIFF", save_all=True, append_images=[small, small]))

    assert holds(extract)
    assert [(gap.kind, gap.pages) for gap in extract.gaps] == [(GapKind.SCAN, (2, 3))]


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and PDFs that are scans are refused with the command; of other PDFs the pages are a gap."""
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(DocumentError, match=r"pip install 'edgenode\[ocr\]'"):
        read_picture(saved(drawn(), "PNG"))

    (gap,) = read_pdf(scan()).gaps

    assert (gap.kind, gap.pages) == (GapKind.SCAN, (2,))
    assert "pip install 'edgenode[ocr]'" in gap.reason


LEASE = "Pets are allowed. The rent is 1,450.00 euros."
SCANNED = Document(
    "D1",
    "lease.jpg",
    Path("lease.jpg"),
    LEASE,
    sections=(Section(SectionKind.PAGE, 1, 0),),
    recognised=(Recognised(0, 17, 0.75), Recognised(18, len(LEASE), 0.874)),
)


def test_a_quotation_tells_its_least_sure_line() -> None:
    """Of the lines that it is from, and of no other."""
    places = [SCANNED.place(start, end) for start, end in ((0, 17), (18, 45), (5, 30), (17, 18))]

    assert [(place.by_ocr, place.confidence) for place in places] == [(True, 0.75), (True, 0.874), (True, 0.75), (False, None)]


def test_supervisor_and_user_see_that_a_quotation_is_by_ocr() -> None:
    """In the request that leaves the house, on the terminal, in JSON and in the run that was kept."""
    found = Retrieved(0, 0, SCANNED.place(18, len(LEASE)), LEASE[18:], 1.0)
    selection = select([found], 4_000, "What is the rent?", {})
    (entry,) = selection.entries
    citation = _citation("lease.jpg", entry)
    answer = make_answer_of(citation)
    console = Console(file=io.StringIO(), width=200)
    print_answer(console, answer, None)

    assert "by OCR (87 %" in line(1, entry, {})
    assert isinstance(console.file, io.StringIO)
    assert "page 1, by OCR (87 %" in console.file.getvalue()
    told = answer_json(answer)["citations"][0]
    assert (told["by_ocr"], told["confidence"]) == (True, 0.874)
    assert decode_finding(*encode_finding(found)) == found


def make_answer_of(citation: Citation) -> Answer:
    return Answer(
        run=RunId("r"),
        status=Status.ANSWERED,
        text="1,450.00 euros",
        answered_by="home",
        citations=(citation,),
        findings=FindingCounts(),
        nodes=(),
        ledger=Ledger((), 0, 0),
        seconds=1.0,
    )
