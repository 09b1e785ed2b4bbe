"""PDFium: the words of a page with their places, and what else of a page matters for reading it."""

import ctypes
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import pypdfium2
import pypdfium2.raw as pdfium

from coordinator.documents.pdf.geometry import CELL_GAP, JOINED_GAP, UNTOLD, Direction, Word, spacing
from coordinator.errors import DocumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PAGES: Final = 20_000
MAX_PAGE_CHARACTERS: Final = 500_000
_WHITE: Final = 247
"""From this value of red, green and blue a colour is not seen on white paper."""
_COVERS: Final = 0.7
"""Share of a page from which a picture is the page."""
_MAX_OBJECTS: Final = 5_000
_WORD: Final = re.compile(r"[^\s\x00\ufffe]+\ufffe?")
_GIBBERISH: Final = re.compile(r"[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]")
_GLYPH_NAMES: Final = re.compile(r"(?:/?(?:g|G|c|C|cid|glyph|uni)[0-9A-F]{1,5}\b[ /]*){4,}|\(cid:\d+\)")
_LEAST_HEIGHT: Final = 2.0
_SAMPLE: Final = 30
"""Words of a page whose font is asked whether it tells its characters."""

_MAX_SCALE: Final = 300 / 72
"""Of a page that is drawn: scans are seldom finer."""

_Box = list[float]
"""Left, top, right, bottom."""


@dataclass(slots=True)
class Page:
    """A page as it was read. Coordinates are in points."""

    width: float
    height: float
    words: list[Word] = field(default_factory=list)
    hidden: int = 0
    """Words that nobody can see, which are not among `words`."""
    picture: float = 0.0
    """Share of the page that its largest picture takes."""
    undecodable: float = 0.0
    """Share of its characters for which the font does not tell what they are."""
    notes: list[str] = field(default_factory=list)
    """Texts of notes that somebody has put on the page."""
    drawn: int = 0
    """How many pictures, lines and areas are on it."""
    label: str = ""
    """What the document calls the page."""
    ocr: bool = False
    """Whether its text lies unseen over a picture of the page: somebody has read the scan before."""


class PdfFile:
    """An open PDF. A context manager. Raises `DocumentError` with the reason for what cannot be opened."""

    def __init__(self, data: bytes) -> None:
        if b"%PDF-" not in data[:1024]:
            raise DocumentError("it is damaged, or not a PDF")
        try:
            self._document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if getattr(error, "err_code", None) == pdfium.FPDF_ERR_PASSWORD or "password" in str(error).lower():
                raise DocumentError("it is encrypted; save a copy without a password and try again") from error
            raise DocumentError("it is damaged: no PDF reader's repair was enough") from error
        self.count = len(self._document)
        if not self.count:
            raise DocumentError("it has no pages")
        if self.count > MAX_PAGES:
            raise DocumentError(f"it has more than {MAX_PAGES} pages; split it and try again")
        self.form = self._document.get_formtype()
        if self.form != pdfium.FORMTYPE_NONE:
            self._document.init_forms()

    @property
    def is_xfa(self) -> bool:
        """Whether its pages are made by a program that only one reader has."""
        return self.form in (pdfium.FORMTYPE_XFA_FULL, pdfium.FORMTYPE_XFA_FOREGROUND)

    def page(self, number: int) -> Page | None:
        """The page of that number, from 1; None where it is damaged."""
        try:
            page = self._document[number - 1]
        except (pypdfium2.PdfiumError, IndexError):
            return None
        try:
            return self._read(page, number)
        finally:
            page.close()

    def picture(self, number: int, area: int) -> "NDArray[np.uint8] | None":
        """The page of that number, from 1, as it is seen, in at most about `area` pixels: rows, columns and colours. None where
        it is damaged."""
        try:
            page = self._document[number - 1]
        except (pypdfium2.PdfiumError, IndexError):
            return None
        try:
            width, height = page.get_size()
            scale = min(_MAX_SCALE, math.sqrt(area / max(1.0, width * height)))
            bitmap = page.render(scale=scale, rev_byteorder=True, force_bitmap_format=pdfium.FPDFBitmap_BGR)
            pixels: NDArray[np.uint8] = bitmap.to_numpy().copy()
            bitmap.close()
        except pypdfium2.PdfiumError:
            return None
        finally:
            page.close()
        return pixels

    def close(self) -> None:
        self._document.close()

    def _read(self, page: pypdfium2.PdfPage, number: int) -> Page:
        made = Page(*page.get_size())
        made.label = self._document.get_page_label(number - 1) or ""
        box = page.get_bbox()
        made.picture, objects = _objects(page, box)
        made.drawn = len(objects.shapes)
        textpage = page.get_textpage()
        try:
            _read_words(textpage, made, box, objects)
        finally:
            textpage.close()
        made.words += _annotations(page, self._document, made)
        return made


