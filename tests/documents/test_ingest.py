"""Real files of every kind and every kind of damage: what can be read is read, and what cannot is named with the reason."""

import io
import logging
import os
import struct
import zipfile
import zlib
from email.message import EmailMessage
from pathlib import Path

import pytest
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

from coordinator.documents.chunks import make_chunks
from coordinator.documents.extract import MAX_CHARACTERS, clean
from coordinator.documents.ingest import read_documents
from coordinator.documents.xml import MAX_XML_BYTES
from coordinator.types import Document
from edgenode.errors import UsageError

PAGES = (
    "The lease begins on 1 May 2024. The rent is 900 EUR.",
    "Notice must be given in writing. Pets are forbidden.",
    "Keys are returned.",
)
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf(*pages: str, picture_on: int | None = None) -> bytes:
    """A PDF with one page for each text; page `picture_on` (from 1) has a picture too."""
    writer = FPDF()
    writer.set_font("helvetica", size=12)
    for number, text in enumerate(pages, start=1):
        writer.add_page()
        if text:
            writer.multi_cell(0, 6, text)
        if number == picture_on:
            writer.image(io.BytesIO(PIXEL), w=50)
    return bytes(writer.output())


def locked(data: bytes, user: str) -> bytes:
    """The PDF encrypted with AES; an empty `user` password lets anybody open it."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    writer.encrypt(user_password=user, owner_password="owner", algorithm="AES-256")
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def japanese_pdf(text: str) -> bytes:
    """A PDF whose font maps character codes to `text` by a ToUnicode table, as Japanese ones do."""
    codes = "".join(f"{ord(character):04x}" for character in text)
    rows = "\n".join(f"<{ord(character):04x}> <{ord(character):04x}>" for character in sorted(set(text)))
    table = (
        f"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange "
        f"{len(set(text))} beginbfchar\n{rows}\nendbfchar endcmap end"
    )
    content = f"BT /F1 12 Tf 50 700 Td <{codes}> Tj ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type0 /BaseFont /Gothic /Encoding /Identity-H /DescendantFonts [6 0 R] /ToUnicode 7 0 R >>",
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Gothic /DW 1000 /CIDSystemInfo 8 0 R >>",
        f"<< /Length {len(table)} >>\nstream\n{table}\nendstream",
        "<< /Registry (Adobe) /Ordering (Identity) /Supplement 0 >>",
    ]
    body, places = "%PDF-1.7\n", []
    for number, value in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{value}\nendobj\n"
    entries = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    trailer = f"trailer << /Size {count} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 {count}\n0000000000 65535 f \n{entries}{trailer}".encode("ascii")


def docx(body: str, **extra: bytes) -> bytes:
    """A Word document with `body` as its XML; `extra` adds files."""
    document = f'<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", document)
        for name, data in extra.items():
            archive.writestr(name, data)
    return target.getvalue()


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def only(path: Path) -> Document:
    documents, skipped = read_documents([path])
    assert skipped == ()
    (document,) = documents
    document.text.encode("utf-8")
    return document


def reason(path: Path) -> str:
    """Why the file was skipped: one sentence."""
    documents, skipped = read_documents([path])
    assert documents == ()
    (file,) = skipped
    assert file.name == str(path)
    assert file.reason[0].isupper()
    assert file.reason.endswith(".")
    return file.reason


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def png() -> bytes:
    """A grey picture of one pixel."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"\0\x80")) + part(b"IEND", b"")


PIXEL = png()


def test_a_pdf_keeps_its_pages(tmp_path: Path) -> None:
    """Each quotation of a PDF is text at its offsets, on the page it was printed on."""
    document = only(write(tmp_path / "lease.pdf", pdf(*PAGES)))

    assert document.pages == 3
    assert document.sections[0].start == 0
    for number, page in enumerate(PAGES, start=1):
        for quote in page.split(". "):
            assert document.page_at(document.text.index(quote)) == number
    for chunk in make_chunks([document], max_tokens=30):
        for sentence in chunk.sentences:
            assert " ".join(document.text[sentence.start : sentence.end].split()) == sentence.text
            assert document.page_at(sentence.start) == document.page_at(sentence.end - 1)


def test_a_japanese_pdf_is_read(tmp_path: Path) -> None:
    """Text behind a ToUnicode table, as Japanese PDFs have it, comes out as characters."""
    text = "賃料は月額九万八千円とする。敷金は返還する。"

    assert only(write(tmp_path / "lease.pdf", japanese_pdf(text))).text.strip() == text


