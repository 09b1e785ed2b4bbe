"""Messages of all makers: every text once, attachments as documents, what cannot be read told."""

import pytest

from coordinator.documents.extract import Extract
from coordinator.documents.mail import read_eml, read_mbox, read_mht
from coordinator.types import GapKind

HEAD = "From: a@example.org\nSubject: Rent\nMIME-Version: 1.0\n"
PDF = "Content-Type: application/pdf\nContent-Disposition: attachment; filename=lease.pdf\n\n%PDF-"


def plain(text: str, parameters: str = "") -> str:
    return f"Content-Type: text/plain; charset=utf-8{parameters}\n\n{text}"


def page(text: str) -> str:
    return f"Content-Type: text/html; charset=utf-8\n\n<p>{text}</p>"


def several(kind: str, *parts: str, border: str = "B") -> str:
    inside = "".join(f"--{border}\n{part}\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{border}"\n\n{inside}--{border}--\n'


def body(extract: Extract) -> list[str]:
    """The lines below the header."""
    return [line for line in extract.text.split("\n") if line][2:]


@pytest.mark.parametrize(
    ("content", "lines", "parts"),
    [
        (several("mixed", plain("Before."), PDF, plain("After.")), ["Before.", "After."], ["lease.pdf"]),
        (several("mixed", page("One."), page("Two.")), ["One.", "Two."], []),
        (
            several("mixed", several("alternative", plain("Same."), page("Same."), border="A"), plain("Foot.")),
            ["Same.", "Foot."],
            [],
        ),
        (
            several("related", page("Page."), "Content-Type: image/png; name=logo.png\nContent-Disposition: inline\n\nx"),
            ["Page."],
            [],
        ),
        (
            several("signed", plain("Signed."), "Content-Type: application/pkcs7-signature; name=smime.p7s\n\nMIIB"),
            ["Signed."],
            [],
        ),
        (several("mixed", plain("Outer."), "Content-Type: message/rfc822\n\nSubject: Inner\n\nText."), ["Outer."], ["Inner.eml"]),
    ],
)
def test_all_texts_of_a_message_are_read_once(content: str, lines: list[str], parts: list[str]) -> None:
    """Some programs part a text around what is attached; forms of one text, pictures of a page and signatures are none."""
    extract = read_eml(f"{HEAD}{content}".encode())
    assert body(extract) == lines
    assert [part.name for part in extract.parts] == parts
    assert not extract.gaps


@pytest.mark.parametrize(
    "content",
    [
        several(
            "encrypted", "Content-Type: application/pgp-encrypted\n\nVersion: 1", "Content-Type: application/octet-stream\n\nhQEMA"
        ),
        "\n-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n",
        several(
            "mixed", plain(""), "Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\neJ8+Ig=="
        ),
    ],
)
def test_what_is_locked_in_a_message_is_told(content: str) -> None:
    """Encrypted text is no text of the message, and neither is it passed over in silence."""
    extract = read_eml(f"{HEAD}{content}".encode())
    assert "hQEMA" not in extract.text
    assert [gap.kind for gap in extract.gaps] == [GapKind.NOT_READ]


def test_a_text_signed_in_place_is_read_without_its_signature() -> None:
    """The marks around it are none of what was written."""
    signature = "-----BEGIN PGP SIGNATURE-----\niQEz\n-----END PGP SIGNATURE-----\n"
    signed = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nThe rent.\n{signature}"
    assert body(read_eml(f"{HEAD}\n{signed}".encode())) == ["The rent."]


def test_lines_that_a_mail_program_wrapped_are_joined() -> None:
    """So are those of a quotation, and Japanese ones without a space."""
    flowed = plain("The rent is \ndue.\n\n> quoted \n> text\n", "; format=flowed")
    assert body(read_eml(f"{HEAD}{flowed}".encode())) == ["The rent is due.", "> quoted text"]
    japanese = plain("家賃は九 \n万円です。", "; format=flowed; delsp=yes")
    assert body(read_eml(f"{HEAD}{japanese}".encode())) == ["家賃は九万円です。"]


@pytest.mark.parametrize("encoding", ["cp932", "utf-8"])
def test_headers_that_are_not_encoded(encoding: str) -> None:
    """Old programs write them as they are."""
    assert "家賃の件です" in read_eml("From: a@b.c\nSubject: 家賃の件です\n\nText".encode(encoding)).text


def test_lines_that_begin_like_the_next_message() -> None:
    """Not all programs mark them; a message begins with a header."""
    box = (
        "From a@b.c Mon Jan  1 00:00:00 2027\nSubject: One\n\nNotice.\n\nFrom 1 May 2024 the rent is 950.\n\n"
        "From - Tue Jan  2 00:00:00 2027\nSubject: Two\n\n>From now on.\n"
    )
    extract = read_mbox(box.encode())
    assert [section.label for section in extract.sections] == ["One", "Two"]
    assert "From 1 May 2024 the rent is 950." in extract.text
    assert ">From" not in extract.text


def test_the_frames_of_a_web_archive_are_read() -> None:
    """A page may show its text in frames, which are parts of their own."""
    assert read_mht(f"{HEAD}{several('related', page('Page.'), page('Frame.'))}".encode()).text == "Page.\n\nFrame."
