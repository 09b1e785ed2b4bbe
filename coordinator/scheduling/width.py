"""How many leases at once raise a node's throughput, measured: on a processor parallel slots often buy nothing, on a graphics card
they may buy a lot."""

from typing import Final

# Outcomes at a width before it is judged, and what it must gain over the best so far: a tenth is within the noise of two widths.
TRIALS: Final = 4
WORTH: Final = 1.1
# After so many outcomes another width is tried again.
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
        self._taken = 0.0
        self._step = 1

    @property
    def on_trial(self) -> bool:
        """Whether the present width is being measured. What things take meanwhile tells nothing of how fast the node is."""
        return self.now != self._best

    @property
    def gain(self) -> float:
        """How many times as much it does with as many leases as it works on now as with one."""
        return self._throughput(self.now) if self.now in self._slowdown else 1.0

    def slowdown(self, running: int) -> float:
        """How many times longer a lease takes beside `running - 1` others than alone. A width that was never tried is taken to gain
        nothing."""
        running = max(1, running)
        known = max(width for width in self._slowdown if width <= running)
        return self._slowdown[known] * running / known

    def observe(self, running: int, ratio: float) -> None:
        """A subtask took `ratio` times as long as it would alone, while `running` leases were in work all the time."""
        if running != self.now or self.slots == 1:
            return
        self._seen += 1
        self._taken += min(100.0, max(0.1, ratio))
        if self.now == self._best:
            if self._seen >= (AGAIN if len(self._slowdown) > 1 else TRIALS):
                self._try_another()
        elif self._seen >= TRIALS:
            self._slowdown[self.now] = self._taken / self._seen
            better = self._throughput(self.now) >= WORTH * self._throughput(self._best)
            # A narrower one that is as good leaves the node's memory to others.
            if better or (self.now < self._best and WORTH * self._throughput(self.now) >= self._throughput(self._best)):
                self._best = self.now
                if better and self.now < self.slots and self._step > 0:
                    self._go(self.now + 1)
                    return
            self._go(self._best)

    def _try_another(self) -> None:
        """The next wider one or, in turn, the next narrower one: what a device does besides changes."""
        if len(self._slowdown) > 1:
            self._step = -self._step
        width = self._best + self._step
        self._go(width if 1 <= width <= self.slots else self._best)

    def _throughput(self, width: int) -> float:
        return width / self._slowdown[width]

    def _go(self, width: int) -> None:
        self._seen, self._taken = 0, 0.0
        self.now = width