def test_a_word_document_with_a_table(tmp_path: Path) -> None:
    """Paragraphs and rows come out apart, a row on one line; there are no pages."""
    cells = "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in ("ガス", "1 May", "30.50"))
    body = paragraph("敷金は返還する。") + f"<w:tbl><w:tr>{cells}</w:tr><w:tr>{cells}</w:tr></w:tbl>" + paragraph("End &amp; rest")

    document = only(write(tmp_path / "lease.docx", docx(body)))

    assert document.text == "敷金は返還する。\n\nガス | 1 May | 30.50\nガス | 1 May | 30.50\n\nEnd & rest"
    assert document.page_at(3) is None
    assert len(make_chunks([document], max_tokens=1000)[0].sentences) == 4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp932", "euc_jp", "iso2022_jp"])
@pytest.mark.parametrize("ending", ["txt", "md", "TXT"])
def test_a_text_file_in_any_encoding(tmp_path: Path, encoding: str, ending: str) -> None:
    """Text files come out the same whatever they are stored in."""
    text = "第1条（目的）\n敷金は返還する。\n"

    assert only(write(tmp_path / f"lease.{ending}", text.encode(encoding))).text == text


@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis", "euc-jp", "iso-2022-jp"])
def test_a_page_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """HTML is read in the encoding it names."""
    page = f'<html><head><meta charset="{encoding}"><title>契約</title></head><body><p>敷金は返還する。</p></body></html>'

    assert only(write(tmp_path / "lease.htm", page.encode(encoding))).text == "契約\n\n敷金は返還する。"


def test_text_is_cleaned_and_otherwise_left(tmp_path: Path) -> None:
    """Line ends become one kind, what cannot be seen or stored goes, everything else stays as it was."""
    path = write(
        tmp_path / "lease.txt",
        "One\r\ntwo\rthree\fde\u00adposit \x07bell\ufeff\tＡ  ﾃｽﾄ\u3000end, and so it goes on for a while.\x00\n" * 9,
    )

    assert only(path).text == "One\ntwo\nthree\ndeposit bell\tＡ  ﾃｽﾄ\u3000end, and so it goes on for a while.\n" * 9


def test_surrogates_never_reach_a_text() -> None:
    """Pairs become the character they stand for, lone halves the replacement character."""
    assert clean("a\ud83d\ude42b\ud83dc\ude42") == "a🙂b\ufffdc\ufffd"


def test_folders_are_read_in_order(tmp_path: Path) -> None:
    """Files of a folder and its subfolders come sorted, named by the folder as given; hidden and foreign ones are passed over."""
    folder = tmp_path / "papers"
    left = (
        ".hidden.txt",
        ".git/d.txt",
        "node_modules/e.txt",
        "env/pyvenv.cfg",
        "env/f.txt",
        "~$b.docx",
        "old.txt~",
        "package-lock.json",
    )
    for name in ("b.txt", "a.md", "sub/c.html", *left, "program.exe", *(f"{number}.dll" for number in range(9))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, f"<p>Text of {name}.</p>")

    documents, skipped = read_documents([folder])

    assert [(document.label, document.name) for document in documents] == [
        ("D1", str(folder / "a.md")),
        ("D2", str(folder / "b.txt")),
        ("D3", str(folder / "sub/c.html")),
    ]
    # One file by its name, many in one word.
    assert sorted(each.name for each in skipped) == [str(folder), str(folder / "program.exe")]
    assert any("9 files" in each.reason for each in skipped)


def test_identical_copies_are_read_once_and_named(tmp_path: Path) -> None:
    """Two files of the same bytes are one document; files of the same size are not."""
    for name, text in (("a.txt", "Same."), ("b.txt", "Same."), ("c.txt", "Othe.")):
        write(tmp_path / name, text)

    documents, skipped = read_documents([tmp_path])

    assert [document.text for document in documents] == ["Same.", "Othe."]
    assert [(each.name, "a.txt" in each.reason) for each in skipped] == [(str(tmp_path / "b.txt"), True)]


