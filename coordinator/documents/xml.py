"""Office files: zip archives of XML parts that point at one another."""

import io
import posixpath
import zipfile
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from coordinator.errors import DocumentError

MAX_ARCHIVE_BYTES: Final = 400_000_000
MAX_XML_BYTES: Final = 60_000_000
"""Of what is parsed, unpacked: a document of some thousand pages, or a sheet of half a million cells. A megabyte takes 15 MB."""

OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_RELATIONSHIP: Final = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


class Archive:
    """The parts of an office file, by name. All that it unpacks is bounded, and XML in particular."""

    def __init__(self, data: bytes, kind: str) -> None:
        """`kind` completes "it is damaged, or not ...". Raises `DocumentError` with the true reason for what cannot be opened."""
        if data.startswith(OLE):
            raise DocumentError(_inside_ole(data))
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            entries = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise DocumentError(f"it is damaged, or not {kind}") from error
        if any(entry.flag_bits & 1 for entry in entries):
            raise DocumentError("it is encrypted; save a copy without a password and try again")
        # The archive's own figures can be trusted so far: reading stops at the size it declares.
        if sum(entry.file_size for entry in entries) > MAX_ARCHIVE_BYTES:
            raise DocumentError("it unpacks to more than documents do; split it, or save it as PDF, and try again")
        self._left = MAX_XML_BYTES
        # Some programs write the separators of Windows.
        self._entries = {entry.filename.replace("\\", "/"): entry for entry in entries}
        self.names: Final = frozenset(self._entries)

    def read(self, name: str) -> bytes:
        """Raises `DocumentError` where the part is not there or is damaged."""
        try:
            return self._zip.read(self._entries[name])
        except (KeyError, zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
            raise DocumentError("it is damaged: a part of it cannot be unpacked") from error

    def xml(self, name: str) -> Element:
        """The root of an XML part. Raises `DocumentError` as `read` does, and for XML that cannot be parsed or is too large."""
        size = self._entries[name].file_size if name in self.names else 0
        if size > self._left:
            raise DocumentError("it unpacks to more than documents do; split it, or save it as PDF, and try again")
        self._left -= size
        try:
            return ElementTree.fromstring(self.read(name))  # noqa: S314 - expat loads nothing and bounds entities; sizes are bounded
        except ElementTree.ParseError as error:
            raise DocumentError("it is damaged: its XML cannot be read") from error

    def related(self, part: str) -> Iterator[tuple[str, str, str]]:
        """What `part` ("" for the package) points at in the archive: id, the last word of the type ("footnotes"), name."""
        folder, name = posixpath.split(part)
        relations = posixpath.join(folder, "_rels", f"{name}.rels")
        if relations not in self.names:
            return
        for each in self.xml(relations).iter(_RELATIONSHIP):
            if each.get("TargetMode") != "External":
                target = each.get("Target", "")
                path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
                yield each.get("Id", ""), each.get("Type", "").rpartition("/")[2], path

    def main_part(self, kind: str, usual: str) -> str:
        """The part that the package says is the document, else the one at the `usual` place. Raises `DocumentError` where there is
        none."""
        for _, relation, name in self.related(""):
            if relation == "officeDocument" and name in self.names:
                return name
        if usual in self.names:
            return usual
        raise DocumentError(f"it is damaged, or not {kind}: there is no {usual} in it")


def local(element: Element) -> str:
    """The element's name without its namespace; "" for comments and the like."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute(element: Element | None, name: str, default: str = "") -> str:
    """An attribute by its name without its namespace."""
    if element is None:
        return default
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), default)


def child(element: Element | None, *path: str) -> Element | None:
    """The first child of that name, the first child of that name in it, and so on."""
    for name in path:
        element = None if element is None else next((each for each in element if local(each) == name), None)
    return element


def children(element: Element | None, name: str) -> Iterator[Element]:
    return (each for each in (element if element is not None else ()) if local(each) == name)


def _inside_ole(data: bytes) -> str:
    """What an old container holds, by the names in its directory."""
    if "EncryptedPackage".encode("utf-16-le") in data:
        return "it is encrypted; save a copy without a password and try again"
    for name, what in (
        ("WordDocument", "the old Word format"),
        ("Workbook", "the old Excel format"),
        ("PowerPoint", "the old PowerPoint format"),
    ):
        if name.encode("utf-16-le") in data:
            return f"it is in {what} under another name; save it in today's format and try again"
    return "it is an old office document; save it in today's format and try again"