@dataclass(frozen=True, slots=True)
class _Shape:
    """A filled area or a picture, in the order of drawing."""

    position: int
    x0: float
    y0: float
    x1: float
    y1: float
    white: bool

    def holds(self, x: float, y: float) -> bool:
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1


@dataclass(frozen=True, slots=True)
class _Objects:
    shapes: tuple[_Shape, ...]
    order: dict[int, int]
    """Position in the order of drawing of each text object, by its address."""
    all_seen: bool
    """Whether there is nothing that could keep any text of the page from being seen: no word of it has to be looked at."""


def _objects(page: pypdfium2.PdfPage, box: tuple[float, float, float, float]) -> tuple[float, _Objects]:
    """The share of the page that its largest picture takes, and what is drawn that can lie under or over text."""
    area = max(1.0, (box[2] - box[0]) * (box[3] - box[1]))
    largest = 0.0
    shapes: list[_Shape] = []
    order: dict[int, int] = {}
    drawn = pdfium.FPDFPage_CountObjects(page)
    count = min(_MAX_OBJECTS, drawn)
    all_seen = count == drawn
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    mode, stroke = ctypes.c_int(), ctypes.c_int()
    for position in range(count):
        each = pdfium.FPDFPage_GetObject(page, position)
        kind = pdfium.FPDFPageObj_GetType(each)
        if kind == pdfium.FPDF_PAGEOBJ_TEXT:
            order[_address(each)] = position
            pdfium.FPDFPageObj_GetFillColor(each, red, green, blue, alpha)
            if (
                min(red.value, green.value, blue.value) >= _WHITE
                or alpha.value < 10
                or pdfium.FPDFTextObj_GetTextRenderMode(each) != pdfium.FPDF_TEXTRENDERMODE_FILL
            ):
                all_seen = False
            continue
        if kind not in (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_PATH, pdfium.FPDF_PAGEOBJ_FORM, pdfium.FPDF_PAGEOBJ_SHADING):
            continue
        if not pdfium.FPDFPageObj_GetBounds(each, left, bottom, right, top):
            continue
        x0, y0, x1, y1 = left.value, bottom.value, right.value, top.value
        inside = max(0.0, min(x1, box[2]) - max(x0, box[0])) * max(0.0, min(y1, box[3]) - max(y0, box[1]))
        white = False
        if kind == pdfium.FPDF_PAGEOBJ_FORM:
            largest = max(largest, inside / area if _holds_image(each) else 0.0)
            all_seen = False  # what is in it is not looked through
            continue
        if kind == pdfium.FPDF_PAGEOBJ_IMAGE:
            largest = max(largest, inside / area)
        elif kind == pdfium.FPDF_PAGEOBJ_PATH:
            if not pdfium.FPDFPath_GetDrawMode(each, mode, stroke) or mode.value == pdfium.FPDF_FILLMODE_NONE:
                continue
            pdfium.FPDFPageObj_GetFillColor(each, red, green, blue, alpha)
            if alpha.value < 128 or (x1 - x0) < 4 or (y1 - y0) < 4:
                continue
            white = min(red.value, green.value, blue.value) >= _WHITE
        shapes.append(_Shape(position, x0, y0, x1, y1, white))
    first_text = min(order.values(), default=0)
    all_seen = all_seen and all(shape.position < first_text for shape in shapes)
    return largest, _Objects(tuple(shapes), order, all_seen)


