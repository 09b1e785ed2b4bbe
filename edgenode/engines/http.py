"""The one adapter for OpenAI-compatible HTTP servers. It knows their dialects, not how they are started."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from edgenode.engines.engine import EngineProgress, Request
from edgenode.engines.grammar_spelling import plain_options, well_formed
from edgenode.engines.stream import EventLines, Reply, failure
from edgenode.errors import (
    ContextExceeded,
    EngineCrashed,
    EngineError,
    EngineLoading,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
)
from edgenode.types import Completion

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS: Final = 5.0
SEND_SECONDS: Final = 60.0
QUERY_SECONDS: Final = 10.0
BODY_BYTES: Final = 4 * 1024 * 1024
ERROR_BYTES: Final = 64 * 1024
# While it writes, progress is told so often at most: a frame for each token costs a small device a percent of its speed.
WRITING_SECONDS: Final = 0.1
# What a chat template adds to the words themselves, roughly.
TEMPLATE_TOKENS: Final = 32


class OnlyThought(EngineError):
    """The model thought aloud until its reply had no room left."""


class Flavour(StrEnum):
    """Which dialect a server speaks beyond what all share."""

    LLAMA_CPP = "llama.cpp"
    """llama-server and xllamacpp: tell how far the prompt is read, and notice a dropped caller while they read it."""
    LLAMA_CPP_PYTHON = "llama-cpp-python"
    """Own form of `response_format`; no usage in streams; breaks the stream off without a word when the text does not fit."""
    GENERIC = "generic"
    """Ollama, LM Studio and the rest: OpenAI's form, nothing more."""


# For each slot: a batch is filled slot by slot, so that one may have to wait for what all others read.
SILENCE_SECONDS: Final = {
    # A batch of at most 128 prompt tokens between two events: this is patience for a device that reads one token in two seconds.
    Flavour.LLAMA_CPP: 300.0,
    # Silent until the whole prompt is read.
    Flavour.LLAMA_CPP_PYTHON: 600.0,
    Flavour.GENERIC: 600.0,
}


