"""The interface every engine has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from edgenode.types import Completion, EngineState, Model


@dataclass(frozen=True, slots=True)
class Request:
    """One chat completion: `system` and `user` messages, a reply of at most `max_reply_tokens` tokens at temperature 0 that the
    engine constrains to `reply_schema` (a JSON schema as text)."""

    model: str
    system: str
    user: str
    reply_schema: str
    max_reply_tokens: int
    slot: int = 0
    """Below `Engine.slots`. Requests that share a text come with the same one, one after another, and find it in the prompt cache;
    what comes on different ones is worked on at once."""


@dataclass(frozen=True, slots=True)
class EngineProgress:
    """How far one request has come, in tokens. `read_tokens` counts cached ones too."""

    prompt_tokens: int
    read_tokens: int
    completion_tokens: int


class Engine(Protocol):
    """An async context manager: entering starts it and returns when it can serve, leaving stops it with all it started.

    Entering raises `EngineError` with a sentence for the user when the engine cannot start.
    """

    @property
    def name(self) -> str:
        """Short name, for example "xllamacpp"."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The models it serves, known once entered. `Model.context_tokens` is what one request really may use."""

    @property
    def slots(self) -> int:
        """How many requests it works on at once, 1 to `MAX_SLOTS`; known once entered. Another's server may change it."""

    @property
    def unchecked(self) -> str:
        """The server that runs its models, where it cannot be checked that it does so on this device; else empty."""

    @property
    def state(self) -> EngineState: ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls `changed` on the event loop whenever `state`, `models` or `slots` changes."""

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        """Runs one request. Cancelling the call stops generation in the engine.

        Raises `EngineError` or one of its kinds: `EngineCrashed`, `EngineUnavailable`, `EngineTimeout`, `ContextExceeded`.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...
