"""Attacks on a coordinator that listens, and on a node that dials a stranger: nothing is given, nothing breaks, little is told."""

import asyncio
import contextlib
import logging
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.nodes.pairing import pair, renew
from coordinator.trust.authority import Authority
from edgenode.errors import EdgenodeError, NetworkError, PairingError
from edgenode.net.channel import make_pairing_server, open_work_channel
from edgenode.net.dial_in_pairing import CALLS, WAITING_OF_ONE_HOST
from edgenode.net.dial_out import PAIR_METHOD, WORK_METHOD
from edgenode.net.pairing_wire import pairing_frame_from_proto, pairing_frame_to_proto
from edgenode.net.pinned import pinned_channel
from edgenode.net.wire import frame_to_proto
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import NODE_LIFE, coordinator_host_name, now_utc
from edgenode.trust.frames import Done, Introduction, PairingFrame, RefusalReason, Refused, SecretKind
from edgenode.trust.pairing import CoordinatorPairing, NodePairing
from edgenode.trust.store import NodeTrust
from edgenode.trust.tls import ClientTls, ServerTls
from edgenode.types import EngineState, Frame, Heartbeat, Lease, LeaseId, NodeDescription, NodeId
from edgenode.v1 import node_service_pb2, pairing_service_pb2
from tests.dial_parts import SECONDS, Listening, free_pair, listening
from tests.pairing_parts import Policy
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired

ROOT = Path(__file__).resolve().parents[2]
Call = grpc.aio.StreamStreamCall[bytes, bytes]
OneFrameCall = grpc.aio.UnaryStreamCall[bytes, bytes]

# Connects to the port given, says what junk says, and goes.
FLOOD = """
import socket, sys
said = (b"", b"GET / HTTP/1.1\\r\\n\\r\\n", b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n", bytes(64), b"\\x16\\x03\\x01\\x02\\x00")
held = []
for number in range(int(sys.argv[2])):
    try:
        one = socket.create_connection(("127.0.0.1", int(sys.argv[1]) + number % 2), timeout=5)
        one.send(said[number % len(said)])
        held.append(one)
    except OSError:
        pass
    if len(held) > 200:
        held.pop(0).close()
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is silent for too long because the machine is busy; who tests a deadline sets it."""
    for name in (
        "dial_in.FIRST_FRAME_SECONDS",
        "dial_in.SILENT_SECONDS",
        "dial_in_pairing.FIRST_FRAME_SECONDS",
        "dialled_in.SILENCE_SECONDS",
        "pinned.CONNECT_SECONDS",
    ):
        monkeypatch.setattr(f"edgenode.net.{name}", SECONDS)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Afterwards the log holds no traceback, and at most a few lines."""
    caplog.set_level(logging.INFO)
    yield caplog
    assert "Traceback" not in caplog.text
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 8


@asynccontextmanager
async def calling(there: Listening, tls: ClientTls) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the work port with any certificate."""
    name = coordinator_host_name(there.trust.authority.id)
    root = replace(tls, root=there.trust.authority.client_tls().root)
    async with open_work_channel(there.address, root, name) as channel:
        yield channel


async def say(call: Call, data: bytes) -> bool:
    """Whether gRPC's Python client takes it for sent, which it does not where the call's end crosses it."""
    try:
        await call.write(data)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False
    return True


async def received(call: Call | OneFrameCall) -> bytes | None:
    """The next message, None at the end however it came."""
    async with asyncio.timeout(SECONDS):
        # And not `read`, which after a failed write gives nothing of what has come.
        with contextlib.suppress(grpc.aio.AioRpcError):
            return await anext(aiter(call), None)
    return None


async def refused(channel: grpc.aio.Channel, *frames: bytes) -> grpc.StatusCode:
    """How a call ends that sends these frames as a node would; where they are several INTERNAL may be gRPC's own, of an end that
    comes while one is written."""
    call: Call | OneFrameCall
    if len(frames) == 1:
        call = channel.unary_stream(WORK_METHOD)(frames[0])
    else:
        call = channel.stream_stream(WORK_METHOD)()
        if await received(call) is not None:
            for frame in frames:
                if not await say(call, frame):
                    break
    while await received(call) is not None:
        pass
    async with asyncio.timeout(SECONDS):
        return await call.code()


def packed(frame: Frame) -> bytes:
    return node_service_pb2.WorkDialInRequest(frame=frame_to_proto(frame)).SerializeToString()


def described(id: str) -> bytes:
    return packed(NodeDescription(NodeId(id), "node", "0", "scripted", EngineState.READY, (), 2))


