"""A coordinator's end of a stream that a node opened, without any port."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edgenode.net.client import NodeLost
from edgenode.net.dialled_in import INBOX_FRAMES, OUTBOX_FRAMES, DialledIn
from edgenode.net.responses import Responses
from edgenode.types import EngineState, Frame, Heartbeat, NodeDescription, NodeId
from edgenode.v1 import work_pb2

DESCRIPTION = NodeDescription(NodeId("5a" * 16), "hall", "1", "scripted", EngineState.READY, (), 1)


async def test_a_node_that_does_not_read_is_hung_up_on() -> None:
    """What waits for it is bounded, and the reason is told."""
    stream = DialledIn("192.0.2.7", DESCRIPTION)
    stuck = asyncio.Event()

    async def silent() -> AsyncIterator[Frame | None]:
        await asyncio.Event().wait()
        yield None

    async def write(frame: work_pb2.Frame) -> None:
        stuck.set()
        await asyncio.Event().wait()

    serving = asyncio.create_task(stream.serve(silent(), write, lambda: True))
    stream.send(Heartbeat())
    await stuck.wait()
    for _ in range(OUTBOX_FRAMES):
        stream.send(Heartbeat())
    assert not serving.done()
    for _ in range(OUTBOX_FRAMES):
        stream.send(Heartbeat())
    assert stream._outgoing.qsize() == OUTBOX_FRAMES
    await serving
    with pytest.raises(NodeLost, match="does not read"):
        await anext(stream.frames())


async def test_a_caller_that_never_reads_delays_the_end_by_a_moment() -> None:
    """Its window may be closed from the first byte on: it must not keep a place among those who wait."""

    class Closed:
        async def write(self, data: bytes) -> None:
            await asyncio.Event().wait()

    context: Any = Closed()
    responses = Responses(context)
    writing = asyncio.create_task(responses.write(b"x"))
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await responses.finish()
    assert not writing.done()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_no_more_is_read_than_is_taken() -> None:
    """A node that floods keeps most of it on its own side."""
    stream = DialledIn("192.0.2.7", DESCRIPTION)
    sent = 0
    full = asyncio.Event()

    async def flood() -> AsyncIterator[Frame | None]:
        nonlocal sent
        while True:
            sent += 1
            if sent > INBOX_FRAMES:
                full.set()
            yield Heartbeat()

    async def write(frame: work_pb2.Frame) -> None:
        pass

    serving = asyncio.create_task(stream.serve(flood(), write, lambda: True))
    await full.wait()
    stream.close()
    await serving
    assert sent == INBOX_FRAMES + 1
