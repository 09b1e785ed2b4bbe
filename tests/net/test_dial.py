"""Nodes that dial: a whole life over connections that the node opens, over real gRPC on loopback. Nobody dials the node."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.nodes.pairing import Trust, pair, pair_invited, renew
from edgenode.errors import NetworkError, PairingError
from edgenode.net.client import NodeLost
from edgenode.net.dial_in import DialInListener
from edgenode.net.dial_out import LONGEST_PAUSE_SECONDS, SETTLED_SECONDS, DialOut, Visit, pause_after
from edgenode.net.pairing_desk import PairingDesk
from edgenode.net.reachable import reachable_addresses
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import NODE_LIFE, now_utc
from edgenode.trust.frames import SecretKind
from edgenode.trust.store import NodeTrust
from edgenode.trust.token import Invite
from edgenode.types import EngineState, FailureReason, Lease, LeaseId, NodeDescription, Outcome, Subtask, SubtaskId
from tests.dial_parts import Listening, free_pair, listening, next_frame
from tests.logged import logged
from tests.patience import SECONDS
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired

LEASE = Lease(LeaseId("l1"), "scripted-model", "system", "chunk ", (Subtask(SubtaskId("1"), "task", "{}", 10),))


@asynccontextmanager
async def dialling_node(
    home: Path, *addresses: str, engine: ScriptedEngine | None = None, invite: Invite | None = None
) -> AsyncIterator[Node]:
    config = NodeConfig(home=home, name="phone", join=addresses, invite=invite)
    async with Node(config, engine or ScriptedEngine()) as node:
        yield node


async def pair_by_code(there: Listening, node: Node) -> None:
    device = await there.device()
    assert device.introduction.window_open
    code = node.window.code
    assert code is not None
    await pair(there.trust, device.run, SecretKind.CODE, code.encode("ascii"), node.trust.id)


async def assert_works(there: Listening) -> None:
    stream = await there.stream()
    stream.send(LEASE)
    outcome = await next_frame(stream, Outcome)
    assert outcome.result.text == "reply to chunk task"


async def test_a_whole_life(tmp_path: Path) -> None:
    """Paired by its code over the connection that it opened, at work, back by itself after the coordinator restarted, and shut out
    while its stream is open."""
    async with dialling_node(tmp_path / "node", f"127.0.0.1:{(port := free_pair())}") as node:
        async with listening(tmp_path / "anna", port) as there:
            await pair_by_code(there, node)
            await assert_works(there)
            kept = there.trust.paired.get(node.trust.id)
            assert kept is not None
            assert (kept.dials_in, kept.addresses) == (True, ())
        async with listening(tmp_path / "anna", port) as there:
            await assert_works(there)
        async with listening(tmp_path / "anna", port) as there:
            stream = await there.stream()
            Trust.load(tmp_path / "anna").paired.remove(node.trust.id)  # as another process does it
            with pytest.raises(NodeLost, match="not paired"):
                await next_frame(stream, Outcome)
            # It waits to be taken back in, and gets no work.
            assert (await there.device()).introduction.id == node.trust.id
            assert there.streams.empty()


async def test_untrusting_ends_it(tmp_path: Path) -> None:
    """The node's owner drops the coordinator, in a file: the stream and its work end, and the node opens no other."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with listening(tmp_path / "anna") as there:
        trust = paired(tmp_path / "node", there.trust.authority, there.trust.paired)
        async with dialling_node(tmp_path / "node", there.address, engine=engine):
            stream = await there.stream()
            stream.send(LEASE)
            await engine.started.wait()
            NodeTrust(tmp_path / "node").untrust(there.trust.authority.id)
            with pytest.raises(NodeLost):
                await next_frame(stream, Outcome)
            device = await there.device()
            with pytest.raises(PairingError, match="has dropped"):
                await renew(there.trust, device.run, trust.id)
    assert engine.cancelled
    assert there.streams.empty()


async def test_an_expired_certificate_is_renewed(tmp_path: Path) -> None:
    """The handshake refuses it, so the node waits at the pairing port, proves its key, and works."""
    async with listening(tmp_path / "anna") as there:
        trust = paired(tmp_path / "node", there.trust.authority, there.trust.paired)
        old = there.trust.authority.sign_node(trust.key.public_key(), now_utc() - NODE_LIFE - timedelta(days=1))
        trust.trust(there.trust.authority.certificate, old, "code")
        async with dialling_node(tmp_path / "node", there.address):
            await renew(there.trust, (await there.device()).run, trust.id)
            await assert_works(there)


