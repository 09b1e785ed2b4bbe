"""Formulas of web pages and books (MathML) as one line: x^2, (a+b)/2."""

from collections.abc import Iterator

from selectolax.lexbor import LexborNode


def linear(node: LexborNode) -> str:
    """The formula on one line."""
    return "".join(_part(each) for each in _inside(node)).strip()


def _inside(node: LexborNode) -> Iterator[LexborNode]:
    return (each for each in node.iter(include_text=True) if not (each.tag or "").startswith("annotation"))


def _part(node: LexborNode) -> str:
    if node.tag == "-text":
        return node.text(deep=False).strip()
    parts = [_part(each) for each in _inside(node) if each.tag != "-text" or each.text(deep=False).strip()]
    match node.tag, parts:
        case "mfrac", [over, under]:
            return f"{_grouped(over)}/{_grouped(under)}"
        case (("msup" | "mover"), [base, above]):
            return f"{base}^{_grouped(above)}"
        case (("msub" | "munder"), [base, below]):
            return f"{base}_{_grouped(below)}"
        case (("msubsup" | "munderover"), [base, below, above]):
            return f"{base}_{_grouped(below)}^{_grouped(above)}"
        case "msqrt", _:
            return f"√({''.join(parts)})"
        case "mroot", [base, degree]:
            return f"{degree}√({base})"
        case "mtr", _:
            return ", ".join(parts)
        case "mtable", _:
            return f"[{'; '.join(parts)}]"
        case _:
            return "".join(parts)


def _grouped(text: str) -> str:
    return text if len(text) < 2 or text.isalnum() else f"({text})"
