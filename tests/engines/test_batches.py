"""Batches that follow the device: what is chosen, how it is measured, and what comes of a warm-up that fails."""

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.engines.batches import BATCH_SECONDS, SMALLEST_BATCH, fitting_batch, measured_batch
from edgenode.engines.child import ChildEngine
from edgenode.engines.choose import BATCH_TOKENS, XLLAMACPP, EngineSettings, choose_engine, installed
from edgenode.engines.engine import EngineProgress
from edgenode.engines.http import Flavour, HttpClient
from edgenode.errors import EngineError
from edgenode.types import EngineState, Model
from tests.engines.engine_server import EngineServer, Exchange, Handler
from tests.engines.requests import ignore, request
from tests.engines.test_child import Watcher, alive, all_gone, engine_in, pids, until

LONG = " ".join(map(str, range(2_000)))


@pytest.mark.parametrize(
    ("speed", "batch"), [(1000, 128), (115, 128), (90, 64), (60, 64), (30, 32), (20, 16), (10, 16), (0.1, 16), (0, 16)]
)
def test_devices(speed: float, batch: int) -> None:
    """Batches of about a second: all that was allowed on a fast device, the smallest on one that reads nothing."""
    assert fitting_batch(128, round(speed * 10), 10) == batch


@given(st.integers(1, 4096), st.integers(0, 10_000), st.floats(0, 1e6))
def test_fits(largest: int, tokens: int, seconds: float) -> None:
    """No batch is larger than allowed or halved below the smallest; one that is not the smallest takes no longer than it may, and
    the next larger one would."""
    batch = fitting_batch(largest, tokens, seconds)
    assert min(largest, SMALLEST_BATCH) <= batch <= largest
    if batch // 2 >= SMALLEST_BATCH:
        assert batch * seconds <= BATCH_SECONDS * tokens
    if batch < largest:
        halves = [largest >> times for times in range(largest.bit_length())]
        assert halves[halves.index(batch) - 1] * seconds > BATCH_SECONDS * tokens


def about_batches(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "edgenode.engines.batches"]


async def nonsense(exchange: Exchange) -> None:
    await exchange.reply(b"what?")


async def refusal(exchange: Exchange) -> None:
    await exchange.reply({"error": {"message": "no"}}, 500)


async def silence(exchange: Exchange) -> None:
    await exchange.begin_events()
    await exchange.dropped()


@pytest.mark.parametrize("handler", [nonsense, refusal, silence])
async def test_warm_up_that_fails(handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    """An engine that answers nonsense, refuses or falls silent gets the smallest batch, and the log says why."""
    async with EngineServer() as server:
        server.chat(handler)
        client = HttpClient(server.url, Flavour.LLAMA_CPP)
        # Only the silence lasts as long as it may.
        assert await measured_batch(client, "model", 128, 0.5 if handler is silence else 60) == SMALLEST_BATCH
    (said,) = about_batches(caplog)
    assert said.levelno == logging.WARNING
    assert said.message.startswith("The engine did not read its warm-up, and gets batches of 16 tokens. ")


async def test_nobody_answers() -> None:
    """An engine that is gone is no error here: who keeps it notices."""
    assert await measured_batch(HttpClient("http://127.0.0.1:1"), "model", 64) == SMALLEST_BATCH


async def test_fast_device(tmp_path: Path) -> None:
    """It keeps the first process and the largest batch."""
    async with engine_in(tmp_path, "reads 100000", fit_batch=True) as engine:
        assert engine.batch_tokens == 128
        assert len(pids(tmp_path)) == 1
        assert (await engine.complete(request(), ignore)).text == "done"


async def test_slow_device(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A device of 20 tokens a second is started again with batches of 16: a cancelled request is read only a little further, as the
    next one finds in the cache. What is started after a crash has the same batch, without being measured."""
    caplog.set_level(logging.INFO, "edgenode.engines.batches")
    async with engine_in(tmp_path, "reads 20", fit_batch=True) as engine:
        assert engine.batch_tokens == 16
        first, second = pids(tmp_path)
        assert not alive(first)
        dropped, again = [await cancelled_while_read(engine) for _ in range(2)]
        # A batch and, on a busy machine, what is read until the end of the connection arrives: less than one of the largest.
        assert again[0].read_tokens - dropped[-1].read_tokens < 128
        assert again[1].read_tokens - again[0].read_tokens == 16
        watcher = Watcher(engine)
        os.kill(second, signal.SIGKILL)
        await watcher.until(EngineState.RESTARTING, EngineState.READY)
        once_more = await cancelled_while_read(engine)
        assert [at.read_tokens for at in once_more[:2]] == [16, 32]
    (said,) = about_batches(caplog)
    assert said.message.endswith("it reads in batches of 16.")
    await all_gone(tmp_path)


async def test_death_in_the_warm_up(tmp_path: Path) -> None:
    """A process that dies while it is measured, or does not come up again at once, is no failed start."""
    async with engine_in(tmp_path, "dies", "fail", "serve", fit_batch=True) as engine:
        assert engine.batch_tokens == 16
        assert (await engine.complete(request(), ignore)).text == "done"
        assert len(pids(tmp_path)) == 3
    await all_gone(tmp_path)


async def test_start_that_fails_after_the_warm_up(tmp_path: Path) -> None:
    """With its smaller batch it never comes up: after a second try the start has failed, with the cause, and nothing is left."""
    with pytest.raises(EngineError, match="data is not within the file bounds"):
        await engine_in(tmp_path, "dies", "fail", fit_batch=True).__aenter__()
    assert len(pids(tmp_path)) == 3
    await all_gone(tmp_path)


async def test_start_cancelled_in_the_warm_up(tmp_path: Path) -> None:
    """Ctrl-C while it is measured leaves no child behind."""
    log = tmp_path / "logs" / "engine.log"
    starting = asyncio.create_task(engine_in(tmp_path, "reads 0.01", fit_batch=True).__aenter__())
    await until(lambda: log.exists() and b"POST" in log.read_bytes())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(pids(tmp_path)) == 1
    await all_gone(tmp_path)


async def test_real_engine(real_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The default engine is measured, and has the batch that its speed asks for: on most machines the largest."""
    if not installed(XLLAMACPP):
        pytest.skip("xllamacpp is not installed here")
    caplog.set_level(logging.INFO, "edgenode.engines.batches")
    settings = EngineSettings(
        log=tmp_path / "engine.log", engine=XLLAMACPP, path=real_model, known=Model("smol", context_tokens=1024), threads=1
    )
    async with choose_engine(settings) as engine:
        assert isinstance(engine, ChildEngine)
        (said,) = about_batches(caplog)
        # How fast a busy machine is cannot be known: what was chosen follows from what was measured, or from a warm-up cut short.
        assert isinstance(said.args, tuple)
        tokens, seconds = said.args[:2] if said.levelno == logging.INFO else (0, 1.0)
        assert isinstance(tokens, int)
        assert isinstance(seconds, float)
        assert engine.batch_tokens == fitting_batch(BATCH_TOKENS, tokens, seconds)
        reply = await engine.complete(request(LONG[:200], {"type": "boolean"}), ignore)
    assert reply.text in ("true", "false")


async def cancelled_while_read(engine: ChildEngine) -> list[EngineProgress]:
    """What a long request told until it was cancelled, two events after its start."""
    told: list[EngineProgress] = []
    enough = asyncio.Event()

    def progress(at: EngineProgress) -> None:
        told.append(at)
        if len(told) >= 2:
            enough.set()

    call = asyncio.create_task(engine.complete(request(LONG), progress))
    await enough.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    return told
