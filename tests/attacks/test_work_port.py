"""What strangers, and coordinators gone wrong, can do at a node's work port: nothing, told once, and the node serves on."""

import asyncio
import dataclasses
import logging
import secrets
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.trust.authority import Authority
from edgenode.net.addresses import split_host_port
from edgenode.net.channel import open_work_channel
from edgenode.net.client import NodeConnection, NodeLost
from edgenode.net.wire import MAX_MESSAGE_BYTES, frame_to_proto
from edgenode.net.work_streams import STREAM_LIMIT
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import Certificate, Role, issue, node_host_name, now_utc, pem
from edgenode.trust.keys import key_pem, make_key
from edgenode.trust.tls import ClientTls
from edgenode.types import Cancel, Heartbeat, Hello, LeaseId, Outcome, SubtaskId
from edgenode.v1 import node_service_pb2, node_service_pb2_grpc, work_pb2
from tests.attacks.node_child import NodeChild, node_child
from tests.dial_parts import SECONDS
from tests.net.test_node import LEASE, next_frame
from tests.scripted_engine import ScriptedEngine
from tests.trusted import connection, paired

WORK = "/edgenode.v1.NodeService/Work"
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
GROWTH_BYTES = 20 * 1024 * 1024


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node on a busy machine may be slow to answer, and is none the worse for it."""
    for name in ("client.CONNECT_SECONDS", "client.SILENCE_SECONDS", "pairing_client.ANSWER_SECONDS", "pinned.CONNECT_SECONDS"):
        monkeypatch.setattr(f"edgenode.net.{name}", SECONDS)


@pytest.fixture
def anna(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "anna", "anna@laptop")


@pytest.fixture
async def node(tmp_path: Path, anna: Authority) -> AsyncIterator[Node]:
    """Paired with anna; it still serves her when the test is over."""
    paired(tmp_path / "node", anna)
    async with Node(NodeConfig(home=tmp_path / "node"), ScriptedEngine()) as node:
        yield node
        await works(node, anna)


async def works(node: Node | NodeChild, anna: Authority) -> None:
    id = node.id if isinstance(node, NodeChild) else node.trust.id
    async with NodeConnection((node.address,), id, anna.client_tls(), anna.id) as stream:
        stream.send(LEASE)
        await next_frame(stream, Outcome)


def forged(anna: Authority, role: Role, age: timedelta = timedelta()) -> ClientTls:
    """A certificate that anna's authority did sign."""
    key = make_key()
    leaf: Certificate = issue(anna.certificate, anna._key, key.public_key(), role, now_utc() - age)
    return dataclasses.replace(anna.client_tls(), key=key_pem(key), certificate=pem(leaf))


@asynccontextmanager
async def channel(node: Node, anna: Authority) -> AsyncIterator[grpc.aio.Channel]:
    async with open_work_channel(node.address, anna.client_tls(), node_host_name(node.trust.id, anna.id)) as channel:
        yield channel


async def to_the_end(call: Any) -> None:
    async with asyncio.timeout(SECONDS):
        async for _ in call:
            pass


