"""The deterministic engine behaves like an engine with one slot and a prompt cache, at the speed it is given."""

import asyncio
import hashlib
import itertools
import json

import pytest

from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import EngineProgress, Request
from edgenode.errors import ContextExceeded, EngineError
from edgenode.types import EngineState
from tests.engines.requests import SENTENCES, ignore, request

CHUNK = "Text: " + " ".join(SENTENCES) + " word" * 300


async def test_reply_and_usage() -> None:
    """It quotes by rule, counts its tokens and says so under its own name."""
    async with DeterministicEngine(model="tiny", parameters=7, context_tokens=1000) as engine:
        assert (engine.name, engine.state) == ("deterministic", EngineState.READY)
        (model,) = engine.models
        assert (model.digest, model.parameters, model.context_tokens) == (hashlib.sha256(b"tiny").hexdigest(), 7, 1000)
        told: list[EngineProgress] = []
        done = await engine.complete(request(CHUNK + "\nWhat is the rent?"), told.append)
    assert json.loads(done.text)["quote"] == SENTENCES[3]
    assert told[0].read_tokens == 0
    assert told[-1] == EngineProgress(done.usage.prompt_tokens, done.usage.prompt_tokens, done.usage.completion_tokens)
    assert all(a.read_tokens <= b.read_tokens for a, b in itertools.pairwise(told))


async def test_prompt_cache() -> None:
    """The second question on a chunk reads only what differs; another chunk in between makes it read all again."""
    async with DeterministicEngine() as engine:
        usages = [
            (await engine.complete(request(user), ignore)).usage
            for user in (CHUNK + " One?", CHUNK + " Two?", "Other " + CHUNK, CHUNK + " Two?", CHUNK + " Two?")
        ]
    read = [usage.prompt_tokens - usage.cached_tokens for usage in usages]
    assert read[0] == usages[0].prompt_tokens
    assert read[1] <= 2
    assert read[3] > 300
    assert read[4] == 1


async def test_speed_and_cancelling() -> None:
    """At a crawl it makes no progress beyond the first step, and a cancelled request lets the next one in at once."""
    async with DeterministicEngine(read_tokens_per_second=0.001) as engine:
        begun = asyncio.Event()
        first = asyncio.create_task(engine.complete(request(CHUNK), lambda _: begun.set()))
        await begun.wait()
        second = asyncio.create_task(engine.complete(request(CHUNK), ignore))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second


async def test_time_of_work() -> None:
    """Reading and writing take the time that the speeds say: sleeping no less than that is what the loop promises."""
    async with DeterministicEngine(read_tokens_per_second=10_000, write_tokens_per_second=2000) as engine:
        usage = (await engine.complete(request(CHUNK), ignore)).usage
    assert usage.seconds >= 0.99 * (usage.prompt_tokens / 10_000 + usage.completion_tokens / 2000)


async def test_others_get_their_turn() -> None:
    """Even an instant engine yields to the loop while it works."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with DeterministicEngine() as engine:
        counting = asyncio.create_task(count())
        await engine.complete(request(CHUNK), ignore)
        counting.cancel()
    assert turns >= 3


async def test_context_is_enforced() -> None:
    """Prompt and reply together must fit."""
    async with DeterministicEngine(context_tokens=100) as engine:
        with pytest.raises(ContextExceeded):
            await engine.complete(request(CHUNK), ignore)
        with pytest.raises(ContextExceeded):
            await engine.complete(request("short", tokens=100), ignore)


async def test_reply_is_cut_at_its_limit() -> None:
    """A reply longer than allowed is cut, as a model leaves it."""
    async with DeterministicEngine() as engine:
        done = await engine.complete(request(CHUNK + "\nWhat is the rent?", tokens=5), ignore)
    assert done.usage.completion_tokens == 5
    assert done.text == '{"quote": "'[: len(done.text)]


async def test_schema_that_is_no_json() -> None:
    """A schema that cannot be read is a typed error."""
    async with DeterministicEngine() as engine:
        with pytest.raises(EngineError, match="not JSON"):
            await engine.complete(Request("m", "s", "u", "{", 5), ignore)
