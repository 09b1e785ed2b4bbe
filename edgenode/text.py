"""Strings that came from elsewhere, made fit for a terminal, a log and a table."""

import unicodedata
from pathlib import Path
from typing import Final

# Format, surrogate, private and unassigned characters: they can reorder or hide what a terminal shows, or steer it.
_HIDDEN: Final = frozenset({"Cf", "Cs", "Co", "Cn"})


def clean_line(text: str, limit: int = 200) -> str:
    """`text` as one line of at most `limit` characters: white space folded (control characters too), hidden ones dropped."""
    kept = []
    for character in text[: limit * 4]:
        category = unicodedata.category(character)
        if category not in _HIDDEN:
            kept.append(" " if category == "Cc" else character)
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def names_a_file(text: str) -> bool:
    """Whether `text`, which a person typed, is the path of something that exists. Never raises, however long or odd it is."""
    try:
        return bool(text.strip()) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