async def test_an_invited_device_pairs_without_a_code(tmp_path: Path) -> None:
    """It says which invitation it holds, and is taken once."""
    async with listening(tmp_path / "anna") as there:
        other, invite = there.trust.invites.make(), there.trust.invites.make()
        async with dialling_node(tmp_path / "node", there.address, invite=invite) as node:
            device = await there.device()
            assert device.introduction.invited_by == (there.trust.authority.id,)
            assert device.introduction.invitation == invite.id
            await pair_invited(there.trust, [(device.run, "")], [invite], node.trust.id)
            await assert_works(there)
        assert there.trust.invites.outstanding(now_utc()) == (other,)


async def test_a_mistyped_code_can_be_typed_again(tmp_path: Path) -> None:
    """After a wrong code the device dials again by itself."""
    async with listening(tmp_path / "anna") as there, dialling_node(tmp_path / "node", there.address) as node:
        wrong = b"00000000" if node.window.code != "00000000" else b"00000001"
        with pytest.raises(PairingError, match="not the code"):
            await pair(there.trust, (await there.device()).run, SecretKind.CODE, wrong, node.trust.id)
        await pair_by_code(there, node)
        await assert_works(there)


async def test_a_coordinator_that_starts_later_is_found(tmp_path: Path) -> None:
    """Nobody answered for a while; the name has another address at which nobody does."""
    port = free_pair()
    async with dialling_node(tmp_path / "node", f"localhost:{port}") as node:
        with pytest.raises(NetworkError):
            await reachable_addresses(f"localhost:{port}")
        async with listening(tmp_path / "anna", port) as there:
            assert await reachable_addresses(f"localhost:{port}") == [there.address]
            await pair_by_code(there, node)
            await assert_works(there)


async def test_a_name_that_does_not_resolve_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried on, and shown without --verbose."""
    tries: asyncio.Queue[None] = asyncio.Queue()
    loop, look_up = asyncio.get_running_loop(), socket.getaddrinfo

    def counted(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "nosuch.invalid":
            loop.call_soon_threadsafe(tries.put_nowait, None)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    monkeypatch.setattr("edgenode.net.dial_out.LONGEST_PAUSE_SECONDS", 0.1)
    async with dialling_node(tmp_path / "node", "nosuch.invalid:7435"), asyncio.timeout(SECONDS):
        for _ in range(3):
            await tries.get()
    (warned,) = logged(caplog, "edgenode.net.dial_out")
    assert "nosuch.invalid does not resolve" in warned


async def test_an_open_window_is_told_at_once(tmp_path: Path) -> None:
    """A device that waits introduces itself anew when its owner opens the pairing window."""
    async with listening(tmp_path / "anna") as there:
        paired(tmp_path / "node", Trust.load(tmp_path / "bert").authority)
        async with dialling_node(tmp_path / "node", there.address) as node:
            device = await there.device()
            assert not device.introduction.window_open
            node.open_window()
            await pair_by_code(there, node)
            async with asyncio.timeout(SECONDS):
                while device not in there.left:  # noqa: ASYNC110 - that it has hung up may be heard after what it did next
                    await asyncio.sleep(0.02)
            with pytest.raises(NetworkError, match="hung up"):
                await device.run(None)  # type: ignore[arg-type]  # which it does not get to
            await assert_works(there)


async def test_waiting_begins_anew_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the coordinator ends the connection, and without a word in the log."""
    monkeypatch.setattr("edgenode.net.dial_out.WAIT_SECONDS", 0.0)
    monkeypatch.setattr("edgenode.net.dial_out.LOOK_SECONDS", 0.1)
    async with listening(tmp_path / "anna") as there, dialling_node(tmp_path / "node", there.address):
        async with asyncio.timeout(SECONDS):
            devices = [await there.devices.get() for _ in range(3)]
        assert len({id(device) for device in devices}) == 3
    assert logged(caplog, "edgenode.net.dial_out") == logged(caplog, "edgenode.net.pairing_desk") == []


