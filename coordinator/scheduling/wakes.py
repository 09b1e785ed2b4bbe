"""What is to be looked at when: a queue by time."""

import heapq
import itertools
import math
from typing import Any


class Wakes:
    """Entries may be added again and again; whoever gets one looks whether it is still true."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._order = itertools.count()

    @property
    def next(self) -> float:
        """Time of the first entry, infinite where there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def add(self, time: float, what: Any) -> None:
        if time < math.inf:
            heapq.heappush(self._heap, (time, next(self._order), what))

    def pop(self, now: float) -> Any:
        """An entry whose time has come, or None."""
        return heapq.heappop(self._heap)[2] if self._heap and self._heap[0][0] <= now else None
