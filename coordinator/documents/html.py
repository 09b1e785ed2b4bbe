"""HTML to lines of text: a block is a paragraph, a list item a line, a row of a table a line with its cells set apart by bars."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from coordinator.documents.builder import LEFT_OUT, Builder, TableRow, lowered, raised
from coordinator.documents.counting import FORMATS
from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, clean
from coordinator.documents.html_styles import Styles, hides, list_kind, strikes
from coordinator.documents.mathml import linear
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind

# The parser's time grows with the square of the depth (4 s for 40,000 elements inside one another); pages are a few dozen deep.
MAX_OPEN_ELEMENTS: Final = 10_000
MAX_SPAN: Final = 200
MAX_COLUMNS: Final = 1_000

_PARAGRAPH: Final = re.compile(
    r"address|article|aside|blockquote|body|caption|center|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form"
    r"|h[1-6]|head|header|hr|html|legend|main|menu|nav|noscript|p|pre|section|summary|table|t[dhr]|tbody|tfoot|thead|title"
)
_DROPPED: Final = frozenset(
    {"script", "style", "template", "svg", "rt", "rtc", "rp", "iframe", "object", "audio", "video", "canvas", "datalist"}
)
_STRUCK: Final = frozenset({"del", "s", "strike"})
_TABLE_ROLES: Final = {
    "table": "table",
    "grid": "table",
    "treegrid": "table",
    "row": "tr",
    "cell": "td",
    "gridcell": "td",
    "columnheader": "th",
    "rowheader": "th",
}
_TABLE_DISPLAYS: Final = {"table": "table", "table-row": "tr", "table-cell": "td"}
_INLINE: Final = frozenset({"a", "abbr", "b", "em", "font", "i", "label", "small", "span", "strong", "u"})
_LAYOUT: Final = "h1, h2, h3, h4, section, article, nav"
"""What arranges a page holds such, and a table of data does not."""
_MENU_LINKS: Final = 0.5
"""Share of its text that is in links from which a `nav` is a menu."""
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
_LIST_FORMATS: Final = {
    "a": "lowerLetter",
    "A": "upperLetter",
    "i": "lowerRoman",
    "I": "upperRoman",
    "lower-alpha": "lowerLetter",
    "lower-latin": "lowerLetter",
    "upper-alpha": "upperLetter",
    "upper-latin": "upperLetter",
    "lower-roman": "lowerRoman",
    "upper-roman": "upperRoman",
    "decimal-leading-zero": "decimalZero",
    "cjk-ideographic": "japaneseCounting",
    "japanese-informal": "japaneseCounting",
    "cjk-decimal": "ideographDigital",
    "katakana": "aiueoFullWidth",
    "katakana-iroha": "irohaFullWidth",
    "cjk-heavenly-stem": "ideographTraditional",
    "none": "none",
}
_BULLETS: Final = frozenset({"disc", "circle", "square"})
_SHADOW: Final = re.compile(r"<template(?=[^>]*\sshadowroot(?:mode)?\s*=)", re.IGNORECASE)
_XHTML: Final = re.compile(
    r"\A\s*(?:<\?xml\b|(?:<!--.*?-->\s*)?(?:<!doctype[^>]*>\s*)?<html[^>]*\sxmlns\s*=)", re.IGNORECASE | re.DOTALL
)
_CLOSES_ITSELF: Final = re.compile(r"<([a-zA-Z][\w:-]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)/>")
_VOID: Final = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr", "frame"}
)
_ASKS_FOR_SCRIPTS: Final = re.compile(r"java\s?script", re.IGNORECASE)
_SAYS_LITTLE: Final = 300
MAX_FRAMES: Final = 3
"""Pages inside one another, each kept in an attribute of the one around it."""

_BREAK: Final = "\x1d"
"""Between paragraphs; the input's own control characters are gone by then."""
_ITEM: Final = re.compile(r"\n(?:(?:-|\S{1,12}\.) )?|: ")
"""What a paragraph inside an item or a definition does not part from what it says."""


