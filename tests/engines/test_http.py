"""The adapter against a real HTTP server on loopback that does what servers do, and what they should not."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edgenode.engines.engine import EngineProgress
from edgenode.engines.http import Flavour, HttpClient
from edgenode.errors import (
    ContextExceeded,
    EngineCrashed,
    EngineError,
    EngineLoading,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
)
from tests.engines.engine_server import EngineServer, Exchange, says
from tests.engines.requests import PATIENCE, SENTENCES, ignore, quote_schema, request


@pytest.fixture
async def server() -> AsyncIterator[EngineServer]:
    async with EngineServer() as server:
        yield server


async def test_reply_and_what_was_sent(server: EngineServer) -> None:
    """A stream becomes a completion; the request carries schema, limits, key and the dialect of llama.cpp."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*says('{"quote": ', "null}"), {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}, "[DONE]")

    told: list[EngineProgress] = []
    client = HttpClient(server.url + "/", Flavour.LLAMA_CPP, key="secret")
    done = await client.complete(request("Why?", tokens=50), told.append)
    assert (done.text, done.usage.prompt_tokens, done.usage.completion_tokens) == ('{"quote": null}', 9, 2)
    assert told[0].completion_tokens == 1
    (seen,) = server.seen
    assert seen.headers["authorization"] == "Bearer secret"
    assert [each["content"] for each in seen.body["messages"]] == ["You read.", "Why?"]
    assert seen.body["response_format"]["json_schema"]["schema"] == quote_schema(*SENTENCES)
    assert {**seen.body, "messages": 0, "response_format": 0} == {
        "model": "model", "messages": 0, "response_format": 0, "temperature": 0, "max_tokens": 50, "stream": True,
        "stream_options": {"include_usage": True}, "return_progress": True, "cache_prompt": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip


async def test_not_each_token_that_is_written_is_told(server: EngineServer) -> None:
    """What is read is told at each event; of a reply that comes quickly the first token, and then not each."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*({"prompt_progress": {"total": 40, "processed": read}} for read in (10, 20, 30, 40)))
        await exchange.events(*says(*(["x"] * 500)), "[DONE]")

    told: list[EngineProgress] = []
    done = await HttpClient(server.url, Flavour.LLAMA_CPP).complete(request("Why?", tokens=600), told.append)
    assert done.text == "x" * 500
    assert [(each.read_tokens, each.completion_tokens) for each in told[:5]] == [(10, 0), (20, 0), (30, 0), (40, 0), (40, 1)]
    assert len(told) < 250


async def test_other_servers_get_the_common_form(server: EngineServer) -> None:
    """Parameters that only llama.cpp knows are not sent to others, which may refuse them; nor is a key that nobody gave."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*says("1"), "[DONE]")

    await HttpClient(server.url).complete(request(), ignore)
    assert not {"return_progress", "cache_prompt", "chat_template_kwargs"} & set(server.seen[0].body)
    assert "authorization" not in server.seen[0].headers


async def test_llama_cpp_python_dialect(server: EngineServer) -> None:
    """Its own form of schema, its prompt counted beforehand, its raw control characters made JSON again."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*says('{"answer": "two\nlines"}'), "[DONE]")

    async def count(exchange: Exchange) -> None:
        await exchange.reply({"count": 100})

    server.handlers["/extras/tokenize/count"] = count
    client = HttpClient(server.url, Flavour.LLAMA_CPP_PYTHON, context_tokens=300)
    done = await client.complete(request(), ignore)
    assert json.loads(done.text) == {"answer": "two\nlines"}
    assert done.usage.prompt_tokens >= 100
    assert server.seen[-1].body["response_format"]["type"] == "json_object"
    with pytest.raises(ContextExceeded):
        await HttpClient(server.url, Flavour.LLAMA_CPP_PYTHON, context_tokens=90).complete(request(), ignore)


async def test_cancelling_closes_the_connection(server: EngineServer) -> None:
    """A caller that is cancelled in the middle hangs up, which is how a server learns to stop."""
    dropped = asyncio.Event()
    begun = asyncio.Event()

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*says("a")[:1])
        await exchange.dropped()
        dropped.set()

    call = asyncio.create_task(HttpClient(server.url).complete(request(), lambda _: begun.set()))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(dropped.wait(), PATIENCE)


async def test_silence_has_a_deadline(server: EngineServer) -> None:
    """A server that keeps the connection alive with comments, and does nothing else, is silent."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        while True:
            await exchange.raw(b": ping\n\n")
            await asyncio.sleep(0.01)

    with pytest.raises(EngineTimeout, match=r"silent for 0\.2 seconds"):
        await HttpClient(server.url, silence_seconds=0.2).complete(request(), ignore)


def test_more_slots_may_be_silent_longer() -> None:
    """A batch is filled slot by slot: a request may wait for what all others read; what the user says counts as it is."""
    one, four = (HttpClient("http://127.0.0.1:1", Flavour.LLAMA_CPP, slots=slots) for slots in (1, 4))
    assert four.silence_seconds == 4 * one.silence_seconds
    assert HttpClient("http://127.0.0.1:1", slots=4, silence_seconds=2).silence_seconds == 2


async def test_nobody_there() -> None:
    """A refused connection says that the engine is not running."""
    # Bound and not listened at: nobody else can have that port.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(EngineUnavailable, match="Nothing answers"):
            await HttpClient(f"http://127.0.0.1:{nobody.getsockname()[1]}").complete(request(), ignore)


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\n\r\ndata: {}\n\n"]
)
async def test_connection_lost(server: EngineServer, sent: bytes) -> None:
    """A connection that breaks before or in the middle of the reply is a crash."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.raw(sent)

    with pytest.raises(EngineCrashed):
        await HttpClient(server.url).complete(request(), ignore)


async def test_reply_without_an_end(server: EngineServer) -> None:
    """A stream that ends before the reply does is not taken for a reply."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*says("half")[:1])

    with pytest.raises(EngineCrashed, match="broke off"):
        await HttpClient(server.url).complete(request(), ignore)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, {"error": {"message": "Invalid API Key"}}, EngineRefused, "EDGENODE_ENGINE_KEY"),
        (503, {"error": {"message": "Loading model"}}, EngineLoading, "still loading"),
        (400, {"error": {"type": "exceed_context_size_error", "message": "exceeds the context"}}, ContextExceeded, "does not fit"),
        (404, {"error": {"message": "model 'x' not found"}}, EngineRefused, "model 'x' not found"),
        (500, b"<html>" + b"x" * 200_000, EngineError, "it gave no reason"),
        (302, b"", EngineError, "HTTP 302"),
    ],
)
async def test_refusals(server: EngineServer, status: int, body: Any, kind: type[EngineError], words: str) -> None:
    """Each refusal is an error of its kind with a sentence for a person."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.reply(body, status)

    with pytest.raises(EngineError, match=words) as caught:
        await HttpClient(server.url).complete(request(), ignore)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [({"choices": []}, "application/json"), (b"<html>hello</html>", "text/html"), (b"data: <html>\n\n", "text/event-stream")],
)
async def test_not_such_a_server(server: EngineServer, body: Any, kind: str) -> None:
    """Something that answers but does not stream completions is told apart from a crash."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.reply(body, kind=kind)

    with pytest.raises(EngineError, match="OpenAI-compatible") as caught:
        await HttpClient(server.url).complete(request(), ignore)
    assert type(caught.value) is EngineError


