"""HTML to lines of text: a block is a paragraph, a list item a line, a row of a table a line with its cells set apart by bars.

Tags are found with expressions that look at each character a bounded number of times. The standard library's parser, which other
parsers build on, takes time that grows with the square of what is wrong: 75 s for 400 kB of unfinished comments.
"""

import html
import re
from typing import Final

_TOKEN: Final = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<[!?][^<>]*>?"
    r"|<(?P<close>/?)(?P<tag>[a-zA-Z][^\s/<>]*+)(?:(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+'|[\"'])*+>|[^<>]*>)"
    r"|[^<]++|<",
    re.DOTALL,
)
_PARAGRAPH: Final = re.compile(
    r"address|article|aside|blockquote|body|caption|center|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form"
    r"|h[1-6]|head|header|hr|html|legend|main|menu|p|pre|section|summary|table|title"
)
_DROPPED: Final = re.compile(r"script|style|template|noscript|svg|nav")
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
    """The readable text of `source`: paragraphs set apart by blank lines, entities decoded, no scripts, styles or menus."""
    segments = "".join(_marked(_MARKS.sub("", source))).split(_ROW)
    paragraphs = (paragraph for segment in segments for paragraph in _segment(segment))
    joined = ""
    parts: list[str] = []
    for paragraph, is_row in paragraphs:
        parts.append(("\n" if is_row and joined == "row" else "\n\n") if parts else "")
        parts.append(paragraph)
        joined = "row" if is_row else "text"
    return "".join(parts)


def _marked(source: str) -> list[str]:
    """The text of `source` with marks where its tags break it."""
    parts: list[str] = []
    lists: list[int | None] = []  # of the open lists: the number of the last item, None where they have bullets
    unclosed: set[str] = set()
    pre = 0
    at = 0
    while match := _TOKEN.match(source, at):
        at = match.end()
        if not match["tag"]:
            token = match.group()
            if not token.startswith(("<!", "<?")):
                parts.append(_characters(html.unescape(token), keep=pre > 0))
            continue
        tag, closing = match["tag"].lower(), bool(match["close"])
        if _DROPPED.fullmatch(tag) and not closing and tag not in unclosed:
            end = re.compile(rf"</{tag}\b[^>]*>?", re.IGNORECASE).search(source, at)
            if end:
                at = end.end()
            elif tag in {"script", "style"}:
                break
            else:
                unclosed.add(tag)  # a page must not vanish behind a menu that never ends
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