def read_html(data: bytes) -> Extract:
    return html_extract(clean(decode(data, declared_encoding(data))))


def declared_encoding(data: bytes) -> str | None:
    """The encoding that an HTML file names for itself near its beginning."""
    match = _META_CHARSET.search(data[:4096]) or _XML_ENCODING.search(data[:4096])
    return match.group(1).decode("ascii", "ignore") if match else None


def html_extract(source: str) -> Extract:
    """What a reader of the page sees. Raises `DocumentError` for markup that is nested deeper than any page, or without text."""
    builder = Builder()
    add_html(source, builder)
    if not builder.text and re.search(r"<script\b", source, re.IGNORECASE):
        raise DocumentError("there is no text in it: scripts make it; open it in a browser, print it to a PDF and try again")
    return builder.extract()


def add_html(source: str, builder: Builder, frames: int = 0) -> None:
    """Adds what a reader of the page sees to `builder`. Raises `DocumentError` for markup that is nested deeper than any page, and
    for a page that is only a frame around other files. `frames` is how many pages it stands in."""
    if _XHTML.match(source):
        source = _CLOSES_ITSELF.sub(_with_end, _without_cdata(source))
    if _is_bottomless(source):
        raise DocumentError("its HTML has too many elements inside one another")
    parsed = LexborHTMLParser(_SHADOW.sub("<div", source).replace(_BREAK, ""))
    shown = ", ".join(filter(None, (each.attributes.get("src") or "" for each in parsed.css("frame"))))
    if shown and len("".join(each.text(deep=True) for each in parsed.css("noframes"))) < _SAYS_LITTLE:
        raise DocumentError(f"it holds no text but frames other files ({shown}); name those and try again")
    page = _Page(builder, parsed, frames)
    for node, closing in _steps(parsed.root, page):
        if node.tag == "-text":
            page.text(node.text(deep=False))
        elif closing:
            page.leave(page.tag(node))
        else:
            page.enter(page.tag(node), node)
    page.end()


def _without_cdata(source: str) -> str:
    """Sections of text without markup, which only XML knows, as text."""
    first, *others = source.split("<![CDATA[")
    pieces = [first]
    for other in others:
        inside, _, rest = other.partition("]]>")
        pieces += (inside.replace("&", "&amp;").replace("<", "&lt;"), rest)
    return "".join(pieces)


def _with_end(match: re.Match[str]) -> str:
    """An element that ends itself, which only XML knows, as one with an end."""
    return match[0] if match[1].lower() in _VOID else f"<{match[1]}{match[2]}></{match[1]}>"


def _steps(root: LexborNode | None, page: "_Page") -> Iterator[tuple[LexborNode, bool]]:
    """A walk through the page: each element as it opens and as it closes, and each text. What `page` refuses is passed over."""
    node = root
    while node is not None:
        if node.tag == "-text":
            yield node, False
        elif node.tag == "math":
            page.formula(node)
        elif not (node.tag or "").startswith(("-", "!")) and not page.refuses(node):
            yield node, False
            if node.child is not None and node.tag != "select":
                node = node.child
                continue
            yield node, True
        while node is not None and node.next is None:
            node = node.parent
            if node is not None:
                yield node, True
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


@dataclass(slots=True)
class _Cell:
    columns: int
    rows: int
    header: bool
    text: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Table:
    layout: bool
    """Whether it only arranges the page: its cells are blocks."""
    rows: list[tuple[bool, list[_Cell]]] = field(default_factory=list)
    """Whether each stands in the head, and its cells."""
    head: bool = False


@dataclass(slots=True)
class _List:
    numbers: str
    """A form of `FORMATS`, "" for bullets."""
    last: int
    step: int = 1


