"""Work that nobody waits for stops in the real engine, in the middle of a long prompt, however the node learns of it."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from coordinator.trust.authority import Authority
from edgenode.engines.choose import BATCH_TOKENS, XLLAMACPP, EngineSettings, choose_engine, installed
from edgenode.net.client import NodeConnection
from edgenode.node import Node, NodeConfig
from edgenode.types import Cancel, Failure, FailureReason, Frame, Lease, LeaseId, Model, Outcome, Progress, Subtask, SubtaskId
from tests.trusted import paired

# Some 3,400 tokens: half a minute of reading for this model on one core, which nobody who cancels has to wait for.
LONG = " ".join(f"Clause {number} of the lease says {number * 7} things." for number in range(220))
SECONDS = 240.0


def lease(id: str) -> Lease:
    return Lease(LeaseId(id), "smol", "You read.", LONG, (Subtask(SubtaskId("1"), "Is it so?", '{"type": "boolean"}', 8),))


class Relay:
    """Passes bytes on to HOST:PORT, until it is cut in the middle of whatever is said."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._writers: list[asyncio.StreamWriter] = []
        self.address = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self
            self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, int(self._port))
        self._writers += [writer, back]
        await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()


async def next_of(stream: NodeConnection, wanted: Callable[[Frame], bool]) -> Frame:
    async with asyncio.timeout(SECONDS):
        async for frame in stream.frames():
            if wanted(frame):
                return frame
    raise AssertionError("the stream ended")


async def first_progress(stream: NodeConnection) -> Progress:
    """The first that tells of a prompt, which says in `read_tokens` how much of it the cache already has."""
    frame = await next_of(stream, lambda frame: isinstance(frame, Progress) and frame.prompt_tokens > 0)
    assert isinstance(frame, Progress)
    return frame


async def by_a_frame(stream: NodeConnection, relay: Relay) -> None:
    """The coordinator says so."""
    stream.send(Cancel(LeaseId("first")))
    ended = await next_of(stream, lambda frame: isinstance(frame, Outcome))
    assert isinstance(ended, Outcome)
    assert isinstance(ended.result, Failure)
    assert ended.result.reason is FailureReason.CANCELLED


async def by_leaving(stream: NodeConnection, relay: Relay) -> None:
    """The coordinator ends its stream."""
    await stream.aclose()


async def by_a_cut(stream: NodeConnection, relay: Relay) -> None:
    """The connection breaks, as when the coordinator's process is killed."""
    relay.cut()


@pytest.fixture
async def node(real_model: Path, tmp_path: Path) -> AsyncIterator[tuple[Node, Authority]]:
    if not installed(XLLAMACPP):
        pytest.skip("xllamacpp is not installed here")
    settings = EngineSettings(
        log=tmp_path / "engine.log", engine=XLLAMACPP, path=real_model, known=Model("smol", context_tokens=4096), threads=1
    )
    authority = Authority(tmp_path / "anna", "anna@laptop")
    paired(tmp_path / "node", authority)
    async with Node(NodeConfig(home=tmp_path / "node", name=f"node-{secrets.token_hex(4)}"), choose_engine(settings)) as node:
        yield node, authority


@pytest.mark.parametrize("stop", [by_a_frame, by_leaving, by_a_cut])
async def test_a_long_prompt_is_not_read_to_the_end(
    node: tuple[Node, Authority], stop: Callable[[NodeConnection, Relay], Awaitable[None]]
) -> None:
    """The same prompt, sent again, finds the engine's one slot free and in its cache what had been read: a few batches of 27."""
    serving, authority = node

    def connection(address: str) -> NodeConnection:
        return NodeConnection((address,), serving.trust.id, authority.client_tls(), authority.id)

    async with Relay(serving.address).running() as relay, connection(relay.address) as stream:
        stream.send(lease("first"))
        told = await first_progress(stream)
        assert told.prompt_tokens > 3_000
        await stop(stream, relay)
        async with connection(serving.address) as second:
            second.send(lease("second"))
            again = await first_progress(second)
    assert again.prompt_tokens == told.prompt_tokens
    # The batch in which it happened, and on a busy machine those until the engine hears of it, which may be seconds.
    assert again.read_tokens - told.read_tokens <= 12 * BATCH_TOKENS
