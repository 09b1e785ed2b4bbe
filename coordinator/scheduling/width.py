"""How many leases at once raise a node's throughput, measured: on a processor parallel slots often buy nothing, on a graphics card
they may buy a lot."""

from typing import Final

# Outcomes at a width before it is judged, and what it must gain over the best so far: a tenth is within the noise of two widths.
TRIALS: Final = 4
WORTH: Final = 1.1
# After so many outcomes a width that bought nothing is tried again: what a device does besides changes.
AGAIN: Final = 200


class Width:
    """Starts with one at a time and goes up by one as long as that pays, to the number of slots that the node tells."""

    def __init__(self, slots: int) -> None:
        self.slots = max(1, slots)
        self.now = 1
        """How many leases the node is to work on at once."""
        self._best = 1
        self._slowdown = {1: 1.0}
        self._seen = 0

    def slowdown(self, running: int) -> float:
        """How many times longer a lease takes beside `running - 1` others than alone."""
        return self._slowdown.get(running, self._slowdown[max(k for k in self._slowdown if k <= max(1, running))])

    def observe(self, running: int, ratio: float) -> None:
        """A subtask took `ratio` times as long as it would alone, while `running` leases were in work."""
        if self.slots == 1:
            return
        if running > 1:
            before = self._slowdown.get(running, ratio)
            self._slowdown[running] = min(100.0, max(0.5, before + 0.25 * (ratio - before)))
        if running != self.now:
            return
        self._seen += 1
        if self.now == self._best:
            if (self._seen >= TRIALS and self.now == 1) or self._seen >= AGAIN:
                self._go(min(self.slots, self.now + 1))
        elif self._seen >= TRIALS:
            if self._throughput(self.now) >= WORTH * self._throughput(self._best):
                self._best = self.now
                self._go(min(self.slots, self.now + 1))
            else:
                self._go(self._best)

    def _throughput(self, width: int) -> float:
        return width / self.slowdown(width)

    def _go(self, width: int) -> None:
        # Alone again after a trial: not tried again at once.
        self._seen = TRIALS + 1 if width == self._best else 0
        if width == self._best == 1:
            self._seen = -AGAIN
        self.now = width
