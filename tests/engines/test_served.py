"""Servers that somebody else runs: what is found out about them, and what is said when they are not what was hoped."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from edgenode.engines.served import CONTEXT_TOKENS, ServedEngine, is_on_this_device, parameters_in
from edgenode.errors import EngineCrashed, EngineError, EngineUnavailable
from edgenode.types import EngineState, Model
from tests.engines.engine_server import EngineServer, Exchange, Handler, says
from tests.engines.requests import PATIENCE, ignore, request

DIGEST = "ab" * 32


def gives(body: Any, status: int = 200) -> Handler:
    async def handler(exchange: Exchange) -> None:
        await exchange.reply(body, status)

    return handler


def lists(*names: str) -> Handler:
    return gives({"object": "list", "data": [{"id": name} for name in names]})


async def breaks(exchange: Exchange) -> None:
    await exchange.begin_events()


async def done(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.events(*says("null"), "[DONE]")


@pytest.fixture
async def server() -> AsyncIterator[EngineServer]:
    async with EngineServer() as server:
        server.chat(done)
        yield server


async def test_llama_server(server: EngineServer) -> None:
    """llama-server tells its context in /props, and is then spoken to in its dialect, with the key it was started with."""
    server.handlers |= {
        "/v1/models": lists("Qwen3-4B-Q4_K_M.gguf"),
        "/props": gives({"default_generation_settings": {"n_ctx": 8192}}),
    }
    async with ServedEngine(server.url, key="secret") as engine:
        assert engine.models == (Model("Qwen3-4B-Q4_K_M.gguf", context_tokens=8192, parameters=4 * 10**9),)
        await engine.complete(request(), ignore)
    assert server.seen[-1].body["return_progress"] is True
    assert {seen.headers["authorization"] for seen in server.seen} == {"Bearer secret"}


@pytest.mark.parametrize("told", [2**32, 2**60, -1, "8192", None])
async def test_a_context_that_cannot_be_is_not_told(server: EngineServer, told: object) -> None:
    """What no message could carry counts as silence."""
    props = {"default_generation_settings": {"n_ctx": told}}
    server.handlers |= {"/v1/models": lists("small"), "/props": gives(props)}
    async with ServedEngine(server.url) as engine:
        assert engine.models[0].context_tokens == CONTEXT_TOKENS


@pytest.mark.parametrize(
    ("told", "wanted", "slots"),
    [(4, None, 4), (4, 2, 2), (4, 8, 4), (None, None, 1), (None, 3, 3), ("many", None, 1), (-1, None, 1), (10**6, None, 64)],
)
async def test_slots_of_a_llama_server(server: EngineServer, told: object, wanted: int | None, slots: int) -> None:
    """It tells how many slots it has, and never gets more requests at once, but fewer where the user says so. Where there is one
    only, the server is left to choose."""
    props = {"default_generation_settings": {"n_ctx": 8192}, "total_slots": told}
    server.handlers |= {"/v1/models": lists("small"), "/props": gives(props)}
    async with ServedEngine(server.url, slots=wanted, is_local=True) as engine:
        assert engine.slots == slots
        await engine.complete(replace(request(), slot=slots - 1), ignore)
    assert server.seen[-1].body.get("id_slot") == (slots - 1 if slots > 1 else None)


@pytest.mark.parametrize("fault", ["away", "breaks"])
async def test_a_llama_server_that_returns_with_other_slots(server: EngineServer, fault: str) -> None:
    """It is asked again before it gets work: with a request for a slot that it lacks it would never begin."""
    props: dict[str, Any] = {"default_generation_settings": {"n_ctx": 8192}, "total_slots": 4}
    server.handlers |= {"/v1/models": lists("small"), "/props": gives(props)}
    async with ServedEngine(server.url, poll_seconds=1000) as engine:
        told: list[int] = []
        engine.watch(lambda: told.append(engine.slots))
        for slots in (2, 1, 4):
            if fault == "away":
                await server.close()
                with pytest.raises(EngineUnavailable):
                    await engine.complete(request(), ignore)
                await server.listen()
            else:
                server.chat(breaks)
                with pytest.raises(EngineCrashed):
                    await engine.complete(request(), ignore)
                server.chat(done)
            props["total_slots"] = slots
            # What had its turn before it is known may still come for a slot that there was, two at once too.
            before = len(server.seen)
            await asyncio.gather(*(engine.complete(replace(request(), slot=3), ignore) for _ in range(2)))
            assert all((each.body or {}).get("id_slot", 0) < slots for each in server.seen[before:])
            assert engine.slots == slots
            assert slots in told
            assert server.seen[-1].body.get("id_slot") == (3 if slots == 4 else None)


async def test_slots_are_asked_for_now_and_then(server: EngineServer) -> None:
    """A server that was started again between two requests has not been missed."""
    props: dict[str, Any] = {"default_generation_settings": {"n_ctx": 8192}, "total_slots": 4}
    server.handlers |= {"/v1/models": lists("small"), "/props": gives(props)}
    async with ServedEngine(server.url, poll_seconds=0.01) as engine:
        fewer = asyncio.Event()
        engine.watch(fewer.set)
        props["total_slots"] = 2
        async with asyncio.timeout(PATIENCE):
            await fewer.wait()
        assert engine.slots == 2
        assert engine.state is EngineState.READY


async def test_slots_of_others(server: EngineServer) -> None:
    """A server that does not tell is sent one request at a time unless the user knows better, and is told of no slots."""
    server.handlers["/v1/models"] = lists("small")
    for wanted, slots in ((None, 1), (3, 3)):
        async with ServedEngine(server.url, slots=wanted, is_local=True) as engine:
            assert engine.slots == slots
            await engine.complete(replace(request(), slot=slots - 1), ignore)
        assert "id_slot" not in server.seen[-1].body


@pytest.mark.parametrize(
    ("shown", "context"),
    [
        ({"model_info": {"llama.context_length": 131072}}, 4096),
        ({"model_info": {"llama.context_length": 2048}}, 2048),
        ({"model_info": {"llama.context_length": 131072}, "parameters": "stop  x\nnum_ctx   16384"}, 16384),
        ({}, 4096),
    ],
)
async def test_ollama(server: EngineServer, shown: dict[str, Any], context: int) -> None:
    """Ollama tells digest, size and quantization; its context is what it gives, not what the model could have."""
    entry = {
        "name": "llama3.1:latest",
        "digest": DIGEST,
        "size": 4_700_000_000,
        "details": {"parameter_size": "8.0B", "quantization_level": "Q4_0"},
    }
    server.handlers |= {
        "/v1/models": lists("nomic-embed-text:latest", "llama3.1:latest"),
        "/api/tags": gives({"models": [entry]}),
        "/api/show": gives(shown),
    }
    async with ServedEngine(server.url + "/v1/") as engine:
        assert engine.models == (Model("llama3.1:latest", DIGEST, 4_700_000_000, "Q4_0", context, 8 * 10**9),)
    async with ServedEngine(server.url, model="llama3.1", context_tokens=1000) as engine:
        assert engine.models[0].context_tokens == 1000


async def test_plain_server(server: EngineServer) -> None:
    """Of a server that lists models and tells nothing more a modest context is assumed."""
    server.handlers["/v1/models"] = lists("text-embedding-x", "phi-3.5-mini", "other")
    async with ServedEngine(server.url, is_local=True) as engine:
        assert engine.models == (Model("phi-3.5-mini", context_tokens=4096),)
    async with ServedEngine(server.url, model="other", is_local=True) as engine:
        assert engine.models[0].name == "other"


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (lists("a", "b"), "has no model wanted: it has a, b"),
        (lists(), "has no model wanted: it has none"),
        (gives({"hello": 1}), "is not an OpenAI-compatible server: it lists no models"),
        (gives([1]), "is not an OpenAI-compatible server"),
        (gives(b"<html>", 200), "is not an OpenAI-compatible server"),
        (gives({"error": {"message": "no"}}, 401), "EDGENODE_ENGINE_KEY"),
        (gives({"data": [None, {"id": 3}, {"id": "x\x1b[2J"}]}), "it has none"),
    ],
)
async def test_wrong_servers(server: EngineServer, listing: Handler, words: str) -> None:
    """What answers but cannot serve is told in a sentence."""
    server.handlers["/v1/models"] = listing
    with pytest.raises(EngineError, match=words):
        await ServedEngine(server.url, model="wanted").__aenter__()


async def test_nothing_but_embeddings(server: EngineServer) -> None:
    """A server without a model that can chat asks for one."""
    server.handlers["/v1/models"] = lists("nomic-embed-text")
    with pytest.raises(EngineError, match="Load one there first"):
        await ServedEngine(server.url).__aenter__()


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://x", "http://", ""])
async def test_address_that_is_none(url: str) -> None:
    """What is not an address is shown with one that is."""
    with pytest.raises(EngineError, match="should look like"):
        await ServedEngine(url).__aenter__()


async def test_nobody_there() -> None:
    """Nothing at the address is a sentence with the address."""
    with pytest.raises(EngineUnavailable, match=r"Nothing answers at http://127\.0\.0\.1:1\."):
        await ServedEngine("http://127.0.0.1:1").__aenter__()


@pytest.mark.parametrize("busy", [False, True])
async def test_away_and_back(server: EngineServer, busy: bool) -> None:
    """A server that goes away is looked for and found again, whether its absence is met at work or while idle."""
    server.handlers["/v1/models"] = lists("m")
    async with ServedEngine(server.url, poll_seconds=0.02, is_local=True) as engine:
        changed = watched(engine)
        await server.close()
        if busy:
            with pytest.raises(EngineUnavailable):
                await engine.complete(request(), ignore)
        await changed(EngineState.RESTARTING)
        await server.listen()
        await changed(EngineState.READY)
        assert (await engine.complete(request(), ignore)).text == "null"


def watched(engine: ServedEngine) -> Callable[[EngineState], Any]:
    """What waits until the engine has announced a state."""
    event = asyncio.Event()
    engine.watch(event.set)

    async def until(state: EngineState) -> None:
        async with asyncio.timeout(PATIENCE):
            while engine.state is not state:
                event.clear()
                await event.wait()

    return until


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8.0B", 8 * 10**9),
        ("134.52M", 134_520_000),
        ("qwen3:0.6b-instruct-q4_K_M", 600_000_000),
        ("SmolLM2-135M-Instruct", 135_000_000),
        ("phi-4", 0),
        ("gpt-oss:20b", 20 * 10**9),
        ("model-4bit", 0),
        ("x" * 50, 0),
    ],
)
def test_parameters(text: str, count: int) -> None:
    """The number of weights is read from sizes and names, and not from what only looks like one."""
    assert parameters_in(text) == count


def ollama(server: EngineServer, entry: dict[str, Any], shown: dict[str, Any], *others: dict[str, Any]) -> None:
    """The server answers as an Ollama that lists `entry`, then `others`, and says `shown` of the first."""
    entries = [entry, *others]

    async def show(exchange: Exchange) -> None:
        await exchange.reply(shown if exchange.body["model"] == entry["name"] else {"capabilities": ["completion"]})

    server.handlers["/api/tags"] = gives({"models": entries})
    server.handlers["/v1/models"] = gives({"data": [{"id": each["name"]} for each in entries]})
    server.handlers["/api/show"] = show


HERE = {"name": "small:latest", "size": 400_000_000, "digest": "a" * 64}


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        pytest.param({"remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:120b"}, {}, id="tags"),
        pytest.param({}, {"remote_host": "https://ollama.com:443"}, id="show"),
        pytest.param({}, {"remote_model": "gpt-oss:120b"}, id="alias"),
        pytest.param({}, {"modelfile": "# made\nFROM gpt-oss:120b-cloud\nSYSTEM x"}, id="modelfile"),
        pytest.param({"details": {"parent_model": "gpt-oss:120b-cloud"}}, {}, id="parent"),
        pytest.param({"size": 384}, {}, id="size"),
        pytest.param({"name": "gpt-oss:120b-cloud"}, {}, id="name-cloud"),
        pytest.param({"name": "kimi:cloud"}, {}, id="tag-cloud"),
        pytest.param({}, {"capabilities": ["embedding"]}, id="embedding"),
        pytest.param({"name": "bge-reranker:latest"}, {}, id="reranker"),
    ],
)
async def test_models_that_run_elsewhere_or_do_not_write_are_never_served(
    server: EngineServer, entry: dict[str, Any], shown: dict[str, Any]
) -> None:
    """They are passed over for the next, and refused with the reason when they are named or alone."""
    bad = {"name": "first:latest", "size": 4_700_000_000, "digest": "b" * 64} | entry
    ollama(server, bad, shown, HERE)
    async with ServedEngine(server.url) as engine:
        assert engine.models[0].name == HERE["name"]
        assert engine.unchecked == ""
    with pytest.raises(EngineError, match=re.escape(str(bad["name"]))):
        await ServedEngine(server.url, model=str(bad["name"])).__aenter__()
    ollama(server, bad, shown)
    with pytest.raises(EngineError, match=re.escape(str(bad["name"]))):
        await ServedEngine(server.url).__aenter__()


async def test_a_name_that_is_given_to_a_model_elsewhere_gets_nothing_more(server: EngineServer) -> None:
    """While the node runs, the name may come to mean another model: no request goes there."""
    ollama(server, HERE, {})
    server.chat(gives({}))
    async with ServedEngine(server.url) as engine:
        ollama(server, HERE, {"remote_host": "https://ollama.com"})
        with pytest.raises(EngineUnavailable):
            await engine.complete(request(), ignore)
        assert not [each for each in server.seen if each.path == "/v1/chat/completions"]


async def test_a_server_that_may_forward_needs_the_users_word(server: EngineServer) -> None:
    """Nobody can tell from outside where a proxy sends a document: it is used only if the user vouches for it, and named."""
    server.handlers["/v1/models"] = gives({"data": [{"id": "gpt-5"}]})
    with pytest.raises(EngineError, match="--engine-is-local"):
        await ServedEngine(server.url).__aenter__()
    async with ServedEngine(server.url, is_local=True) as engine:
        assert server.url.rpartition("/")[2] in engine.unchecked


def test_this_devices_own_addresses_are_on_it() -> None:
    """Loopback in all its forms is, an address of nobody here is not."""
    assert all(is_on_this_device(f"http://{host}:1") for host in ("127.0.0.1", "127.8.8.8", "localhost", "[::1]"))
    assert not any(is_on_this_device(f"http://{host}:1") for host in ("192.0.2.1", "example.invalid", "0.0.0.0", "[2001:db8::1]"))