def _holds_image(form: Any) -> bool:
    count = min(50, pdfium.FPDFFormObj_CountObjects(form))
    inside = (pdfium.FPDFFormObj_GetObject(form, position) for position in range(count))
    return any(pdfium.FPDFPageObj_GetType(each) == pdfium.FPDF_PAGEOBJ_IMAGE for each in inside)


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


class _Reader:
    """Look-ups of one page's characters by their number, with the values that PDFium writes into."""

    def __init__(self, textpage: Any) -> None:
        self._page = textpage
        self._rect = (ctypes.c_float * 4)()
        self._pointer = ctypes.cast(self._rect, ctypes.POINTER(pdfium.FS_RECTF))
        self._color = tuple(ctypes.c_uint() for _ in range(4))

    def box(self, index: int) -> _Box:
        """Left, top, right and bottom, from the font's descent to its ascent; all 0 where there is none."""
        if not pdfium.FPDFText_GetLooseCharBox(self._page, index, self._pointer):
            return [0.0, 0.0, 0.0, 0.0]
        return self._rect[:]

    def size(self, index: int) -> float:
        return float(pdfium.FPDFText_GetFontSize(self._page, index))

    def is_white(self, index: int) -> bool:
        red, green, blue, alpha = self._color
        if not pdfium.FPDFText_GetFillColor(self._page, index, red, green, blue, alpha):
            return False
        return alpha.value < 10 or min(red.value, green.value, blue.value) >= _WHITE

    def text_object(self, index: int) -> Any:
        return pdfium.FPDFText_GetTextObject(self._page, index)

    def is_unmapped(self, index: int) -> bool:
        return bool(pdfium.FPDFText_HasUnicodeMapError(self._page, index) == 1)


def _read_words(textpage: Any, page: Page, box: tuple[float, float, float, float], objects: _Objects) -> None:
    count = textpage.count_chars()
    if count <= 0:
        return
    if count > MAX_PAGE_CHARACTERS:
        raise DocumentError(f"a page of it holds more than {MAX_PAGE_CHARACTERS:,} characters")
    reader = _Reader(textpage.raw)
    text = textpage.get_text_range()
    if len(text) != count:  # characters beyond 16 bits are two of PDFium's
        text = "".join(chr(pdfium.FPDFText_GetUnicode(textpage.raw, index) or 32) for index in range(count))
    bad = len(_GIBBERISH.findall(text)) + sum(len(each) for each in _GLYPH_NAMES.findall(text))
    words = list(islice(_WORD.finditer(text), _SAMPLE))
    unmapped = 0 if bad else sum(reader.is_unmapped(match.start()) for match in words)
    page.undecodable = max(bad / max(1, len("".join(text.split()))), unmapped / max(1, len(words)))
    unseen: list[Word] = []
    modes: dict[int, int] = {}
    run = _Run()
    for match in _WORD.finditer(text):
        first, last = match.start(), match.end() - 1
        a = reader.box(first)
        b = reader.box(last) if last > first else a
        if not objects.all_seen and _is_unseen(reader, first, a, b, objects, modes):
            unseen.append(_word(match[0], a, b, _direction(a, b)))
        elif not run.add(match[0], a, b):
            page.words += run.end()
            if last > first and (_direction(a, b) is not Direction.RIGHT or _is_uneven(reader, match[0], first, last, a, b)):
                page.words += _parts(reader, match[0], first, last, a, b)
            else:
                run.begin(match[0], a, b)
    page.words += run.end()
    if not objects.all_seen or any(not _is_on(box, word) for word in page.words):
        unseen += [word for word in page.words if not _is_on(box, word) or 0 < word.height < _LEAST_HEIGHT]
        page.words = [word for word in page.words if _is_on(box, word) and not 0 < word.height < _LEAST_HEIGHT]
    if unseen and page.picture >= _COVERS and len(unseen) > len(page.words):
        page.words, page.ocr = [*page.words, *(replace(word, confidence=UNTOLD) for word in unseen)], True
    else:
        page.hidden = len(unseen)
    _settle_directions(page)