class _Page:
    """What has been met of a page."""

    def __init__(self, builder: Builder, parsed: LexborHTMLParser, frames: int) -> None:
        self._builder = builder
        self._styles = Styles(parsed)
        self._frames = frames
        self._whole = len(_text_of(parsed.body)) - sum(len(each.text(deep=True)) for each in parsed.css("body style, body script"))
        self._parts: list[str] = []
        self._lists: list[_List] = []
        self._tables: list[_Table] = []
        self._pre = 0
        self._marks: list[tuple[str, list[str], int]] = []
        """Raised and lowered elements that are open, with where their text begins."""
        self._left_out: set[str] = set()
        self._after_term = False

    def tag(self, node: LexborNode) -> str:
        """What an element is: a row, say, where it only looks or acts like one."""
        tag = node.tag or ""
        if tag in _INLINE or tag == "div":
            display = self._styles.of(node).get("display", "").split(" ")[0]
            made = _TABLE_ROLES.get(node.attributes.get("role") or "") or _TABLE_DISPLAYS.get(display)
            return made or ("div" if display in ("block", "flex", "grid", "list-item") else tag)
        return _TABLE_ROLES.get(node.attributes.get("role") or "", tag) if tag in ("section", "ul", "li") else tag

    def formula(self, node: LexborNode) -> None:
        self._out.append(f" {linear(node)} ")

    def refuses(self, node: LexborNode) -> bool:
        """Whether an element is not read: it shows nothing, or what it shows is not in force, or is a menu."""
        tag, style = node.tag or "", self._styles.of(node)
        if tag == "noscript" and not _is_content(node):
            return True
        if tag in _DROPPED or (tag == "nav" and _is_menu(node)):
            self._aside(tag, node)
            return True
        kind = ""
        if "hidden" in node.attributes or hides(style):
            kind = "hidden"
        elif tag in _STRUCK or (tag != "body" and strikes(style)):
            kind = "struck"
        if not kind:
            return False
        inside = len(node.text(deep=True))
        if kind == "hidden" and "hidden" not in node.attributes and inside * 2 > self._whole:
            return False  # a page that is hidden until its scripts have run
        if node.text(deep=True).strip():
            self._left_out.add(kind)
        return True

    def _aside(self, tag: str, node: LexborNode) -> None:
        """What is told of an element whose inside is not read."""
        if tag == "svg" and (title := node.attributes.get("aria-label") or _text_of(node.css_first("title"))):
            self._out.append(f" [picture: {' '.join(title.split())}] ")
        elif tag == "iframe" and self._frames < MAX_FRAMES and (inner := node.attributes.get("srcdoc")) and self._table is None:
            self._flush()
            add_html(inner, self._builder, self._frames + 1)

    def text(self, text: str) -> None:
        text = text.replace(_BREAK, "")
        self._out.append(re.sub(r" {2,}", "\t", text) if self._pre else re.sub(r"[ \t\r\n\f]+", " ", text))

    def enter(self, tag: str, node: LexborNode) -> None:
        role = node.attributes.get("role")
        if role == "img" and tag != "img" and (told := node.attributes.get("aria-label")) and not node.text(deep=True).strip():
            self._out.append(f" [picture: {told.strip()}] ")
        after_term, self._after_term = self._after_term, False
        match tag:
            case "dd" if after_term:
                while self._out and not self._out[-1].replace(_BREAK, "").strip():
                    self._out.pop()
                if self._out:
                    self._out[-1] = self._out[-1].rstrip(" :：")
                self._out.append(": ")
            case "ul" | "ol":
                if not self._lists:
                    self._out.append(_BREAK)
                self._lists.append(_list(tag, node, list_kind(self._styles.of(node))))
            case "li":
                self._item(node)
            case "br":
                self._out.append("\n")
            case "sup" | "sub":
                self._marks.append((tag, self._out, len(self._out)))
            case "table":
                if self._table is None:
                    self._flush()
                # Deep inside one another tables only arrange, and looking closer would be slow.
                deep = len(self._tables) > 8 or node.attributes.get("role") in ("presentation", "none")
                self._tables.append(_Table(deep or _arranges(node)))
            case "thead" if self._table:
                self._table.head = True
            case "tr" if self._table:
                self._table.rows.append((self._table.head, []))
            case "td" | "th" if self._table and self._table.rows:
                span = (_span(node, "colspan"), _span(node, "rowspan", zero=MAX_SPAN))
                self._table.rows[-1][1].append(_Cell(*span, header=tag == "th"))
            case "input":
                self._out.append(_input(node))
            case "select":
                self._out.append(f" {_selected(node)} ")
            case "img":
                if told := (node.attributes.get("alt") or "").strip():
                    self._out.append(f" [picture: {told}] ")
            case _ if _PARAGRAPH.fullmatch(tag):
                self._pre += tag == "pre"
                # The paragraph that fills a list item, as word processors write it, stays on the item's line.
                if not (self._out and _ITEM.fullmatch(self._out[-1])):
                    self._out.append(_BREAK)
        if role in ("checkbox", "radio", "switch") and tag != "input":
            self._out.append("☒ " if node.attributes.get("aria-checked") == "true" else "☐ ")

    def leave(self, tag: str) -> None:
        match tag:
            case "ul" | "ol" if self._lists:
                self._lists.pop()
                if not self._lists:
                    self._out.append(_BREAK)
            case "sup" | "sub" if self._marks:
                _, out, start = self._marks.pop()
                if out is self._out:
                    inside = "".join(out[start:])
                    out[start:] = [raised(inside) if tag == "sup" else lowered(inside)]
            case "thead" if self._table:
                self._table.head = False
            case "dt":
                self._after_term = True
            case "table" if self._tables:
                if self._table is None:
                    self._flush()
                self._emit(self._tables.pop())
            case _ if _PARAGRAPH.fullmatch(tag):
                self._pre = max(0, self._pre - (tag == "pre"))
                self._out.append(_BREAK)

    def end(self) -> None:
        while self._tables:
            self.leave("table")
        self._flush()
        for kind, reason in LEFT_OUT.items():
            if kind in self._left_out:
                self._builder.gaps.append(Gap(GapKind.HIDDEN, reason))
        if self._builder.text and len(self._builder.text) < _SAYS_LITTLE and _ASKS_FOR_SCRIPTS.search(self._builder.text):
            reason = "the page asks for scripts, which make its text; open it in a browser, print it to a PDF and try again"
            self._builder.gaps.append(Gap(GapKind.PLACEHOLDER, reason))

    @property
    def _table(self) -> _Table | None:
        """The table whose cells are being filled."""
        return self._tables[-1] if self._tables and not self._tables[-1].layout else None

    @property
    def _out(self) -> list[str]:
        """Where text goes: to the cell that is open, or to the page."""
        table = self._table
        return table.rows[-1][1][-1].text if table and table.rows and table.rows[-1][1] else self._parts

    def _item(self, node: LexborNode) -> None:
        found = self._lists[-1] if self._lists else None
        if found is None or not found.numbers:
            self._out.append("\n- ")
            return
        if found.numbers == "none":
            self._out.append("\n")
            return
        value = (node.attributes.get("value") or "").strip()
        found.last = int(value) if re.fullmatch(r"-?\d{1,6}", value) else found.last + found.step
        make = FORMATS.get(found.numbers, str)
        self._out.append(f"\n{make(found.last) if found.last > 0 else found.last}. ")

    def _flush(self) -> None:
        for paragraph in "".join(self._parts).split(_BREAK):
            self._builder.paragraph(paragraph)
        self._parts.clear()

    def _emit(self, table: _Table) -> None:
        if table.layout:
            return
        if self._table is not None:  # inside a cell of another one
            rows = (", ".join(filter(None, dict.fromkeys(cells))) for cells in _grid(table))
            self._out.append(f" {'; '.join(filter(None, rows))} ")
            return
        self._flush()  # a caption
        self._builder.table(
            TableRow(cells, header=head or (bool(row) and all(cell.header for cell in row)))
            for (head, row), cells in zip(table.rows, _grid(table), strict=True)
        )


