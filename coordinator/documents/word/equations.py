"""Equations of Word as one line of text: (a+b)/(2c), x^2, √(x)."""

from xml.etree.ElementTree import Element

from coordinator.documents.xml import attribute, child, children, local


def linear(element: Element) -> str:
    """The equation `element` (m:oMath, or what stands in one) on one line."""
    return "".join(map(_part, element)).strip()


def _part(each: Element) -> str:
    match local(each):
        case "t":
            return each.text or ""
        case "f":
            return f"{_grouped(child(each, 'num'))}/{_grouped(child(each, 'den'))}"
        case "sSup":
            return f"{_inside(child(each, 'e'))}^{_grouped(child(each, 'sup'))}"
        case "sSub":
            return f"{_inside(child(each, 'e'))}_{_grouped(child(each, 'sub'))}"
        case "sSubSup" | "sPre":
            return f"{_inside(child(each, 'e'))}_{_grouped(child(each, 'sub'))}^{_grouped(child(each, 'sup'))}"
        case "rad":
            degree = _inside(child(each, "deg"))
            return f"{degree}√({_inside(child(each, 'e'))})"
        case "nary":
            sign = attribute(child(each, "naryPr", "chr"), "val", "∫")
            limits = "".join(
                f"{mark}{_grouped(found)}" for mark, name in (("_", "sub"), ("^", "sup")) if _inside(found := child(each, name))
            )
            return f"{sign}{limits} {_inside(child(each, 'e'))}"
        case "d":
            begin = attribute(child(each, "dPr", "begChr"), "val", "(")
            end = attribute(child(each, "dPr", "endChr"), "val", ")")
            return begin + ", ".join(map(_inside, children(each, "e"))) + end
        case "m":
            return "[" + "; ".join(", ".join(map(_inside, children(row, "e"))) for row in children(each, "mr")) + "]"
        case "eqArr":
            return "; ".join(map(_inside, children(each, "e")))
        case "func":
            return f"{_inside(child(each, 'fName'))} {_inside(child(each, 'e'))}"
        case "limLow" | "limUpp":
            return f"{_inside(child(each, 'e'))}_{_grouped(child(each, 'lim'))}"
        case name if name.endswith("Pr"):
            return ""
        case _:
            return "".join(map(_part, each))


def _inside(element: Element | None) -> str:
    return "" if element is None else "".join(map(_part, element)).strip()


def _grouped(element: Element | None) -> str:
    text = _inside(element)
    return text if len(text) < 2 or text.isalnum() else f"({text})"
