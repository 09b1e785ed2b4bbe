"""HTML to lines of text: a block is a paragraph, a list item a line, a row of a table a line with its cells set apart by bars."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser

from coordinator.errors import DocumentError

# The parser's time grows with the square of the depth (4 s for 40,000 elements inside one another); pages are a few dozen deep.
MAX_OPEN_ELEMENTS: Final = 10_000

_PARAGRAPH: Final = re.compile(
    r"address|article|aside|blockquote|body|caption|center|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form"
    r"|h[1-6]|head|header|hr|html|legend|main|menu|p|pre|section|summary|table|title"
)
_DROPPED: Final = frozenset({"script", "style", "template", "noscript", "svg"})
# Tags that need no end tag, and the shapes of drawings, which mostly have none.
_SELF_CLOSING: Final = frozenset(
    re.findall(
        r"\w+",
        "area base br col colgroup dd dt embed frame hr img input li link meta optgroup option p param rb rp rt source tbody td"
        " tfoot th thead tr track wbr circle ellipse line path polygon polyline rect stop use",
    )
)
_META_CHARSET: Final = re.compile(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_ENCODING: Final = re.compile(rb"\A\s*<\?xml\s[^>]*?encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)

# Marks for what a tag means to the lines; the input's own control characters are gone by then.
_BREAK: Final = "\x1d"
_ROW: Final = "\x1e"
_CELL: Final = "\x1f"
_MARKS: Final = re.compile(f"[{_BREAK}{_ROW}{_CELL}]")
_ITEM: Final = re.compile(r"\n(?:-|\d+\.) ")


def declared_encoding(data: bytes) -> str | None:
    """The encoding that an HTML file names for itself near its beginning."""
    match = _META_CHARSET.search(data[:4096]) or _XML_ENCODING.search(data[:4096])
    return match.group(1).decode("ascii", "ignore") if match else None


def html_text(source: str) -> str:
    """The readable text of `source`: paragraphs set apart by blank lines, entities decoded, no scripts, styles or menus.

    Raises `DocumentError` for markup that is nested deeper than any page.
    """
    if _is_bottomless(source):
        raise DocumentError("its HTML has too many elements inside one another")
    segments = "".join(_marked(_MARKS.sub("", source))).split(_ROW)
    paragraphs = (paragraph for segment in segments for paragraph in _segment(segment))
    joined = ""
    parts: list[str] = []
    for paragraph, is_row in paragraphs:
        parts.append(("\n" if is_row and joined == "row" else "\n\n") if parts else "")
        parts.append(paragraph)
        joined = "row" if is_row else "text"
    return "".join(parts)


class _Step(NamedTuple):
    """One step of a walk through a page: an element opens or closes, or a text stands there."""

    tag: str
    closing: bool = False
    text: str = ""


def _steps(source: str) -> Iterator[_Step]:
    node = LexborHTMLParser(source).root
    while node is not None:
        tag = node.tag or ""
        if tag == "-text":
            yield _Step("", text=node.text(deep=False))
        elif tag not in _DROPPED and not tag.startswith(("-", "!")):
            yield _Step(tag)
            # A menu is of no use, but a page must not vanish behind one that is never closed.
            if node.child is not None and not (tag == "nav" and node.next is not None):
                node = node.child
                continue
            yield _Step(tag, closing=True)
        while node is not None and node.next is None:
            node = node.parent
            if node is not None:
                yield _Step(node.tag or "", closing=True)
        node = node.next if node is not None else None


def _is_bottomless(source: str) -> bool:
    """Whether some element is open more than `MAX_OPEN_ELEMENTS` times at once."""
    opened: Counter[str] = Counter()
    for match in re.finditer(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)(/>)?", source):
        tag = match[2].lower()
        if match[1]:
            opened[tag] = max(0, opened[tag] - 1)
        elif tag not in _SELF_CLOSING and not match[3]:
            opened[tag] += 1
            if opened[tag] > MAX_OPEN_ELEMENTS:
                return True
    return False


def _marked(source: str) -> list[str]:
    """The text of `source` with marks where its elements break it."""
    parts: list[str] = []
    lists: list[int | None] = []  # of the open lists: the number of the last item, None where they have bullets
    pre = 0
    for tag, closing, text in _steps(source):
        if not tag:
            parts.append(_characters(text, keep=pre > 0))
        elif tag in {"ul", "ol"}:
            if not closing:
                lists.append(0 if tag == "ol" else None)
            elif lists:
                lists.pop()
            if len(lists) == (0 if closing else 1):
                parts.append(_BREAK)
        elif tag == "li" and not closing:
            number = lists[-1] if lists else None
            if number is not None:
                lists[-1] = number = number + 1
            parts.append("\n- " if number is None else f"\n{number}. ")
        elif tag == "br":
            parts.append("\n")
        elif tag == "tr":
            parts.append(_ROW)
        elif tag in {"td", "th"} and not closing:
            parts.append(_CELL)
        elif _PARAGRAPH.fullmatch(tag):
            pre = max(0, pre + (-1 if closing else 1)) if tag == "pre" else pre
            # The paragraph that fills a list item, as word processors write it, stays on the item's line.
            if not (parts and _ITEM.fullmatch(parts[-1])):
                parts.append(_BREAK)
    return parts


def _characters(text: str, *, keep: bool) -> str:
    text = _MARKS.sub("", text)
    return re.sub(r" {2,}", "\t", text) if keep else re.sub(r"[ \t\r\n\f]+", " ", text)


def _segment(segment: str) -> list[tuple[str, bool]]:
    """The paragraphs of what stands between two row marks, and whether it is a row. One lone cell is layout and no row."""
    cells = segment.split(_CELL)
    if len(cells) > 2:
        row = re.sub(r"^[| ]+|[| ]+$", "", " | ".join(" ".join(cell.replace(_BREAK, " ").split()) for cell in cells[1:]))
        outside = _plain(cells[0])
        return [*outside, (row, True)] if row else outside
    return [paragraph for cell in cells for paragraph in _plain(cell)]


def _plain(text: str) -> list[tuple[str, bool]]:
    paragraphs = ("\n".join(re.sub(" {2,}", " ", line).strip() for line in block.split("\n")) for block in text.split(_BREAK))
    return [(re.sub(r"\n{2,}", "\n", paragraph).strip("\n"), False) for paragraph in paragraphs if paragraph.strip()]