def _grid(table: _Table) -> Iterator[list[str]]:
    """The rows with a text for each column: what spans several says the same in each."""
    above: dict[int, tuple[int, str]] = {}  # by column: for how many more rows, and what
    for _, row in table.rows:
        cells: list[str] = []
        left = {column: (rows - 1, text) for column, (rows, text) in above.items() if rows > 1}
        for cell in row:
            while len(cells) in above:
                cells.append(above[len(cells)][1])
            text = " ".join("".join(cell.text).replace(_BREAK, " ").split())
            for _ in range(min(cell.columns, MAX_COLUMNS - len(cells))):
                if cell.rows > 1:
                    left[len(cells)] = (cell.rows - 1, text)
                cells.append(text)
        while len(cells) in above:
            cells.append(above[len(cells)][1])
        above = left
        yield cells


def _list(tag: str, node: LexborNode, style: str) -> _List:
    """`style` is what its style says of its numbers, such as "lower-alpha"."""
    told = next((word for word in style.split() if word in _LIST_FORMATS or word in _BULLETS or word == "decimal"), "")
    if told in _BULLETS or (tag == "ul" and told in ("", "none")):
        return _List("", 0)
    start = (node.attributes.get("start") or "").strip()
    step = -1 if "reversed" in node.attributes else 1
    first = int(start) if re.fullmatch(r"-?\d{1,6}", start) else 1
    if step < 0 and not start:
        first = sum(each.tag == "li" for each in node.iter())
    return _List(_LIST_FORMATS.get(told or node.attributes.get("type") or "", "decimal"), first - step, step)


