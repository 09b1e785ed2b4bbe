"""Electronic books (.epub): the chapters in reading order."""

import posixpath
from typing import Final
from urllib.parse import unquote

from coordinator.documents.builder import Builder
from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, clean
from coordinator.documents.html import add_html, declared_encoding
from coordinator.documents.xml import Archive, attribute, local
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind, SectionKind

_KIND: Final = "an electronic book"
_CONTAINER: Final = "META-INF/container.xml"
_ENCRYPTION: Final = "META-INF/encryption.xml"


def read_epub(data: bytes) -> Extract:
    archive = Archive(data, _KIND)
    if _CONTAINER not in archive.names:
        raise DocumentError(f"it is damaged, or not {_KIND}: there is no {_CONTAINER} in it")
    package = next((attribute(each, "full-path") for each in archive.xml(_CONTAINER).iter() if local(each) == "rootfile"), "")
    folder = posixpath.dirname(package)
    items: dict[str, tuple[str, str]] = {}
    spine: list[str] = []
    aside: list[str] = []  # what the text only points at, such as answers and notes
    for each in archive.xml(package).iter():
        if local(each) == "item":
            path = posixpath.normpath(posixpath.join(folder, unquote(attribute(each, "href"))))
            items[attribute(each, "id")] = (path, attribute(each, "media-type"))
        elif local(each) == "itemref":
            (aside if attribute(each, "linear") == "no" else spine).append(attribute(each, "idref"))
    chapters = [path for path, kind in (items.get(id, ("", "")) for id in (*spine, *aside)) if "html" in kind]
    # Fonts may be scrambled in an open book; chapters that are, are locked by their seller.
    locked = {attribute(each, "URI") for each in archive.xml(_ENCRYPTION).iter()} if _ENCRYPTION in archive.names else set()
    if locked & set(chapters):
        raise DocumentError("it is locked to its seller's program (DRM) and cannot be read by others")
    builder = Builder()
    for number, path in enumerate(chapters, 1):
        if path not in archive.names:
            builder.gaps.append(Gap(GapKind.DAMAGED, f"chapter {number} is missing: there is no {path} in the book", (number,)))
            continue
        builder.section(SectionKind.CHAPTER, number)
        page = archive.read(path)
        try:
            add_html(clean(decode(page, declared_encoding(page) or "utf-8")), builder)
        except DocumentError as error:
            builder.gaps.append(Gap(GapKind.DAMAGED, f"chapter {number} cannot be read: {error}", (number,)))
    return builder.extract()
