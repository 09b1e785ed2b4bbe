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
    {"script", "style", "template", "svg", "rt", "rp", "iframe", "object", "audio", "video", "canvas", "datalist"}
)
_STRUCK: Final = frozenset({"del", "s", "strike"})
_UNSEEN: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0(?:\.0*)?\s*(?:;|!|$)|font-size\s*:\s*0", re.IGNORECASE
)
_LINE_THROUGH: Final = re.compile(r"text-decoration[\w-]*\s*:[^;]*line-through", re.IGNORECASE)
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
_LIST_FORMATS: Final = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}

_BREAK: Final = "\x1d"
"""Between paragraphs; the input's own control characters are gone by then."""
_ITEM: Final = re.compile(r"\n(?:-|\S{1,12}\.) ")


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
    return builder.extract()


def add_html(source: str, builder: Builder) -> None:
    """Adds what a reader of the page sees to `builder`. Raises `DocumentError` for markup that is nested deeper than any page."""
    if _is_bottomless(source):
        raise DocumentError("its HTML has too many elements inside one another")
    page = _Page(builder)
    root = LexborHTMLParser(source.replace(_BREAK, "")).root
    for node, closing in _steps(root, page):
        if closing:
            page.leave(node.tag or "")
        elif node.tag == "-text":
            page.text(node.text(deep=False))
        else:
            page.enter(node.tag or "", node)
    page.end()


def _steps(root: LexborNode | None, page: "_Page") -> Iterator[tuple[LexborNode, bool]]:
    """A walk through the page: each element as it opens and as it closes, and each text. What `page` refuses is passed over."""
    node = root
    while node is not None:
        if node.tag == "-text":
            yield node, False
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

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._parts: list[str] = []
        self._lists: list[_List] = []
        self._tables: list[_Table] = []
        self._pre = 0
        self._marks: list[tuple[str, list[str], int]] = []
        """Raised and lowered elements that are open, with where their text begins."""
        self._left_out: set[str] = set()

    def refuses(self, node: LexborNode) -> bool:
        """Whether an element is not read: it shows nothing, or what it shows is not in force, or is a menu."""
        tag, style = node.tag or "", node.attributes.get("style") or ""
        if tag in _DROPPED or (tag == "nav" and _is_menu(node)) or (tag == "noscript" and not _is_content(node)):
            return True
        kind = ""
        if "hidden" in node.attributes or (style and _UNSEEN.search(style)):
            kind = "hidden"
        elif tag in _STRUCK or (style and _LINE_THROUGH.search(style)):
            kind = "struck"
        if kind and node.text(deep=True).strip():
            self._left_out.add(kind)
        return bool(kind)

    def text(self, text: str) -> None:
        text = text.replace(_BREAK, "")
        self._out.append(re.sub(r" {2,}", "\t", text) if self._pre else re.sub(r"[ \t\r\n\f]+", " ", text))

    def enter(self, tag: str, node: LexborNode) -> None:
        match tag:
            case "ul" | "ol":
                if not self._lists:
                    self._out.append(_BREAK)
                self._lists.append(_list(tag, node))
            case "li":
                self._item(node)
            case "br":
                self._out.append("\n")
            case "sup" | "sub":
                self._marks.append((tag, self._out, len(self._out)))
            case "table":
                self._flush()
                # What holds tables itself arranges them. Deep inside one another nothing else is likely, and looking would be slow.
                deep = len(self._tables) > 8 or node.attributes.get("role") == "presentation"
                self._tables.append(_Table(deep or any(each != node for each in node.css("table"))))
            case "thead" if self._table:
                self._table.head = True
            case "tr" if self._table:
                self._table.rows.append((self._table.head, []))
            case "td" | "th" if self._table and self._table.rows:
                span = (_span(node, "colspan"), _span(node, "rowspan"))
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


def _list(tag: str, node: LexborNode) -> _List:
    if tag == "ul":
        return _List("", 0)
    start = (node.attributes.get("start") or "").strip()
    step = -1 if "reversed" in node.attributes else 1
    first = int(start) if re.fullmatch(r"-?\d{1,6}", start) else 1
    if step < 0 and not start:
        first = sum(each.tag == "li" for each in node.iter())
    return _List(_LIST_FORMATS.get(node.attributes.get("type") or "", "decimal"), first - step, step)


def _span(node: LexborNode, name: str) -> int:
    value = (node.attributes.get(name) or "").strip()
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
