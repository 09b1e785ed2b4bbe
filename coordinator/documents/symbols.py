"""Characters of fonts that draw signs in place of letters: boxes, ticks, arrows, Greek."""

from typing import Final


def _table(signs: str) -> dict[int, str]:
    """By code: pairs of a code in two hexadecimal digits and its sign."""
    return {0x20: " "} | {int(pair[:2], 16): pair[2:] for pair in signs.split()}


SYMBOL_FONTS: Final[dict[str, dict[int, str]]] = {
    "wingdings": _table(
        "22✂ 28☎ 29✆ 2A✉ 2B✉ 4A☺ 4C☹ 6C● 6E■ 6F☐ 70☐ 71☐ 72☐ 76❖ 78☒ 81① 82② 83③ 84④ 85⑤ 86⑥ 87⑦ 88⑧ 89⑨ 8A⑩ "
        "8D❶ 8E❷ 8F❸ 90❹ 91❺ 92❻ 93❼ 94❽ 95❾ 96❿ 9F• A1○ A7▪ A8☐ AB★ D8➢ DF← E0→ E1↑ E2↓ E8→ FB✗ FC✓ FD☒ FE☑"
    ),
    "wingdings 2": _table("2A☐ 30☐ 4F✗ 50✓ 51✗ 52☑ 53☒ 54☒ 97● 98● 99○ A1■ A2■ A3☐"),
    "wingdings 3": _table("66← 67→ 68↑ 69↓ 7D▶"),
    "webdings": _table("34▶ 61✓ 63☐ 67■ 6E● 72✗"),
    "symbol": _table(
        "21! 22∀ 23# 24∃ 25% 26& 27∋ 28( 29) 2A∗ 2B+ 2C, 2D− 2E. 2F/ 300 311 322 333 344 355 366 377 388 399 "
        "3A: 3B; 3C< 3D= 3E> 3F? 41Α 42Β 43Χ 44Δ 45Ε 46Φ 47Γ 48Η 49Ι 4Aϑ 4BΚ 4CΛ 4DΜ 4EΝ 4FΟ 50Π 51Θ 52Ρ 53Σ "
        "54Τ 55Υ 56ς 57Ω 58Ξ 59Ψ 5AΖ 5B[ 5D] 5F_ 61α 62β 63χ 64δ 65ε 66φ 67γ 68η 69ι 6Aϕ 6Bκ 6Cλ 6Dμ 6Eν 6Fο "
        "70π 71θ 72ρ 73σ 74τ 75υ 76ϖ 77ω 78ξ 79ψ 7Aζ 7B{ 7C| 7D} A0€ A2′ A3≤ A5∞ AB↔ AC← AD↑ AE→ AF↓ B0° B1± "
        "B2″ B3≥ B4× B5∝ B6∂ B7• B8÷ B9≠ BA≡ BB≈ BC… C6∅ C7∩ C8∪ CE∈ D0∠ D5∏ D6√ D7⋅ D8¬ DE⇒ E5∑ F2∫"
    ),
}
"""By the font's name in lower case, and the code in it."""


def symbol(font: str, code: int) -> str:
    """The sign that a font shows for a code, which may be moved to the area for private use (U+F000); "" where it is not known."""
    own = code - 0xF000 if 0xF000 <= code <= 0xF0FF else code
    if own < 0x100 and font in SYMBOL_FONTS:
        return SYMBOL_FONTS[font].get(own, "")
    return chr(code) if 31 < code < 0x110000 and not 0xD800 <= code <= 0xF8FF else ""
