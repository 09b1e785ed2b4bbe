"""One reader for each kind of file: its bytes to clean text, with the places of pages where there are any."""

import io
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pypdf import PageObject, PdfReader

from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, checked, clean
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind, Section, SectionKind

MAX_PDF_PAGES: Final = 20_000
MAX_PDF_SECONDS: Final = 600.0
"""Looked at between pages. An ordinary page takes 5 to 50 ms here and ten times that on a small board."""

PAGE_BREAK: Final = "\n\n"

_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_FOREIGN: Final = (
    (b"%PDF-", "a PDF under another name"),
    (b"PK\x03\x04", "an archive or an office document under another name"),
    (_OLE, "an old office document"),
    (b"{\\rtf", "in the Rich Text format"),
    (b"\x89PNG", "a picture"),
    (b"GIF8", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x1f\x8b", "a compressed file"),
    (b"\x7fELF", "a program"),
)


def read_text(data: bytes) -> Extract:
    for magic, kind in _FOREIGN:
        if data.startswith(magic):
            raise DocumentError(f"it is not text but {kind}")
    return Extract(checked(clean(decode(data))))


def read_pdf(data: bytes) -> Extract:
    with _silent_pypdf():
        pages, broken, pictures = _pdf_pages(data)
    text = PAGE_BREAK.join(pages)
    sections: list[Section] = []
    at = 0
    for number, page in enumerate(pages, 1):
        sections.append(Section(SectionKind.PAGE, number, at))
        at += len(page) + len(PAGE_BREAK)
    if not text.strip():
        if broken:
            raise DocumentError("it is damaged: no page of it can be read")
        raise DocumentError("its pages hold no text, only pictures: it is probably a scan; run OCR over it first")
    gaps = []
    if broken:
        gaps.append(Gap(GapKind.DAMAGED, f"{_numbers(broken)} damaged and could not be read; the others were", tuple(broken)))
    if pictures:
        gaps.append(
            Gap(GapKind.SCAN, f"{_numbers(pictures)} only a picture and could not be read; the others were", tuple(pictures))
        )
    return Extract(checked(text), tuple(sections), (), tuple(gaps))


_pypdf_lock: Final = threading.Lock()


@contextmanager
def _silent_pypdf() -> Iterator[None]:
    """Keeps pypdf's warnings off the terminal while a PDF is read: what matters of them is reported as a reason.

    The level of its logger belongs to the whole process, so one thread at a time changes it and puts it back. Nothing is lost by
    that: pypdf is Python through and through, and two threads would not be faster.
    """
    logger = logging.getLogger("pypdf")
    with _pypdf_lock:
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


def _pdf_pages(data: bytes) -> tuple[list[str], list[int], list[int]]:
    """The text of each page, and the numbers of the pages that are broken and of those that are pictures."""
    if b"%PDF-" not in data[:1024]:
        raise DocumentError("it is damaged, or not a PDF")
    try:
        reader = PdfReader(io.BytesIO(data))
        locked = reader.is_encrypted and not reader.decrypt("")
        count = 0 if locked else len(reader.pages)
    except (
        Exception
    ) as error:  # a damaged file can raise anything: key, type, value and recursion errors were seen beside pypdf's own
        raise DocumentError("it is damaged: no PDF reader's repair was enough") from error
    if locked:
        raise DocumentError("it is encrypted; save a copy without a password and try again")
    if not count:
        raise DocumentError("it has no pages")
    if count > MAX_PDF_PAGES:
        raise DocumentError(f"it has more than {MAX_PDF_PAGES} pages; split it and try again")
    pages: list[str] = []
    broken: list[int] = []
    pictures: list[int] = []
    deadline = time.monotonic() + MAX_PDF_SECONDS
    for number in range(1, count + 1):
        if time.monotonic() > deadline:
            raise DocumentError(
                f"its pages take too long to read ({MAX_PDF_SECONDS:.0f} s did not suffice); split it and try again"
            )
        try:
            page = reader.pages[number - 1]
            text = clean(page.extract_text())
            if not text.strip() and _has_picture(page):
                pictures.append(number)
        except Exception:  # as above
            text = ""
            broken.append(number)
        pages.append(text)
    return pages, broken, pictures


def _has_picture(page: PageObject) -> bool:
    resources: Any = page.get("/Resources", {})
    return bool(resources.get_object().get("/XObject"))


def _numbers(pages: list[int]) -> str:
    """Subject and verb for a list of page numbers, which is cut where it gets long."""
    if len(pages) == 1:
        return f"page {pages[0]} is"
    shown = ", ".join(map(str, pages[:10]))
    return f"pages {shown}{' and more' if len(pages) > 10 else ''} are"