async def test_error_in_the_stream(server: EngineServer) -> None:
    """An error that comes as an event, after a good beginning, ends the call."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*says("a")[:1], {"error": {"message": "Compute error."}})

    with pytest.raises(EngineError, match=r"Compute error\.$"):
        await HttpClient(server.url).complete(request(), ignore)


@pytest.mark.parametrize(("tokens", "fits"), [(2, True), (50, False)])
async def test_reply_cut_by_the_context(server: EngineServer, tokens: int, fits: bool) -> None:
    """A reply cut before it had the tokens allowed was cut by the context; one that used them up is the reader's to judge."""

    @server.chat
    async def chat(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*says("a", "b", finish="length"), "[DONE]")

    call = HttpClient(server.url).complete(request(tokens=tokens), ignore)
    if fits:
        assert (await call).text == "ab"
    else:
        with pytest.raises(ContextExceeded):
            await call


async def test_proxies_are_not_asked(server: EngineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment never sees what goes to an engine."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    async def models(exchange: Exchange) -> None:
        await exchange.reply({"data": []})

    server.handlers["/v1/models"] = models
    assert await HttpClient(server.url).query("/v1/models") == {"data": []}


async def test_schema_that_is_no_json(server: EngineServer) -> None:
    """A schema that cannot be read is refused before anything is sent."""
    broken = request()
    with pytest.raises(EngineError, match="not JSON"):
        await HttpClient(server.url).complete(type(broken)("m", "s", "u", "{", 5), ignore)
    assert server.seen == []