class _Run:
    """Words that follow one another closely, which are one for all that comes after: most lines of text are one run."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._box = [0.0, 0.0, 0.0, 0.0]
        self._limit = 0.0
        self._single = False

    def begin(self, text: str, a: _Box, b: _Box) -> None:
        self._texts = [text]
        self._box = [a[0], a[1], b[2], a[3]]
        self._limit = CELL_GAP * (a[1] - a[3]) * spacing(text, b[2] - a[0], max(1.0, a[1] - a[3]))
        self._single = len(text) == 1

    def add(self, text: str, a: _Box, b: _Box) -> bool:
        """Whether the word belongs to the run: it is on the same line, of the same size, and not far. Letters set apart and words
        with figures above or below the line are looked at one by one."""
        box = self._box
        gap = a[0] - box[2]
        if (
            not self._texts
            or not -0.1 * self._limit < gap < self._limit
            or a[1] != box[1]
            or b[1] != a[1]
            or a[3] != box[3]
            or b[3] != a[3]
            or b[2] < a[0]
            or (self._single and len(text) == 1)
            or (text.isdigit() is False and any(map(str.isdigit, text)) and text[0].isalpha())
        ):
            return False
        self._texts.append(text if gap < JOINED_GAP * (a[1] - a[3]) else " " + text)
        box[2] = b[2]
        self._single = len(text) == 1
        return True

    def end(self) -> list[Word]:
        if not self._texts:
            return []
        word = Word("".join(self._texts), self._box[0], self._box[3], self._box[2], self._box[1])
        self._texts = []
        return [word]


def _is_on(box: tuple[float, float, float, float], word: Word) -> bool:
    """Whether the middle of a word is on the page."""
    return box[0] - 1 <= (word.x0 + word.x1) / 2 <= box[2] + 1 and box[1] - 1 <= word.middle <= box[3] + 1


def _is_uneven(reader: _Reader, text: str, first: int, last: int, a: _Box, b: _Box) -> bool:
    """Whether a part of a word is raised or lowered: 450 m², or a number with the mark of a footnote."""
    if len(text) > 40 or not any(map(str.isdigit, text)):
        return False
    if abs(a[3] - b[3]) > 0.12 * (a[1] - a[3]):
        return True
    digit = next(position for position, character in enumerate(text) if character.isdigit())
    return 0 < digit < last - first and abs(reader.size(first + digit) - reader.size(first)) > 0.1 * reader.size(first)


def _parts(reader: _Reader, text: str, first: int, last: int, a: _Box, b: _Box) -> Iterator[Word]:
    """The word, in pieces where a part of it is raised or lowered."""
    direction = _direction(a, b)
    if direction is not Direction.RIGHT:
        yield _word(text, a, b, direction)
        return
    boxes = [a, *(reader.box(index) for index in range(first + 1, last)), b]
    start = 0
    for position in range(1, len(text) + 1):
        if position == len(text) or abs(boxes[position][3] - boxes[start][3]) > 0.12 * max(boxes[start][1] - boxes[start][3], 1.0):
            yield _word(text[start:position], boxes[start], boxes[position - 1], Direction.RIGHT)
            start = position


def _word(text: str, a: _Box, b: _Box, direction: Direction) -> Word:
    return Word(text, min(a[0], b[0]), min(a[3], b[3]), max(a[2], b[2]), max(a[1], b[1]), direction)


def _direction(a: _Box, b: _Box) -> Direction:
    x, y = (b[0] + b[2] - a[0] - a[2]) / 2, (b[1] + b[3] - a[1] - a[3]) / 2
    if abs(x) >= abs(y):
        return Direction.RIGHT if x >= 0 else Direction.LEFT
    return Direction.UP if y > 0 else Direction.DOWN


def _settle_directions(page: Page) -> None:
    """A word of one character goes where most of its page goes, which is seen from longer ones."""
    counts: dict[Direction, int] = {}
    for word in page.words:
        if len(word.text) > 1:
            counts[word.direction] = counts.get(word.direction, 0) + len(word.text)
    usual = max(counts, key=lambda each: counts[each], default=Direction.RIGHT)
    if usual is not Direction.RIGHT:
        page.words = [replace(word, direction=usual) if len(word.text) == 1 else word for word in page.words]


def _is_unseen(reader: _Reader, index: int, a: _Box, b: _Box, objects: _Objects, modes: dict[int, int]) -> bool:
    """Whether nobody can see a word on the page: drawn without ink, white on white, or under something."""
    x, y = (min(a[0], b[0]) + max(a[2], b[2])) / 2, (a[1] + a[3]) / 2
    drawn = reader.text_object(index)
    address = _address(drawn)
    if address not in modes:
        modes[address] = pdfium.FPDFTextObj_GetTextRenderMode(drawn) if drawn else 0
    if modes[address] in (pdfium.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium.FPDF_TEXTRENDERMODE_CLIP):
        return True
    position = objects.order.get(address)
    under = [shape for shape in objects.shapes if shape.holds(x, y)]
    if position is not None and any(shape.position > position for shape in under):
        return True
    if not reader.is_white(index):
        return False
    # White ink shows on what is dark: the last thing drawn below it.
    below = [shape for shape in under if position is None or shape.position < position]
    return not below or below[-1].white


def _annotations(page: pypdfium2.PdfPage, document: pypdfium2.PdfDocument, made: Page) -> list[Word]:
    """Values of form fields as words in their places; texts of notes go to `made.notes`."""
    found: list[Word] = []
    form = document.formenv.raw if document.formenv is not None else None
    rect = pdfium.FS_RECTF()
    for position in range(min(_MAX_OBJECTS, pdfium.FPDFPage_GetAnnotCount(page))):
        annotation = pdfium.FPDFPage_GetAnnot(page, position)
        if not annotation:
            continue
        try:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            flags = pdfium.FPDFAnnot_GetFlags(annotation)
            if flags & 2 or not pdfium.FPDFAnnot_GetRect(annotation, rect):  # hidden
                continue
            if kind == pdfium.FPDF_ANNOT_WIDGET and form is not None:
                value = _field_value(form, annotation)
                if value:
                    # As a line of text in the middle of the field.
                    middle, height = (rect.top + rect.bottom) / 2, min(12.0, abs(rect.top - rect.bottom))
                    found.append(
                        Word(" ".join(value.split()), rect.left, middle - height / 2, rect.right, middle + height / 2, fixed=True)
                    )
            elif kind in (pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_TEXT, pdfium.FPDF_ANNOT_STAMP):
                text = _string(annotation, b"Contents")
                if text.strip():
                    made.notes.append(" ".join(text.split()))
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)
    return found


def _field_value(form: Any, annotation: Any) -> str:
    kind = pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (pdfium.FPDF_FORMFIELD_CHECKBOX, pdfium.FPDF_FORMFIELD_RADIOBUTTON):
        return "☒" if pdfium.FPDFAnnot_IsChecked(form, annotation) else "☐"
    if kind in (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX):
        length = pdfium.FPDFAnnot_GetFormFieldValue(form, annotation, None, 0)
        buffer = ctypes.create_string_buffer(length)
        pdfium.FPDFAnnot_GetFormFieldValue(form, annotation, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
        return buffer.raw.decode("utf-16-le", "replace").rstrip("\0")
    return ""


def _string(annotation: Any, key: bytes) -> str:
    length = pdfium.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    buffer = ctypes.create_string_buffer(length)
    pdfium.FPDFAnnot_GetStringValue(annotation, key, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    return buffer.raw.decode("utf-16-le", "replace").rstrip("\0")
