"""What a reader makes of a file, and what all readers share."""

import re
from dataclasses import dataclass
from typing import Final

from coordinator.errors import DocumentError
from coordinator.types import Gap, Recognised, Row, Section

MAX_CHARACTERS: Final = 20_000_000
"""Some 5,000 dense pages: a pool would read it for days."""

_LINE_ENDS: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNWANTED: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff]")


@dataclass(frozen=True, slots=True)
class Part:
    """A document inside a file, such as an attachment: it is read as a document of its own."""

    name: str
    """With the ending that says its kind."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Extract:
    """What a file says. Every offset is into `text`, which has been through `clean`: blank lines part paragraphs, a line end within
    a paragraph is a space or the end of a list item or row, and text may go on over the border of a section.

    A reader takes the bytes of a file and returns this. It raises `DocumentError`, with a reason that completes "the file cannot be
    read: ...", and may crash or hang: it runs in a process of its own with limits (`coordinator.documents.workers`).
    """

    text: str
    sections: tuple[Section, ...] = ()
    """In order of `start`."""
    rows: tuple[Row, ...] = ()
    """In order of `start`; none overlaps another. The line of a table's header is plain text and no row."""
    gaps: tuple[Gap, ...] = ()
    parts: tuple[Part, ...] = ()
    recognised: tuple[Recognised, ...] = ()
    """In order of `start`; none overlaps another."""


def clean(text: str) -> str:
    """`text` that any program can take: line ends as "\\n", no control characters beside it and tab, no soft hyphens, spaces
    without width or byte order marks, nothing that UTF-8 cannot hold. Otherwise as it was."""
    text = _LINE_ENDS.sub("\n", text)
    text = _UNWANTED.sub("", text)
    # Pairs of surrogates, which some PDF fonts yield, become their character; lone ones the replacement character.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def checked(text: str) -> str:
    """`text`, if it is a document's. Raises `DocumentError` where it is empty or too long."""
    if not text.strip():
        raise DocumentError("there is no text in it")
    if len(text) > MAX_CHARACTERS:
        raise DocumentError(f"it holds more than {MAX_CHARACTERS:,} characters; split it and try again")
    return text