def pairing_packed(frame: PairingFrame) -> bytes:
    return pairing_service_pb2.PairDialInRequest(frame=pairing_frame_to_proto(frame)).SerializeToString()


def introduction(id: str = "a" * 32) -> Introduction:
    return Introduction(NodeId(id), "kitchen-pi", "0.1", 1_700_000_000.0, True)


def node_of(home: Path, there: Listening) -> tuple[NodeTrust, ClientTls]:
    """A node that this coordinator is paired with, and its certificate."""
    trust = paired(home, there.trust.authority, there.trust.paired)
    return trust, trust.client_tls(there.trust.authority.id)


async def assert_serves(there: Listening, tmp_path: Path) -> None:
    """A rightful node still gets in."""
    trust, tls = node_of(tmp_path / secrets.token_hex(4), there)
    async with asyncio.timeout(SECONDS), calling(there, tls) as channel:
        while True:
            call: Call = channel.stream_stream(WORK_METHOD)()
            if await received(call) is not None and await say(call, described(trust.id)):
                while (await there.stream()).description.id != trust.id:
                    pass
                return
            await asyncio.sleep(0.2)


# At the coordinator's work port.


async def test_who_is_no_node_of_ours(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """Another authority, an expired certificate, a coordinator's own, one that was never kept, one that was unpaired, and none."""
    async with listening(tmp_path / "anna") as there:
        authority = there.trust.authority
        stranger = paired(tmp_path / "stranger", other := Authority(tmp_path / "mallory"))
        kept, _ = node_of(tmp_path / "expired", there)
        kept.trust(
            authority.certificate, authority.sign_node(kept.key.public_key(), now_utc() - NODE_LIFE - timedelta(days=1)), "code"
        )
        unknown = paired(tmp_path / "unknown", authority)
        removed, of_removed = node_of(tmp_path / "removed", there)
        there.trust.paired.remove(removed.id)
        expected = {
            grpc.StatusCode.UNAVAILABLE: [stranger.client_tls(other.id), kept.client_tls(authority.id), other.client_tls()],
            grpc.StatusCode.PERMISSION_DENIED: [authority.client_tls(), unknown.client_tls(authority.id), of_removed],
        }
        for code, certificates in expected.items():
            for tls in certificates:
                async with calling(there, tls) as channel:
                    assert await refused(channel, described("a" * 32)) is code
        credentials = grpc.ssl_channel_credentials(authority.client_tls().root)
        named = (("grpc.ssl_target_name_override", coordinator_host_name(authority.id)),)
        async with grpc.aio.secure_channel(there.address, credentials, options=named) as channel:
            assert await refused(channel) is grpc.StatusCode.UNAVAILABLE
        assert there.streams.empty()
        assert len([record for record in quiet.records if "refused" in record.message]) == 2
        await assert_serves(there, tmp_path)


async def test_a_node_that_says_it_is_another(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """Its identity is its certificate's, in the first frame and in later ones."""
    async with listening(tmp_path / "anna") as there:
        (_, tls), (victim, _) = node_of(tmp_path / "one", there), node_of(tmp_path / "other", there)
        async with calling(there, tls) as channel:
            assert await refused(channel, described(victim.id)) is grpc.StatusCode.INVALID_ARGUMENT
            assert there.streams.empty()
            own = NodeTrust(tmp_path / "one").id
            code = await refused(channel, described(own), described(victim.id))
            assert code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
            stream = await there.stream()
            with pytest.raises(NetworkError, match="another one"):
                async for _ in stream.frames():
                    pass
        await assert_serves(there, tmp_path)


async def test_first_frames_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: pytest.LogCaptureFixture) -> None:
    """Silence, work of one's own and bytes that are no message: each a status, and nobody is told of a stream."""
    async with listening(tmp_path / "anna") as there:
        _, tls = node_of(tmp_path / "node", there)
        async with calling(there, tls) as channel:
            for frames in ((), (packed(Heartbeat()),), (packed(Lease(LeaseId("l"), "m", "", "", ())),), (b"\xff" * 40,)):
                # Only who says nothing is to be refused for that.
                monkeypatch.setattr("edgenode.net.dial_in.FIRST_FRAME_SECONDS", SECONDS if frames else 0.2)
                assert await refused(channel, *frames) is grpc.StatusCode.INVALID_ARGUMENT
        assert there.streams.empty()
        await assert_serves(there, tmp_path)


async def test_one_stream_for_each_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: pytest.LogCaptureFixture) -> None:
    """The second is refused, as it is when the coordinator has dialled the node itself; one that is silent gives way."""
    async with listening(tmp_path / "anna") as there:
        trust, tls = node_of(tmp_path / "node", there)
        async with calling(there, tls) as channel, calling(there, tls) as another:
            there.connected.add(trust.id)
            assert await refused(channel, described(trust.id)) is grpc.StatusCode.ALREADY_EXISTS
            there.connected.clear()
            call: Call = channel.stream_stream(WORK_METHOD)()
            assert await received(call) is not None
            assert await say(call, described(trust.id))
            first = await there.stream()
            assert await refused(another, described(trust.id)) is grpc.StatusCode.ALREADY_EXISTS
            monkeypatch.setattr("edgenode.net.dial_in.SILENT_SECONDS", 0.0)
            again: Call = another.stream_stream(WORK_METHOD)()
            assert await received(again) is not None
            assert await say(again, described(trust.id))
            assert await there.stream() is not first
            with pytest.raises(NetworkError):
                async for _ in first.frames():
                    pass
            async with asyncio.timeout(SECONDS):
                assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_node_that_sends_without_end_and_never_reads(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """What nobody takes stays on its side, and unpairing ends it all the same."""
    async with listening(tmp_path / "anna") as there:
        trust, tls = node_of(tmp_path / "node", there)
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            yield described(trust.id)
            while True:
                sent += 1
                yield packed(Heartbeat())

        async with calling(there, tls) as channel:
            call: Call = channel.stream_stream(WORK_METHOD)(endless())
            stream = await there.stream()
            there.trust.paired.remove(trust.id)
            async with asyncio.timeout(SECONDS):
                with pytest.raises(NetworkError, match="not paired"):
                    async for _ in stream.frames():
                        pass
                # The second is gRPC's own, where a frame of the node's crosses the refusal.
                assert await call.code() in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL}
        assert sent > 0


