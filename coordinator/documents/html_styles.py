"""What style sheets and style attributes say about whether text is seen, and as what: as much of CSS as that takes."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

MAX_SHEET_CHARACTERS: Final = 2_000_000
MAX_RULES: Final = 1_000
MAX_LOOKS: Final = 2_000_000
"""Elements that are looked at, as each rule that may matter to a page is looked up in all of it. Some take 2 microseconds each."""
_WINDOW: Final = 1280
"""Width of the screen in pixels, for which pages may hide something."""

_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_BRACE: Final = re.compile(r"[{}]")
_TOLD: Final = re.compile(
    r"(?:^|[;{\s])(display|visibility|opacity|font-size|text-decoration|text-decoration-line|list-style|list-style-type|position|left|text-indent"
    r"|clip|clip-path|mso-hide)\s*:\s*([^;]*)",
    re.IGNORECASE,
)
_ALWAYS_APPLIES: Final = re.compile(r"[^:]*(?::(?:not|is|where|first-child|last-child|nth-child|only-child|root)[^:]*)*")
_NAME: Final = re.compile(r"([.#]?)((?:[\w-]|[^\x00-\x7f])+)")
_WIDTH: Final = re.compile(r"(min|max)-width\s*:\s*([\d.]+)\s*(px|em|rem)")

Style = Mapping[str, str]


class Styles:
    """What is said about each element of a page, attributes over sheets."""

    def __init__(self, page: LexborHTMLParser) -> None:
        self._said: dict[int, dict[str, str]] = {}
        sheets = [node.text(deep=True) for node in page.css("style") if _shown_on_screens(node.attributes.get("media") or "all")]
        source = "\n".join(sheets)[:MAX_SHEET_CHARACTERS]
        if not _TOLD.search(source):
            return
        names, elements = _names(page)
        most = min(MAX_RULES, MAX_LOOKS // max(1, elements))
        rules: list[tuple[bool, tuple[int, int, int], int, str, dict[str, str]]] = []
        for order, (selector, told) in enumerate(_rules(_COMMENT.sub("", source))):
            if len(rules) < most and _may_match(selector, names):
                rules.append((any("!important" in value for value in told.values()), _weight(selector), order, selector, told))
        for _, _, _, selector, told in sorted(rules, key=lambda rule: rule[:3]):
            try:
                nodes = page.css(selector)
            except SelectolaxError:
                continue  # one that is not known here
            for node in nodes:
                self._said.setdefault(node.mem_id, {}).update(told)

    def of(self, node: LexborNode) -> Style:
        """Properties with their values in lower case."""
        sheet, own = self._said.get(node.mem_id), node.attributes.get("style")
        if not own:
            return sheet or {}
        told = _declared(own)
        return {**(sheet or {}), **told, **{name: value for name, value in (sheet or {}).items() if "!important" in value}}


def hides(style: Style) -> bool:
    """Whether an element with this style shows nothing."""
    if not style:
        return False
    if style.get("display", "").startswith("none") or style.get("visibility", "").startswith(("hidden", "collapse")):
        return True
    if (
        _is_nothing(style.get("opacity", ""))
        or _is_nothing(style.get("font-size", ""))
        or style.get("mso-hide", "").startswith("all")
    ):
        return True
    if re.match(r"-\d{3,}", style.get("text-indent", "")):
        return True
    clipped = re.match(r"rect\(\s*(?:0|1)(?:px)?[\s,]", style.get("clip", "")) or re.match(
        r"inset\(\s*(?:50|100)%", style.get("clip-path", "")
    )
    away = re.match(r"-\d{3,}", style.get("left", ""))
    return bool(style.get("position", "").startswith(("absolute", "fixed")) and (clipped or away))


def strikes(style: Style) -> bool:
    """Whether it strikes text out."""
    return any("line-through" in style.get(name, "") for name in ("text-decoration", "text-decoration-line"))


def list_kind(style: Style) -> str:
    """How a list is numbered, as CSS calls it; empty where nothing is said."""
    return (style.get("list-style-type") or style.get("list-style") or "").replace("!important", "").strip()


def _is_nothing(value: str) -> bool:
    return bool(re.match(r"0*(?:\.0+)?(?:px|pt|em|rem|%)?\s*(?:!|\Z)", value)) and "0" in value


def _declared(text: str) -> dict[str, str]:
    return {name.lower(): value.strip().lower() for name, value in _TOLD.findall(text)}


def _rules(source: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each selector with what is told of it, as far as it matters here; rules for screens inside "@media" count."""
    at, head = 0, ""
    while (match := _BRACE.search(source, at)) is not None:
        before, at = source[at : match.start()], match.end()
        if match[0] == "{":
            head = before.rpartition(";")[2].strip()
            if head.startswith("@"):
                at = at if _applies(head) else _end_of_block(source, at)
                head = ""
        elif head:
            if told := _declared(before):
                yield from ((selector.strip(), told) for selector in re.split(r",(?![^()]*\))", head) if selector.strip())
            head = ""


def _end_of_block(source: str, at: int) -> int:
    depth = 1
    for match in _BRACE.finditer(source, at):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.end()
    return len(source)


def _applies(head: str) -> bool:
    if head.startswith(("@supports", "@layer")):
        return True
    return head.startswith("@media") and _shown_on_screens(head[6:])


def _shown_on_screens(media: str) -> bool:
    """Whether rules for this medium count on a wide screen."""
    media = media.strip().lower() or "all"
    if "print" in media or "speech" in media or "prefers" in media or media.startswith("not"):
        return False
    for bound, value, unit in _WIDTH.findall(media):
        pixels = float(value.rstrip(".") or 0) * (1 if unit == "px" else 16) if value.count(".") < 2 else 0
        if (bound == "max" and pixels < _WINDOW) or (bound == "min" and pixels > _WINDOW):
            return False
    return True


def _names(page: LexborHTMLParser) -> tuple[frozenset[str], int]:
    """Tags, classes (".a") and ids ("#a") that the page has, and how many elements."""
    names: set[str] = set()
    elements = page.css("*")
    for node in elements:
        names.add(node.tag or "")
        names.update(f".{name}" for name in (node.attributes.get("class") or "").split())
        names.add(f"#{node.attributes.get('id') or ''}")
    return frozenset(names), len(elements)


def _may_match(selector: str, names: frozenset[str]) -> bool:
    """Whether its last part names what the page has, and nothing that a pointer or a script has to do first."""
    if not _ALWAYS_APPLIES.fullmatch(selector):
        return False
    last = re.split(r"[\s>+~]+", re.sub(r"\([^()]*\)|\[[^\]]*\]", "", selector).strip())[-1]
    return all(mark + (name if mark else name.lower()) in names for mark, name in _NAME.findall(last.partition(":")[0]))


def _weight(selector: str) -> tuple[int, int, int]:
    """How particular a selector is: ids, then classes and the like, then tags."""
    return selector.count("#"), len(re.findall(r"[.\[:]", selector)), len(re.findall(r"(?:^|[\s>+~])[a-zA-Z]", selector))
