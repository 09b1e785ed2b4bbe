"""Habits of models and servers as people have them: thinking aloud, loading, cutting prompts, losing models, odd endings."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from edgenode.engines import served
from edgenode.engines.http import HttpClient
from edgenode.engines.served import THINKING_TOKENS, ServedEngine
from edgenode.engines.stream import without_thoughts
from edgenode.errors import ContextExceeded, EngineError, EngineRefused, EngineUnavailable
from edgenode.types import EngineState, FailureReason
from tests.engines.engine_server import EngineServer, Exchange, Handler, says
from tests.engines.requests import PATIENCE, ignore, request

DIGEST = "ab" * 32


def gives(body: Any, status: int = 200) -> Handler:
    async def handler(exchange: Exchange) -> None:
        await exchange.reply(body, status)

    return handler


def replies(*words: str, usage: dict[str, int] | None = None, finish: str = "stop") -> Handler:
    async def handler(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events(*says(*words, finish=finish), *([{"choices": [], "usage": usage}] if usage else []), "[DONE]")

    return handler


@pytest.fixture
async def server() -> AsyncIterator[EngineServer]:
    async with EngineServer() as server:
        server.handlers["/v1/models"] = gives({"data": [{"id": "model"}]})
        server.chat(replies("null"))
        yield server


def ollama(server: EngineServer, *capabilities: str) -> None:
    server.handlers |= {
        "/api/tags": gives({"models": [{"name": "model", "size": 10**9, "digest": DIGEST}]}),
        "/api/show": gives({"capabilities": ["completion", *capabilities], "details": {"format": "gguf"}}),
    }


async def test_a_terminator_ends_a_reply_though_the_connection_stays(server: EngineServer) -> None:
    """What would come after it is not waited for, nor read."""

    async def stays(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.raw(b"data:\n\n")
        await exchange.events(*says("null"), "[DONE]", *says("more"))
        await exchange.dropped()

    server.chat(stays)
    async with asyncio.timeout(PATIENCE):
        assert (await HttpClient(server.url).complete(request(), ignore)).text == "null"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("<think>\nHm. {}\n</think>\n\nnull", "null"),
        ("Hm, the lease.</think>null", "null"),
        ("<think>it never ends", ""),
        ('{"quote": "He wrote </think> there."}', '{"quote": "He wrote </think> there."}'),
        ("no thoughts", "no thoughts"),
    ],
)
def test_thoughts_are_no_part_of_a_reply(text: str, reply: str) -> None:
    """Those in front of it, as far as they are marked; a quotation may hold the mark."""
    assert without_thoughts(text) == reply


@pytest.mark.parametrize(
    ("capabilities", "sent"), [(("thinking",), "none"), ((), None)], ids=["a model that thinks", "one that does not"]
)
async def test_thinking_is_switched_off_where_ollama_can(
    server: EngineServer, capabilities: tuple[str, ...], sent: str | None
) -> None:
    """By the field that its API has for it, and for models that think only."""
    ollama(server, *capabilities)
    async with ServedEngine(server.url) as engine:
        await engine.complete(request(), ignore)
    assert server.seen[-1].body.get("reasoning_effort") == sent


async def test_a_server_that_does_not_know_a_field_is_asked_without_it(server: EngineServer) -> None:
    """Once: from then on it is left out."""

    async def strict(exchange: Exchange) -> None:
        if "chat_template_kwargs" in exchange.body:
            await exchange.reply({"error": {"message": "Unknown field"}}, 400)
        else:
            await replies("null")(exchange)

    server.chat(strict)
    async with ServedEngine(server.url, is_local=True) as engine:
        for _ in range(2):
            assert (await engine.complete(request(), ignore)).text == "null"
    asked = [each.body for each in server.seen if each.path == "/v1/chat/completions"]
    assert ["chat_template_kwargs" in body for body in asked] == [True, False, False]


async def test_a_field_that_was_not_why_is_sent_again(server: EngineServer) -> None:
    """A request that is refused for another reason switches no thinking on."""
    async with ServedEngine(server.url, is_local=True) as engine:
        server.chat(gives({"error": {"message": "The schema is too deep"}}, 400))
        with pytest.raises(EngineRefused):
            await engine.complete(request(), ignore)
        server.chat(replies("null"))
        await engine.complete(request(), ignore)
    assert "chat_template_kwargs" in server.seen[-1].body


async def test_a_reply_that_thoughts_left_too_little_room_is_asked_for_again(server: EngineServer) -> None:
    """Half of an object after them is no reply."""

    async def thinks(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.events({"choices": [{"index": 0, "delta": {"reasoning": "Hm"}}]})
        room = exchange.body["max_tokens"] > THINKING_TOKENS
        await exchange.events(*says("null" if room else '{"quo', finish="stop" if room else "length"), "[DONE]")

    server.chat(thinks)
    async with ServedEngine(server.url, is_local=True) as engine:
        assert (await engine.complete(request(), ignore)).text == "null"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "content"])
async def test_a_model_that_cannot_but_think_gets_room_for_it(server: EngineServer, field: str) -> None:
    """As soon as it is seen to have used up its reply for thoughts; its thoughts are cut off."""

    async def thinks(exchange: Exchange) -> None:
        await exchange.begin_events()
        thought = "<think>Hm" if field == "content" else "Hm"
        await exchange.events({"choices": [{"index": 0, "delta": {field: thought}}]})
        if exchange.body["max_tokens"] > THINKING_TOKENS:
            await exchange.events(*says("</think>null" if field == "content" else "null"), "[DONE]")
        else:
            await exchange.events({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}, "[DONE]")

    server.chat(thinks)
    async with ServedEngine(server.url, is_local=True) as engine:
        assert (await engine.complete(request(), ignore)).text == "null"
        server.chat(replies("<think>it never ends", finish="length"))
        with pytest.raises(EngineRefused):
            await engine.complete(request(), ignore)


@pytest.mark.parametrize(("status", "refused"), [(400, True), (401, True), (404, True), (422, True), (429, False), (500, False)])
async def test_what_is_refused_for_good_is_told_from_what_may_pass(server: EngineServer, status: int, *, refused: bool) -> None:
    """By the status: a missing key will be missing a minute later."""
    server.chat(gives({"error": {"message": "no"}}, status))
    with pytest.raises(EngineError) as caught:
        await HttpClient(server.url).complete(request(), ignore)
    assert (caught.value.reason is FailureReason.ENGINE_REFUSED) == refused


async def test_a_prompt_that_was_cut_is_no_reading(server: EngineServer) -> None:
    """What the server tells of it is far less than any tokenizer makes of what was sent: the context is lowered to it."""
    ollama(server)
    text = "The tenant pays the rent. " * 1_000
    server.chat(replies("null", usage={"prompt_tokens": 2_048, "completion_tokens": 1}))
    async with ServedEngine(server.url) as engine:
        with pytest.raises(ContextExceeded):
            await engine.complete(request(text), ignore)
        assert engine.models[0].context_tokens == 2_048


async def test_what_a_server_has_in_its_cache_may_go_uncounted(server: EngineServer) -> None:
    """The same text before another question is not cut, though only the question was read."""
    ollama(server)
    text = "The tenant pays the rent. " * 1_000
    async with ServedEngine(server.url) as engine:
        context = engine.models[0].context_tokens
        for question, told in (("Who pays?", 6_000), ("What is paid?", 12)):
            server.chat(replies("null", usage={"prompt_tokens": told, "completion_tokens": 1}))
            await engine.complete(request(text + question), ignore)
        assert engine.models[0].context_tokens == context


async def test_texts_on_several_slots_are_in_several_caches(server: EngineServer) -> None:
    """A text that was read before another one is not cut, either, if only its question is counted."""
    ollama(server)
    one, other = ("The tenant pays the rent. " * 1_000, "The landlord mends the roof. " * 1_000)
    async with ServedEngine(server.url, slots=2) as engine:
        context = engine.models[0].context_tokens
        for text, told in ((one, 6_000), (other, 6_000), (one, 12), (other, 700), (one, 12)):
            server.chat(replies("null", usage={"prompt_tokens": told, "completion_tokens": 1}))
            await engine.complete(request(text + f"Who pays {told}?"), ignore)
        assert engine.models[0].context_tokens == context


@pytest.mark.parametrize("refused", ["/v1/models", "/props"])
async def test_a_server_that_still_loads_is_waited_for(server: EngineServer, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    """And asked for its context when it has loaded. llama-server lists its model meanwhile, and refuses the rest."""
    monkeypatch.setattr(served, "LOADING_POLL_SECONDS", 0.01)
    asked = 0

    async def loads(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        await (answers[refused] if asked > 3 else gives({"error": {"message": "Loading model"}}, 503))(exchange)

    answers = {"/v1/models": gives({"data": [{"id": "model"}]}), "/props": gives({"default_generation_settings": {"n_ctx": 8_192}})}
    server.handlers |= answers | {refused: loads}
    async with ServedEngine(server.url) as engine:
        assert engine.state is EngineState.READY
        assert engine.models[0].context_tokens == 8_192


async def test_a_model_that_is_gone_and_comes_back(server: EngineServer) -> None:
    """Its server says that it has none: work waits, and goes on when it is listed again."""
    async with ServedEngine(server.url, is_local=True, poll_seconds=0.01) as engine:
        states: asyncio.Queue[EngineState] = asyncio.Queue()
        engine.watch(lambda: states.put_nowait(engine.state))
        server.handlers["/v1/models"] = gives({"data": []})
        async with asyncio.timeout(PATIENCE):
            assert await states.get() is EngineState.RESTARTING
            server.handlers["/v1/models"] = gives({"data": [{"id": "model"}]})
            assert await states.get() is EngineState.READY


async def test_a_request_for_a_model_that_is_gone_may_be_tried_again(server: EngineServer) -> None:
    """That the server refuses it is no refusal for good."""
    async with ServedEngine(server.url, is_local=True) as engine:
        server.handlers["/v1/models"] = gives({"data": []})
        server.chat(gives({"error": {"message": "model not found"}}, 404))
        with pytest.raises(EngineUnavailable):
            await engine.complete(request(), ignore)
        assert engine.state is EngineState.RESTARTING


async def test_another_context_after_a_restart(server: EngineServer) -> None:
    """A llama-server that was away is asked for it again."""
    props: dict[str, Any] = {"default_generation_settings": {"n_ctx": 8_192}}
    server.handlers["/props"] = gives(props)
    async with ServedEngine(server.url, poll_seconds=1_000) as engine:
        await server.close()
        with pytest.raises(EngineUnavailable):
            await engine.complete(request(), ignore)
        props["default_generation_settings"] = {"n_ctx": 4_096}
        await server.listen()
        await engine.complete(replace(request(), slot=0), ignore)
        assert engine.models[0].context_tokens == 4_096