async def refusal(channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await node_service_pb2_grpc.NodeServiceStub(channel).Describe(node_service_pb2.DescribeRequest(), timeout=SECONDS)
    return error.value


async def test_without_a_certificate_nobody_gets_in(node: Node, anna: Authority) -> None:
    """The handshake itself fails."""
    credentials = grpc.ssl_channel_credentials(anna.client_tls().root)
    options = [("grpc.ssl_target_name_override", node_host_name(node.trust.id, anna.id))]
    async with grpc.aio.secure_channel(node.address, credentials, options) as stranger:
        assert (await refusal(stranger)).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("case", ["another authority", "expired", "not yet valid"])
async def test_a_bad_certificate_does_not_get_in(tmp_path: Path, node: Node, anna: Authority, case: str) -> None:
    """The coordinator learns that it was refused, and may ask at the pairing port why."""
    match case:
        case "another authority":
            mallory = Authority(tmp_path / "mallory", "anna@laptop").client_tls()
            tls = dataclasses.replace(mallory, root=anna.client_tls().root)
        case "expired":
            tls = forged(anna, Role.COORDINATOR, timedelta(days=30))
        case _:
            tls = forged(anna, Role.COORDINATOR, timedelta(days=-30))
    with pytest.raises(NodeLost) as lost:
        async with NodeConnection((node.address,), node.trust.id, tls, anna.id):
            pass
    assert lost.value.refused


async def test_a_node_cannot_give_work(node: Node, anna: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """A stolen phone is no coordinator, whatever it dials: refused at the service, and told once."""
    tls = forged(anna, Role.NODE)
    for _ in range(10):
        with pytest.raises(NodeLost, match="Only coordinators may give work") as lost:
            async with NodeConnection((node.address,), node.trust.id, tls, anna.id):
                pass
        assert lost.value.refused
    assert [record.levelname for record in caplog.records if "Only coordinators" in record.message] == ["WARNING"]


async def test_plaintext_is_no_language_here(node: Node) -> None:
    """An old client that speaks HTTP/2 in the clear gets nothing."""
    async with grpc.aio.insecure_channel(node.address) as stranger:
        assert (await refusal(stranger)).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("weak", ["an old version", "a weak cipher"])
async def test_weak_encryption_is_refused(node: Node, weak: str) -> None:
    """Nothing before TLS 1.3, and nothing without forward secrecy."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if weak == "an old version":
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    else:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA:AES256-SHA:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*split_host_port(node.address), ssl=context)


async def test_an_oversized_message_costs_its_stream_alone(node: Node, anna: Authority) -> None:
    """gRPC counts before it reads."""
    frame = work_pb2.Frame(lease=work_pb2.Lease(id="l", shared="x" * (MAX_MESSAGE_BYTES + 1)))
    options = [("grpc.ssl_target_name_override", node_host_name(node.trust.id, anna.id)), ("grpc.max_send_message_length", -1)]
    tls = anna.client_tls()
    credentials = grpc.ssl_channel_credentials(tls.root, tls.key, tls.certificate)
    async with grpc.aio.secure_channel(node.address, credentials, options) as big:
        call = node_service_pb2_grpc.NodeServiceStub(big).Work(iter([node_service_pb2.WorkRequest(frame=frame)]))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await to_the_end(call)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_frame_over_the_limits_ends_its_stream_with_the_reason(node: Node, anna: Authority) -> None:
    """A coordinator that breaks the protocol is told so."""
    bad = work_pb2.Frame(lease=work_pb2.Lease(id="two\nlines"))
    async with channel(node, anna) as opened:
        # In one piece with the call: a refusal that crosses a write of its own would be lost in gRPC's Python client.
        call = opened.unary_stream(WORK)(node_service_pb2.WorkRequest(frame=bad).SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError, match="broke the protocol"):
            await to_the_end(call)


async def test_endless_frames_are_hung_up_on(
    tmp_path: Path, anna: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Thousands a second, each of them harmless, are no coordinator's; twice is told once, and another is served on."""
    # However slow this machine is it sends more.
    monkeypatch.setattr("edgenode.net.work_streams.FRAMES_PER_SECOND", 1.0)
    bert = Authority(tmp_path / "bert", "bert@desk")
    for each in (anna, bert):
        paired(tmp_path / "node", each)

    async def flood() -> AsyncIterator[node_service_pb2.WorkRequest]:
        while True:
            yield node_service_pb2.WorkRequest(frame=work_pb2.Frame(heartbeat=work_pb2.Heartbeat()))

    async with Node(NodeConfig(home=tmp_path / "node"), ScriptedEngine()) as node:
        for _ in range(2):
            async with channel(node, anna) as opened:
                call = node_service_pb2_grpc.NodeServiceStub(opened).Work(flood())
                # A client in the middle of writing may see no more of the reason than that the stream is over.
                with pytest.raises(grpc.aio.AioRpcError):
                    await to_the_end(call)
        await works(node, bert)
    assert len([record for record in caplog.records if "more messages" in record.message]) == 1


async def test_streams_over_the_limit_are_refused(node: Node, anna: Authority) -> None:
    """Each coordinator has a few, and those it has go on."""
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connection(node, anna)) for _ in range(STREAM_LIMIT)]
        with pytest.raises(NodeLost, match=f"already has {STREAM_LIMIT} connections"):
            async with connection(node, anna):
                pass
        for each in held:
            await next_frame(each, Heartbeat)


