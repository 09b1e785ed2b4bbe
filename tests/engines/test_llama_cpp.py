"""How llama-cpp-python is made to stop reading for a caller that hung up. The library itself is tried in test_real_engines."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from edgenode.engines.llama_cpp import HangUps, HungUpError, Message
from tests.engines.requests import PATIENCE


class Reader:
    """An ASGI application that reads a prompt of 1,000 tokens in a thread, as the library's server does, and a model's `eval`
    that waits after each batch until the test lets it go on."""

    def __init__(self, hang_ups: HangUps) -> None:
        self.batches: list[int] = []
        self.outcome: BaseException | None = None
        self.go_on = threading.Semaphore(0)
        self.began = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._read = hang_ups.between_batches(self._eval, 128)

    def _eval(self, _llama: object, tokens: Sequence[int]) -> None:
        self.batches.append(len(tokens))
        self._loop.call_soon_threadsafe(self.began.set)
        assert self.go_on.acquire(timeout=PATIENCE)

    async def __call__(self, scope: Message, receive: object, send: object) -> None:
        assert callable(receive)
        assert callable(send)
        reading = asyncio.create_task(asyncio.to_thread(self._read, None, range(1000)))
        listening = asyncio.create_task(receive())
        (self.outcome,) = await asyncio.gather(reading, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        await listening


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_hanging_up(hangs_up: bool) -> None:
    """Who hangs up while the prompt is read ends the reading at the next batch; who waits for the end does not, and neither
    leaves anything behind for the next caller."""
    hang_ups = HangUps()
    leaves = asyncio.Event()
    left = asyncio.Event()

    async def receive() -> Message:
        await leaves.wait()
        left.set()
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        leaves.set()

    first = Reader(hang_ups)
    call = asyncio.create_task(hang_ups.around(first)({"type": "http"}, receive, send))
    await first.began.wait()
    if hangs_up:
        leaves.set()
        await left.wait()
    first.go_on.release(10)
    await call
    assert first.batches == ([128] if hangs_up else [128] * 7 + [104])
    assert isinstance(first.outcome, HungUpError) is hangs_up

    leaves.clear()
    second = Reader(hang_ups)
    second.go_on.release(10)
    await hang_ups.around(second)({"type": "http"}, receive, send)
    assert second.outcome is None
