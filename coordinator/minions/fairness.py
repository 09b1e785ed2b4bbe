"""An order in which no document and no repetition can push aside what others hold."""

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, TypeVar

DOCUMENT_SHARE: Final = 0.7
"""Of the characters of the first findings, however many, that one document can have while others have findings as well. A document
that echoes the question would have all of them."""
SAME: Final = 0.85
"""Two texts with the same numbers are one if so many of the pairs of characters in either are in both."""

T = TypeVar("T")


def fair(ranked: Sequence[T], document: Callable[[T], str], text: Callable[[T], str]) -> list[T]:
    """`ranked`, the strongest first, so reordered that near-duplicates of what stands before come last, and that in each first part
    of the rest no document has much more than `DOCUMENT_SHARE` while others have something left. Findings of one document keep
    their order, but for near-duplicates."""
    firsts, repeated = _without_repetition(ranked, text)
    waiting: dict[str, deque[tuple[int, T]]] = {}
    for rank, each in enumerate(firsts):
        waiting.setdefault(document(each), deque()).append((rank, each))
    ordered: list[T] = []
    used = dict.fromkeys(waiting, 0)
    total = 0
    while waiting:
        fitting = [label for label in waiting if used[label] <= DOCUMENT_SHARE * total] or list(waiting)
        label = min(fitting, key=lambda label: waiting[label][0][0])
        _, taken = waiting[label].popleft()
        ordered.append(taken)
        size = len(text(taken))
        used[label] += size
        total += size
        if not waiting[label]:
            del waiting[label]
    return ordered + repeated


def _without_repetition(ranked: Sequence[T], text: Callable[[T], str]) -> tuple[list[T], list[T]]:
    firsts: list[T] = []
    repeated: list[T] = []
    seen: dict[tuple[str, ...], list[frozenset[str]]] = {}
    for each in ranked:
        folded = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text(each)).casefold()))
        pairs = frozenset(map("".join, pairwise(folded)))
        known = seen.setdefault(tuple(re.findall(r"\d+", text(each))), [])
        if any(len(pairs & other) >= SAME * len(pairs | other) for other in known):
            repeated.append(each)
        else:
            known.append(pairs)
            firsts.append(each)
    return firsts, repeated