async def test_a_node_that_never_reads(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """A frame that is stuck on its way to the node keeps neither the unpairing waiting nor the coordinator's end."""
    async with listening(tmp_path / "anna") as there:
        trust, tls = node_of(tmp_path / "node", there)
        async with calling(there, tls) as channel:
            call: Call = channel.stream_stream(WORK_METHOD)()
            await call.write(described(trust.id))
            stream = await there.stream()
            for number in range(20):
                stream.send(Lease(LeaseId(str(number)), "m", "", "x" * 100_000, ()))
            there.trust.paired.remove(trust.id)
            async with asyncio.timeout(SECONDS):
                with pytest.raises(NetworkError, match="not paired"):
                    async for _ in stream.frames():
                        pass
            await assert_serves(there, tmp_path)


async def test_calls_without_end(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """Beyond its rate a node is refused."""
    async with listening(tmp_path / "anna") as there:
        trust, tls = node_of(tmp_path / "node", there)
        there.connected.add(trust.id)
        async with calling(there, tls) as channel:
            codes = [await refused(channel)]
            async with asyncio.timeout(SECONDS):
                while codes[-1] is grpc.StatusCode.ALREADY_EXISTS:
                    codes.append(await refused(channel))
        assert codes[0] is grpc.StatusCode.ALREADY_EXISTS
        assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        await assert_serves(there, tmp_path)


# At the coordinator's pairing port.


async def test_a_key_that_is_not_the_ids(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """Whoever claims a node's id gets no certificate in its name, even if he knows the code; nor one for its expired key."""
    async with listening(tmp_path / "anna") as there:
        victim, _ = node_of(tmp_path / "victim", there)
        for kind in ("pairing", "renewal"):
            thief = Policy(b"12345678", there.trust.authority.certificate)
            claim = NodePairing(introduction(victim.id), thief)
            async with pinned_channel(there.address, None) as (channel, _):
                call: Call = channel.stream_stream(PAIR_METHOD)()
                for frame in claim.start():
                    await say(call, pairing_packed(frame))
                device = await there.device()
                if kind == "pairing":
                    ours = pair(there.trust, device.run, SecretKind.CODE, b"12345678", victim.id)
                else:
                    ours = renew(there.trust, device.run, victim.id)
                running = asyncio.ensure_future(ours)
                while (data := await received(call)) is not None:
                    answer = pairing_frame_from_proto(pairing_service_pb2.PairDialInResponse.FromString(data).frame)
                    if isinstance(answer, Refused):
                        break
                    for frame in claim.receive(answer):
                        await say(call, pairing_packed(frame))
                with pytest.raises(PairingError, match="not its own"):
                    await running
            assert claim.result is None
        await assert_serves(there, tmp_path)


async def test_devices_that_say_nothing_or_nonsense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: pytest.LogCaptureFixture
) -> None:
    """Silence, frames out of turn and bytes that are no message: none waits, or waits on."""
    early = (pairing_packed(introduction()), pairing_packed(Done()))
    async with listening(tmp_path / "anna") as there:
        async with pinned_channel(there.address, None) as (channel, _):
            for frames in ((), (pairing_packed(Done()),), (b"\xff" * 40,), early):
                # Only who says nothing is to be hung up on for that.
                monkeypatch.setattr("edgenode.net.dial_in_pairing.FIRST_FRAME_SECONDS", SECONDS if frames else 0.2)
                call: Call | OneFrameCall
                if len(frames) == 1:
                    call = channel.unary_stream(PAIR_METHOD)(frames[0])
                else:
                    call = channel.stream_stream(PAIR_METHOD)()
                    for frame in frames:
                        await say(call, frame)
                assert await received(call) is None
                if frames is early:
                    device = await there.devices.get()
                    assert not device.is_waiting
                    assert there.left == [device]
                else:
                    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert there.devices.empty()
        await assert_serves(there, tmp_path)


async def test_a_crowd_that_waits(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """One host takes a few places and no more, and its rate is bounded."""

    async def waits(number: int) -> AsyncIterator[bytes]:
        yield pairing_packed(introduction(f"{number:032x}"))
        await asyncio.Event().wait()

    async def answered(call: Call) -> bytes | None:
        # By an iterator: a refusal that crosses what is written would not be read else.
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for data in call:
                return data
        return None

    async with listening(tmp_path / "anna") as there:
        async with pinned_channel(there.address, None) as (one, _), pinned_channel(there.address, None) as (other, _):
            channels = (one,) * 4 + (other,) * 4
            calls: list[Call] = [each.stream_stream(PAIR_METHOD)(waits(number)) for number, each in enumerate(channels)]
            reading = {asyncio.ensure_future(answered(call)) for call in calls}
            answers: list[bytes | None] = []
            async with asyncio.timeout(SECONDS):
                for answer in asyncio.as_completed(reading):
                    answers.append(await answer)
                    if len(answers) == len(calls) - WAITING_OF_ONE_HOST:
                        break
            for data in answers:
                assert data is not None
                refusal = pairing_frame_from_proto(pairing_service_pb2.PairDialInResponse.FromString(data).frame)
                assert isinstance(refusal, Refused)
                assert refusal.reason is RefusalReason.BUSY
            waiting = [await there.device() for _ in range(WAITING_OF_ONE_HOST)]
            for call in calls:
                call.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
            assert len(set(waiting)) == WAITING_OF_ONE_HOST
            assert there.devices.empty()
        assert len(answers) < CALLS[0]
        await assert_serves(there, tmp_path)


async def test_thousands_of_connections(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """From another process, at both ports, with rubbish: afterwards nodes get in as before."""
    async with listening(tmp_path / "anna") as there:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FLOOD, str(there.port), "3000", stdout=subprocess.DEVNULL
        )
        async with asyncio.timeout(SECONDS):
            assert await child.wait() == 0
        await assert_serves(there, tmp_path)
        async with asyncio.timeout(SECONDS):
            while "connects again and again" not in quiet.text:  # noqa: ASYNC110 - a log cannot be waited for
                await asyncio.sleep(0.2)
    assert quiet.text.count("connects again and again") == 1


def test_bytes_of_every_kind(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """Whatever a paired node or a stranger sends: a status, no traceback, and it goes on."""
    examples: list[bytes] = []

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.one_of(st.binary(max_size=200), st.builds(mutated, st.integers(0, 200), st.integers(0, 255))))
    def collect(data: bytes) -> None:
        examples.append(data)

    async def attack() -> None:
        async with listening(tmp_path / "anna") as there:
            for data in examples:
                # Each from a node of its own: one alone is soon over its rate.
                trust, tls = node_of(tmp_path / secrets.token_hex(8), there)
                async with calling(there, tls) as channel:
                    code = await refused(channel, described(trust.id), data, b"\xff")
                # INTERNAL is what gRPC's Python client makes of a refusal that comes while it writes.
                assert code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL}
            async with pinned_channel(there.address, None) as (channel, _):
                for data in examples:
                    call: Call = channel.stream_stream(PAIR_METHOD)()
                    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                        await call.write(data)
                        await call.done_writing()
                    while await received(call) is not None:
                        pass
            await assert_serves(there, tmp_path)

    collect()
    asyncio.run(attack())


def mutated(at: int, value: int) -> bytes:
    data = described("a" * 32)
    return data[: at % len(data)] + bytes([value]) + data[at % len(data) + 1 :]


# At a node that dials a stranger.


class Stranger:
    """What answers at HOST:PORT, and keeps all that it is sent."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.calls: asyncio.Queue[str] = asyncio.Queue()
        self.knocks: asyncio.Queue[None] = asyncio.Queue()

    async def work(self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        self.calls.put_nowait("work")
        await context.write(node_service_pb2.WorkDialInResponse().SerializeToString())
        async for data in requests:
            self.heard.append(data)


@asynccontextmanager
async def impostor(tls: ServerTls) -> AsyncIterator[tuple[Stranger, str]]:
    """A server that claims to be a coordinator, and asks for no certificate, so that every client gets as far as it will go."""
    stranger, port = Stranger(), free_pair()
    serving = make_pairing_server(tls)
    handler = grpc.stream_stream_rpc_method_handler(stranger.work)
    service, method = WORK_METHOD.strip("/").split("/")
    serving.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    serving.listen(f"127.0.0.1:{port}")

    async def knocked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stranger.knocks.put_nowait(None)
        writer.close()

    await serving.start()
    try:
        async with await asyncio.start_server(knocked, "127.0.0.1", port + 1):
            yield stranger, f"127.0.0.1:{port}"
    finally:
        await serving.stop(None)


@pytest.mark.parametrize("who", ["another authority", "a node of ours", "nobody"])
async def test_a_stranger_that_pretends_to_be_the_coordinator(tmp_path: Path, who: str, quiet: pytest.LogCaptureFixture) -> None:
    """Another authority, a paired node with its own certificate, a self-signed one: the node says not a word to it."""
    anna = Authority(tmp_path / "anna")
    other = paired(tmp_path / "other", anna)
    shown = {
        "another authority": Authority(tmp_path / "mallory").server_tls(),
        "a node of ours": other.server_tls(),
        "nobody": anna.placeholder_tls(),
    }[who]
    paired(tmp_path / "node", anna)
    async with (
        impostor(shown) as (stranger, address),
        Node(NodeConfig(home=tmp_path / "node", name="phone", join=(address,)), ScriptedEngine()),
        asyncio.timeout(SECONDS),
    ):
        # It has given up at the work port and tries the pairing port; and again.
        for _ in range(2):
            await stranger.knocks.get()
    assert stranger.heard == []
    assert stranger.calls.empty()


async def test_a_stranger_at_the_pairing_port_guesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: pytest.LogCaptureFixture
) -> None:
    """He gets what any neighbour gets, the introduction, and a guess or two at the code, which are counted; no request to sign."""
    monkeypatch.setattr("edgenode.net.dial_out.LONGEST_PAUSE_SECONDS", 0.2)
    mallory, port, code = Authority(tmp_path / "mallory"), free_pair(), "0"
    async with listening(tmp_path / "mallory", port) as there:
        config = NodeConfig(home=tmp_path / "node", name="phone", join=(there.address,))
        async with Node(config, ScriptedEngine()) as node:
            for _ in range(3):
                code = "00000000" if node.window.code != "00000000" else "00000001"
                machine = CoordinatorPairing(SecretKind.CODE, code.encode(), mallory.certificate, lambda key: pytest.fail("signed"))
                device = await there.device()
                with pytest.raises(PairingError):
                    await device.run(machine)
                # The node counts when it hears the proof, which may be after we have.
                await device_left(there, device)
            for kind, secret in ((SecretKind.LOCAL, b"x" * 32), (SecretKind.INVITE, b"x" * 16)):
                machine = CoordinatorPairing(kind, secret, mallory.certificate, lambda key: pytest.fail("signed"))
                with pytest.raises(PairingError):
                    await (await there.device()).run(machine)
            with pytest.raises(EdgenodeError):
                await renew(there.trust, (await there.device()).run, node.trust.id)
            assert node.window.code is None
            assert len(node.window.failures) == 3
            assert node.trust.trusted() == ()


async def device_left(there: Listening, device: object) -> None:
    async with asyncio.timeout(SECONDS):
        while device not in there.left:  # noqa: ASYNC110 - the listener's own callback is what is looked at
            await asyncio.sleep(0.01)


async def test_a_port_that_says_nothing(tmp_path: Path, quiet: pytest.LogCaptureFixture) -> None:
    """What takes connections and never answers costs the node some seconds, and neither its other coordinator nor its end."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        async with listening(tmp_path / "anna") as there:
            node_of(tmp_path / "node", there)
            joins = (f"127.0.0.1:{mute.getsockname()[1]}", there.address)
            async with Node(NodeConfig(home=tmp_path / "node", name="phone", join=joins), ScriptedEngine()):
                assert (await there.stream()).description.name == "phone"
