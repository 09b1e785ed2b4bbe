"""The text of a paragraph of a Word document: what a reader of the printed page sees, and marks for what is only said aside."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import lowered, raised
from coordinator.documents.symbols import SYMBOL_FONTS, symbol
from coordinator.documents.word.equations import linear
from coordinator.documents.xml import attribute, child, children, local

# A reading over a character, in the form of older Word: EQ \* jc2 \* "Font:..." \* hps10 \o\ad(\s\up 9(しききん),敷金)
_RUBY_FIELD: Final = re.compile(r"\\s\\up\s*\d*\s*\(([^()]*)\)\s*,\s*([^()]*)\)")
_CIRCLED_FIELD: Final = re.compile(r"\\o\s*\\ac\s*\([^,;()]*[,;]\s*([^()]*)\)", re.IGNORECASE)
_FRACTION_FIELD: Final = re.compile(r"\\f\s*\(([^,;()]*)[,;]([^()]*)\)", re.IGNORECASE)
_SYMBOL_FIELD: Final = re.compile(r'\s*SYMBOL\s+(0x[0-9a-f]+|\d+)(?:.*?\\f\s*"?([^"\\]*))?', re.IGNORECASE)
_BUTTON_FIELD: Final = re.compile(r"\s*(?:MACROBUTTON|GOTOBUTTON)\s+\S+\s+(.*)", re.IGNORECASE | re.DOTALL)

INLINE_WRAPPERS: Final = frozenset(
    {"hyperlink", "smartTag", "bdo", "dir", "moveTo", "customXml", "fldSimple", "sdtContent", "subDoc"}
)


@dataclass(slots=True)
class Seen:
    """What was met on the way and is not simply text of the paragraph."""

    notes: list[tuple[str, str]] = field(default_factory=list)
    """Kind ("footnote", "endnote", "comment") and id of what the paragraph points at."""
    boxes: list[Element] = field(default_factory=list)
    """Contents of text boxes that hang on the paragraph."""
    objects: list[str] = field(default_factory=list)
    """Ids of parts that are embedded."""
    drawn: list[str] = field(default_factory=list)
    """Ids of parts that hold charts and diagrams."""
    left_out: set[str] = field(default_factory=set)
    """Kinds of text that is there and not in force: "struck", "deleted", "hidden"."""


@dataclass(slots=True)
class _Field:
    code: str = ""
    shows: bool = False
    """Whether its result has begun."""
    form: Element | None = None


class Runs:
    """Reads paragraphs of one document. Fields may begin in one paragraph and end in another."""

    def __init__(self, styles: Mapping[str, Element], number_of_note: Callable[[str, str], str]) -> None:
        self._styles = styles
        self._number_of_note = number_of_note
        self._fields: list[_Field] = []
        self._endless: set[int] = set()
        self._style = ""
        """Of the paragraph that is being read."""

    def begin(self, story: Element) -> None:
        """Has to be called with each part before its paragraphs: the beginning of a field without an end is none, or all that
        follows would pass for its code."""
        opened: list[Element] = []
        for each in story.iter():
            if local(each) == "fldChar":
                kind = attribute(each, "fldCharType")
                if kind == "begin":
                    opened.append(each)
                elif kind == "end" and opened:
                    opened.pop()
        self._endless.update(map(id, opened))

    def text(self, paragraph: Element, seen: Seen, style: str = "") -> str:
        """What a paragraph of that style says."""
        pieces: list[str] = []
        self._style = style
        self._walk(paragraph, pieces, seen, inserted=False)
        return "".join(pieces)

    def _walk(self, element: Element, out: list[str], seen: Seen, *, inserted: bool) -> None:
        for each in element:
            match local(each):
                case "r":
                    self._run(each, out, seen)
                case "ins" | "moveTo" if not inserted:
                    # An insertion that nobody has accepted is told from the text that was there.
                    new: list[str] = []
                    self._walk(each, new, seen, inserted=True)
                    text = "".join(new)
                    out.append(f"[inserted: {text.strip()}]" if text.strip() and local(each) == "ins" else text)
                case "del" | "moveFrom":
                    if any(local(part) in ("delText", "t") and part.text for part in each.iter()):
                        seen.left_out.add("deleted")
                case "sdt":
                    self._control(each, out, seen, inserted=inserted)
                case "ruby":
                    self._ruby(each, out, seen, inserted=inserted)
                case "oMath" | "oMathPara":
                    out.append(f" {linear(each)} ")
                case "AlternateContent":
                    self._walk(_alternative(each), out, seen, inserted=inserted)
                case name if name in INLINE_WRAPPERS or name == "ins":
                    self._walk(each, out, seen, inserted=inserted)
                case "commentReference":
                    seen.notes.append(("comment", attribute(each, "id")))

    def _run(self, run: Element, out: list[str], seen: Seen) -> None:
        properties = child(run, "rPr")
        skipped = next((what for what, names in _NOT_IN_FORCE if any(self._is_on(properties, name) for name in names)), "")
        font = attribute(child(properties, "rFonts"), "ascii").lower()
        text: list[str] = []
        for each in run:
            if font in SYMBOL_FONTS and local(each) == "t" and all(field.shows for field in self._fields):
                text.append("".join(symbol(font, ord(character)) for character in each.text or ""))
            else:
                self._piece(each, text, seen)
        shown = "".join(text)
        if skipped:
            if shown.strip():
                seen.left_out.add(skipped)
            return
        position = self._position(properties)
        out.append({"superscript": raised, "subscript": lowered}.get(position, str)(shown))

    def _piece(self, each: Element, out: list[str], seen: Seen) -> None:
        name = local(each)
        if name in ("fldChar", "instrText"):
            self._field(each, out)
            return
        if self._fields and not all(field.shows for field in self._fields):
            return  # the code of a field, and no text
        match name:
            case "t" | "delInstrText" if name == "t":
                out.append(each.text or "")
            case "delText":
                seen.left_out.add("deleted")
            case "tab" | "ptab":
                out.append(" ")
            case "br" | "cr":
                out.append("\n")
            case "noBreakHyphen":
                out.append("-")
            case "sym":
                out.append(_symbol(each))
            case "footnoteReference" | "endnoteReference":
                kind = name.removesuffix("Reference")
                seen.notes.append((kind, attribute(each, "id")))
                out.append(f" [note {self._number_of_note(kind, attribute(each, 'id'))}]")
            case "commentReference":
                seen.notes.append(("comment", attribute(each, "id")))
            case "ruby":
                self._ruby(each, out, seen, inserted=False)
            case "AlternateContent":
                for part in _alternative(each):
                    self._piece(part, out, seen)
            case "drawing" | "pict" | "object":
                self._drawing(each, out, seen)

    def _field(self, each: Element, out: list[str]) -> None:
        if local(each) == "instrText":
            if self._fields:
                self._fields[-1].code += each.text or ""
            return
        match attribute(each, "fldCharType"):
            case "begin" if id(each) not in self._endless:
                self._fields.append(_Field(form=child(each, "ffData")))
            case "separate" if self._fields:
                self._fields[-1].shows = True
            case "end" if self._fields:
                ended = self._fields.pop()
                if all(field.shows for field in self._fields):
                    out.append(_form_value(ended) or ("" if ended.shows else _coded(ended.code)))

    def _control(self, control: Element, out: list[str], seen: Seen, *, inserted: bool) -> None:
        """A content control: what it shows; of a check box, its state."""
        box = child(control, "sdtPr", "checkbox")
        if box is not None:
            out.append("☒" if attribute(child(box, "checked"), "val", "0") in ("1", "true", "on") else "☐")
            return
        content = child(control, "sdtContent")
        if content is not None:
            self._walk(content, out, seen, inserted=inserted)

    def _ruby(self, ruby: Element, out: list[str], seen: Seen, *, inserted: bool) -> None:
        """The characters; their reading would part the words it stands over."""
        base = child(ruby, "rubyBase")
        if base is not None:
            self._walk(base, out, seen, inserted=inserted)

    def _drawing(self, drawing: Element, out: list[str], seen: Seen) -> None:
        boxes = [each for each in drawing.iter() if local(each) == "txbxContent"]
        inner = {id(below) for box in boxes for below in box.iter() if below is not box}
        seen.boxes += [box for box in boxes if id(box) not in inner]
        seen.objects += [attribute(each, "id") for each in drawing.iter() if local(each) == "OLEObject"]
        told, lettering = "", ""
        for each in drawing.iter():
            name = local(each)
            if id(each) in inner:
                continue
            if name == "docPr":
                told = told or attribute(each, "descr")
            elif name in ("shape", "rect"):
                told = told or attribute(each, "alt")
            elif name == "textpath":
                lettering = attribute(each, "string").strip()
            elif name == "chart":
                seen.drawn.append(attribute(each, "id"))
            elif name == "relIds":
                seen.drawn.append(attribute(each, "dm"))
        if told:
            out.append(f" [picture: {told}] ")
        if lettering:
            out.append(f" {lettering} ")

    def _is_on(self, properties: Element | None, name: str) -> bool:
        """Whether a property is set: by the run itself, else by one of the styles of run and paragraph, which cancel each other."""
        found = child(properties, name)
        if found is not None:
            return _is_set(found)
        return self._style_says(attribute(child(properties, "rStyle"), "val"), name) != self._style_says(self._style, name)

    def _style_says(self, style: str, name: str) -> bool:
        found = next((each for each in self._properties(style) if child(each, name) is not None), None)
        return found is not None and _is_set(child(found, name))

    def _position(self, properties: Element | None) -> str:
        styles = (each for name in (attribute(child(properties, "rStyle"), "val"), self._style) for each in self._properties(name))
        for each in (properties, *styles):
            if (found := child(each, "vertAlign")) is not None:
                return attribute(found, "val")
        return ""

    def _properties(self, style: str) -> Iterator[Element]:
        """The properties that a style gives to runs, then those of the style that it is based on."""
        seen: set[str] = set()
        while style in self._styles and style not in seen:
            seen.add(style)
            if (found := child(self._styles[style], "rPr")) is not None:
                yield found
            style = attribute(child(self._styles[style], "basedOn"), "val")


_NOT_IN_FORCE: Final = (("hidden", ("vanish",)), ("struck", ("strike", "dstrike")))


def _is_set(element: Element | None) -> bool:
    return element is not None and attribute(element, "val", "1") not in ("0", "false", "off", "none")


def _alternative(element: Element) -> Element:
    """Of the forms in which something is given, the first that holds text; the others say the same for older programs."""
    forms = [each for each in element if local(each) in ("Choice", "Fallback")]
    filled = (form for form in forms if any(local(each) in ("t", "txbxContent") for each in form.iter()))
    return next(filled, forms[0] if forms else element)


def _symbol(element: Element) -> str:
    try:
        return symbol(attribute(element, "font").lower(), int(attribute(element, "char", "0"), 16))
    except ValueError:
        return ""


def _form_value(ended: _Field) -> str:
    """What a field of an older form holds: a check box's state, the entry chosen of a list."""
    box, listing = child(ended.form, "checkBox"), child(ended.form, "ddList")
    if box is not None:
        state = child(box, "checked")
        if state is None:
            state = child(box, "default")
        return "☒" if state is not None and attribute(state, "val", "1") in ("1", "true", "on") else "☐"
    if listing is not None:
        entries = [attribute(each, "val") for each in children(listing, "listEntry")]
        chosen = attribute(child(listing, "result"), "val") or attribute(child(listing, "default"), "val", "0")
        return entries[int(chosen)] if chosen.isdigit() and int(chosen) < len(entries) else ""
    return ""


def _coded(code: str) -> str:
    """What a field says that keeps its text in its code: characters with a reading over them or a circle around, and the like."""
    if (match := _SYMBOL_FIELD.match(code)) is not None:
        return symbol((match[2] or "").strip().lower(), int(match[1], 0))
    if (match := _BUTTON_FIELD.match(code)) is not None:
        return match[1].strip()
    if not code.strip().upper().startswith("EQ"):
        return ""
    if (match := _RUBY_FIELD.search(code)) is not None:
        return match[2].strip()
    if (match := _CIRCLED_FIELD.search(code)) is not None:
        return match[1].strip()
    return f"{match[1].strip()}/{match[2].strip()}" if (match := _FRACTION_FIELD.search(code)) is not None else ""
