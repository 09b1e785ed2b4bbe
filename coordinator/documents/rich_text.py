"""Rich Text Format (.rtf)."""

import re
from dataclasses import dataclass, replace
from typing import Final

from coordinator.documents.builder import LEFT_OUT, Builder, TableRow, lowered, raised
from coordinator.documents.extract import Extract
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind

MAX_DEPTH: Final = 1_000

_TOKEN: Final = re.compile(rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z'])|([{}])|[\r\n]+|([^\\{}\r\n]+)")
# Destinations that hold no text of the document. An unknown one that begins with \* may be ignored, says the format.
_SILENT: Final = frozenset(
    b"fonttbl colortbl stylesheet info pict object themedata colorschememapping datastore latentstyles listtable listoverridetable"
    b" rsidtbl generator xmlnstbl mmathPr fldinst header headerl headerr headerf footer footerl footerr footerf filetbl revtbl"
    b" bkmkstart bkmkend userprops docvar wgrffmtfilter pgptbl objdata nonshppict background datafield atnid atnauthor annotation"
    b" atrfstart atrfend atndate atnref atnparent".split()
)
_READ_THOUGH_OPTIONAL: Final = frozenset(b"shppict shptxt shpinst pntext listtext fldrslt footnote".split())
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


@dataclass(slots=True)
class _State:
    silent: bool = False
    left_out: str = ""
    position: str = ""
    codepage: str = "cp1252"
    skip: int = 1
    """Characters that stand after a Unicode one for programs that know none."""
    in_fonts: bool = False
    note: bool = False


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
        self._notes: list[str] = []
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
                self._stack.append(replace(self._state))
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
        self._end_table()
        self._end_paragraph()
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
        if state.in_fonts or state.silent:
            return
        if state.left_out:
            if text.strip():
                self._left_out.add(state.left_out)
            return
        if state.note:
            self._notes[-1] += text
            return
        self._text.append({"super": raised, "sub": lowered}.get(state.position, str)(text))

    def _word(self, word: bytes, value: int | None, *, optional: bool) -> None:
        self._decode()
        state, on = self._state, value != 0
        if word in _CHARACTERS:
            self._put(_CHARACTERS[word])
        elif word == b"fonttbl":
            state.in_fonts = True
        elif word in _SILENT or (optional and word not in _READ_THOUGH_OPTIONAL):
            state.silent = True
        elif word == b"footnote":
            self._text.append(" [note]")
            self._notes.append("")
            state.note = True
        elif word in (b"par", b"sect", b"page"):
            self._end_paragraph() if not self._in_table else self._put(" ")
        elif word == b"intbl":
            self._in_table = True
        elif word == b"pard":
            if not self._cells and not "".join(self._text).strip():
                self._in_table = False
        elif word in (b"cell", b"nestcell"):
            self._cells.append("".join(self._text))
            self._text.clear()
        elif word in (b"row", b"nestrow"):
            self._rows.append(TableRow(self._cells))
            self._cells = []
            self._in_table = False
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
        elif word == b"f":
            self._font = value or 0
            if not state.in_fonts:
                state.codepage = self._fonts.get(self._font, _known(self._codepage))
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
        if self._stack:
            self._state = self._stack.pop()

    def _end_paragraph(self) -> None:
        if not self._in_table:
            self._end_table()
            self.builder.paragraph("".join(self._text))
            self._text.clear()
            for note in self._notes:
                self.builder.paragraph(f"[Note: {note.strip()}]" if note.strip() else "")
            self._notes.clear()

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
