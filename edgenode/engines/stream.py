"""Reading the event stream of a chat completion. Pure: bytes in, progress and a reply out. The server is not trusted."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from edgenode.engines.engine import EngineProgress
from edgenode.errors import ContextExceeded, EngineError, EngineRefused
from edgenode.text import clean_line
from edgenode.types import Usage

LINE_BYTES: Final = 256 * 1024
STREAM_BYTES: Final = 32 * 1024 * 1024
REPLY_CHARACTERS: Final = 256 * 1024
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking")
"""Where servers put what a model thinks, beside what it replies."""
_THOUGHT_BEGINS: Final = re.compile(r"\s*<think>")
_MESSAGE_CHARACTERS: Final = 300
_MAY_PASS: Final = frozenset({408, 409, 413, 425, 429})
"""Statuses of the 400s that say something of the moment or of one request, and not of the engine."""
_COUNT_LIMIT: Final = 2**31 - 1


class EventLines:
    """Cuts a byte stream into the payloads of its `data:` lines.

    Comments and other fields are dropped: a server sends pings in them, which say nothing of the work. Raises `EngineError` when
    a line or the whole stream is longer than it may be.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._total = 0

    def feed(self, data: bytes) -> Iterator[str]:
        self._total += len(data)
        if self._total > STREAM_BYTES:
            raise EngineError(f"The engine sent more than {STREAM_BYTES // 2**20} MB for one reply; the work was stopped.")
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (self._rest, *lines))) > LINE_BYTES:
            raise EngineError(f"The engine sent a line of more than {LINE_BYTES // 1024} kB; the work was stopped.")
        for line in lines:
            payload = line.removeprefix(b"data:").decode("utf-8", "replace").strip() if line.startswith(b"data:") else ""
            if payload:
                yield payload


class Reply:
    """What the events of one completion add up to."""

    def __init__(self, prompt_tokens: int = 0) -> None:
        """`prompt_tokens` is what is known beforehand, for servers that tell nothing."""
        self.finished = False
        """Whether the end was seen, by the terminator or by a reason for stopping."""
        self.cut = False
        """Whether it ended for lack of room and not because the reply was complete."""
        self.is_over = False
        """Whether nothing may follow: the terminator was seen. Some servers keep the connection open after it."""
        self._thought = False
        self._parts: list[str] = []
        self._characters = 0
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = 0
        self._read_tokens = 0
        self._completion_tokens = 0
        self._worked_ms: float | None = None

    @property
    def text(self) -> str:
        """What was replied, without what the model thought before, as far as that is marked in it."""
        return without_thoughts("".join(self._parts))

    @property
    def thought(self) -> bool:
        """Whether the model thought aloud, beside its reply or in front of it."""
        written = "".join(self._parts)
        return self._thought or without_thoughts(written) != written

    def usage(self, seconds: float) -> Usage:
        """`seconds` is the time it took as the caller saw it: it counts where the server does not tell."""
        worked = seconds if self._worked_ms is None else min(self._worked_ms / 1000, seconds)
        return Usage(self._prompt_tokens, min(self._cached_tokens, self._prompt_tokens), self._completion_tokens, worked)

    def add(self, payload: str) -> EngineProgress | None:
        """Takes one event; returns how far the work is if the event told. Raises `EngineError` or `ContextExceeded`."""
        if payload == "[DONE]":
            self.finished = self.is_over = True
            return None
        event = _object(payload)
        if "error" in event:
            raise failure(0, event)
        before = (self._read_tokens, self._completion_tokens)
        self._take_progress(event.get("prompt_progress"))
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            self._take_choice(choice)
        self._take_usage(event)
        if (self._read_tokens, self._completion_tokens) == before:
            return None
        return EngineProgress(self._prompt_tokens, self._read_tokens, self._completion_tokens)

    def _take_progress(self, told: Any) -> None:
        if isinstance(told, dict):
            self._prompt_tokens = _count(told.get("total"))
            self._read_tokens = min(_count(told.get("processed")), self._prompt_tokens)

    def _take_choice(self, choice: Any) -> None:
        if not isinstance(choice, dict):
            return
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = {}
        self._thought = self._thought or any(delta.get(key) for key in _THOUGHTS)
        content = delta.get("content")
        if isinstance(content, str) and content:
            self._characters += len(content)
            if self._characters > REPLY_CHARACTERS:
                raise EngineError(f"The engine's reply is longer than {REPLY_CHARACTERS} characters; the work was stopped.")
            self._parts.append(content)
            self._completion_tokens += 1
            self._read_tokens = self._prompt_tokens
        if isinstance(choice.get("finish_reason"), str):
            self.finished = True
            self.cut = choice["finish_reason"] == "length"

    def _take_usage(self, event: dict[str, Any]) -> None:
        usage, timings = event.get("usage"), event.get("timings")
        if isinstance(timings, dict):
            self._cached_tokens = _count(timings.get("cache_n"))
            parts = [part for key in ("prompt_ms", "predicted_ms") if isinstance(part := timings.get(key), (int, float))]
            if len(parts) == 2 and all(0 <= part < _COUNT_LIMIT for part in parts):
                self._worked_ms = sum(parts)
        if isinstance(usage, dict):
            self._prompt_tokens = _count(usage.get("prompt_tokens")) or self._prompt_tokens
            self._completion_tokens = _count(usage.get("completion_tokens")) or self._completion_tokens
            details = usage.get("prompt_tokens_details")
            if isinstance(details, dict) and "cached_tokens" in details:
                self._cached_tokens = _count(details["cached_tokens"])


def without_thoughts(text: str) -> str:
    """A reply without the thoughts that some templates leave in front of it. Of thoughts that never end nothing is left: it was
    cut off before the reply."""
    if text.lstrip().startswith("{"):
        return text  # a reply may quote such marks
    thoughts, mark, reply = text.partition("</think>")
    if mark:
        return reply.lstrip()
    return "" if _THOUGHT_BEGINS.match(thoughts) else text


def failure(status: int, body: Any) -> EngineError:
    """The typed error for an error body: the parsed JSON of a response with HTTP `status`, or of an event (`status` 0)."""
    told = body.get("error", body.get("detail")) if isinstance(body, dict) else body
    kind = ""
    if isinstance(told, dict):
        kind = f"{told.get('type')} {told.get('code')}"
        told = told.get("message")
    message = clean_line(told, _MESSAGE_CHARACTERS).rstrip(".") if isinstance(told, str) and told.strip() else "it gave no reason"
    known = f"{kind} {message}".lower()
    if "context" in known and any(word in known for word in ("exceed", "too long", "larger than", "context length", "window")):
        return ContextExceeded(f"The text does not fit the model's context: {message}.")
    kind_of = EngineRefused if 400 <= status < 500 and status not in _MAY_PASS else EngineError
    return kind_of(f"The engine refused the work{f' (HTTP {status})' if status else ''}: {message}.")


def _object(payload: str) -> dict[str, Any]:
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise EngineError("The engine sent something that is not a chat completion. Is it an OpenAI-compatible server?")
    return event


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _COUNT_LIMIT else 0
