"""How long to wait before an engine that died is started again. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles the wait with every death in a row, from `first_seconds` to `limit_seconds`. An engine that had served for
    `steady_seconds` died of something new and begins at the first wait again."""

    first_seconds: float = 0.5
    limit_seconds: float = 30.0
    steady_seconds: float = 60.0
    _next: float = 0.0

    def after(self, served_seconds: float) -> float:
        """Seconds to wait, given how long the engine had served before it died (0 when it did not even start)."""
        if served_seconds >= self.steady_seconds or self._next == 0:
            self._next = self.first_seconds
        wait = min(self._next, self.limit_seconds)
        self._next = min(self._next * 2, self.limit_seconds)
        return wait
