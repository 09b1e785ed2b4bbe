"""The text of a paragraph of a Word document: what a reader of the printed page sees, and marks for what is only said aside."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import lowered, raised
from coordinator.documents.word.equations import linear
from coordinator.documents.xml import attribute, child, children, local

# Characters of symbol fonts that forms use, by code: Wingdings and Wingdings 2 draw boxes and ticks.
_SYMBOLS: Final = {
    "wingdings": {
        0x6F: "☐",
        0x71: "☐",
        0xA8: "☐",
        0xFD: "☒",
        0xFE: "☑",
        0xFB: "✗",
        0xFC: "✓",
        0xD8: "➢",
        0xE0: "→",
        0x6E: "■",
        0x6C: "●",
    },
    "wingdings 2": {0x52: "☑", 0x53: "☒", 0x54: "☒", 0x50: "✓", 0x4F: "✗", 0xA3: "☐", 0x2A: "☐"},
    "symbol": {
        0xB7: "•",
        0xB3: "≥",
        0xA3: "≤",
        0xB1: "±",
        0xB0: "°",
        0xB4: "×",
        0x6D: "μ",
        0x57: "Ω",
        0xB9: "≠",
        0xAE: "→",
        0x44: "Δ",
    },
}
# A reading over a character, in the form of older Word: EQ \* jc2 \* "Font:..." \* hps10 \o\ad(\s\up 9(しききん),敷金)
_RUBY_FIELD: Final = re.compile(r"\\s\\up\s*\d*\s*\(([^()]*)\)\s*,\s*([^()]*)\)")

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

    def text(self, paragraph: Element, seen: Seen) -> str:
        pieces: list[str] = []
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
        text: list[str] = []
        for each in run:
            self._piece(each, text, seen)
        shown = "".join(text)
        if skipped:
            if shown.strip():
                seen.left_out.add(skipped)
            return
        position = attribute(child(properties, "vertAlign"), "val")
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
            case "begin":
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
        told = next(
            (attribute(each, "descr") for each in drawing.iter() if local(each) in ("docPr", "shape") and attribute(each, "descr")),
            "",
        )
        if told:
            out.append(f" [picture: {told}] ")

    def _is_on(self, properties: Element | None, name: str) -> bool:
        found = child(properties, name)
        if found is not None:
            return attribute(found, "val", "1") not in ("0", "false", "off", "none")
        style = self._styles.get(attribute(child(properties, "rStyle"), "val"))
        return style is not None and child(style, "rPr") is not None and self._is_on(child(style, "rPr"), name)


_NOT_IN_FORCE: Final = (("hidden", ("vanish", "webHidden")), ("struck", ("strike", "dstrike")))


def _alternative(element: Element) -> Element:
    """Of the forms in which something is given, the first that holds text; the others say the same for older programs."""
    forms = [each for each in element if local(each) in ("Choice", "Fallback")]
    filled = (form for form in forms if any(local(each) in ("t", "txbxContent") for each in form.iter()))
    return next(filled, forms[0] if forms else element)


def _symbol(element: Element) -> str:
    font = attribute(element, "font").lower()
    try:
        code = int(attribute(element, "char", "0"), 16)
    except ValueError:
        return ""
    known = _SYMBOLS.get(font, {}).get(code & 0xFF if code >= 0xF000 else code)
    return known or ("" if 0xE000 <= code <= 0xF8FF or not 31 < code < 0x110000 else chr(code))


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
    """What a field says that keeps its text in its code: characters with a reading over them."""
    match = _RUBY_FIELD.search(code) if code.strip().startswith("EQ") else None
    return match[2].strip() if match else ""
