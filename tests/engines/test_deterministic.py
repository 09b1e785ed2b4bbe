"""The deterministic engine behaves like an engine with slots and a prompt cache in each, at the speed it is given."""

import asyncio
import hashlib
import itertools
import json
from dataclasses import replace

import pytest

from edgenode.engines.deterministic import STEP_TOKENS, DeterministicEngine
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


async def test_each_slot_has_its_own_cache() -> None:
    """What is read on one slot is not found on another, and does not push out what is there."""
    async with DeterministicEngine(slots=2) as engine:
        read = []
        for slot, user in ((0, CHUNK + " One?"), (1, "Other " + CHUNK), (0, CHUNK + " Two?"), (1, CHUNK + " Two?")):
            usage = (await engine.complete(replace(request(user), slot=slot), ignore)).usage
            read.append(usage.prompt_tokens - usage.cached_tokens)
    assert read[1] > 300
    assert read[2] <= 2
    assert read[3] > 300


@pytest.mark.parametrize(("batching", "share"), [(0.0, 1 / 2), (0.5, 2**-0.5), (1.0, 1.0)])
async def test_slots_share_the_device(batching: float, share: float) -> None:
    """While two requests are in work each is slowed down to its share of what the device then does, and not before."""
    async with DeterministicEngine(read_tokens_per_second=5_000, slots=2, batching=batching) as engine:
        both = (engine.complete(replace(request(CHUNK), slot=slot), ignore) for slot in (0, 1))
        first, second = [done.usage for done in await asyncio.gather(*both)]
    # The first step of the first began alone, and so does what the second still reads when the first is done.
    together = first.prompt_tokens - 2 * STEP_TOKENS
    assert first.seconds >= 0.99 * together / (5_000 * share)
    assert second.seconds >= 0.99 * together / (5_000 * share)


async def test_slots_do_not_wait_for_one_another() -> None:
    """A request on another slot is answered while one reads without end; a second on the same slot waits."""
    async with DeterministicEngine(read_tokens_per_second=None, write_tokens_per_second=0.001, slots=2) as engine:
        begun = asyncio.Event()
        endless = asyncio.create_task(engine.complete(request(CHUNK), lambda _: begun.set()))
        await begun.wait()
        waiting = asyncio.create_task(engine.complete(request(CHUNK), ignore))
        done = await engine.complete(replace(request(CHUNK, tokens=0), slot=1), ignore)
        assert done.usage.completion_tokens == 0
        assert not endless.done()
        assert not waiting.done()
        for each in (endless, waiting):
            each.cancel()
            with pytest.raises(asyncio.CancelledError):
                await each


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
