"""A node as coordinators meet it: real gRPC, real certificates, real mDNS on loopback, a home of its own."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from coordinator.trust.authority import Authority
from edgenode.errors import HomeError, NetworkError
from edgenode.net.channel import TlsServer, make_pairing_server, make_work_server, open_work_channel
from edgenode.net.client import NodeConnection, NodeLost
from edgenode.net.listeners import Listeners
from edgenode.net.pairing_service import PairingService
from edgenode.net.wire import frame_to_proto
from edgenode.net.work_streams import OUTBOX_LIMIT, STREAM_LIMIT, OverLimit, WorkStreams
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import node_host_name
from edgenode.trust.running import running_nodes
from edgenode.trust.store import NodeTrust
from edgenode.types import (
    Cancel,
    DeviceStatus,
    EngineState,
    FailureReason,
    Frame,
    Heartbeat,
    Lease,
    LeaseId,
    NodeDescription,
    NodeId,
    Outcome,
    Refusal,
    Subtask,
    SubtaskId,
)
from edgenode.v1 import node_pb2, node_service_pb2, node_service_pb2_grpc, work_pb2
from edgenode.work import WorkQueue
from tests.attacks.node_child import node_child
from tests.dial_parts import free_pair
from tests.pairing_parts import make_desk
from tests.patience import SECONDS
from tests.scripted_engine import ScriptedEngine
from tests.trusted import connection, paired

LEASE = Lease(LeaseId("l1"), "scripted-model", "system", "chunk ", (Subtask(SubtaskId("1"), "task", "{}", 10),))


@pytest.fixture
def anna(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "anna", "anna@laptop")


def unique(name: str) -> str:
    """A name no other test's node has: all share the loopback's mDNS."""
    return f"{name}-{secrets.token_hex(4)}"


@asynccontextmanager
async def serving_node(home: Path, *authorities: Authority, engine: ScriptedEngine | None = None) -> AsyncIterator[Node]:
    for authority in authorities:
        paired(home, authority)
    async with Node(NodeConfig(home=home, name=unique("node")), engine or ScriptedEngine()) as node:
        yield node


async def next_frame(connection: NodeConnection, kind: type[Frame]) -> Any:
    async with asyncio.timeout(SECONDS):
        async for frame in connection.frames():
            if isinstance(frame, kind):
                return frame
    raise AssertionError("the stream ended")


async def test_a_paired_coordinator_gets_work_done(tmp_path: Path, anna: Authority) -> None:
    """Connected by certificate, leased to, answered."""
    async with serving_node(tmp_path / "node", anna) as node, connection(node, anna) as stream:
        stream.send(LEASE)
        outcome = await next_frame(stream, Outcome)
    assert outcome.result.text == "reply to chunk task"


async def test_two_coordinators_share_a_node(tmp_path: Path, anna: Authority) -> None:
    """Each is shown a certificate of its own authority, at the same port."""
    bert = Authority(tmp_path / "bert", "bert@desk")
    async with serving_node(tmp_path / "node", anna, bert) as node, connection(node, anna) as hers, connection(node, bert) as his:
        hers.send(LEASE)
        his.send(LEASE)
        outcomes = [await next_frame(each, Outcome) for each in (hers, his)]
    assert [outcome.lease for outcome in outcomes] == ["l1", "l1"]


async def test_a_coordinator_paired_while_it_runs_gets_in(tmp_path: Path, anna: Authority) -> None:
    """No restart: what is trusted is read at each handshake."""
    async with serving_node(tmp_path / "node") as node:
        with pytest.raises(NodeLost) as lost:
            async with connection(node, anna):
                pass
        assert lost.value.refused
        paired(tmp_path / "node", anna)
        async with connection(node, anna) as stream:
            assert stream.description.id == node.trust.id


async def test_untrusting_ends_open_streams_and_their_work(tmp_path: Path, anna: Authority) -> None:
    """Only files are changed, as another process does it; the stream is told why, and nobody gets in again."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with serving_node(tmp_path / "node", anna, engine=engine) as node, connection(node, anna) as stream:
        stream.send(LEASE)
        await engine.started.wait()
        NodeTrust(tmp_path / "node").untrust(anna.id)
        with pytest.raises(NodeLost, match="does not trust") as lost:
            await next_frame(stream, Outcome)
        assert lost.value.refused
        with pytest.raises(NodeLost):
            async with connection(node, anna):
                pass
    assert engine.cancelled


