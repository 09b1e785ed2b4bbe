"""The libraries themselves, each in its child process, with the small real model."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from edgenode.engines.child import ChildEngine
from edgenode.engines.choose import EngineSettings, choose_engine, installed
from edgenode.engines.engine import EngineProgress
from edgenode.engines.known import ENGINES, LLAMA_CPP_PYTHON, XLLAMACPP
from edgenode.errors import ContextExceeded, EngineCrashed, EngineError
from edgenode.types import (
    AuthorityId,
    Completion,
    Lease,
    LeaseId,
    Model,
    Outcome,
    Progress,
    Refusal,
    Subtask,
    SubtaskId,
)
from edgenode.work import WorkQueue
from tests.engines.requests import PATIENCE, SENTENCES, ignore, quote_schema, request

CHUNK = " ".join(f"Line {number} of the lease says nothing." for number in range(25)) + " " + SENTENCES[0]


def engine_for(name: str, path: Path, folder: Path, slots: int | None = None, context: int = 1024) -> ChildEngine:
    known = Model("smol", context_tokens=context)
    settings = EngineSettings(log=folder / "engine.log", engine=name, path=path, known=known, threads=1, slots=slots)
    engine = choose_engine(settings)
    assert isinstance(engine, ChildEngine)
    return engine


@pytest.fixture(params=[XLLAMACPP, LLAMA_CPP_PYTHON])
async def engine(request: pytest.FixtureRequest, real_model: Path, tmp_path: Path) -> AsyncIterator[ChildEngine]:
    name = request.param
    if not installed(name):
        pytest.skip(f"{name} is not installed here")
    async with engine_for(name, real_model, tmp_path) as engine:
        yield engine


async def test_quotation_from_a_list(engine: ChildEngine) -> None:
    """A reply keeps to the schema, whatever is in its options: quotation marks, backslashes, line breaks, Japanese."""
    for sentence in SENTENCES[1:3]:
        schema = quote_schema(sentence)
        schema["properties"]["quote"]["enum"].remove(None)
        reply = await engine.complete(request("What does the text say?", schema, tokens=120), ignore)
        said = json.loads(reply.text)
        assert said["quote"] == sentence
        assert len(said["answer"]) <= 60
        assert 0 < reply.usage.completion_tokens <= 120


async def test_null_is_an_option(engine: ChildEngine) -> None:
    """A schema that leaves nothing but null is answered with null."""
    reply = await engine.complete(request(schema={"enum": [None]}), ignore)
    assert json.loads(reply.text) is None


async def test_context_is_enforced(engine: ChildEngine) -> None:
    """A prompt longer than the context is refused as such, and the engine goes on."""
    with pytest.raises(ContextExceeded):
        await engine.complete(request("word " * 1500), ignore)
    assert json.loads((await engine.complete(request(schema={"type": "boolean"}), ignore)).text) in (True, False)


async def test_key_is_asked_for(engine: ChildEngine) -> None:
    """Without the key of this start, nobody can use the engine."""
    assert engine._serving is not None
    url = engine._serving[1].url
    body = {"model": "smol", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "max_tokens": 1}
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as client:
        for headers in ({}, {"Authorization": "Bearer guess"}):
            for path in ("/v1/chat/completions", "/v1/completions"):
                assert (await client.post(path, json=body, headers=headers)).status_code == 401


async def test_chunk_is_read_once(engine: ChildEngine) -> None:
    """The second question on a chunk takes the chunk from the prompt cache, as the usage says where the server tells."""
    usages = [(await engine.complete(request(f"{CHUNK}\n{question}"), ignore)).usage for question in ("When?", "Which line?")]
    assert usages[1].prompt_tokens > 200
    if engine.name == XLLAMACPP:
        assert usages[0].cached_tokens < 30
        assert usages[1].cached_tokens > usages[1].prompt_tokens - 20


async def test_crash(engine: ChildEngine, tmp_path: Path) -> None:
    """Killed in the middle of a reply it is started again, and reads on."""
    begun = asyncio.Event()
    long = request("Tell a long story.", {"type": "string", "minLength": 2000}, tokens=700)
    call = asyncio.create_task(engine.complete(long, lambda _: begun.set()))
    await begun.wait()
    assert engine._serving is not None
    os.kill(engine._serving[0]._process.pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed, match="SIGKILL"):
        await call
    assert json.loads((await engine.complete(request(schema={"type": "boolean"}), ignore)).text) in (True, False)


async def test_cancelling_while_it_reads(real_model: Path, tmp_path: Path) -> None:
    """xllamacpp stops reading soon after its caller has gone: the next request is done before the first could have been."""
    if not installed(XLLAMACPP):
        pytest.skip("xllamacpp is not installed here")
    async with engine_for(XLLAMACPP, real_model, tmp_path, context=4096) as engine:
        told: list[EngineProgress] = []
        begun = asyncio.Event()

        def progress(at: EngineProgress) -> None:
            told.append(at)
            if at.read_tokens:
                begun.set()

        call = asyncio.create_task(engine.complete(request(" ".join(map(str, range(700)))), progress))
        await asyncio.wait([call, asyncio.create_task(begun.wait())], return_when=asyncio.FIRST_COMPLETED)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        reply = await engine.complete(request(schema={"type": "boolean"}), ignore)
        log = (tmp_path / "engine.log").read_text(encoding="utf-8", errors="replace")
    assert told[-1].read_tokens < told[-1].prompt_tokens
    assert "cancel task" in log
    assert json.loads(reply.text) in (True, False)


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "deterministic"])
async def test_damaged_model(name: str, real_model: Path, tmp_path: Path) -> None:
    """A model cut short is an engine that cannot start, in one sentence."""
    if not installed(name):
        pytest.skip(f"{name} is not installed here")
    half = tmp_path / "half.gguf"
    with real_model.open("rb") as file:
        half.write_bytes(file.read(5_000_000))
    with pytest.raises(EngineError, match=r"before it served: .*engine\.log") as caught:
        await engine_for(name, half, tmp_path).__aenter__()
    assert "\n" not in str(caught.value)


async def test_each_slot_keeps_its_chunk(real_model: Path, tmp_path: Path) -> None:
    """Two leases that go on at once, at their own paces, read their chunks once each, and each slot has the whole context."""
    if not installed(XLLAMACPP):
        pytest.skip("xllamacpp is not installed here")
    reports: asyncio.Queue[Refusal | Progress | Outcome] = asyncio.Queue()
    async with engine_for(XLLAMACPP, real_model, tmp_path, slots=2) as engine, WorkQueue(engine) as queue:
        assert engine.slots == 2
        session = queue.open_session(AuthorityId("a" * 32), reports.put_nowait)
        for id, reply_tokens in (("even", 4), ("odd", 16)):
            chunk = " ".join(f"The {id} line {number} of the lease says nothing." for number in range(45))
            subtasks = tuple(
                Subtask(SubtaskId(word), f"\n{word}?", '{"type": "string", "maxLength": 40}', reply_tokens)
                for word in ("When", "Who", "Where")
            )
            session.offer(Lease(LeaseId(id), "smol", "You read.", chunk, subtasks, at_once=2))
        ends = [told async for told in outcomes(reports, 6)]
    for id in ("even", "odd"):
        usages = [end.result.usage for end in ends if end.lease == id and isinstance(end.result, Completion)]
        assert len(usages) == 3
        # Half of the context of 1,024 would not hold it.
        assert all(usage.prompt_tokens > 512 for usage in usages)
        assert usages[0].cached_tokens < 30
        assert all(usage.cached_tokens > usage.prompt_tokens - 20 for usage in usages[1:])


async def outcomes(reports: asyncio.Queue[Refusal | Progress | Outcome], count: int) -> AsyncIterator[Outcome]:
    while count:
        if isinstance(told := await reports.get(), Outcome):
            count -= 1
            yield told
