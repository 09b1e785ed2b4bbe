"""Connections of peers that were dropped and do not read, over real TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest

from coordinator.trust.authority import Authority
from edgenode.net.addresses import split_host_port
from edgenode.net.channel import WORK_SERVER, open_work_channel
from edgenode.net.wire import frame_to_proto
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import node_host_name
from edgenode.types import Lease, LeaseId, Subtask, SubtaskId
from edgenode.v1 import node_service_pb2
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired

# Each is refused in words, which fill the window of whoever does not read them.
UNWANTED = Lease(LeaseId("l" * 60), "no such model", "", "", (Subtask(SubtaskId("1"), "task", "{}", 10),))
MANY = 900


class Wire:
    """What lies between a client and a server: bytes, until one of the two hangs up."""

    def __init__(self) -> None:
        self.address = ""
        self.hung_up = asyncio.Event()
        """The server has."""

    async def carry(self, to: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*split_host_port(to))
        back = asyncio.create_task(_copy(server, writer))
        back.add_done_callback(lambda _: self.hung_up.set())
        try:
            await asyncio.gather(back, _copy(reader, to_server))
        finally:
            for each in (writer, to_server):
                each.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def wire(to: str) -> AsyncIterator[Wire]:
    between = Wire()
    listener = await asyncio.start_server(lambda reader, writer: between.carry(to, reader, writer), "127.0.0.1")
    between.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield between


async def test_a_dropped_coordinator_that_does_not_read_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers gRPC's pings, so only the age of its connection tells; that ends, whatever is still on its way."""
    short = {"grpc.max_connection_age_ms": 3_000, "grpc.max_connection_age_grace_ms": 200}
    monkeypatch.setattr("edgenode.net.channel.WORK_SERVER", tuple((key, short.get(key, value)) for key, value in WORK_SERVER))
    anna = Authority(tmp_path / "anna", "anna@laptop")
    name = node_host_name(paired(tmp_path / "node", anna).id, anna.id)
    async with (
        Node(NodeConfig(home=tmp_path / "node"), ScriptedEngine()) as node,
        wire(node.address) as between,
        open_work_channel(between.address, anna.client_tls(), name) as channel,
    ):
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream("/edgenode.v1.NodeService/Work")()
        data = node_service_pb2.WorkRequest(frame=frame_to_proto(UNWANTED)).SerializeToString()
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            for _ in range(MANY):
                await call.write(data)
        node.trust.untrust(anna.id)
        async with asyncio.timeout(60):
            await between.hung_up.wait()