async def test_a_home_of_an_earlier_version_has_room_for_removals(tmp_path: Path, anna: Authority) -> None:
    """It lacks their folder, which is made as the node starts: by the time that a coordinator is dropped the disk may be full."""
    paired(tmp_path / "node", anna)
    shutil.rmtree(tmp_path / "node" / "removed")
    async with serving_node(tmp_path / "node"):
        assert (tmp_path / "node" / "removed").is_dir()


@pytest.mark.parametrize("name", ["trusted", "removed"])
async def test_streams_end_when_it_cannot_be_read_who_is_trusted(tmp_path: Path, anna: Authority, name: str) -> None:
    """Or whoever is dropped after that would stay; who was removed counts as much."""
    async with serving_node(tmp_path / "node", anna) as node, connection(node, anna) as stream:
        folder, aside = tmp_path / "node" / name, tmp_path / "aside"
        if folder.exists():
            folder.rename(aside)
        folder.write_text("not a folder")
        with pytest.raises(NodeLost):
            await next_frame(stream, Outcome)
        with pytest.raises(NodeLost, match="cannot read whom it trusts"):
            async with connection(node, anna):
                pass
        folder.unlink()
        if aside.exists():
            aside.rename(folder)
        async with connection(node, anna) as again:
            assert again.description.id == node.trust.id


async def test_why_it_ended_is_told_also_in_the_middle_of_writing(tmp_path: Path, anna: Authority) -> None:
    """Where a refusal crosses what this side sends, gRPC loses it: the node is asked again."""
    node = make_desk(tmp_path / "node")
    trust = paired(tmp_path / "node", anna)

    class Refusing(Impostor):
        async def Work(  # noqa: N802 - the name gRPC asks for
            self, request_iterator: Any, context: Any
        ) -> AsyncIterator[node_service_pb2.WorkResponse]:
            yield node_service_pb2.WorkResponse(frame=work_pb2.Frame(description=node_pb2.NodeDescription(id=trust.id)))
            async for request in request_iterator:
                if request.frame.HasField("cancel"):
                    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "This device does not trust you.")

    def build() -> tuple[TlsServer, TlsServer]:
        work, pairing = make_work_server(trust.server_tls), make_pairing_server(trust.placeholder_tls())
        node_service_pb2_grpc.add_NodeServiceServicer_to_server(Refusing(id=trust.id), work.server)
        PairingService(node.desk).add_to(pairing.server)
        return work, pairing

    port = free_pair()
    listeners = Listeners(lambda: ("127.0.0.1",), build)
    await listeners.open(("127.0.0.1",), port)
    try:
        async with NodeConnection((f"127.0.0.1:{port}",), trust.id, anna.client_tls(), anna.id) as stream:
            trust.untrust(anna.id)
            # The first is refused while the others are being written.
            for _ in range(50):
                stream.send(Cancel(LEASE.id))
            with pytest.raises(NodeLost, match="does not trust") as lost:
                await next_frame(stream, Outcome)
            assert lost.value.refused
    finally:
        await listeners.close(None)


async def test_all_addresses_are_dialled_and_one_that_works_is_used(tmp_path: Path, anna: Authority) -> None:
    """A dead address and one that never answers do not hold up the good one."""
    with socket.socket() as mute, socket.socket() as dead:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        dead.bind(("127.0.0.1", 0))
        bad = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in (mute, dead))
        async with serving_node(tmp_path / "node", anna) as node:
            dialled = NodeConnection((*bad, node.address), node.trust.id, anna.client_tls(), anna.id)
            # gRPC itself gives the mute one 20 s.
            async with asyncio.timeout(15), dialled as stream:
                assert stream.address == node.address
                stream.send(LEASE)
                await next_frame(stream, Outcome)


