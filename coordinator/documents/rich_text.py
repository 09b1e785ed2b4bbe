"""Rich Text Format (.rtf)."""

import re
from dataclasses import dataclass, replace
from typing import Final

from coordinator.documents.builder import LEFT_OUT, PAGE_NUMBER, Builder, TableRow, lowered, raised
from coordinator.documents.extract import Extract
from coordinator.documents.symbols import SYMBOL_FONTS, symbol
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind

MAX_DEPTH: Final = 1_000

_TOKEN: Final = re.compile(rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z'])|([{}])|[\r\n]+|([^\\{}\r\n]+)")
# Destinations that hold no text of the document. An unknown one that begins with \* may be ignored, says the format.
_SILENT: Final = frozenset(
    b"fonttbl colortbl stylesheet info pict themedata colorschememapping datastore latentstyles listtable listoverridetable"
    b" rsidtbl generator xmlnstbl mmathPr fldinst filetbl revtbl bkmkstart bkmkend userprops docvar wgrffmtfilter pgptbl objdata"
    b" nonshppict background datafield atnid atrfstart atrfend atndate atnref atnparent sn sv shprslt xe tc ftnsep ftnsepc aftnsep"
    b" aftnsepc nonesttables template".split()
)
_READ_THOUGH_OPTIONAL: Final = frozenset(
    b"shppict shptxt shpinst pntext listtext fldrslt footnote annotation atnauthor formfield ffl nesttableprops ud".split()
)
# Destinations whose text stands elsewhere than where it is given.
_APART: Final = {
    **dict.fromkeys((b"header", b"headerl", b"headerr", b"headerf"), "head"),
    **dict.fromkeys((b"footer", b"footerl", b"footerr", b"footerf"), "foot"),
    b"footnote": "note",
    b"annotation": "comment",
    b"atnauthor": "author",
    b"shptxt": "box",
    b"ffl": "entry",
}
_CHARSETS: Final = {
    0: "cp1252",
    2: "cp1252",
    77: "mac_roman",
    128: "cp932",
    129: "cp949",
    134: "gbk",
    136: "big5",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
}
_CHARACTERS: Final = {
    b"tab": " ",
    b"emspace": " ",
    b"enspace": " ",
    b"qmspace": " ",
    b"line": "\n",
    b"lbr": "\n",
    b"bullet": "•",
    b"emdash": "—",
    b"endash": "–",
    b"lquote": "‘",
    b"rquote": "’",
    b"ldblquote": "“",
    b"rdblquote": "”",
}


_ASIAN: Final = frozenset({"cp932", "cp949", "gbk", "big5"})
_UNDEFINED: Final = 25
"""As a field of a form says that it has its default."""


@dataclass(slots=True)
class _State:
    silent: bool = False
    left_out: str = ""
    position: str = ""
    codepage: str = "cp1252"
    skip: int = 1
    """Characters that stand after a Unicode one for programs that know none."""
    in_fonts: bool = False
    apart: str = ""
    """Kind of the destination that text goes to; empty for the text itself."""
    symbols: str = ""
    """The font, where it draws signs in place of letters."""
    first_form: bool = False
    """Whether the next group is a form for older programs, that another follows."""


class _Reader:
    def __init__(self) -> None:
        self.builder = Builder()
        self._state = _State()
        self._stack: list[_State] = []
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._text: list[str] = []
        self._bytes = b""
        self._to_skip = 0
        self._rows: list[TableRow] = []
        self._cells: list[str] = []
        self._in_table = False
        self._left_out: set[str] = set()
        self._symbol_fonts: dict[int, str] = {}
        self._font_name = ""
        self._apart: dict[str, str] = {}
        """Text of open destinations by their kind."""
        self._pending: list[str] = []
        """Notes and the like, which follow the paragraph that they hang on."""
        self._feet: dict[str, None] = {}
        self._heads: set[str] = set()
        self._author = ""
        self._form: dict[bytes, int] = {}
        self._entries: list[str] = []
        self._inner_cells: list[str] = []
        self._inner_rows: list[str] = []
        self._merges: list[set[bytes]] = []
        """Of each cell of the row, how it is merged."""
        self._merge: set[bytes] = set()
        self._is_header = False
        self._codepage = "cp1252"

    def read(self, data: bytes) -> Extract:
        at = 0
        while at < len(data):
            match = _TOKEN.match(data, at)
            if match is None:
                at += 1
                continue
            at = match.end()
            word, number, byte, symbol, brace, text = match.groups()
            if word is not None:
                value = int(number) if number else None
                if word == b"bin":
                    at += max(0, value or 0)
                else:
                    self._word(word, value, optional=data[max(0, match.start() - 2) : match.start()] == b"\\*")
            elif byte is not None:
                if self._to_skip:
                    self._to_skip -= 1
                else:
                    self._bytes += bytes.fromhex(byte.decode())
                    continue
            elif symbol is not None:
                self._symbol(symbol)
            elif brace == b"{":
                self._decode()
                if len(self._stack) > MAX_DEPTH:
                    raise DocumentError("it nests deeper than any document")
                self._stack.append(self._state)
                self._state = replace(self._state, silent=self._state.silent or self._state.first_form, first_form=False)
                self._stack[-1].first_form = False
            elif brace == b"}":
                self._decode()
                self._close()
            elif text is not None:
                skipped = min(self._to_skip, len(text))
                self._to_skip -= skipped
                self._bytes += text[skipped:]
                continue
            self._decode()
        self._decode()
        self._in_table = False
        self._end_paragraph()
        self._end_table()
        for line in self._feet:
            self.builder.paragraph(line)
        for kind, reason in LEFT_OUT.items():
            if kind in self._left_out:
                self.builder.gaps.append(Gap(GapKind.HIDDEN, reason))
        return self.builder.extract()

    def _decode(self) -> None:
        """Bytes so far, which may be halves of characters each, as text."""
        if self._bytes:
            data, self._bytes = self._bytes, b""
            self._put(data.decode(self._state.codepage, "replace"))

    def _put(self, text: str) -> None:
        state = self._state
        if state.in_fonts and not state.silent:
            self._name_font(text)
        if state.in_fonts or state.silent:
            return
        if state.left_out:
            if text.strip():
                self._left_out.add(state.left_out)
            return
        if state.symbols:
            text = "".join(symbol(state.symbols, ord(character)) for character in text)
        text = {"super": raised, "sub": lowered}.get(state.position, str)(text)
        if state.apart:
            self._apart[state.apart] = self._apart.get(state.apart, "") + text
        else:
            self._text.append(text)

    def _name_font(self, text: str) -> None:
        self._font_name += text
        if ";" in text:
            name = self._font_name.partition(";")[0].strip().lower()
            if name in SYMBOL_FONTS:
                self._symbol_fonts[self._font] = name
            self._font_name = ""

    def _word(self, word: bytes, value: int | None, *, optional: bool) -> None:
        self._decode()
        state, on = self._state, value != 0
        if word in _CHARACTERS:
            self._put(_CHARACTERS[word])
        elif word == b"fonttbl":
            state.in_fonts = True
        elif word in _SILENT or (optional and word not in _READ_THOUGH_OPTIONAL):
            state.silent = True
        elif word in _APART:
            state.apart = _APART[word]
            state.silent = False
            self._apart[state.apart] = ""
            if word == b"footnote":
                self._text.append(" [note]")
        elif word == b"upr":
            state.first_form = True
        elif word in (b"fftype", b"ffres", b"ffdefres"):
            self._form[word] = value or 0
        elif word == b"fldrslt":
            self._end_form()
        elif word in (b"par", b"sect", b"page"):
            if state.apart or self._in_table:
                self._put("\n" if state.apart else " ")
            else:
                self._end_paragraph()
        elif word == b"intbl":
            self._in_table = True
        elif word == b"pard":
            if not self._cells and not "".join(self._text).strip():
                self._in_table = False
        elif word == b"trowd":
            self._merges, self._merge, self._is_header = [], set(), False
        elif word == b"trhdr":
            self._is_header = True
        elif word in (b"clmrg", b"clvmrg"):
            self._merge.add(word)
        elif word == b"cellx":
            self._merges.append(self._merge)
            self._merge = set()
        elif word in (b"nestcell", b"cell"):
            self._end_cell(inner=word == b"nestcell")
        elif word == b"nestrow":
            self._inner_rows.append(", ".join(filter(None, self._inner_cells)))
            self._inner_cells = []
        elif word == b"row":
            self._end_row()
        elif word == b"plain":
            state.left_out = state.position = ""
        elif word in (b"strike", b"striked", b"deleted", b"v"):
            state.left_out = {b"deleted": "deleted", b"v": "hidden"}.get(word, "struck") if on else ""
        elif word in (b"super", b"sub", b"nosupersub"):
            state.position = word.decode() if on and word != b"nosupersub" else ""
        elif word == b"u" and value is not None:
            self._put(_character(value))
            self._to_skip = state.skip
        elif word == b"uc":
            state.skip = max(0, value or 0)
        elif word in (b"ansicpg", b"mac", b"pc", b"pca"):
            self._codepage = {b"mac": "mac_roman", b"pc": "cp437", b"pca": "cp850"}.get(word, f"cp{value}")
            state.codepage = _known(self._codepage)
        elif word == b"f" or (word == b"af" and value in self._fonts and self._fonts[value] in _ASIAN):
            self._font = value or 0
            if not state.in_fonts:
                state.symbols = self._symbol_fonts.get(self._font, "")
                state.codepage = "latin-1" if state.symbols else self._fonts.get(self._font, _known(self._codepage))
        elif word in (b"fcharset", b"cpg") and state.in_fonts and value:
            self._fonts[self._font] = _CHARSETS.get(value, self._codepage) if word == b"fcharset" else _known(f"cp{value}")

    def _symbol(self, symbol: bytes) -> None:
        self._decode()
        text = {b"~": " ", b"_": "-", b"\\": "\\", b"{": "{", b"}": "}"}.get(symbol, "")
        if symbol in (b"\n", b"\r"):
            self._end_paragraph()
        elif text:
            self._put(text)

    def _close(self) -> None:
        if not self._stack:
            return
        ended, self._state = self._state.apart, self._stack.pop()
        if ended and ended != self._state.apart:
            self._end_apart(ended, self._apart.pop(ended, "").strip())

    def _end_apart(self, kind: str, text: str) -> None:
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if kind in ("head", "foot"):
            for line in lines:
                if PAGE_NUMBER.fullmatch(line) or line in self._heads or line in self._feet:
                    continue
                if kind == "head":
                    self._heads.add(line)
                    self.builder.paragraph(line)
                else:
                    self._feet[line] = None
        elif kind == "author":
            self._author = text
        elif kind == "entry":
            self._entries.append(text)
        elif kind == "box":
            self._pending += lines
        elif lines:
            author = f" by {self._author}" if self._author and kind == "comment" else ""
            self._pending.append(f"[{kind.capitalize()}{author}: {' '.join(lines)}]")

    def _end_form(self) -> None:
        """The value of a field of a form, whose result begins."""
        kind, chosen = self._form.get(b"fftype"), self._form.get(b"ffres", _UNDEFINED)
        if chosen == _UNDEFINED:
            chosen = self._form.get(b"ffdefres", 0)
        if kind == 1:
            self._put("☒" if chosen else "☐")
        elif kind == 2 and chosen < len(self._entries):
            self._put(self._entries[chosen])
            self._state.silent = True  # the result says the first entry, or nothing
        self._form, self._entries = {}, []

    def _end_cell(self, *, inner: bool) -> None:
        text = "".join(self._text)
        self._text.clear()
        if inner:
            self._inner_cells.append(" ".join(text.split()))
            return
        if self._inner_rows:
            text = "; ".join(filter(str.strip, (*self._inner_rows, text)))
            self._inner_rows = []
        self._cells.append(text)

    def _end_row(self) -> None:
        above = self._rows[-1].cells if self._rows else ()
        for position, merge in enumerate(self._merges[: len(self._cells)]):
            if b"clmrg" in merge and position:
                self._cells[position] = self._cells[position - 1]
            elif b"clvmrg" in merge and position < len(above):
                self._cells[position] = above[position]
        self._rows.append(TableRow(self._cells, self._is_header))
        self._cells = []
        self._in_table = False

    def _end_paragraph(self) -> None:
        if not self._in_table:
            self._end_table()
            self.builder.paragraph("".join(self._text))
            self._text.clear()
            for each in self._pending:
                self.builder.paragraph(each)
            self._pending.clear()

    def _end_table(self) -> None:
        if self._rows:
            self.builder.table(self._rows)
            self._rows = []


def read_rtf(data: bytes) -> Extract:
    if not data.lstrip().startswith(b"{\\rtf"):
        raise DocumentError("it is damaged, or not in the Rich Text format")
    return _Reader().read(data)


def _character(value: int) -> str:
    code = value + 65_536 if value < 0 else value
    return chr(code) if 0 < code < 0x110000 else ""


def _known(codepage: str) -> str:
    try:
        "".encode(codepage)
    except LookupError:
        return "cp1252"
    return codepage
