"""Strings that came from elsewhere, made fit for a terminal, a log and a table."""

import os
import re
import unicodedata
from pathlib import Path
from typing import Final

# Format, surrogate, private and unassigned characters: they can reorder or hide what a terminal shows, or steer it.
_HIDDEN: Final = frozenset({"Cf", "Cs", "Co", "Cn"})

# A name of this form can be typed as it is. Anything else may be meant to be pasted into a shell by someone who trusts it.
_TYPEABLE: Final = re.compile(r"[\w.@][\w.@-]*")


def clean_line(text: str, limit: int = 200) -> str:
    """`text` as one line of at most `limit` characters: white space folded (control characters too), hidden ones dropped."""
    kept = []
    for character in text[: limit * 4]:
        category = unicodedata.category(character)
        if category not in _HIDDEN:
            kept.append(" " if category == "Cc" else character)
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def typed_path(text: str) -> Path:
    """The path that a person typed, its `~` or `~user` replaced where there is such a user, as a shell does it."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - that of Path raises for a user whom nobody knows


def names_a_file(text: str) -> bool:
    """Whether `text`, which a person typed, is the path of something that exists. Never raises, however long or odd it is."""
    try:
        return bool(text.strip()) and typed_path(text).exists()
    except (OSError, ValueError):
        return False


def typeable(name: str, id: str) -> str:
    """What to type for a node: its name if a shell takes it as it is, else its id, if that is known."""
    return name if _TYPEABLE.fullmatch(name) or not id else id


def with_slashes(url: str) -> str:
    """The URL that was meant where a slash after `http:` or `https:` is missing or there is one too many, as in `http:/host` or
    `https:host:port`; empty where nothing is wrong with them."""
    found = re.fullmatch(r"(https?):(/*)([^/\s]\S*)", url.strip(), re.IGNORECASE)
    return f"{found[1].lower()}://{found[3]}" if found is not None and found[2] != "//" else ""
