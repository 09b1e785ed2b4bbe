"""The deterministic test engine: no model, replies made by rule. For tests and scheduling benchmarks only."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from edgenode.engines.engine import EngineProgress, Request
from edgenode.engines.filler import as_json, fill, tokens
from edgenode.engines.known import DETERMINISTIC
from edgenode.errors import ContextExceeded, EngineError
from edgenode.types import Completion, EngineState, Model, Usage

STEP_TOKENS: Final = 64
CATCH_UP_SECONDS: Final = 0.05
"""How far a device may be behind its clock because of this machine and still catch up. A process that was stopped does not."""
# What slots gain: as on many graphics cards, four of them do twice what one does.
BATCHING: Final = 0.5


@dataclass(slots=True)
class _Slot:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    late: float = 0.0
    """By how many seconds the last request was answered later than the device would have."""
    cache: list[str] = field(default_factory=list)


class DeterministicEngine:
    """Behaves in time like an engine with `slots` slots, each with a prompt cache: it reads and writes at the speeds given (tokens
    a second; `None` is at once, but other tasks still get their turn), and what a prompt has in common with the start of the one
    before on its slot costs nothing. Tokens are those of `filler.tokens`. Its reply is `filler.fill` of the schema, cut at the
    tokens allowed.

    `batching` says what slots gain: n requests at once do n to that power times what one does. 0 is nothing, 1 is that each is as
    fast as alone.

    Its model's digest is the SHA-256 of the model's name.
    """

    def __init__(
        self,
        *,
        model: str = DETERMINISTIC,
        parameters: int = 0,
        context_tokens: int = 4096,
        read_tokens_per_second: float | None = None,
        write_tokens_per_second: float | None = None,
        slots: int = 1,
        batching: float = BATCHING,
    ) -> None:
        self.name = DETERMINISTIC
        self.slots = slots
        self.unchecked = ""
        self.models = (
            Model(
                model,
                digest=hashlib.sha256(model.encode()).hexdigest(),
                context_tokens=context_tokens,
                parameters=parameters,
            ),
        )
        self.state = EngineState.STARTING
        self._read_speed = read_tokens_per_second
        self._write_speed = write_tokens_per_second
        self._batching = batching
        self._slots = tuple(_Slot() for _ in range(slots))
        self._busy = 0

    def watch(self, changed: Callable[[], None]) -> None:
        """Nothing changes while it is entered."""

    async def __aenter__(self) -> Self:
        self.state = EngineState.READY
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.forget()

    def forget(self) -> None:
        """Empties the prompt caches."""
        for slot in self._slots:
            slot.cache = []

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        arrived = asyncio.get_running_loop().time()
        try:
            schema = json.loads(request.reply_schema)
        except (ValueError, RecursionError):
            raise EngineError("The reply's schema is not JSON.") from None
        prompt = tokens(request.system) + tokens(request.user)
        context = self.models[0].context_tokens
        if len(prompt) + request.max_reply_tokens > context:
            raise ContextExceeded(
                f"The text does not fit the model's context: {len(prompt)} tokens and a reply of {request.max_reply_tokens} "
                f"are more than {context}."
            )
        reply = _cut(as_json(fill(schema, request.user)), request.max_reply_tokens)
        # To make a reply by rule is part of the time that a device would need, and does not come on top of it.
        slot = self._slots[request.slot]
        waits = slot.lock.locked()
        async with slot.lock:
            # Who waited for the last reply was kept waiting by what it was late.
            late, slot.late = slot.late, 0.0
            began = asyncio.get_running_loop().time() if waits else arrived
            self._busy += 1
            try:
                return await self._run(slot, prompt, reply, progress, began - late)
            finally:
                self._busy -= 1

    async def _run(
        self, slot: _Slot, prompt: list[str], reply: str, progress: Callable[[EngineProgress], None], started: float
    ) -> Completion:
        due = started
        # The last token is always read: a model needs it to go on from.
        cached = min(_common(slot.cache, prompt), max(0, len(prompt) - 1))
        slot.cache = prompt[:cached]
        progress(EngineProgress(len(prompt), cached, 0))
        for at in range(cached, len(prompt), STEP_TOKENS):
            step = min(STEP_TOKENS, len(prompt) - at)
            due = await _work(step, self._shared(self._read_speed), due)
            slot.cache = prompt[: at + step]
            progress(EngineProgress(len(prompt), at + step, 0))
        count = len(tokens(reply))
        for at in range(0, count, STEP_TOKENS):
            step = min(STEP_TOKENS, count - at)
            due = await _work(step, self._shared(self._write_speed), due)
            progress(EngineProgress(len(prompt), len(prompt), at + step))
        ended = asyncio.get_running_loop().time()
        slot.late = min(CATCH_UP_SECONDS, max(0.0, ended - due))
        return Completion(reply, Usage(len(prompt), cached, count, ended - started))

    def _shared(self, speed: float | None) -> float | None:
        """What each of the requests in work gets of `speed`."""
        return speed and speed * self._busy ** (self._batching - 1)


async def _work(count: int, speed: float | None, since: float) -> float:
    """Returns when `count` tokens that were begun at `since` are done, and when that should have been. By the clock, as sleeps are
    up to a millisecond too long each: steps of 20 ms would make a device 3 % slower than it was set."""
    now = asyncio.get_running_loop().time()
    due = max(since, now - CATCH_UP_SECONDS) + (count / speed if speed else 0.0)
    await asyncio.sleep(max(0.0, due - now))
    return due


def _common(one: list[str], other: list[str]) -> int:
    shared = next((at for at, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs), None)
    return min(len(one), len(other)) if shared is None else shared


def _cut(reply: str, limit: int) -> str:
    """`reply` without what lies beyond `limit` tokens, as a model that ran out of room leaves it."""
    if len(tokens(reply)) <= limit:
        return reply
    low, high = 0, len(reply)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(tokens(reply[:middle])) <= limit else (low, middle - 1)
    return reply[:low]