def _arranges(table: LexborNode) -> bool:
    """Whether a table only arranges a page: it holds headings or other tables, and neither names its columns nor draws borders."""
    if (table.attributes.get("border") or "0").strip() not in ("0", ""):
        return False
    if any(_table_of(each) == table for each in table.css("th, caption")):
        return False
    return any(each != table for each in table.css("table")) or table.css_first(_LAYOUT) is not None


def _table_of(node: LexborNode) -> LexborNode | None:
    above = node.parent
    while above is not None and above.tag != "table":
        above = above.parent
    return above


def _text_of(node: LexborNode | None) -> str:
    return node.text(deep=True).strip() if node is not None else ""


def _span(node: LexborNode, name: str, zero: int = 1) -> int:
    value = (node.attributes.get(name) or "").strip()
    if value == "0":
        return zero
    return max(1, min(MAX_SPAN, int(value))) if value.isascii() and value.isdigit() and len(value) < 6 else 1


def _input(node: LexborNode) -> str:
    """What a field of a form shows."""
    kind = (node.attributes.get("type") or "text").lower()
    if kind in ("checkbox", "radio"):
        return "☒ " if "checked" in node.attributes else "☐ "
    if kind in ("hidden", "password", "submit", "button", "reset", "image", "file"):
        return ""
    return f" {node.attributes.get('value') or ''} "


def _selected(node: LexborNode) -> str:
    options = node.css("option")
    chosen = [each for each in options if "selected" in each.attributes] or ([] if "multiple" in node.attributes else options[:1])
    return ", ".join(each.text(deep=True).strip() for each in chosen)


def _is_menu(node: LexborNode) -> bool:
    """Whether most of what a `nav` says leads elsewhere. One that is never closed holds the page."""
    links = sum(len(each.text(deep=True).strip()) for each in node.css("a"))
    return links >= _MENU_LINKS * len("".join(node.text(deep=True).split())) if links else False


def _is_content(node: LexborNode) -> bool:
    """Whether a `noscript` holds the page, and not a request to switch scripts on: it says more than all the rest."""
    page = node
    while page.parent is not None and page.tag != "html":
        page = page.parent
    inside = len(node.text(deep=True).strip())
    scripts = sum(len(each.text(deep=True)) for each in page.css("script, style"))
    return inside > 200 or inside * 2 > len(page.text(deep=True).strip()) - scripts
