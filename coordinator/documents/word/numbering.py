"""Numbers of paragraphs as Word shows them: "§ 3", "1.2", "(a)". They stand nowhere in the text of the file."""

import re
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.counting import FORMATS
from coordinator.documents.xml import attribute, child, children

LEVELS: Final = 9


@dataclass(slots=True)
class _Level:
    format: str = "decimal"
    text: str = ""
    start: int = 1
    restart: int | None = None
    """The level, from 1, after which it begins again; 0 for never."""
    legal: bool = False
    """Whether all its numbers are Arabic ones."""
    style: str = ""
    gap: str = " "
    """What stands between the number and the text."""


@dataclass(slots=True)
class _Abstract:
    levels: dict[int, _Level] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    link: str = ""


class Numbering:
    """The lists of a document, and how far each has counted. `styles` are the document's, by id."""

    def __init__(self, part: Element | None, styles: dict[str, Element]) -> None:
        self._styles = styles
        self._default = next(
            (
                id
                for id, style in styles.items()
                if attribute(style, "default") in ("1", "true") and attribute(style, "type") == "paragraph"
            ),
            "",
        )
        self._abstract: dict[str, _Abstract] = {}
        self._lists: dict[str, tuple[str, dict[int, _Level], dict[int, int]]] = {}
        """By number of the list: its definition, levels of its own, and numbers at which it begins anew."""
        self._begun: set[tuple[str, int]] = set()
        for each in children(part, "abstractNum"):
            made = _Abstract({int(attribute(level, "ilvl", "0")): _level(level) for level in children(each, "lvl")})
            made.link = attribute(child(each, "numStyleLink"), "val")
            self._abstract[attribute(each, "abstractNumId")] = made
        for each in children(part, "num"):
            levels: dict[int, _Level] = {}
            starts: dict[int, int] = {}
            for override in children(each, "lvlOverride"):
                level = int(attribute(override, "ilvl", "0"))
                if (own := child(override, "lvl")) is not None:
                    levels[level] = _level(own)
                if (start := child(override, "startOverride")) is not None:
                    starts[level] = _number(attribute(start, "val"), 1)
            self._lists[attribute(each, "numId")] = (attribute(child(each, "abstractNumId"), "val"), levels, starts)

    def label(self, properties: Element | None) -> str:
        """What stands before the text of the paragraph with these properties: "1.2 ", "- " for bullets, "" for none. Counts it."""
        found, level = self._place(properties, self.style(properties))
        if found not in self._lists:
            return ""
        name, own, starts = self._lists[found]
        abstract = self._resolved(name)
        if abstract is None:
            return ""
        levels = {**abstract.levels, **own}
        if level not in levels:
            return ""
        shape = levels[level]
        if level in starts and (found, level) not in self._begun:
            abstract.counts.pop(level, None)
        self._begun.add((found, level))
        first = starts.get(level, shape.start)
        abstract.counts[level] = abstract.counts[level] + 1 if level in abstract.counts else first
        for deeper in [each for each in abstract.counts if each > level]:
            restart = levels[deeper].restart if deeper in levels else None
            if restart is None or (restart and level < restart):
                del abstract.counts[deeper]
        if shape.format == "bullet":
            return "- "
        label = re.sub(
            r"%([1-9])", lambda match: self._shown(int(match[1]) - 1, levels, abstract.counts, legal=shape.legal), shape.text
        )
        return label + shape.gap if label.strip() else ""

    def style(self, properties: Element | None) -> str:
        """Id of the style of a paragraph."""
        return attribute(child(properties, "pStyle"), "val") or self._default

    def _shown(self, level: int, levels: dict[int, _Level], counts: dict[int, int], *, legal: bool) -> str:
        shape = levels.get(level, _Level())
        number = counts.get(level, shape.start)
        if level not in counts:
            counts[level] = number
        make = str if legal else FORMATS.get(shape.format, str)
        return make(number) if number > 0 else str(number)

    def _place(self, properties: Element | None, style: str) -> tuple[str, int]:
        """The list and the level that a paragraph belongs to: its own, or its style's, or that of what the style is based on."""
        own = child(properties, "numPr")
        id, level = attribute(child(own, "numId"), "val"), attribute(child(own, "ilvl"), "val")
        seen: set[str] = set()
        name = style
        while not (id and level) and name in self._styles and name not in seen:
            seen.add(name)
            numbers = child(self._styles[name], "pPr", "numPr")
            if not id and numbers is not None:
                id = attribute(child(numbers, "numId"), "val")
                # A style tells its level, or the list tells which level is that style's.
                level = level or attribute(child(numbers, "ilvl"), "val") or self._level_of(id, name)
            name = attribute(child(self._styles[name], "basedOn"), "val")
        return id, min(LEVELS - 1, _number(level, 0))

    def _level_of(self, id: str, style: str) -> str:
        abstract = self._resolved(self._lists[id][0]) if id in self._lists else None
        return next((str(level) for level, shape in (abstract.levels if abstract else {}).items() if shape.style == style), "")

    def _resolved(self, name: str) -> _Abstract | None:
        """A definition, or the one that it takes from a style."""
        found = self._abstract.get(name)
        if found is None or not found.link or found.levels:
            return found
        id = attribute(child(self._styles.get(found.link), "pPr", "numPr", "numId"), "val")
        return self._abstract.get(self._lists[id][0]) if id in self._lists else None


def _level(element: Element) -> _Level:
    shape = child(element, "numFmt")
    if shape is None:  # in newer files beside a form for older programs
        shape = child(element, "AlternateContent", "Choice", "numFmt")
    restart = child(element, "lvlRestart")
    return _Level(
        format=attribute(shape, "val", "decimal"),
        text=attribute(child(element, "lvlText"), "val"),
        start=_number(attribute(child(element, "start"), "val"), 1),
        restart=None if restart is None else _number(attribute(restart, "val"), 0),
        legal=(legal := child(element, "isLgl")) is not None and attribute(legal, "val", "1") not in ("0", "false"),
        style=attribute(child(element, "pStyle"), "val"),
        gap="" if attribute(child(element, "suff"), "val") == "nothing" else " ",
    )


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else otherwise
