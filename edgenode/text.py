"""Strings that came from elsewhere, made fit for a terminal, a log and a table."""

import unicodedata
from pathlib import Path
from typing import Final

# Control, format, surrogate, private and unassigned: they can reorder or hide what a terminal shows, or steer it.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean_line(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` characters: white space folded, characters that hide or steer dropped."""
    folded = " ".join(text[: limit * 4].split())
    kept = "".join(character for character in folded if unicodedata.category(character) not in _HIDDEN)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def names_a_file(text: str) -> bool:
    """Whether `text`, which a person typed, is the path of something that exists. Never raises, however long or odd it is."""
    try:
        return bool(text.strip()) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
