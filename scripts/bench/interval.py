"""How sure a median is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Interval:
    """Of a median: `low` to `high` holds that of the distribution with probability `confidence`, whatever the distribution."""

    median: float
    low: float
    high: float
    confidence: float


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The narrowest interval between two of `values`, as many below it as above, that has at least `confidence` (by the binomial
    distribution: each value is below the true median with probability one half). Fewer than six values cannot reach .95; their
    whole range is given then, with the confidence that it has."""
    ordered = sorted(values)
    cut = 0
    while cut + 1 < (len(ordered) + 1) // 2 and _confidence(len(ordered), cut + 1) >= confidence:
        cut += 1
    return Interval(median(ordered), ordered[cut], ordered[-1 - cut], _confidence(len(ordered), cut))


def _confidence(count: int, cut: int) -> float:
    """Of the interval that is left when `cut` of `count` values are taken away at each end."""
    return 1 - sum(math.comb(count, below) for below in range(cut + 1)) * math.ldexp(1, 1 - count)
