"""Which kinds of files are read, and by what."""

import codecs
import contextlib
import importlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any, Final

from coordinator.documents.extract import Extract

Reader = Callable[[bytes], Extract]

READERS: Final[Mapping[str, str]] = {
    **dict.fromkeys((".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".log", ".ics", ".vcf"), "plain.read_text"),
    **dict.fromkeys((".html", ".htm", ".xhtml", ".xht"), "html.read_html"),
    ".pdf": "pdf.reader.read_pdf",
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), "word.reader.read_word"),
    ".rtf": "rich_text.read_rtf",
    **dict.fromkeys((".odt", ".ott", ".ods", ".ots", ".odp", ".otp"), "open_document.read_odf"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xltx", ".xltm"), "sheets.read_xlsx"),
    **dict.fromkeys((".csv", ".tsv", ".tab"), "data.read_csv"),
    ".json": "data.read_json",
    **dict.fromkeys((".jsonl", ".ndjson"), "data.read_jsonl"),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".ppsm", ".potx"), "slides.read_pptx"),
    ".eml": "mail.read_eml",
    ".mbox": "mail.read_mbox",
    **dict.fromkeys((".mht", ".mhtml"), "mail.read_mht"),
    ".epub": "books.read_epub",
    **dict.fromkeys((".srt", ".vtt"), "subtitles.read_subtitles"),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"), "ocr.pictures.read_picture"),
}
"""By a file name's ending in lower case: the module in this package and its function. Modules are imported when they are needed, in
the process that reads: their libraries take half a second and 60 MB."""

NOT_READ: Final[Mapping[str, str]] = {
    ".doc": "it is in the old Word format; save it as .docx and try again",
    ".xls": "it is in the old Excel format; save it as .xlsx and try again",
    ".xlsb": "it is in Excel's binary format; save it as .xlsx and try again",
    ".ppt": "it is in the old PowerPoint format; save it as .pptx and try again",
    ".msg": "it is in Outlook's own format; save it as .eml and try again",
    ".pst": "it is in Outlook's own format; export its messages as .eml or .mbox and try again",
    ".pages": "it is in the Pages format; save it as .docx or PDF and try again",
    ".numbers": "it is in the Numbers format; save it as .xlsx or PDF and try again",
    ".key": "it is in the Keynote format; save it as .pptx or PDF and try again",
    ".wpd": "it is in the WordPerfect format; save it as .docx or PDF and try again",
    ".mobi": "it is in the Kindle format; convert it to .epub and try again",
    ".azw3": "it is in the Kindle format; convert it to .epub and try again",
    ".zip": "it is an archive; unpack it and try again",
    **dict.fromkeys((".heic", ".heif", ".avif"), "it is a picture of a kind that is not read; save it as .jpg and try again"),
}
"""Documents that people have and that are not read, with the reason: silence about them in a folder would pass for having read
them."""


_INSIDE: Final = (
    ("xl/workbook.xml", ".xlsx"),
    ("ppt/presentation.xml", ".pptx"),
    ("META-INF/container.xml", ".epub"),
    ("content.xml", ".odt"),
    ("word/document.xml", ".docx"),
    ("_rels/.rels", ".docx"),
)
"""What an archive holds that is a document, and the ending it should have."""

OLD_OFFICE: Final = frozenset({".doc", ".xls", ".ppt"})
"""Endings under which programs also save other kinds, which are read."""
_TEXT: Final = frozenset(ending for ending, reader in READERS.items() if reader.startswith(("plain.", "html.", "data.read_json")))


_HTML: Final = re.compile(rb"(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)?(?:<!doctype html|<html)", re.DOTALL)
_MAIL: Final = re.compile(
    rb"(?:from|received|return-path|delivered-to|mime-version|subject|date|message-id|to|reply-to|x-[\w-]+): "
)


_MAGIC: Final = (
    (b"%PDF-", ".pdf"),
    (b"{\\rtf", ".rtf"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"GIF8", ".gif"),
)


def kind_of(data: bytes, file: IO[bytes] | None = None) -> str:
    """The ending that a file of this beginning should have; ".txt" where it says nothing. `file` is read where an archive has to be
    looked into and `data` is not all of it."""
    start = data[:1024].lstrip()
    for magic, ending in _MAGIC:
        if start.startswith(magic):
            return ending
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data.startswith(b"PK"):
        try:
            with zipfile.ZipFile(file if file is not None else io.BytesIO(data)) as archive:
                names = set(archive.namelist())
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
            return ".txt"
        return next((ending for name, ending in _INSIDE if name in names), ".txt")
    head = start.removeprefix(codecs.BOM_UTF8).lower()
    if _HTML.match(head):
        return ".html"
    if _MAIL.match(head):
        return ".mht" if b"multipart/related" in head and b"from: <saved" in head else ".eml"
    return ".txt"


def kind_of_text(data: bytes) -> str:
    """The ending of text that came without a name and is a table, a record or the like; empty where it is none that can be told."""
    start = data[:65_536].removeprefix(codecs.BOM_UTF8).lstrip()
    if re.match(rb"WEBVTT\b|\d+\s*\r?\n\d\d:\d\d:\d\d[,.]\d+ -->", start):
        return ".vtt"
    if re.match(rb"From \S+ .*\d{4}\s*\r?\n[\w-]+: ", start):
        return ".mbox"
    if start[:1] in (b"{", b"["):
        for ending, text in ((".json", data), (".jsonl", start.partition(b"\n")[0])):
            with contextlib.suppress(ValueError, RecursionError):
                json.loads(text)
                return ending
    lines = [line for line in start.splitlines()[:200] if line.strip()][: -1 if len(data) > len(start) else None]
    for mark in b",;\t|":
        counts = {line.count(mark) for line in lines}
        if len(lines) > 2 and len(counts) == 1 and counts != {0}:
            return ".csv"
    return ""


def kind_inside(ending: str, data: bytes) -> str:
    """`ending`, or where the file is of another kind than its name says, the one that it should have. Only for kinds that begin
    with a mark of their own: text may begin with anything."""
    found = kind_of(data) if ending not in _TEXT else ".txt"
    return ending if found == ".txt" or READERS[found] == READERS.get(ending) else found


def reader_of(ending: str) -> Reader:
    """The reader for files whose names end so; a kind that is not known is tried as plain text."""
    module, _, function = READERS.get(ending, READERS[".txt"]).rpartition(".")
    reader: Any = getattr(importlib.import_module(f"coordinator.documents.{module}"), function)
    return reader  # type: ignore[no-any-return]  # a test holds every entry against the type
