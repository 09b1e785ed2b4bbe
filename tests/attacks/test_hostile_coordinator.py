"""A coordinator that is paired and means ill, and a paired node that does: neither fills the other's memory."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from coordinator.trust.authority import Authority
from edgenode.net.channel import open_work_channel
from edgenode.net.client import OUTGOING_LIMIT, NodeConnection, NodeLost
from edgenode.net.door import CALLS
from edgenode.net.wire import MAX_MESSAGE_BYTES, MAX_REPLY_CHARACTERS, MAX_SUBTASKS, MAX_TEXT_CHARACTERS
from edgenode.net.work_streams import OverLimit, WorkStreams
from edgenode.trust.certificates import node_host_name
from edgenode.types import (
    Completion,
    EngineState,
    Frame,
    Lease,
    LeaseId,
    NodeDescription,
    Outcome,
    Subtask,
    SubtaskId,
    Usage,
)
from edgenode.v1 import node_pb2, node_service_pb2, node_service_pb2_grpc, work_pb2
from edgenode.work import WorkQueue
from tests.attacks.node_child import NodeChild, node_child
from tests.dial_parts import SECONDS
from tests.net.test_node import LEASE, Impostor, dialled, next_frame, serving_node
from tests.scripted_engine import ScriptedEngine
from tests.trusted import connection, paired

CONNECTIONS = 48
CALLS_AT_ONCE = 3
GROWTH_BYTES = 100 * 1024 * 1024
LEASES = 15
HUGE = b"\x00" * (4 * 1024 * 1024 - 100)

Attack = Callable[[grpc.aio.Channel], Any]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node on a busy machine may be slow to answer, and is none the worse for it."""
    for name in ("client.CONNECT_SECONDS", "client.SILENCE_SECONDS", "pairing_client.ANSWER_SECONDS", "pinned.CONNECT_SECONDS"):
        monkeypatch.setattr(f"edgenode.net.{name}", SECONDS)


@pytest.fixture
def anna(tmp_path: Path) -> Authority:
    """The hostile one."""
    return Authority(tmp_path / "anna", "anna@laptop")


@pytest.fixture
def bert(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "bert", "bert@desk")