def test_standard_input_is_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is piped in is read by what it is; it has no name to be found by."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(docx(paragraph("Piped.")))))

    (document,), skipped = read_documents([Path("-")])

    assert (document.text, document.name, skipped) == ("Piped.", "standard input", ())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"rent": 950}', "rent: 950"),
        (b'{"rent": 950}\n{"rent": 960}\n', "rent: 950\n\nrent: 960"),
        (b"name;rent\nMia;900\nBen;800\n", "name: Mia | rent: 900\nname: Ben | rent: 800"),
        (b"From a@b.c Mon Jan  1 00:00:00 2027\nSubject: Rent\n\nIt rises.\n", "Subject: Rent\n\nIt rises."),
        (b"Subject: Rent\n\nIt rises.\n", "Subject: Rent\n\nIt rises."),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\nIt rises.\n", "[0:00:01] It rises."),
        (b"<!doctype html><p>It <b>rises</b>.", "It rises."),
        (b"{\\rtf1 It rises.\\par}", "It rises."),
        (b"It rises, they say.\nIn May, in June.\n", "It rises, they say.\nIn May, in June.\n"),
    ],
)
def test_what_is_piped_in_is_read_by_what_it_is(monkeypatch: pytest.MonkeyPatch, data: bytes, text: str) -> None:
    """It has no name that would tell."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    (document,), skipped = read_documents([Path("-")])
    assert (document.text, skipped) == (text, ())


def test_every_copy_is_named(tmp_path: Path) -> None:
    """Other files that are not read may be counted; a copy may be the one that somebody looks for."""
    for number in range(9):
        write(tmp_path / f"{number}.txt", "Same.")
    documents, skipped = read_documents([tmp_path])
    assert len(documents) == 1
    assert [Path(each.name).name for each in skipped] == [f"{number}.txt" for number in range(1, 9)]


def test_an_attachment_is_read_by_what_it_is(tmp_path: Path) -> None:
    """Mail programs give some of them names without an ending."""
    message = EmailMessage()
    message.set_content("See attached.")
    message.add_attachment(docx(paragraph("The rent.")), maintype="application", subtype="octet-stream", filename="lease")
    documents, skipped = read_documents([write(tmp_path / "mail.eml", bytes(message))])
    assert [document.text.strip().split("\n")[-1] for document in documents] == ["See attached.", "The rent."]
    assert not skipped


def test_a_file_without_an_ending_is_read_by_what_it_is(tmp_path: Path) -> None:
    """A named file is read as what its bytes say that it is."""
    assert "Pets" in only(write(tmp_path / "lease", pdf(*PAGES))).text
    assert only(write(tmp_path / "letter.old", docx(paragraph("Hello.")))).text == "Hello."


def test_a_relative_path_stays_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is called what the user called it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "papers").mkdir()
    write(tmp_path / "papers" / "lease.txt", "Text.")

    documents, _ = read_documents([Path("papers")])

    assert documents[0].name == "papers/lease.txt"


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    """By name, within its folder and through a link it is the same file."""
    path = write(tmp_path / "lease.txt", "Text.")
    (tmp_path / "link.txt").symlink_to(path)

    documents, skipped = read_documents([path, tmp_path, path, tmp_path / "link.txt"])

    assert [document.name for document in documents] == [str(path)]
    assert skipped == ()


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    """A folder that contains itself is walked once, and a link to itself is reported."""
    write(tmp_path / "lease.txt", "Text.")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")

    documents, skipped = read_documents([tmp_path])

    assert len(documents) == 1
    assert [file.name for file in skipped] == [str(tmp_path / "loop.txt")]


def test_a_missing_path_is_the_callers_mistake(tmp_path: Path) -> None:
    """Nothing is read before the mistake is told, with the name."""
    with pytest.raises(UsageError, match=r"nowhere\.pdf"):
        read_documents([write(tmp_path / "lease.txt", "Text."), tmp_path / "nowhere.pdf"])


def test_a_folder_without_documents_is_reported(tmp_path: Path) -> None:
    """An empty folder is no silent success."""
    write(tmp_path / ".hidden", PIXEL)

    assert "no document" in reason(tmp_path)


def test_a_named_file_of_unknown_kind_is_tried_as_text(tmp_path: Path) -> None:
    """Whoever names a file means it: notes without an ending are read, a program is not."""
    assert only(write(tmp_path / "NOTES", "The code is 4711.")).text == "The code is 4711."
    assert "program" in reason(write(tmp_path / "tool.bin", b"\x7fELF" + bytes(range(256)) * 4))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.txt", b"", "empty"),
        ("empty.pdf", b"", "empty"),
        ("empty.docx", b"", "empty"),
        ("blank.txt", b" \n\t\n", "no text"),
        ("blank.html", b"<html><script>x()</script></html>", "no text"),
        ("junk.txt", bytes(range(256)) * 40, "encoding"),
        ("picture.txt", PIXEL, "picture"),
        ("really-a-pdf.txt", pdf("Text."), "PDF"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Word format"),
        ("sheet.xlsx", b"PK\x03\x04", "damaged"),
        ("sheet.xls", b"PK\x03\x04", "old Excel format"),
        ("letter.rtf", b"no rich text", "Rich Text"),
        ("junk.pdf", b"no pdf at all", "not a PDF"),
        ("half.pdf", pdf(*PAGES)[:400], "damaged"),
        ("head-only.pdf", b"%PDF-1.7\n", "damaged"),
        ("locked.pdf", locked(pdf(*PAGES), "secret"), "encrypted"),
        ("junk.docx", b"no archive at all", "damaged"),
        ("half.docx", docx(paragraph("Text."))[:150], "damaged"),
        ("locked.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        ("broken.docx", docx("<w:p><unclosed>"), "damaged"),
        ("empty-inside.docx", docx(""), "no text"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """Each kind of damage has its reason, and none of them is a traceback."""
    assert said in reason(write(tmp_path / name, data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("letter.doc", b"{\\rtf1 The rent is 950.\\par}"),
        ("letter.docx", b"{\\rtf1 The rent is 950.\\par}"),
        ("export.xls", b"<html><body><p>The rent is 950.</p></body></html>"),
        ("letter.doc", docx(paragraph("The rent is 950."))),
        ("lease.docx", pdf("The rent is 950.")),
    ],
)
def test_a_file_of_another_kind_than_its_name_says_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    """Programs save Rich Text as .doc and pages as .xls; in a folder, too."""
    assert only(write(tmp_path / name, data)).text == "The rent is 950."
    assert only(tmp_path).text == "The rent is 950."


def test_an_archive_that_is_no_word_document(tmp_path: Path) -> None:
    """A zip under the name of a Word document is told apart from a damaged one."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("photo.txt", "x")

    assert "word/document.xml" in reason(write(tmp_path / "lease.docx", target.getvalue()))