@pytest.mark.parametrize("said", [b"", HALF_A_HELLO], ids=["nothing", "half a hello"])
async def test_slow_connections_do_not_keep_the_port(
    node: Node, anna: Authority, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """More than there is room for: they are hung up on, and a coordinator that tries again gets in."""
    with ExitStack() as sockets:
        for _ in range(80):
            one = sockets.enter_context(socket.create_connection(split_host_port(node.address), timeout=5))
            with suppress(ConnectionError):  # already hung up on
                one.send(said)
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    async with connection(node, anna):
                        break
                except NodeLost:
                    await asyncio.sleep(0.2)
    async with asyncio.timeout(SECONDS):
        while "connects again and again" not in caplog.text:  # noqa: ASYNC110 - a log cannot be waited for
            await asyncio.sleep(0.2)
    assert caplog.text.count("connects again and again") == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read in /proc")
async def test_ten_thousand_junk_connections_leave_the_node_small_and_serving(tmp_path: Path, anna: Authority) -> None:
    """Connections that say nothing, rubbish or plain HTTP: less than 20 MB, and a few lines in the log."""
    paired(tmp_path / "node", anna)
    async with node_child(tmp_path / "node") as child:
        await works(child, anna)
        before = child.resident_bytes
        await asyncio.to_thread(junk, child.address, 10_000)
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    await works(child, anna)
                    break
                except NodeLost:
                    await asyncio.sleep(0.2)
        assert child.resident_bytes - before < GROWTH_BYTES
        async with asyncio.timeout(SECONDS):
            while "connects again and again" not in child.log.read_text(encoding="utf-8"):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        log = child.log.read_text(encoding="utf-8")
    assert log.count("connects again and again") == 1
    assert len(log.splitlines()) < 10


def junk(address: str, count: int) -> None:
    said = (b"", secrets.token_bytes(64), b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HALF_A_HELLO)
    held: deque[socket.socket] = deque()
    for number in range(count):
        with suppress(OSError):
            one = socket.create_connection(split_host_port(address), timeout=5)
            held.append(one)
            one.send(said[number % len(said)])
        if len(held) > 200:
            held.popleft().close()
    for one in held:
        one.close()


async def test_fuzzed_bytes_as_frames_end_their_stream_and_nothing_else(
    node: Node, anna: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes that are no message, or one that makes no sense, from a coordinator that is let in: a status, never a traceback."""

    async def send(data: bytes) -> None:
        call = opened.stream_stream(WORK)(iter([data]))
        with suppress(grpc.aio.AioRpcError):
            await to_the_end(call)

    async with channel(node, anna) as opened:
        examples: list[bytes] = []

        @settings(max_examples=150, deadline=None, database=None)
        @given(st.one_of(st.binary(max_size=200), frames()))
        def collect(data: bytes) -> None:
            examples.append(data)

        collect()
        for data in examples:
            await send(data)
        reply = await node_service_pb2_grpc.NodeServiceStub(opened).Describe(node_service_pb2.DescribeRequest())
        assert reply.description.id == node.trust.id
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


def frames() -> st.SearchStrategy[bytes]:
    """Messages with one byte changed."""
    whole = st.sampled_from(
        [
            frame_to_proto(LEASE),
            frame_to_proto(Cancel(LeaseId("l1"), (SubtaskId("1"),))),
            frame_to_proto(Hello("0.1.0")),
            work_pb2.Frame(heartbeat=work_pb2.Heartbeat()),
        ]
    ).map(lambda frame: node_service_pb2.WorkRequest(frame=frame).SerializeToString())

    def changed(data: bytes, at: int, to: int) -> bytes:
        place = at % len(data)
        return data[:place] + bytes([to]) + data[place + 1 :]

    return st.builds(changed, whole, st.integers(0, 10_000), st.integers(0, 255))
