"""How fast one model reads and writes on one node, learnt from what is observed, with its uncertainty.

A piece of work takes `calls * overhead + read / read speed + depth * attention + written / write speed` seconds: reading a token
costs more the more tokens stand before it. The four factors are kept as logarithms with a covariance and follow an extended Kalman
filter whose measurement is the logarithm of a duration, so a device thirty times slower is as near as one thirty times faster, and
nothing becomes negative. Its gradient is simply the share of the duration that each term has.

Figures, chosen on generated traces (`tests/scheduling/test_speed.py`):

- `DRIFT` .08 beside noise of .15 gives the last four or so observations most of the weight.
- The first observation is believed as it is. After it a surprise of more than `SURPRISE` deviations is taken for an outlier and
  counts as that many. A second one in a row to the same side, by at least `CHANGE` in the logarithm, is a change of the device: all
  speeds are uncertain again (in common), and what the two agree on is believed. So a device that slows to a tenth is known after
  two observations, and one reply in twenty that takes ten times as long moves the estimate by a few per cent.
"""

import math
from dataclasses import dataclass
from typing import Final

DRIFT: Final = 0.08
SURPRISE: Final = 3.0
CHANGE: Final = 0.25
REOPENED: Final = 1.0
MIN_NOISE: Final = 0.05
MAX_NOISE: Final = 0.7
# What the network and a busy event loop do to a time stamp: short pieces tell little.
JITTER_SECONDS: Final = 0.01
MIN_SECONDS: Final = 1e-5
MAX_SECONDS: Final = 1e7
# A laptop by the guess, a Pi and a large desktop within two deviations.
PRIOR_READ: Final = 100.0
PRIOR_WRITE: Final = 25.0
PRIOR_OVERHEAD: Final = 0.02
# Attention costs as much again as all the rest at this depth.
PRIOR_DEPTH: Final = 16_000.0
PRIOR_SPREAD: Final = 1.5
# Distrust: a node whose progress runs ahead by this factor (logarithm) is believed half as much.
DOUBT: Final = 0.3
_PARTS: Final = range(4)


@dataclass(frozen=True, slots=True)
class Demand:
    """A piece of work: model calls begun, tokens read (not those from the prompt cache), tokens written."""

    calls: float = 0.0
    read: float = 0.0
    depth: float = 0.0
    """Sum over the tokens read of how many stood before each."""
    written: float = 0.0

    def __add__(self, other: "Demand") -> "Demand":
        return Demand(self.calls + other.calls, self.read + other.read, self.depth + other.depth, self.written + other.written)

    def times(self, count: float) -> "Demand":
        return Demand(count * self.calls, count * self.read, count * self.depth, count * self.written)


def reading(start: float, end: float, *, calls: float = 0.0, written: float = 0.0) -> Demand:
    """Reads the prompt from token `start` to `end`, and writes."""
    return Demand(calls, max(0.0, end - start), max(0.0, end * end - start * start) / 2, written)


def bundle_demand(shared: float, own: float, reply: float, count: int, cached: float = 0.0) -> Demand:
    """`count` subtasks in a row on one slot: the chunk is read once, or not at all as far as it is `cached`."""
    once = reading(min(cached, shared), shared)
    each = reading(shared, shared + own, calls=1.0, written=reply)
    return Demand(count * each.calls, once.read + count * each.read, once.depth + count * each.depth, count * each.written)