async def test_what_became_of_a_lease_is_told_before_the_node_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As over a connection that a coordinator dialled."""
    for name in ("dial_out", "dial_out_call"):
        monkeypatch.setattr(f"edgenode.net.{name}.STOP_SECONDS", SECONDS)  # the second that it has may be too short here
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with listening(tmp_path / "anna") as there:
        paired(tmp_path / "node", there.trust.authority, there.trust.paired)
        async with dialling_node(tmp_path / "node", there.address, engine=engine):
            stream = await there.stream()
            stream.send(LEASE)
            await engine.started.wait()
        outcome = await next_frame(stream, Outcome)
        assert outcome.result.reason is FailureReason.STOPPING
        with pytest.raises(NodeLost):
            await next_frame(stream, Outcome)


async def test_a_coordinator_that_is_told_twice_gets_one_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two addresses of one coordinator: the second connection is refused, and not taken for a reason to be paired."""
    monkeypatch.setattr("edgenode.net.dial_in.SILENT_SECONDS", SECONDS)  # nobody here is silent because the machine is busy
    async with listening(tmp_path / "anna") as there:
        paired(tmp_path / "node", there.trust.authority, there.trust.paired)
        async with dialling_node(tmp_path / "node", there.address) as node:
            stream = await there.stream()
            again = DialOut(
                [f"localhost:{there.port}"], node._streams, PairingDesk(node.trust, node.window, node.description, b"", print)
            )
            assert await again._visit(f"localhost:{there.port}") is Visit.TAKEN
            stream.send(LEASE)
            await next_frame(stream, Outcome)
        assert there.streams.empty()
        assert there.devices.empty()


async def test_a_coordinator_that_closes_is_dialled_again(tmp_path: Path) -> None:
    """Whoever uses the stream may end it; that is no reason for the node to give up."""
    async with listening(tmp_path / "anna") as there:
        paired(tmp_path / "node", there.trust.authority, there.trust.paired)
        async with dialling_node(tmp_path / "node", there.address):
            stream = await there.stream()
            await stream.aclose()
            with pytest.raises(NodeLost):
                await next_frame(stream, Outcome)
            await assert_works(there)


async def test_changes_of_the_engine_are_told(tmp_path: Path) -> None:
    """The description comes again on the stream, as it would to a coordinator that dialled."""
    engine = ScriptedEngine()
    async with listening(tmp_path / "anna") as there:
        paired(tmp_path / "node", there.trust.authority, there.trust.paired)
        async with dialling_node(tmp_path / "node", there.address, engine=engine) as node:
            stream = await there.stream()
            assert (stream.description.id, stream.address) == (node.trust.id, "127.0.0.1")
            engine.become(EngineState.RESTARTING)
            told = await next_frame(stream, NodeDescription)
    assert told.engine_state is EngineState.RESTARTING


async def test_what_goes_on_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An address at which nothing of ours answers is tried again and again, and told of once."""
    monkeypatch.setattr("edgenode.net.dial_out.LONGEST_PAUSE_SECONDS", 0.1)
    knocks: asyncio.Queue[None] = asyncio.Queue()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocks.put_nowait(None)
        writer.close()

    caplog.set_level(logging.INFO, "edgenode.net.dial_out")
    async with await asyncio.start_server(hang_up, "127.0.0.1", free_pair()) as server:
        port = server.sockets[0].getsockname()[1]
        async with dialling_node(tmp_path / "node", f"127.0.0.1:{port}"), asyncio.timeout(SECONDS):
            for _ in range(4):
                await knocks.get()
    assert len(logged(caplog, "edgenode.net.dial_out", logging.INFO)) == 1


async def test_a_taken_port_is_a_sentence(tmp_path: Path) -> None:
    """Another command listens already: said so, and nothing else breaks."""
    async with listening(tmp_path / "anna") as there:
        for port in (there.port - 1, there.port, there.port + 1):
            with pytest.raises(NetworkError, match="in use"):
                async with DialInListener(there.host, lambda: ("127.0.0.1",), port):
                    pass


async def test_addresses_that_appear_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that the coordinator joins while it listens."""
    monkeypatch.setattr("edgenode.net.listeners.LOOK_SECONDS", 0.05)
    there = Listening(tmp_path / "anna", free_pair())
    hosts = ["127.0.0.1"]
    paired(tmp_path / "node", there.trust.authority, there.trust.paired)
    async with (
        DialInListener(there.host, lambda: tuple(hosts), there.port),
        dialling_node(tmp_path / "node", f"127.0.0.2:{there.port}"),
    ):
        hosts.append("127.0.0.2")
        await assert_works(there)


@given(st.sampled_from(Visit), st.floats(0, 1e6), st.integers(0, 10_000), st.floats(0, 1))
def test_pauses(visit: Visit, lasted: float, failures: int, jitter: float) -> None:
    """Never longer than the longest; never none at all after what did not work, so that nobody dials in a loop."""
    pause = pause_after(visit, lasted, failures, jitter)
    assert 0.0 <= pause <= LONGEST_PAUSE_SECONDS
    if visit is Visit.FAILED or (visit in {Visit.SERVED, Visit.WAITED} and lasted < SETTLED_SECONDS):
        assert pause >= 0.25
    if visit in {Visit.SERVED, Visit.WAITED} and lasted >= SETTLED_SECONDS:
        assert pause == 0.0