async def test_the_status_is_told_when_it_changes(tmp_path: Path, anna: Authority) -> None:
    """With a heartbeat, and once for each change."""
    paired(tmp_path, anna)
    trust = NodeTrust(tmp_path)
    status = DeviceStatus(battery_percent=50)
    node = NodeDescription(trust.id, "node", "0", "scripted", EngineState.READY, (), 2)

    async def silence() -> AsyncIterator[Frame]:
        await asyncio.Event().wait()
        yield Heartbeat()

    async with WorkQueue(ScriptedEngine()) as queue:
        stream = WorkStreams(lambda: node, queue, trust, lambda: status).serve(anna.id, silence())
        told = [await anext(stream) for _ in range(3)]
        status = DeviceStatus(battery_percent=49)
        told.append(await anext(stream))
        await stream.aclose()
    first, second = Heartbeat(DeviceStatus(battery_percent=50)), Heartbeat(DeviceStatus(battery_percent=49))
    assert told == [node, first, Heartbeat(), second]


async def test_a_draining_node_says_so_and_takes_no_more(tmp_path: Path, anna: Authority) -> None:
    """On the open stream, at once, and in the refusal."""
    async with serving_node(tmp_path / "node", anna) as node, connection(node, anna) as stream:
        node._drain("too hot")
        told = await next_frame(stream, NodeDescription)
        stream.send(LEASE)
        refusal = await next_frame(stream, Refusal)
    assert (told.draining, refusal.reason) == ("too hot", FailureReason.DRAINING)


async def test_an_unpaired_node_opens_its_window_and_a_paired_one_does_not(tmp_path: Path, anna: Authority) -> None:
    """The first start shows a code; later ones only when asked."""
    async with serving_node(tmp_path / "new") as new, serving_node(tmp_path / "old", anna) as old:
        assert new.window.code
        assert old.window.code is None
        code, seconds = old.open_window()
        assert (code, seconds > 0) == (old.window.code, True)


async def test_a_running_node_leaves_a_private_file(tmp_path: Path) -> None:
    """Other programs of its user find it at an address of this machine; afterwards the file is gone."""
    async with serving_node(tmp_path / "node") as node:
        (running,) = running_nodes()
        assert (running.id, running.address) == (node.trust.id, node.address)
    assert running_nodes() == ()


async def test_whom_a_node_dials_is_in_its_file(tmp_path: Path) -> None:
    """For `edgenode doctor`, which is another process."""
    join = (f"127.0.0.1:{free_pair()}",)
    async with Node(NodeConfig(home=tmp_path, name=unique("node"), join=join), ScriptedEngine()):
        (running,) = running_nodes()
    assert running.dials == join


async def test_a_change_of_the_engine_is_told_on_the_stream(tmp_path: Path, anna: Authority) -> None:
    """Whoever is connected learns that the engine restarts, without asking."""
    engine = ScriptedEngine()
    async with serving_node(tmp_path / "node", anna, engine=engine) as node, connection(node, anna) as stream:
        engine.become(EngineState.RESTARTING)
        told = await next_frame(stream, NodeDescription)
    assert told.engine_state is EngineState.RESTARTING


async def test_a_coordinator_that_hangs_up_stops_its_work(tmp_path: Path, anna: Authority) -> None:
    """Losing the caller stops generation."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with serving_node(tmp_path / "node", anna, engine=engine) as node:
        async with connection(node, anna) as stream:
            stream.send(LEASE)
            await engine.started.wait()
        async with asyncio.timeout(SECONDS), connection(node, anna) as other:
            # The next connection's work runs only when the first's has been stopped.
            engine.started.clear()
            other.send(LEASE)
            await engine.started.wait()
    assert engine.cancelled


async def test_a_coordinator_that_never_reads_is_hung_up_on(tmp_path: Path, anna: Authority) -> None:
    """Refusals that nobody fetches do not pile up in the node's memory: the stream ends."""
    all_sent = asyncio.Event()

    async def frames() -> AsyncIterator[Frame]:
        for _ in range(OUTBOX_LIMIT + 100):
            yield Lease(LeaseId("l"), "no such model", "", "", LEASE.subtasks)
        all_sent.set()
        await asyncio.Event().wait()

    trust = paired(tmp_path, anna)
    node = NodeDescription(trust.id, "node", "0", "scripted", EngineState.READY, (), 4)
    async with WorkQueue(ScriptedEngine()) as queue:
        stream = WorkStreams(lambda: node, queue, trust).serve(anna.id, frames())
        assert await anext(stream) == node
        await all_sent.wait()
        with pytest.raises(OverLimit, match="does not read"):
            async with asyncio.timeout(SECONDS):
                await anext(stream)


