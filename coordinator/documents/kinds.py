"""Which kinds of files are read, and by what."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from coordinator.documents.extract import Extract

Reader = Callable[[bytes], Extract]

READERS: Final[Mapping[str, str]] = {
    ".txt": "readers.read_text",
    ".md": "readers.read_text",
    ".markdown": "readers.read_text",
    **dict.fromkeys((".html", ".htm", ".xhtml", ".xht"), "html.read_html"),
    ".pdf": "readers.read_pdf",
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), "word.reader.read_word"),
}
"""By a file name's ending in lower case: the module in this package and its function. Modules are imported when they are needed, in
the process that reads: their libraries take half a second and 60 MB."""

NOT_READ: Final[Mapping[str, str]] = {
    ".doc": "it is in the old Word format; save it as .docx and try again",
    ".xls": "it is a spreadsheet; save it as PDF or as text and try again",
    ".xlsx": "it is a spreadsheet; save it as PDF or as text and try again",
    ".ods": "it is a spreadsheet; save it as PDF or as text and try again",
    ".ppt": "it is a presentation; save it as PDF and try again",
    ".pptx": "it is a presentation; save it as PDF and try again",
    ".odp": "it is a presentation; save it as PDF and try again",
    ".odt": "it is in the OpenDocument format; save it as .docx or PDF and try again",
    ".rtf": "it is in the Rich Text format; save it as .docx or PDF and try again",
    ".pages": "it is in the Pages format; save it as .docx or PDF and try again",
}
"""Documents that people have and that are not read, with the reason: silence about them in a folder would pass for having read
them."""


def reader_of(ending: str) -> Reader:
    """The reader for files whose names end so; a kind that is not known is tried as plain text."""
    module, _, function = READERS.get(ending, READERS[".txt"]).rpartition(".")
    reader: Any = getattr(importlib.import_module(f"coordinator.documents.{module}"), function)
    return reader  # type: ignore[no-any-return]  # a test holds every entry against the type