def test_a_word_document_that_is_a_bomb(tmp_path: Path) -> None:
    """What unpacks to gigabytes is refused by its declared size, before it is unpacked; so is XML that nests for ever."""
    bomb = docx(paragraph("x" * MAX_XML_BYTES))
    assert len(bomb) < 100_000
    assert "unpacks" in reason(write(tmp_path / "bomb.docx", bomb))

    depth = 30_000
    nested = docx("<w:p>" + "<w:ins>" * depth + paragraph("x") + "</w:ins>" * depth + "</w:p>")
    assert "damaged" in reason(write(tmp_path / "nested.docx", nested))


def test_an_encrypted_pdf_without_password_is_open(tmp_path: Path) -> None:
    """A PDF that is only protected against changes is read."""
    assert "Pets are forbidden" in only(write(tmp_path / "lease.pdf", locked(pdf(*PAGES), ""))).text


def test_a_pdf_with_a_scanned_page_is_read_and_the_page_named(tmp_path: Path) -> None:
    """The pages with text are there with their right numbers, and the user learns which one is missing, or was read by OCR."""
    path = write(tmp_path / "lease.pdf", pdf(PAGES[0], "", PAGES[1], picture_on=2))

    (document,), skipped = read_documents([path])

    assert not skipped
    assert document.page_at(document.text.index("Pets")) == 3
    missing = {page for gap in document.gaps for page in gap.pages}
    assert missing | {document.page_at(each.start) for each in document.recognised} == {2}


def test_a_pdf_whose_pages_contain_each_other_ends(tmp_path: Path) -> None:
    """A page tree in a circle is damage and no endless walk."""
    data = japanese_pdf("家").replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]")

    assert reason(write(tmp_path / "circle.pdf", data))


def test_pdf_warnings_stay_off_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A PDF with a wrong table of contents is repaired in silence, and the logger is as it was."""
    level = logging.getLogger("pypdf").level
    data = pdf(*PAGES)
    place = data.rindex(b"startxref")
    path = write(tmp_path / "lease.pdf", data[:place] + b"startxref\n7\n%%EOF")

    documents, _ = read_documents([path])

    assert documents
    assert capsys.readouterr() == ("", "")
    # Threads of other libraries, left by tests before this one, may have something to say.
    assert not [record for record in caplog.records if record.name.startswith(("pypdf", "coordinator"))]
    assert logging.getLogger("pypdf").level == level


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    """What the user may not open is reported with the system's word for it."""
    path = write(tmp_path / "lease.txt", "Text.")
    path.chmod(0)

    assert "cannot be opened" in reason(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A named pipe with the name of a text file does not stop the run."""
    os.mkfifo(tmp_path / "pipe.txt")

    assert "regular file" in reason(tmp_path / "pipe.txt")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """Size is looked at before the file is in memory, and the amount of text before it is worked on."""
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(200_000_001)  # sparse: takes no disk
    assert "larger than 200 MB" in reason(path)

    assert "characters" in reason(write(tmp_path / "long.txt", "a" * (MAX_CHARACTERS + 1)))


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    """Good files are numbered without gaps; the bad ones are named."""
    write(tmp_path / "a.txt", "First.")
    write(tmp_path / "b.pdf", b"%PDF-broken")
    write(tmp_path / "c.docx", docx(paragraph("Third.")))
    write(tmp_path / "d.doc", b"old")

    documents, skipped = read_documents([tmp_path])

    assert [(document.label, document.text) for document in documents] == [("D1", "First."), ("D2", "Third.")]
    assert [Path(file.name).name for file in skipped] == ["b.pdf", "d.doc"]
