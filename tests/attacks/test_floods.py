"""Floods of HTTP/2 frames that cost the sender nothing must not cost a node its memory."""

import asyncio
import os
import ssl
import tempfile
from pathlib import Path

import pytest

from coordinator.trust.authority import Authority
from edgenode.errors import NetworkError
from edgenode.net.addresses import split_host_port
from edgenode.net.channel import pairing_address
from edgenode.net.client import NodeConnection, NodeLost
from edgenode.net.pairing_client import greet
from edgenode.node import Node, NodeConfig
from edgenode.scratch import LOCK, PREFIX
from tests.attacks.floods import FLOODS, client_context, flood
from tests.attacks.node_child import NodeChild, node_child
from tests.dial_parts import SECONDS, listening
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired

GROWTH_BYTES = 32 * 1024 * 1024
FLOOD_SECONDS = 0.7
CONNECTIONS = 16


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node on a busy machine may be slow to answer, and is none the worse for it."""
    for name in ("client.CONNECT_SECONDS", "client.SILENCE_SECONDS", "pairing_client.ANSWER_SECONDS", "pinned.CONNECT_SECONDS"):
        monkeypatch.setattr(f"edgenode.net.{name}", SECONDS)


@pytest.fixture
def anna(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "anna", "anna@laptop")


async def answers(child: NodeChild, anna: Authority, port: str) -> None:
    """It lets a coordinator in again, once it has hung up on the last that flooded."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                if port == "pairing":
                    await greet(child.address, expect=child.id)
                else:
                    async with NodeConnection((child.address,), child.id, anna.client_tls(), anna.id):
                        pass
            except (NetworkError, NodeLost):
                await asyncio.sleep(0.2)
            else:
                return


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read in /proc")
@pytest.mark.parametrize("port", ["work", "pairing"])
async def test_floods_leave_a_node_small_serving_and_quiet(tmp_path: Path, anna: Authority, port: str) -> None:
    """Each kind from 16 connections, one after another, at the work port by a paired coordinator: 32 MB at most, a few lines in the
    log, no traceback."""
    paired(tmp_path / "node", anna)
    async with node_child(tmp_path / "node") as child:
        await answers(child, anna, port)
        before = most = child.resident_bytes
        for kind in FLOODS:
            if port == "work":
                to, path, tls = child.address, "/edgenode.v1.NodeService/Work", anna.client_tls()
            else:
                to, path, tls = pairing_address(child.address), "/edgenode.v1.PairingService/Pair", None
            assert await asyncio.to_thread(flood, to, kind, path, FLOOD_SECONDS, CONNECTIONS, tls), kind
            most = max(most, child.resident_bytes)
        await answers(child, anna, port)
        log = child.log.read_text(encoding="utf-8")
    assert most - before < GROWTH_BYTES
    assert "Traceback" not in log
    assert len(log.splitlines()) < 20, log


@pytest.mark.parametrize("port", ["work", "pairing"])
async def test_tls_before_1_3_is_refused(tmp_path: Path, anna: Authority, port: str) -> None:
    """At both ports, also with a certificate that is good."""
    paired(tmp_path / "node", anna)
    async with Node(NodeConfig(home=tmp_path / "node"), ScriptedEngine()) as node:
        address = split_host_port(node.address if port == "work" else pairing_address(node.address))
        tls = anna.client_tls() if port == "work" else None
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(*address, ssl=client_context(tls, ssl.TLSVersion.TLSv1_2))
        _, writer = await asyncio.open_connection(*address, ssl=client_context(tls))
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.transport.abort()


@pytest.mark.parametrize("offset", [0, 1])
async def test_tls_before_1_3_is_refused_where_devices_dial_in(tmp_path: Path, offset: int) -> None:
    """At both ports of a coordinator that listens, also with the certificate of a paired node."""
    async with listening(tmp_path / "coordinator") as there:
        host, port = split_host_port(there.address)
        authority = there.trust.authority
        node = paired(tmp_path / "node", authority, there.trust.paired)
        tls = node.client_tls(authority.id) if offset == 0 else None
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, port + offset, ssl=client_context(tls, ssl.TLSVersion.TLSv1_2))
        _, writer = await asyncio.open_connection(host, port + offset, ssl=client_context(tls))
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.transport.abort()


@pytest.mark.skipif(os.name != "posix", reason="the folder of unix sockets")
async def test_other_users_cannot_reach_grpc_behind_the_port(
    tmp_path: Path, anna: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is its owner's alone, holds no key while it serves, and is gone afterwards."""
    place = Path(tempfile.mkdtemp())  # short, as paths of sockets must be
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    paired(tmp_path / "node", anna)
    async with Node(NodeConfig(home=tmp_path / "node"), ScriptedEngine()):
        folders = list(place.glob(f"{PREFIX}*"))
        assert len(folders) >= 2
        assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
        assert all(file.is_socket() or file.name == LOCK for folder in folders for file in folder.iterdir())
    assert not list(place.iterdir())
    place.rmdir()