async def test_a_dropped_coordinator_that_never_reads_gets_no_more_work(tmp_path: Path, anna: Authority) -> None:
    """What is sent to it is held up for as long as it likes; what it asks for meanwhile is not read, and not worked on."""
    ended = asyncio.Event()

    async def frames() -> AsyncIterator[Frame]:
        await ended.wait()
        yield LEASE
        await asyncio.Event().wait()

    trust = paired(tmp_path, anna)
    node = NodeDescription(trust.id, "node", "0", "scripted", EngineState.READY, (), 4)
    engine = ScriptedEngine()
    async with WorkQueue(engine) as queue:
        stream = WorkStreams(lambda: node, queue, trust).serve(anna.id, frames())
        assert await anext(stream) == node
        reader, watch = [
            next(task for task in asyncio.all_tasks() if task.get_name() == f"work-stream-{name}") for name in ("reader", "watch")
        ]
        trust.untrust(anna.id)
        async with asyncio.timeout(SECONDS):
            await watch
            ended.set()
            await asyncio.wait([reader])
        await stream.aclose()
    assert engine.seen == []


async def test_a_refused_call_leaves_nothing_behind(tmp_path: Path, anna: Authority) -> None:
    """Nothing of it waits to say hello: a coordinator that is refused tries again and again."""
    async with serving_node(tmp_path / "node", anna) as node, AsyncExitStack() as stack:
        for _ in range(STREAM_LIMIT):
            await stack.enter_async_context(connection(node, anna))
        for _ in range(3):
            with pytest.raises(NodeLost, match="already has"):
                async with connection(node, anna):
                    pass
        await stack.aclose()
        async with asyncio.timeout(SECONDS):
            while any("_consume_request_iterator" in str(task.get_coro()) for task in asyncio.all_tasks()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be frozen here")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
async def test_a_node_that_dies_or_freezes_is_lost_and_not_refused(tmp_path: Path, anna: Authority, how: str) -> None:
    """A dead process is noticed by its end, a frozen one by its silence to gRPC's pings."""
    paired(tmp_path / "node", anna)
    async with node_child(tmp_path / "node", ends=how == "SIGSTOP") as child:
        async with NodeConnection((child.address,), child.id, anna.client_tls(), anna.id) as stream:
            os.kill(child.pid, getattr(signal, how))
            with pytest.raises(NodeLost) as lost:
                await next_frame(stream, Outcome)
            assert not lost.value.refused
        if how == "SIGSTOP":
            os.kill(child.pid, signal.SIGCONT)


async def test_describe_tells_what_the_stream_tells(tmp_path: Path, anna: Authority) -> None:
    """The unary call for tools and the stream's first frame are one description."""
    async with (
        serving_node(tmp_path / "node", anna) as node,
        open_work_channel(node.address, anna.client_tls(), node_host_name(node.trust.id, anna.id)) as channel,
        connection(node, anna) as stream,
    ):
        reply = await node_service_pb2_grpc.NodeServiceStub(channel).Describe(node_service_pb2.DescribeRequest())
        assert reply.description.id == stream.description.id == node.description().id


class Impostor(node_service_pb2_grpc.NodeServiceServicer):
    """A server that sends what it is told, whatever the protocol says."""

    def __init__(self, *frames: work_pb2.Frame, id: str = "") -> None:
        self._frames = frames
        self._id = id

    async def Describe(self, request: Any, context: Any) -> node_service_pb2.DescribeResponse:  # noqa: N802 - the name gRPC asks for
        return node_service_pb2.DescribeResponse(description=node_pb2.NodeDescription(id=self._id))

    async def Work(  # noqa: N802 - the name gRPC asks for
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[node_service_pb2.WorkResponse]:
        for frame in self._frames:
            yield node_service_pb2.WorkResponse(frame=frame)


@asynccontextmanager
async def dialled(impostor: Impostor, trust: NodeTrust, anna: Authority) -> AsyncIterator[NodeConnection]:
    """A connection to an impostor that holds a real node's key and certificate."""
    listening = make_work_server(trust.server_tls)
    node_service_pb2_grpc.add_NodeServiceServicer_to_server(impostor, listening.server)
    port = listening.listen("127.0.0.1:0")
    await listening.start()
    try:
        async with NodeConnection((f"127.0.0.1:{port}",), trust.id, anna.client_tls(), anna.id) as stream:
            yield stream
    finally:
        await listening.stop(None)


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (frame_to_proto(Heartbeat()),),
        (work_pb2.Frame(description=node_pb2.NodeDescription(id="not an id\x1b[2J")),),
        (work_pb2.Frame(description=node_pb2.NodeDescription(id="a" * 32)),),
    ],
    ids=["nothing", "no description", "a nameless one", "another one"],
)
async def test_a_server_that_is_no_node_is_refused_with_a_sentence(
    tmp_path: Path, anna: Authority, frames: tuple[work_pb2.Frame, ...]
) -> None:
    """Whatever a paired device runs, the coordinator says what is wrong and goes on."""
    trust = paired(tmp_path, anna)
    with pytest.raises(NodeLost) as lost:
        async with dialled(Impostor(*frames, id=trust.id), trust, anna):
            pass
    assert str(lost.value).isprintable()


