"""A node as coordinators meet it: real gRPC, real mDNS on loopback, a home of its own."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from coordinator.events import NodeState
from coordinator.roster import Down, Heard, News, Roster, Up
from edgenode.errors import HomeError, NetworkError
from edgenode.net.client import NodeConnection, NodeLost
from edgenode.net.service import NodeServer
from edgenode.net.wire import frame_to_proto
from edgenode.node import Node, NodeConfig
from edgenode.types import (
    Completion,
    EngineState,
    Frame,
    Heartbeat,
    Lease,
    LeaseId,
    NodeDescription,
    NodeId,
    Outcome,
    Subtask,
    SubtaskId,
)
from edgenode.v1 import node_pb2, node_service_pb2, node_service_pb2_grpc, work_pb2
from edgenode.work import WorkQueue
from tests.scripted_engine import ScriptedEngine

LEASE = Lease(LeaseId("l1"), "scripted-model", "system", "chunk ", (Subtask(SubtaskId("1"), "task", "{}", 10),))


def unique(name: str) -> str:
    """A name no other test's node has: all share the loopback's mDNS."""
    return f"{name}-{secrets.token_hex(4)}"


async def next_frame(connection: NodeConnection, kind: type[Frame]) -> Any:
    async with asyncio.timeout(10):
        async for frame in connection.frames():
            if isinstance(frame, kind):
                return frame
    raise AssertionError("the stream ended")


async def until(news: asyncio.Queue[News], kind: type[News]) -> Any:
    async with asyncio.timeout(20):
        while True:
            item = await news.get()
            if isinstance(item, kind):
                return item


async def test_a_node_is_found_works_and_says_goodbye(tmp_path: Path) -> None:
    """The whole life: announced, found, leased to, gone."""
    name = unique("kitchen")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with Roster(("127.0.0.1",), [name]) as roster:
        with roster.listening(news.put_nowait):
            async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node:
                up = await until(news, Up)
                assert up.node.address == node.address
                assert up.node.models[0].name == "scripted-model"
                roster.send(up.node.id, LEASE)
                heard = await until(news, Heard)
                while not isinstance(heard.frame, Outcome):
                    heard = await until(news, Heard)
                assert isinstance(heard.frame.result, Completion)
                assert heard.frame.result.text == "reply to chunk task"
            down = await until(news, Down)
            assert down.node.name == name
        assert roster.nodes()[0].state is not NodeState.JOINED


async def test_two_nodes_of_one_name_are_two_nodes(tmp_path: Path) -> None:
    """A name is only a name; the identity tells them apart."""
    name = unique("twin")
    async with (
        Node(NodeConfig(home=tmp_path / "a", name=name), ScriptedEngine()),
        Node(NodeConfig(home=tmp_path / "b", name=name), ScriptedEngine()),
        Roster(("127.0.0.1",), [name]) as roster,
    ):
        await roster.settle()
        found = roster.nodes()
    assert [node.name for node in found] == [name, name]
    assert len({node.id for node in found}) == 2
    assert [node.state for node in found] == [NodeState.JOINED] * 2


async def test_a_node_that_returns_is_joined_again(tmp_path: Path) -> None:
    """Restarted on another port with the same home, it is the same node and needs no restart of anything else."""
    name = unique("phone")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with Roster(("127.0.0.1",), [name]) as roster:
        with roster.listening(news.put_nowait):
            async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()):
                first = await until(news, Up)
            await until(news, Down)
            async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()):
                second = await until(news, Up)
    assert second.node.id == first.node.id


async def test_a_change_of_the_engine_is_told_on_the_stream(tmp_path: Path) -> None:
    """Whoever is connected learns that the engine restarts, without asking."""
    engine = ScriptedEngine()
    async with Node(NodeConfig(home=tmp_path, name=unique("node")), engine) as node, NodeConnection(node.address) as connection:
        engine.become(EngineState.RESTARTING)
        told = await next_frame(connection, NodeDescription)
    assert told.engine_state is EngineState.RESTARTING


async def test_a_coordinator_that_hangs_up_stops_its_work(tmp_path: Path) -> None:
    """Losing the caller stops generation."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with Node(NodeConfig(home=tmp_path, name=unique("node")), engine) as node:
        async with NodeConnection(node.address) as connection:
            connection.send(LEASE)
            await engine.started.wait()
        async with asyncio.timeout(10), NodeConnection(node.address) as other:
            # The next coordinator's work runs only when the first's has been stopped.
            engine.started.clear()
            other.send(LEASE)
            await engine.started.wait()
    assert engine.cancelled


async def test_a_coordinator_that_breaks_the_protocol_is_hung_up_on(tmp_path: Path) -> None:
    """A frame over the limits ends that stream and not the node."""
    async with Node(NodeConfig(home=tmp_path, name=unique("node")), ScriptedEngine()) as node:
        async with grpc.aio.insecure_channel(node.address) as channel:
            bad = work_pb2.Frame(lease=work_pb2.Lease(id="two\nlines"))
            call = node_service_pb2_grpc.NodeServiceStub(channel).Work(iter([node_service_pb2.WorkRequest(frame=bad)]))
            async with asyncio.timeout(10):
                assert [message.frame.WhichOneof("kind") async for message in call] == ["description"]
        async with NodeConnection(node.address) as connection:
            assert connection.description.name == node.description().name


