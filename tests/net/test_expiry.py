"""Work streams that are open when a certificate ends, over real TLS; the date is passed in."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from coordinator.nodes.pairing import renew
from coordinator.trust.authority import Authority
from edgenode.errors import EdgenodeError
from edgenode.net.channel import CONNECTION_SECONDS, WORK_SERVER
from edgenode.net.client import NodeConnection, NodeLost
from edgenode.net.dial_in import DialInListener
from edgenode.net.dial_out import DialOut
from edgenode.net.pairing_service import PairingService
from edgenode.net.service import NodeServer
from edgenode.net.work_streams import WorkStreams
from edgenode.trust.certificates import CLOCK_TOLERANCE, COORDINATOR_LIFE, NODE_LIFE, Peer, now_utc
from edgenode.types import EngineState, NodeDescription, Outcome
from edgenode.work import WorkQueue
from tests.dial_parts import Listening, free_pair, next_frame
from tests.net.test_dial import LEASE, assert_works, dialling_node
from tests.net.test_node import next_frame as next_of_node
from tests.pairing_parts import make_desk
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired


class Date:
    """What a clock on the wall says, ahead of the right time as a test likes."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return now_utc() + self.ahead


def streams_of(home: Path, queue: WorkQueue, now: Date) -> tuple[WorkStreams, NodeDescription]:
    trust = make_desk(home).trust
    told = NodeDescription(trust.id, "kitchen-pi", "0.1", "scripted", EngineState.READY, (), 4)
    return WorkStreams(lambda: told, queue, trust, now=now), told


async def test_a_coordinators_stream_ends_with_its_certificate(tmp_path: Path) -> None:
    """The node ends it and what it was at, says why, and lets in one that shows another certificate."""
    anna, now, engine = Authority(tmp_path / "anna", "anna@laptop"), Date(), ScriptedEngine(lambda _: asyncio.Event())
    paired(tmp_path / "node", anna)
    async with WorkQueue(engine) as queue:
        streams, told = streams_of(tmp_path / "node", queue, now)
        desk = make_desk(tmp_path / "node").desk
        async with NodeServer(streams, desk.trust, PairingService(desk), lambda: ("127.0.0.1",)) as server:
            address = (f"127.0.0.1:{server.port}",)
            async with NodeConnection(address, told.id, anna.client_tls(), anna.id) as stream:
                stream.send(LEASE)
                await engine.started.wait()
                now.ahead = COORDINATOR_LIFE + timedelta(hours=1)
                with pytest.raises(NodeLost, match=r"certificate has expired.*shows another"):
                    await next_of_node(stream, Outcome)
            with pytest.raises(NodeLost, match="certificate has expired"):
                async with NodeConnection(address, told.id, anna.client_tls(), anna.id):
                    pass
            later = Authority(tmp_path / "anna", clock=lambda: now_utc() + timedelta(hours=12))
            async with NodeConnection(address, told.id, later.client_tls(), later.id) as stream:
                assert stream.description == told
    assert engine.cancelled


async def test_a_node_that_dialled_is_served_to_the_end_of_its_certificate(tmp_path: Path) -> None:
    """The coordinator ends the stream and says why. The node dials again by itself, is refused though its handshake was not, waits
    to be renewed, and works."""
    there, now = Listening(tmp_path / "anna", free_pair()), Date()
    there.host = replace(there.host, now=now)
    authority = there.trust.authority
    trust = paired(tmp_path / "node", authority, there.trust.paired)
    leaf = authority.sign_node(trust.key.public_key(), now_utc() - NODE_LIFE + timedelta(days=10))
    trust.trust(authority.certificate, leaf, "code")
    async with (
        DialInListener(there.host, lambda: ("127.0.0.1",), there.port),
        dialling_node(tmp_path / "node", there.address),
    ):
        stream = await there.stream()
        now.ahead = timedelta(days=11)
        with pytest.raises(NodeLost, match=r"certificate has expired.*dials again"):
            await next_frame(stream, Outcome)
        async with asyncio.timeout(60):
            while True:
                # The wait that it began beside its work ends with that.
                try:
                    await renew(there.trust, (await there.device()).run, trust.id)
                except EdgenodeError:
                    continue
                break
        assert trust.trusted()[0].leaf != leaf
        await assert_works(there)


async def test_a_node_that_dials_does_so_anew_in_time(tmp_path: Path) -> None:
    """What became of certificates meanwhile counts from then on; to the coordinator the node has closed the stream before."""
    there, shown = Listening(tmp_path / "anna", free_pair()), list[Peer]()

    def identify(certificate: bytes) -> Peer:
        shown.append(there.trust.authority.identify(certificate))
        return shown[-1]

    there.host = replace(there.host, identify=identify)
    authority = there.trust.authority
    trust = paired(tmp_path / "node", authority, there.trust.paired)
    old = authority.sign_node(trust.key.public_key(), now_utc() - timedelta(days=20))
    trust.trust(authority.certificate, old, "code")
    desk = make_desk(tmp_path / "node").desk
    async with WorkQueue(ScriptedEngine()) as queue, DialInListener(there.host, lambda: ("127.0.0.1",), there.port):
        streams, _ = streams_of(tmp_path / "node", queue, Date())
        async with DialOut([there.address], streams, desk, seconds=1.0):
            stream = await there.stream()
            assert shown[-1].ends == old.not_valid_after_utc
            new = desk.trust.renew(authority.sign_node(trust.key.public_key(), now_utc())).leaf
            with pytest.raises(NodeLost, match="The node closed the connection"):
                await next_frame(stream, Outcome)
            async with asyncio.timeout(60):
                while shown[-1].ends != new.not_valid_after_utc:
                    await there.stream()


def test_nobody_outlives_a_certificate_who_keeps_to_the_times() -> None:
    """A coordinator's certificate is good for a day at least when it is shown, even where clocks differ by half a day; the server
    hangs up only on those who do not dial anew. gRPC varies its time by a tenth."""
    options = dict(WORK_SERVER)
    life = timedelta(seconds=CONNECTION_SECONDS)
    age = timedelta(milliseconds=int(options["grpc.max_connection_age_ms"]))
    assert life + CLOCK_TOLERANCE / 2 <= COORDINATOR_LIFE / 2
    assert life < 0.9 * age
    assert 1.1 * age < COORDINATOR_LIFE
    assert int(options["grpc.max_connection_age_grace_ms"]) <= 5_000