async def test_a_node_that_calls_itself_another_is_refused(tmp_path: Path, anna: Authority) -> None:
    """Its identity is its certificate's."""
    with pytest.raises(NodeLost, match="another one than its certificate"):
        async with dialled(Impostor(id="a" * 32), paired(tmp_path, anna), anna):
            pass


async def test_garbage_in_the_middle_ends_the_connection(tmp_path: Path, anna: Authority) -> None:
    """A node that breaks the protocol is lost, and its work will go to others."""
    trust = paired(tmp_path, anna)
    good = work_pb2.Frame(description=node_pb2.NodeDescription(id=trust.id))
    bad = work_pb2.Frame(outcome=work_pb2.Outcome(lease_id="", subtask_id=""))
    async with dialled(Impostor(good, bad, id=trust.id), trust, anna) as stream:
        with pytest.raises(NodeLost, match="broke the protocol"):
            await next_frame(stream, Heartbeat)


async def test_a_dead_address_is_a_sentence(anna: Authority) -> None:
    """Nobody there is no traceback, and no refusal."""
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{dead.getsockname()[1]}"
        with pytest.raises(NodeLost, match="cannot be reached") as lost:
            async with NodeConnection((address,), NodeId("a" * 32), anna.client_tls(), anna.id):
                pass
    assert not lost.value.refused


async def test_a_second_node_on_a_home_is_refused(tmp_path: Path) -> None:
    """Two processes must not share an identity."""
    async with serving_node(tmp_path):
        with pytest.raises(HomeError, match="Another node is running"):
            async with serving_node(tmp_path):
                pass


async def test_the_identity_survives_a_restart(tmp_path: Path) -> None:
    """The key is kept."""
    ids: list[NodeId] = []
    for _ in range(2):
        async with serving_node(tmp_path) as node:
            ids.append(node.description().id)
    assert ids[0] == ids[1]


@pytest.mark.parametrize("offset", [0, 1], ids=["for work", "for pairing"])
async def test_a_taken_port_is_a_sentence(tmp_path: Path, offset: int) -> None:
    """--port of another program: said so, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NetworkError, match="--port"):
            async with Node(NodeConfig(home=tmp_path, port=taken.getsockname()[1] - offset), ScriptedEngine()):
                pass


async def test_nodes_that_want_the_usual_ports_get_others(tmp_path: Path) -> None:
    """Several on one machine, none of them told a port."""
    async with serving_node(tmp_path / "a") as a, serving_node(tmp_path / "b") as b, serving_node(tmp_path / "c") as c:
        ports = {port for node in (a, b, c) for port in (node.port, node.port + 1)}
    assert len(ports) == 6


async def test_an_unknown_interface_names_those_there_are() -> None:
    """The typo is answered with what could have been meant."""
    with pytest.raises(NetworkError, match=r"there are: .*lo"):
        async with Node(NodeConfig(interface="wlan99"), ScriptedEngine()):
            pass