async def test_a_coordinator_that_never_reads_is_hung_up_on() -> None:
    """Thousands of refusals that nobody fetches do not pile up in the node's memory: the stream ends."""
    flood = 5_000
    all_sent = asyncio.Event()

    async def frames() -> AsyncIterator[Frame]:
        for _ in range(flood):
            yield Lease(LeaseId("l"), "no such model", "", "", LEASE.subtasks)
        all_sent.set()
        await asyncio.Event().wait()

    node = NodeDescription(NodeId("a"), "node", "0", "scripted", EngineState.READY, (), 4)
    async with WorkQueue(ScriptedEngine()) as queue:
        stream = NodeServer(lambda: node, queue, "127.0.0.1", 0).serve_stream(frames())
        assert await anext(stream) == node
        await all_sent.wait()
        async with asyncio.timeout(10):
            left = [frame async for frame in stream]
    assert len(left) < flood / 2


async def test_describe_tells_what_the_stream_tells(tmp_path: Path) -> None:
    """The unary call for tools and the stream's first frame are one description."""
    async with (
        Node(NodeConfig(home=tmp_path, name=unique("node")), ScriptedEngine()) as node,
        grpc.aio.insecure_channel(node.address) as channel,
        NodeConnection(node.address) as connection,
    ):
        reply = await node_service_pb2_grpc.NodeServiceStub(channel).Describe(node_service_pb2.DescribeRequest())
        assert reply.description.id == connection.description.id == node.description().id


class Impostor(node_service_pb2_grpc.NodeServiceServicer):
    """A server that sends what it is told, whatever the protocol says."""

    def __init__(self, *frames: work_pb2.Frame) -> None:
        self._frames = frames

    async def Work(  # noqa: N802 - the name gRPC asks for
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[node_service_pb2.WorkResponse]:
        for frame in self._frames:
            yield node_service_pb2.WorkResponse(frame=frame)


@asynccontextmanager
async def serving(impostor: Impostor) -> AsyncIterator[str]:
    server = grpc.aio.server()
    node_service_pb2_grpc.add_NodeServiceServicer_to_server(impostor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (frame_to_proto(Heartbeat()),),
        (work_pb2.Frame(description=node_pb2.NodeDescription(id="not an id\x1b[2J")),),
    ],
    ids=["nothing", "no description", "a nameless one"],
)
async def test_a_server_that_is_no_node_is_refused_with_a_sentence(frames: tuple[work_pb2.Frame, ...]) -> None:
    """Whatever answers at an address, the coordinator says what is wrong and goes on."""
    async with serving(Impostor(*frames)) as address:
        with pytest.raises(NodeLost) as lost:
            async with NodeConnection(address):
                pass
    assert str(lost.value).isprintable()


async def test_garbage_in_the_middle_ends_the_connection() -> None:
    """A node that breaks the protocol is lost, and its work will go to others."""
    good = work_pb2.Frame(description=node_pb2.NodeDescription(id="a" * 32))
    bad = work_pb2.Frame(outcome=work_pb2.Outcome(lease_id="", subtask_id=""))
    async with serving(Impostor(good, bad)) as address, NodeConnection(address) as connection:
        with pytest.raises(NodeLost, match="broke the protocol"):
            await next_frame(connection, Heartbeat)


async def test_a_dead_address_is_a_sentence() -> None:
    """Nobody there is no traceback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(NodeLost, match=r"cannot be reached|silent"):
        async with NodeConnection(address):
            pass


async def test_a_second_node_on_a_home_is_refused(tmp_path: Path) -> None:
    """Two processes must not share an identity."""
    async with Node(NodeConfig(home=tmp_path, name=unique("node")), ScriptedEngine()):
        with pytest.raises(HomeError, match="Another node is running"):
            async with Node(NodeConfig(home=tmp_path, name=unique("node")), ScriptedEngine()):
                pass


async def test_the_identity_survives_a_restart_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    """Stable across restarts, and never made anew in silence."""
    ids: list[NodeId] = []
    for _ in range(2):
        async with Node(NodeConfig(home=tmp_path, name=unique("node")), ScriptedEngine()) as node:
            ids.append(node.description().id)
    assert ids[0] == ids[1]
    (tmp_path / "node-id").write_text("rubbish")
    with pytest.raises(HomeError, match="damaged"):
        async with Node(NodeConfig(home=tmp_path, name=unique("node")), ScriptedEngine()):
            pass


async def test_a_taken_port_is_a_sentence(tmp_path: Path) -> None:
    """--port of another program: said so, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NetworkError, match="--port"):
            async with Node(NodeConfig(home=tmp_path, port=taken.getsockname()[1]), ScriptedEngine()):
                pass


@pytest.mark.parametrize(
    "config", [NodeConfig(listen="0.0.0.0"), NodeConfig(listen="192.0.2.1"), NodeConfig(interface="192.0.2.1")]
)
async def test_only_loopback_is_served_before_pairing_exists(tmp_path: Path, config: NodeConfig) -> None:
    """Nothing without certificates can be reached from elsewhere, whatever is asked."""
    engine = ScriptedEngine()
    with pytest.raises(NetworkError, match="only loopback"):
        async with Node(config, engine):
            pass


async def test_an_unknown_interface_names_those_there_are() -> None:
    """The typo is answered with what could have been meant."""
    with pytest.raises(NetworkError, match=r"there are: .*lo"):
        async with Node(NodeConfig(interface="wlan99"), ScriptedEngine()):
            pass
