"""What is to be looked at when: a queue by time."""

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Any, Final

# Below this many entries nothing is tidied.
FEW: Final = 256


class Wakes:
    """Entries may be added again and again; whoever gets one looks whether it is still true. Those about what `matters` no more are
    dropped whenever they have become about as many as the others."""

    def __init__(self, matters: Callable[[Any], bool]) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._order = itertools.count()
        self._matters = matters
        self._tidy_at = FEW

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next(self) -> float:
        """Time of the first entry, infinite where there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def add(self, time: float, what: Any) -> None:
        if time < math.inf:
            heapq.heappush(self._heap, (time, next(self._order), what))
            if len(self._heap) > self._tidy_at:
                self._heap = [entry for entry in self._heap if self._matters(entry[2])]
                heapq.heapify(self._heap)
                self._tidy_at = max(FEW, 2 * len(self._heap))

    def pop(self, now: float) -> Any:
        """An entry whose time has come, or None."""
        return heapq.heappop(self._heap)[2] if self._heap and self._heap[0][0] <= now else None
