"""When the pool will be done: the time that decides whether a slow device should still begin a bundle."""

from collections.abc import Sequence
from typing import Final

import numpy as np

_STEPS: Final = 24


def finish_time(free_at: Sequence[float], seconds: Sequence[float], bundles: float) -> float:
    """The earliest time by which nodes that are free at `free_at` and take `seconds` for a bundle can have finished `bundles` of
    them, each by one node: the least T with `sum(floor((T - free) / seconds)) >= bundles`, a ten-thousandth more at most.

    A node that can finish a bundle by T takes one; as that sum is reached there is always one, which is why never all of them wait
    for a better one. Needs at least one node.
    """
    free, each = np.asarray(free_at, dtype=float), np.asarray(seconds, dtype=float)
    count = max(1.0, np.ceil(bundles))
    start = float(free.min())
    # Whoever is done first with all of it alone is an upper bound; all together without rounding a lower one.
    high = float((free + count * each).min())
    low = start
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if np.floor(np.maximum(0.0, middle - free) / each).sum() >= count:
            high = middle
        else:
            low = middle
        if high - low <= 1e-4 * (high - start):
            break
    return high
