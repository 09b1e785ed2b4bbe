"""The object of JSON that a model replied with, also where its server did not hold it to that form."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

MAX_CANDIDATES: Final = 50
"""Braces that are looked at in prose: more of them are no reply."""

_THOUGHTS: Final = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCED: Final = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)


def object_in(text: str, key: str) -> dict[str, Any] | None:
    """The one object with `key` that `text` is or holds: after a byte order mark or a model's thoughts, between fences, or amid
    prose. None where there is none, or where there are several that differ, so that it is not certain which is meant."""
    text = _THOUGHTS.sub("", text.lstrip("\ufeff \t\r\n"), count=1)
    whole = _parsed(text)
    if whole is not None:
        return whole if key in whole else None
    fenced = [found for each in _FENCED.findall(text) if (found := _parsed(each)) is not None and key in found]
    known = fenced or [each for each in _objects(text) if key in each]
    return known[0] if known and all(each == known[0] for each in known) else None


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Objects that stand in `text`, outermost ones."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    for _ in range(MAX_CANDIDATES):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict):
                yield value
        at = text.find("{", end)