class HttpClient:
    """Speaks to the server at `url` (without "/v1"). It holds nothing between two calls.

    `slots` is how many requests the server is sent at once. `silence_seconds` is how long a request may bring no event, by default
    what suits its flavour and slots; comments that only keep the connection do not count. `extras` are fields of a request that
    only this server or model knows; `thinking_tokens` is how much a model may think aloud before its reply.
    Proxies of the environment are never used: engines are on this device or one that was named.
    """

    def __init__(
        self,
        url: str,
        flavour: Flavour = Flavour.GENERIC,
        *,
        key: str | None = None,
        context_tokens: int = 0,
        slots: int = 1,
        silence_seconds: float | None = None,
        extras: Mapping[str, Any] | None = None,
        thinking_tokens: int = 0,
    ) -> None:
        self.url = url.rstrip("/")
        self.flavour = flavour
        self._key = key
        self._context_tokens = context_tokens
        self._slots = slots
        self._extras = dict(extras or {})
        self._thinking_tokens = thinking_tokens
        self.silence_seconds = SILENCE_SECONDS[flavour] * slots if silence_seconds is None else silence_seconds

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        """Runs one request. Cancelling it closes the connection, by which the server learns that nobody waits any more. Of what it
        writes, `progress` hears the first token and then ten times a second.

        Raises `EngineUnavailable` (nobody answers), `EngineCrashed` (the connection broke in the middle), `EngineTimeout`,
        `ContextExceeded`, `EngineRefused`, `OnlyThought` or another `EngineError`.
        """
        loop = asyncio.get_running_loop()
        prompt_tokens = await self._fits(request) if self.flavour is Flavour.LLAMA_CPP_PYTHON else 0
        reply, lines, started = Reply(prompt_tokens), EventLines(), loop.time()
        told = started
        try:
            async with (
                asyncio.timeout(self.silence_seconds) as silence,
                self._send("POST", "/v1/chat/completions", self._body(request)) as answer,
            ):
                if "text/event-stream" not in answer.headers.get("content-type", ""):
                    raise EngineError(f"The server at {self.url} did not stream its reply. Is it an OpenAI-compatible server?")
                async for data in answer.aiter_bytes():
                    for payload in lines.feed(data):
                        if reply.is_over:
                            break
                        at, now = reply.add(payload), loop.time()
                        silence.reschedule(now + self.silence_seconds)
                        if at is not None and (at.completion_tokens <= 1 or now - told >= WRITING_SECONDS):
                            told = now
                            progress(at)
                    if reply.is_over:
                        break
        except TimeoutError:
            raise EngineTimeout(f"The engine at {self.url} was silent for {self.silence_seconds:g} seconds.") from None
        if not reply.finished:
            raise EngineCrashed(f"The engine at {self.url} broke off in the middle of its reply.")
        usage = reply.usage(loop.time() - started)
        text = reply.text
        if reply.thought and (reply.cut or not text.strip()):
            raise OnlyThought(f"The model {request.model} thought aloud and had no room left for its reply.")
        if reply.cut and 0 < usage.completion_tokens < request.max_reply_tokens + self._thinking_tokens:
            raise ContextExceeded(
                f"The text does not fit the model's context: {usage.prompt_tokens} tokens left room for "
                f"{usage.completion_tokens} of the {request.max_reply_tokens} a reply may have."
            )
        return Completion(well_formed(text) if self.flavour is Flavour.LLAMA_CPP_PYTHON else text, usage)

    async def query(self, path: str, body: dict[str, Any] | None = None, seconds: float = QUERY_SECONDS) -> Any:
        """The JSON at `path`, by GET or, with a `body`, by POST. Raises `EngineError` or one of its kinds."""
        # Before the deadline begins: a small device loads it for a second, which says nothing of the server.
        import httpx2  # noqa: F401

        content = bytearray()
        try:
            async with asyncio.timeout(seconds), self._send("GET" if body is None else "POST", path, body) as answer:
                async for data in answer.aiter_bytes():
                    content += data
                    if len(content) > BODY_BYTES:
                        raise EngineError(f"The server at {self.url} sent more than {BODY_BYTES // 2**20} MB for {path}.")
        except TimeoutError:
            raise EngineTimeout(f"The server at {self.url} did not answer within {seconds:g} seconds.") from None
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise EngineError(f"What answers at {self.url} is not an OpenAI-compatible server ({path} is not JSON).") from None

    async def _fits(self, request: Request) -> int:
        """Tokens of the prompt, or `ContextExceeded`, found out beforehand: this server would only break the connection."""
        told = await self.query("/extras/tokenize/count", {"input": f"{request.system}\n{request.user}"}, SEND_SECONDS)
        count = told.get("count") if isinstance(told, dict) else None
        tokens = count + TEMPLATE_TOKENS if isinstance(count, int) else 0
        if self._context_tokens and tokens >= self._context_tokens:
            raise ContextExceeded(
                f"The text does not fit the model's context: about {tokens} tokens, without the reply, of {self._context_tokens}."
            )
        return tokens

    @asynccontextmanager
    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> AsyncIterator["httpx2.Response"]:
        """A response with status 200, or the typed error."""
        # Imported here: a node whose engine is no HTTP server, and every coordinator, does without.
        import httpx2

        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        content = None if body is None else json.dumps(body).encode()
        # A connection for each request: llama.cpp's server drops one it had promised to keep, which looks like a crash.
        client = httpx2.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS, write=SEND_SECONDS),
            verify=self.url.startswith("https:"),
            trust_env=False,
        )
        try:
            async with client, client.stream(method, path, content=content) as answer:
                if answer.status_code != 200:
                    raise await self._refusal(answer)
                yield answer
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise EngineUnavailable(f"Nothing answers at {self.url}. Is the engine running there?") from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise EngineCrashed(f"The connection to the engine at {self.url} broke ({type(error).__name__}).") from error

    async def _refusal(self, answer: "httpx2.Response") -> EngineError:
        content = bytearray()
        async for data in answer.aiter_bytes():
            content += data
            if len(content) > ERROR_BYTES:
                break
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        status = answer.status_code
        if status in (401, 403):
            return EngineRefused(f"The engine at {self.url} wants a key. Set EDGENODE_ENGINE_KEY to the one it was started with.")
        if status in (429, 503):
            return EngineLoading(f"The engine at {self.url} is busy or still loading its model (HTTP {status}).")
        return failure(status, body)

    def _body(self, request: Request) -> dict[str, Any]:
        try:
            schema = json.loads(request.reply_schema)
        except (ValueError, RecursionError):
            raise EngineError("The reply's schema is not JSON.") from None
        body = {
            "model": request.model,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
            "temperature": 0,
            "max_tokens": request.max_reply_tokens + self._thinking_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}},
        }
        if self.flavour is Flavour.LLAMA_CPP:
            body |= {"return_progress": True, "cache_prompt": True}
            if request.slot < self._slots > 1:
                # Left to itself the server takes any slot whose prompt begins a little alike, and loses the chunk that was read
                # there. For one that it lacks it would wait for ever.
                body["id_slot"] = request.slot
            # Thinking aloud would use up the reply before the schema's first character.
            body |= {"chat_template_kwargs": {"enable_thinking": False}}
        elif self.flavour is Flavour.LLAMA_CPP_PYTHON:
            body |= {"response_format": {"type": "json_object", "schema": plain_options(schema)}}
        return body | self._extras
