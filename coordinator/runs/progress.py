"""What a run says of how far it is: an estimate of what is left, again and again while it reads."""

from collections.abc import Callable
from typing import Final

from coordinator.events import Estimated, Event, Found
from coordinator.runs.dispatch import Dispatcher
from coordinator.runs.execute import Execution
from coordinator.types import Rejected, Retrieved

# Told after each of the first parts, which teach how fast the nodes are, and then about so often in a run.
FIRST_PARTS: Final = 10
TIMES: Final = 50


class Progress:
    """Passes the events of an execution on, each estimate before the finding that it rests on."""

    def __init__(self, dispatcher: Dispatcher, execution: Callable[[], Execution], tell: Callable[[Event], None]) -> None:
        self._dispatcher = dispatcher
        self._execution = execution
        self._tell = tell
        self._left: int | None = None
        self._ended = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Found) and not isinstance(event.finding, Retrieved | Rejected):
            self._estimate(self._execution())
        self._tell(event)

    def _estimate(self, execution: Execution) -> None:
        left = execution.parts_left
        if left == (len(execution.bundles) if self._left is None else self._left):
            return
        self._left = left
        self._ended += 1
        if self._ended > FIRST_PARTS and self._ended % max(1, (self._ended + left) // TIMES):
            return
        estimate = self._dispatcher.left(execution.id)
        if left and estimate is not None:
            self._tell(Estimated(left, estimate.devices, estimate.seconds))
