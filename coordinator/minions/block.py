"""A model's words as one line of plain text, without the signs that citations, links, tags and escapes are made of."""

import re
import unicodedata
from typing import Final

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""What steers a terminal, turns the direction of text round, or cannot be seen."""
_MARKUP: Final = str.maketrans({"[": "(", "]": ")", "<": "‹", ">": "›", "`": "'", "“": '"', "”": '"', "|": "/"})
"""Signs that make citations, quotations, links, tables, code and tags, on a terminal, in Markdown and in HTML; and what reads
alike."""
_OPENING: Final = re.compile(r"(?:[#*+~=-]+|\d+[.)])\s+")
"""What makes a heading or a list of a line that begins with it."""


def one_block(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` characters, cut at the last word where it is longer."""
    kept = "".join(" " if each.isspace() else each for each in text if each.isspace() or unicodedata.category(each) not in _HIDDEN)
    line = " ".join(kept.split()).translate(_MARKUP)
    while opening := _OPENING.match(line):
        line = line[opening.end() :]
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut[limit // 2 :] else cut}…"
