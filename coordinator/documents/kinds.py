"""Which kinds of files are read, and by what."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from coordinator.documents.extract import Extract

Reader = Callable[[bytes], Extract]

READERS: Final[Mapping[str, str]] = {
    **dict.fromkeys((".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".log"), "plain.read_text"),
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
    **dict.fromkeys(
        (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".heic", ".webp", ".bmp", ".gif"), "it is a picture; pictures are not read"
    ),
}
"""Documents that people have and that are not read, with the reason: silence about them in a folder would pass for having read
them."""


def reader_of(ending: str) -> Reader:
    """The reader for files whose names end so; a kind that is not known is tried as plain text."""
    module, _, function = READERS.get(ending, READERS[".txt"]).rpartition(".")
    reader: Any = getattr(importlib.import_module(f"coordinator.documents.{module}"), function)
    return reader  # type: ignore[no-any-return]  # a test holds every entry against the type