class SpeedModel:
    """Seconds for demands. `like` are models of other nodes of the pool: what is not known of this one is guessed from them."""

    def __init__(self, like: "SpeedModel | None" = None) -> None:
        read = -math.log(PRIOR_READ)
        self._x = [math.log(PRIOR_OVERHEAD), read, read - math.log(PRIOR_DEPTH), -math.log(PRIOR_WRITE)]
        own = (1.0, 0.05, 0.5, 0.4)
        common = PRIOR_SPREAD**2
        self._p = [[(own[i] if i == j else 0.0) + (common if i and j else 0.0) for j in _PARTS] for i in _PARTS]
        self._noise = 0.15
        self._surprise = 0.0
        self.paces: tuple[float, ...] = tuple(math.exp(each) for each in self._x)
        """Seconds for each unit of the four terms of a demand."""
        self.observations = 0
        self.changes = 0
        """How often the device was found to have changed."""
        self.doubt = 0.0
        """By how much (logarithm) its progress runs ahead of its outcomes."""
        if like is not None:
            self.guess(like)

    def guess(self, like: "SpeedModel") -> None:
        """While nothing is known of this one it is taken to be like that one, with all uncertainty."""
        self.paces = like.paces
        self._x = [math.log(pace) for pace in like.paces]

    @property
    def read_speed(self) -> float:
        """Tokens a second at the start of a prompt."""
        return 1 / self.paces[1]

    @property
    def overhead(self) -> float:
        """Seconds that a call takes beside reading and writing."""
        return self.paces[0]

    @property
    def known(self) -> bool:
        return self.observations > 0

    def seconds(self, demand: Demand) -> float:
        o, r, a, w = self.paces
        return demand.calls * o + demand.read * r + demand.depth * a + demand.written * w

    def spread(self, demand: Demand) -> float:
        """Standard deviation of the logarithm of the seconds that `demand` will take."""
        terms = self._terms(demand)
        total = sum(terms) or 1.0
        shares = [term / total for term in terms]
        variance = sum(shares[i] * shares[j] * self._p[i][j] for i in _PARTS for j in _PARTS)
        return math.sqrt(max(0.0, variance) + self._noise**2)

    def observe(self, demand: Demand, seconds: float, *, trust: float = 1.0) -> None:
        """`demand` took `seconds`. `trust` from 0 to 1 says how good a measurement it is."""
        terms = self._terms(demand)
        expected = sum(terms)
        if seconds <= 0 or expected <= 0 or trust <= 0:
            return
        seconds = min(MAX_SECONDS, max(MIN_SECONDS, seconds))
        shares = [term / expected for term in terms]
        error = math.log(seconds / expected)
        for i in (1, 2, 3):
            for j in (1, 2, 3):
                self._p[i][j] += DRIFT**2
        noise = (self._noise**2 + (JITTER_SECONDS / seconds) ** 2) / trust
        weights, variance = self._gain(shares, noise)
        limit = SURPRISE * math.sqrt(variance)
        if self.observations and abs(error) > max(limit, CHANGE):
            if self._surprise * error > 0:
                for i in (1, 2, 3):
                    for j in (1, 2, 3):
                        self._p[i][j] += REOPENED
                self.changes += 1
                # What both agree on: frames that were held up and then came all at once are two surprises as well.
                error = math.copysign(min(abs(error), abs(self._surprise)), error)
                self._surprise = 0.0
                weights, variance = self._gain(shares, noise)
            else:
                self._surprise = error
                error = math.copysign(limit, error)
        else:
            self._surprise = 0.0
            if self.observations > 2:
                self._noise = min(MAX_NOISE, max(MIN_NOISE, self._noise + 0.05 * (1.25 * abs(error) - self._noise)))
        self._x = [self._x[i] + weights[i] * error / variance for i in _PARTS]
        # Shares change on the way, so a large step misses: made good in common, to what the gain says of the duration itself.
        certain = 1 - noise / variance
        self.paces = tuple(math.exp(min(30.0, max(-30.0, each))) for each in self._x)
        missed = math.log(expected / sum(self._terms(demand))) + certain * error
        self._x = [min(30.0, max(-30.0, each + missed)) for each in self._x]
        for i in _PARTS:
            for j in _PARTS:
                self._p[i][j] -= weights[i] * weights[j] / variance
        self.paces = tuple(math.exp(each) for each in self._x)
        self.observations += 1

    def confirm(self, lead: float) -> None:
        """An outcome came. `lead` is the logarithm of how many times faster the progress before it had claimed to be."""
        self.doubt += 0.3 * (max(0.0, min(3.0, lead)) - self.doubt)

    @property
    def credit(self) -> float:
        """How much progress is believed, from 0 to 1."""
        return 1 / (1 + (self.doubt / DOUBT) ** 2)

    def _terms(self, demand: Demand) -> tuple[float, float, float, float]:
        o, r, a, w = self.paces
        return demand.calls * o, demand.read * r, demand.depth * a, demand.written * w

    def _gain(self, shares: list[float], noise: float) -> tuple[list[float], float]:
        weights = [sum(row[j] * shares[j] for j in _PARTS) for row in self._p]
        return weights, sum(shares[i] * weights[i] for i in _PARTS) + noise


class PredictionError:
    """How far predictions of subtasks were off: a histogram of |log2(seconds / predicted)| in steps of a fortieth."""

    def __init__(self) -> None:
        self._counts = [0] * 321
        self.count = 0

    def add(self, predicted: float, seconds: float) -> None:
        if predicted > 0 and seconds > 0:
            self._counts[min(320, int(40 * abs(math.log2(seconds) - math.log2(predicted))))] += 1
            self.count += 1

    def quantile(self, share: float) -> float:
        """The relative error that `share` of the predictions did not exceed: .1 is ten per cent. 0 when there were none."""
        seen = 0
        for step, count in enumerate(self._counts):
            seen += count
            if count and seen >= share * self.count:
                return 2 ** ((step + 0.5) / 40) - 1
        return 0.0
