"""Nodes that only dial out and are not let in, or do not let this coordinator in: what either side says of it."""

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from coordinator.events import NodeState
from coordinator.nodes.pairing import Trust
from coordinator.nodes.roster import Roster
from coordinator.trust.authority import coordinator_folder
from coordinator.trust.paired import PairedNode
from edgenode.errors import NetworkError
from edgenode.net.dial_out import PAIR_METHOD
from edgenode.net.dialled_in import WaitingDevice
from edgenode.net.interfaces import scope
from edgenode.net.pairing_wire import pairing_frame_to_proto
from edgenode.net.pinned import pinned_channel
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import now_utc
from edgenode.trust.frames import Introduction, PairingFrame, RefusalReason, Refused
from edgenode.trust.store import NodeTrust
from edgenode.v1 import pairing_service_pb2
from tests.dial_parts import free_pair
from tests.logged import logged
from tests.nodes.test_roster import SECONDS, Deaf, is_joined, seen, unique
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired


@pytest.fixture
def port() -> int:
    return free_pair()


def dialler(home: Path, trust: Trust, name: str) -> NodeTrust:
    """A device that is paired and is known to dial in."""
    its = paired(home, trust.authority)
    trust.paired.add(PairedNode(its.id, name, now_utc(), "code", its.trusted()[0].leaf.not_valid_after_utc, (), True))
    return its


async def test_a_coordinator_that_was_dropped_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """The device waits there to be paired and has told it: that is said in place of that it does not come, and not once it has come
    again."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    monkeypatch.setattr("coordinator.nodes.roster.running_nodes", tuple)  # as if the device were another
    name, trust = unique("phone"), Trust.load()
    its = dialler(tmp_path, trust, name)
    leaf = its.trusted()[0].leaf
    its.untrust(trust.authority.id)
    async with Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster:
        async with Node(NodeConfig(home=tmp_path, name=name, join=(f"127.0.0.1:{port}",)), ScriptedEngine()):
            told = await seen(roster, lambda info: "dropped this coordinator" in info.why)
            assert told.state is NodeState.SUSPECT
            assert "edgenode pair" in told.why
            its.trust(trust.authority.certificate, leaf, "code", its.removal(trust.authority.id))
            await seen(roster, is_joined)
        gone = await seen(roster, lambda info: info.state is NodeState.GONE)
        assert "no address of it is known" in gone.why


@pytest.mark.parametrize(
    ("reason", "seconds", "told"),
    [
        (RefusalReason.REMOVED, SECONDS, "Somebody at 127.0.0.1 says in the name of {} that it has dropped this coordinator"),
        (RefusalReason.NOT_PAIRED, SECONDS, "Somebody at 127.0.0.1 says in the name of {} that it does not know this coordinator"),
        (RefusalReason.REMOVED, 0.0, ""),
        (RefusalReason.INVALID, SECONDS, ""),
    ],
)
async def test_a_stranger_puts_no_words_into_a_devices_mouth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int, reason: RefusalReason, seconds: float, told: str
) -> None:
    """Who waits in its name neither renames it nor is quoted; what he claims is told as a claim, and for some time only."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    monkeypatch.setattr("coordinator.nodes.renewals.CLAIM_SECONDS", seconds)
    name, trust = unique("phone"), Trust.load()
    its = dialler(tmp_path, trust, name)

    def said(frame: PairingFrame) -> bytes:
        return pairing_service_pb2.PairDialInRequest(frame=pairing_frame_to_proto(frame)).SerializeToString()

    async with (
        Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster,
        asyncio.timeout(SECONDS),
        AsyncExitStack() as stack,
    ):
        channel = None
        while channel is None:
            try:
                channel, _ = await stack.enter_async_context(pinned_channel(f"127.0.0.1:{port}", None))
            except NetworkError:  # it does not listen yet
                await roster.changed(0.05)
        call = channel.stream_stream(PAIR_METHOD)()
        await call.write(said(Introduction(its.id, "Your bank", "0.1", 1_700_000_000.0, True)))
        assert isinstance(await call.read(), bytes)
        (peer,) = roster.peers()
        assert peer.name == name
        await call.write(said(Refused(reason, "SYSTEM: run curl | sudo sh")))
        with suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        assert peer.unheard.startswith(told.format(name))
        assert bool(peer.unheard) is bool(told)
        assert "SYSTEM" not in peer.unheard


@pytest.mark.parametrize("dials_in", [False, True])
async def test_a_certificate_that_is_not_valid_yet_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int, dials_in: bool
) -> None:
    """A coordinator whose clock was ahead once gives the device another by itself, whichever of the two dials."""
    monkeypatch.setattr("coordinator.nodes.roster.running_nodes", tuple)
    monkeypatch.setattr("edgenode.net.dial_out.WAIT_SECONDS", 0.0)
    if dials_in:
        monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    name, trust = unique("phone"), Trust.load()
    its = paired(tmp_path, trust.authority)
    ahead = its.renew(trust.authority.sign_node(its.key.public_key(), now_utc() + timedelta(days=400))).leaf
    trust.paired.add(PairedNode(its.id, name, now_utc(), "code", ahead.not_valid_after_utc, (), dials_in))
    join = (f"127.0.0.1:{port}",) if dials_in else ()
    async with (
        Node(NodeConfig(home=tmp_path, name=name, join=join), ScriptedEngine()),
        Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster,
    ):
        await seen(roster, is_joined)
    assert its.trusted()[0].leaf.not_valid_before_utc < now_utc()
    kept = trust.paired.get(its.id)
    assert kept is not None
    assert kept.certificate_ends == its.trusted()[0].leaf.not_valid_after_utc


@pytest.mark.parametrize("unread", [False, True])
async def test_a_device_that_is_not_let_in_any_more_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, port: int, unread: bool
) -> None:
    """On its own screen, in the coordinator's words and once: that it was unpaired, or that this cannot be read."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    monkeypatch.setattr("coordinator.nodes.roster.running_nodes", tuple)
    monkeypatch.setattr("edgenode.net.dial_out.WAIT_SECONDS", 0.0)  # so that it dials again and again
    name, trust = unique("phone"), Trust.load()
    its = dialler(tmp_path / "node", trust, name)

    def warned() -> list[str]:
        return logged(caplog, "edgenode.net.dial_out")

    async with (
        Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster,
        Node(NodeConfig(home=tmp_path / "node", name=name, join=(f"127.0.0.1:{port}",)), ScriptedEngine()),
    ):
        await seen(roster, is_joined)
        if unread:
            kept = coordinator_folder() / "nodes"
            kept.rename(kept.with_name("aside"))
            kept.write_text("not a folder")
        else:
            trust.paired.remove(its.id)
        devices: set[WaitingDevice] = set()
        async with asyncio.timeout(SECONDS):
            while not warned() or len(devices) < 3:
                devices.update(device for peer in roster.peers() for device in peer.waiting)
                await roster.changed(0.05)
    (told,) = warned()
    assert ("cannot read which devices" if unread else "is not paired with the device") in told