def ask_with_a_huge_body(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary("/edgenode.v1.NodeService/Describe")(HUGE, timeout=SECONDS)


async def work_in_huge_messages(channel: grpc.aio.Channel) -> None:
    await _stream(channel, itertools.repeat(HUGE))


async def lend_the_largest_leases(channel: grpc.aio.Channel) -> None:
    """Each is let in: of texts that take four bytes a character in memory."""
    subtask = work_pb2.Subtask(id="1", instruction="\U0001f600" + "x" * (MAX_TEXT_CHARACTERS - 1), reply_schema="{}")
    count = (MAX_MESSAGE_BYTES - 1_000) // MAX_TEXT_CHARACTERS
    lease = work_pb2.Lease(id="l", model="scripted-model", subtasks=[subtask] * count)
    frame = node_service_pb2.WorkRequest(frame=work_pb2.Frame(lease=lease))
    await _stream(channel, itertools.repeat(frame.SerializeToString()))


async def _stream(channel: grpc.aio.Channel, messages: Iterator[bytes]) -> None:
    async for _ in channel.stream_stream("/edgenode.v1.NodeService/Work")(messages):
        pass


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read in /proc")
@pytest.mark.parametrize("attack", [ask_with_a_huge_body, work_in_huge_messages, lend_the_largest_leases])
async def test_one_coordinator_cannot_fill_a_nodes_memory(tmp_path: Path, anna: Authority, bert: Authority, attack: Attack) -> None:
    """From 48 connections at once, again and again; another coordinator's work is done meanwhile."""
    paired(tmp_path / "node", anna)
    paired(tmp_path / "node", bert)
    async with node_child(tmp_path / "node") as child, AsyncExitStack() as stack:
        stream = await stack.enter_async_context(NodeConnection((child.address,), child.id, bert.client_tls(), bert.id))
        before = peak = child.resident_bytes
        answered = 0
        # gRPC may swallow a cancellation.
        over = False

        async def again_and_again(channel: grpc.aio.Channel) -> None:
            nonlocal answered
            while not over:
                with suppress(grpc.aio.AioRpcError):
                    await attack(channel)
                answered += 1

        channels = [await stack.enter_async_context(unlimited(child, anna)) for _ in range(CONNECTIONS)]
        attackers = [asyncio.create_task(again_and_again(each)) for each in channels for _ in range(CALLS_AT_ONCE)]
        try:
            for _ in range(LEASES):
                stream.send(LEASE)
                await next_frame(stream, Outcome)
                peak = max(peak, child.resident_bytes)
            # The other coordinator has not been served first and alone.
            async with asyncio.timeout(SECONDS):
                while answered < CONNECTIONS * CALLS_AT_ONCE:
                    await asyncio.sleep(0.1)
                    peak = max(peak, child.resident_bytes)
        finally:
            over = True
            for each in attackers:
                each.cancel()
            await asyncio.gather(*attackers, return_exceptions=True)
        peak = max(peak, child.resident_bytes)
        assert peak - before < GROWTH_BYTES


def unlimited(child: NodeChild, authority: Authority) -> grpc.aio.Channel:
    """A channel with a connection of its own, that sends whatever it is told to."""
    tls = authority.client_tls()
    options = (
        ("grpc.ssl_target_name_override", node_host_name(child.id, authority.id)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
    )
    return grpc.aio.secure_channel(child.address, grpc.ssl_channel_credentials(tls.root, tls.key, tls.certificate), options)


async def test_calls_beyond_the_rate_are_refused_to_that_coordinator_alone(
    tmp_path: Path, anna: Authority, bert: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once; another gets its answer."""
    request = node_service_pb2.DescribeRequest()
    async with serving_node(tmp_path / "node", anna, bert) as node, AsyncExitStack() as stack:
        hers, his = [
            node_service_pb2_grpc.NodeServiceStub(
                await stack.enter_async_context(
                    open_work_channel(node.address, each.client_tls(), node_host_name(node.trust.id, each.id))
                )
            )
            for each in (anna, bert)
        ]
        told: list[grpc.StatusCode] = []
        while len(told) < 2:
            try:
                await hers.Describe(request, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                told.append(error.code())
        assert set(told) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert (await his.Describe(request, timeout=SECONDS)).description.id == node.trust.id
    assert caplog.text.count("calls more often than is answered") == 1
    assert CALLS[0] < 1_000


async def test_replies_that_nobody_fetches_do_not_pile_up(tmp_path: Path, anna: Authority) -> None:
    """A lease of the longest replies, of which none is read: the stream ends before they are megabytes."""
    done = asyncio.Event()
    subtasks = tuple(Subtask(SubtaskId(str(number)), "task", "{}", 10) for number in range(MAX_SUBTASKS))

    def reply(_: object) -> Completion:
        if len(engine.seen) == MAX_SUBTASKS or engine.cancelled:
            done.set()
        return Completion("x" * MAX_REPLY_CHARACTERS, Usage())

    async def frames() -> AsyncIterator[Frame]:
        yield Lease(LeaseId("l"), "scripted-model", "", "", subtasks)
        await asyncio.Event().wait()

    engine = ScriptedEngine(reply)
    trust = paired(tmp_path, anna)
    node = NodeDescription(trust.id, "node", "0", "scripted", EngineState.READY, (), 4)
    async with WorkQueue(engine) as queue:
        stream = WorkStreams(lambda: node, queue, trust).serve(anna.id, frames())
        assert await anext(stream) == node
        await done.wait()
        with pytest.raises(OverLimit, match="does not read"):
            async for _ in stream:
                pass


async def test_a_node_that_does_not_read_is_hung_up_on(tmp_path: Path, anna: Authority) -> None:
    """What is queued for it is bounded: the coordinator gives its work to others."""
    trust = paired(tmp_path, anna)
    description = work_pb2.Frame(description=node_pb2.NodeDescription(id=trust.id))
    async with dialled(Deaf(description, id=trust.id), trust, anna) as stream:
        for _ in range(2 * OUTGOING_LIMIT):
            stream.send(LEASE)
        with pytest.raises(NodeLost, match="does not read"):
            await next_frame(stream, Outcome)


class Deaf(Impostor):
    """Says what it has to say, and then neither reads nor hangs up."""

    async def Work(  # noqa: N802 - the name gRPC asks for
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[node_service_pb2.WorkResponse]:
        async for response in super().Work(request_iterator, context):
            yield response
        await asyncio.Event().wait()


async def test_a_lease_that_no_node_would_take_is_not_sent(tmp_path: Path, anna: Authority) -> None:
    """It costs whoever made it an error, and not the connection."""
    many = tuple(Subtask(SubtaskId(str(number)), "x" * 100_000, "{}", 10) for number in range(10))
    async with serving_node(tmp_path / "node", anna) as node, connection(node, anna) as stream:
        with pytest.raises(ValueError, match="is the limit"):
            stream.send(Lease(LeaseId("l"), "scripted-model", "", "", many))
        stream.send(LEASE)
        await next_frame(stream, Outcome)
