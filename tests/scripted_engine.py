"""An engine for tests that does what a script says: reply, fail, or wait until it is let go."""

import asyncio
from collections.abc import Callable
from typing import Self

from edgenode.engines.engine import EngineProgress, Request
from edgenode.types import Completion, EngineState, Model, Usage

Script = Callable[[Request], Completion | BaseException | asyncio.Event]


class ScriptedEngine:
    """`script` gives, for each request, the completion, an error to raise, or an event to wait for before an empty reply.

    `seen` holds the requests, `cancelled` those that were stopped, `started` is set whenever one begins.
    """

    def __init__(self, script: Script | None = None, model: Model | None = None, name: str = "scripted", slots: int = 1) -> None:
        self.name = name
        self.slots = slots
        self.unchecked = ""
        self.models: tuple[Model, ...] = (model or Model("scripted-model", context_tokens=4096),)
        self.state = EngineState.READY
        self.seen: list[Request] = []
        self.cancelled: list[Request] = []
        self.started = asyncio.Event()
        self._script = script or (lambda request: Completion(f"reply to {request.user}", Usage(10, 5, 3, 0.1)))
        self._changed: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)

    def become(self, state: EngineState) -> None:
        self.state = state
        for changed in self._changed:
            changed()

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        self.seen.append(request)
        self.started.set()
        progress(EngineProgress(10, 5, 0))
        answer = self._script(request)
        try:
            if isinstance(answer, asyncio.Event):
                await answer.wait()
                return Completion("", Usage())
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Nothing was started."""
