"""Plain text."""

from typing import Final

from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, checked, clean
from coordinator.errors import DocumentError

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
