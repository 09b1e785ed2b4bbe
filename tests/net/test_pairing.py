"""Pairing over real gRPC on loopback, from both ends, and over a stream that the node dialled."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator.nodes.pairing import Trust, over, pair_invited
from coordinator.nodes.pairing import pair as pair_and_keep
from coordinator.trust.paired import PairedNode
from edgenode.errors import NetworkError, PairingError
from edgenode.net.pairing_client import greet, open_window, pair, renew
from edgenode.net.pairing_session import converse
from edgenode.net.rates import HOSTS, OVERALL, RateLimit
from edgenode.trust import certificates
from edgenode.trust.certificates import Role, now_utc
from edgenode.trust.frames import CertificateRequest, Done, IssuedCertificate, PairingFrame, Refused, SecretKind
from edgenode.trust.pairing import CoordinatorPairing, CoordinatorRenewal
from edgenode.trust.pairing_machine import PairingStopped
from edgenode.trust.running import RunningNode
from edgenode.trust.store import NodeTrust
from edgenode.trust.verdict import Verdict
from edgenode.trust.window import TRIES
from edgenode.types import NodeId
from tests.logged import logged
from tests.pairing_parts import LOCAL_SECRET, Anna, Policy, make_desk, meet, served
from tests.trust.faults import full_disk


async def test_a_code_pairs_once(tmp_path: Path) -> None:
    """The code that the node shows pairs it; the same code again does not."""
    node, anna = make_desk(tmp_path), Anna()
    code = node.window.open(node.clock())
    async with served(node.desk) as address:
        paired = await pair(address, anna.pairing(code), node.id)
        (trusted,) = node.trust.trusted()
        assert (trusted.authority, trusted.name, trusted.via) == (anna.id, "anna@laptop", "code")
        assert trusted.leaf == paired.leaf
        assert (paired.id, paired.name) == (node.id, "kitchen-pi")
        assert node.reports == ["Paired with anna@laptop."]
        with pytest.raises(PairingError, match="kitchen-pi is not open for pairing: run `edgenode pair`"):
            await pair(address, Anna("bob").pairing(code))
    assert len(node.trust.trusted()) == 1


async def test_the_users_own_node_pairs_without_a_code(tmp_path: Path) -> None:
    """The secret of the running file pairs while the window is closed, and wrong ones burn no code's tries."""
    node, anna = make_desk(tmp_path), Anna()
    async with served(node.desk) as address:
        node.window.open(node.clock())
        for _ in range(TRIES + 1):
            with pytest.raises(PairingError, match="another secret than its file says"):
                await pair(address, anna.pairing(b"W" * 32, SecretKind.LOCAL))
        assert node.window.is_open(node.clock())
        node.window.close()
        await pair(address, anna.pairing(LOCAL_SECRET, SecretKind.LOCAL))
    assert [one.via for one in node.trust.trusted()] == ["local"]


async def test_an_invited_node_says_so_and_takes_the_one_who_invited(tmp_path: Path) -> None:
    """The token pins the authority: whoever else knows the secret is refused. It may be used again by that one."""
    anna, bob = Anna(), Anna("bob")
    invite = anna.invite()
    node = make_desk(tmp_path, invite=invite)
    async with served(node.desk) as address:
        introduction = (await greet(address)).introduction
        assert (introduction.invited_by, introduction.invitation) == ((anna.id,), invite.id)
        with pytest.raises(PairingError, match="holds no invitation of this coordinator"):
            await pair(address, bob.pairing(invite.secret, SecretKind.INVITE))
        with pytest.raises(PairingError, match="holds another invitation"):
            await pair(address, anna.pairing(b"W" * 16, SecretKind.INVITE))
        await pair(address, anna.pairing(invite.secret, SecretKind.INVITE))
        introduction = (await greet(address)).introduction
        assert (introduction.invited_by, introduction.invitation) == ((anna.id,), invite.id)


async def test_what_the_owner_dropped_comes_back_by_code_alone(tmp_path: Path) -> None:
    """After `untrust` neither the file nor an invitation nor a renewal brings a coordinator back; the code does."""
    anna = Anna()
    node = make_desk(tmp_path, invite=anna.invite())
    async with served(node.desk) as address:
        await pair(address, anna.pairing(LOCAL_SECRET, SecretKind.LOCAL))
        node.trust.untrust(anna.id)
        for machine in (anna.pairing(LOCAL_SECRET, SecretKind.LOCAL), anna.pairing(anna.invite().secret, SecretKind.INVITE)):
            with pytest.raises(PairingError, match="has dropped this coordinator"):
                await pair(address, machine)
        with pytest.raises(PairingError, match="has dropped this coordinator"):
            await renew(address, anna.renewal(node.id), node.id)
        assert (await greet(address)).introduction.invited_by == ()
        await pair(address, anna.pairing(node.window.open(node.clock())))
    assert [one.via for one in node.trust.trusted()] == ["code"]


async def test_what_the_owner_dropped_comes_back_by_a_new_invitation(tmp_path: Path) -> None:
    """One that the device was given before `untrust` is void, also after a restart; one that it is given afterwards counts."""
    anna = Anna()
    old, new = anna.invite(), replace(anna.invite(), id="4567cdef", secret=b"J" * 16)
    async with served(make_desk(tmp_path, invite=old).desk) as address:
        await pair(address, anna.pairing(old.secret, SecretKind.INVITE))
    NodeTrust(tmp_path).untrust(anna.id)
    node = make_desk(tmp_path, invite=old)
    async with served(node.desk) as address:
        assert (await greet(address)).introduction.invited_by == ()
        with pytest.raises(PairingError, match="has dropped this coordinator"):
            await pair(address, anna.pairing(old.secret, SecretKind.INVITE))
    for _ in range(2):
        node = make_desk(tmp_path, invite=new)
    async with served(node.desk) as address:
        assert (await greet(address)).introduction.invitation == new.id
        with pytest.raises(PairingError, match="has dropped this coordinator"):
            await pair(address, anna.pairing(LOCAL_SECRET, SecretKind.LOCAL))
        await pair(address, anna.pairing(new.secret, SecretKind.INVITE))
    assert [one.via for one in node.trust.trusted()] == ["invite"]


async def test_an_invitation_is_good_for_one_device_until_it_is_done(tmp_path: Path) -> None:
    """The connection breaks once the certificate is signed: the same device may try again, another not; then it is used up."""
    trust = Trust.load(tmp_path / "coordinator")
    invite = trust.invites.make()
    one, other = (make_desk(tmp_path / name, invite=invite) for name in ("one", "other"))

    async def breaks(machine: CoordinatorPairing | CoordinatorRenewal) -> None:
        policy = Policy(invite.secret)
        policy.key = one.trust.key
        with pytest.raises(NetworkError, match="gone"):
            meet(machine, policy.machine(), to_node=gone)
        raise NetworkError("gone")

    def gone(frame: PairingFrame) -> PairingFrame:
        if isinstance(frame, IssuedCertificate):
            raise NetworkError("gone")
        return frame

    async with served(one.desk) as address, served(other.desk) as elsewhere:
        with pytest.raises(NetworkError, match="gone"):
            await pair_invited(trust, [(breaks, "")], trust.invites.outstanding(now_utc()), one.id)
        (taken,) = trust.invites.outstanding(now_utc())
        assert taken.taken_by == one.id
        with pytest.raises(PairingError, match="no invitation that could have been meant"):
            await pair_invited(trust, [(over(elsewhere, other.id), elsewhere)], (taken,), other.id)
        with pytest.raises(PairingError, match="used by another device"):
            await pair_invited(trust, [(over(elsewhere, other.id), elsewhere)], (invite,), other.id)
        await pair_invited(trust, [(over(address, one.id), address)], (taken,), one.id)
    assert trust.invites.outstanding(now_utc()) == ()
    assert [node.id for node in trust.paired.all()] == [one.id]


async def test_an_unpaired_device_comes_back_by_a_newer_invitation(tmp_path: Path) -> None:
    """An invitation that was made before it was unpaired does not bring it back, one made afterwards does."""
    trust = Trust.load(tmp_path / "coordinator")
    invites = [trust.invites.make() for _ in range(2)]
    node = make_desk(tmp_path / "node", invite=invites[0])
    async with served(node.desk) as address:
        ways = [(over(address, node.id), address)]
        await pair_invited(trust, ways, invites[:1], node.id)
        trust.paired.remove(node.id)
        node.desk.invite = invites[1]
        with pytest.raises(PairingError, match="no invitation that could have been meant"):
            await pair_invited(trust, ways, invites[1:], node.id)
        node.desk.invite = trust.invites.make()
        await pair_invited(trust, ways, trust.invites.outstanding(now_utc()), node.id)
    assert trust.paired.is_paired(node.id)


async def test_a_certificate_is_renewed(tmp_path: Path) -> None:
    """Whoever is paired gets a later certificate without a code; a stranger is told that they are not paired."""
    node, anna = make_desk(tmp_path), Anna()
    async with served(node.desk) as address:
        with pytest.raises(PairingError, match="does not know this coordinator"):
            await renew(address, anna.renewal(node.id), node.id)
        first = await pair(address, anna.pairing(LOCAL_SECRET, SecretKind.LOCAL))
        second = await renew(address, anna.renewal(node.id), node.id)
    (trusted,) = node.trust.trusted()
    assert first.leaf != second.leaf == trusted.leaf
    assert trusted.via == "local"


async def test_a_node_says_why_it_refuses_a_certificate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each verdict comes back to who asks, with the node's clock and name, and stands once in the node's log."""
    node, anna, stranger = make_desk(tmp_path), Anna(), Anna("stranger")
    async with served(node.desk) as address:
        await pair(address, anna.pairing(LOCAL_SECRET, SecretKind.LOCAL))
        old = certificates.issue(anna.certificate, anna.key, anna.key.public_key(), Role.COORDINATOR, now_utc() - timedelta(days=9))
        early = certificates.issue(
            anna.certificate, anna.key, anna.key.public_key(), Role.COORDINATOR, now_utc() + timedelta(days=9)
        )
        shown = {
            Verdict.TRUSTED: anna.leaf(),
            Verdict.UNKNOWN_AUTHORITY: stranger.leaf(),
            Verdict.EXPIRED: old,
            Verdict.NOT_YET_VALID: early,
            Verdict.WRONG_ROLE: anna.leaf(Role.NODE),
        }
        caplog.set_level(logging.WARNING)
        for _ in range(2):
            for verdict, certificate in shown.items():
                greeting = await greet(address, certificates.der(certificate), node.id)
                assert greeting.verdict is verdict
        assert (await greet(address)).verdict is None
        assert (await greet(address, b"no certificate")).verdict is Verdict.UNKNOWN_AUTHORITY
    assert greeting.introduction.name == "kitchen-pi"
    assert abs(greeting.introduction.time - now_utc().timestamp()) < 3_600
    told = logged(caplog, "edgenode")
    assert len(told) == len(shown) - 1
    assert any(message.startswith("anna@laptop: has a certificate that has expired") for message in told)
    assert any("127.0.0.1: wants to connect and is not trusted here" in message for message in told)


async def test_the_user_opens_the_window(tmp_path: Path) -> None:
    """Whoever can read the running file gets a code for five minutes, and the code pairs."""
    node, anna = make_desk(tmp_path), Anna()
    async with served(node.desk) as address:
        assert not (await greet(address)).introduction.window_open
        code, seconds = await open_window(RunningNode(node.id, "kitchen-pi", address, LOCAL_SECRET, 1))
        assert seconds == 300.0
        assert (await greet(address)).introduction.window_open
        await pair(address, anna.pairing(code))


async def test_a_window_that_must_wait_says_so_to_its_user(tmp_path: Path) -> None:
    """After three wrong codes `edgenode pair` is told how long to wait."""
    node = make_desk(tmp_path)
    node.window.open(node.clock())
    for _ in range(TRIES):
        node.window.failed(node.clock(), "10.0.0.9")
    async with served(node.desk) as address:
        with pytest.raises(PairingError, match="wait 30 s"):
            await open_window(RunningNode(node.id, "kitchen-pi", address, LOCAL_SECRET, 1))


async def test_two_coordinators_are_both_trusted(tmp_path: Path) -> None:
    """One after the other, each with a code of its own."""
    node = make_desk(tmp_path)
    async with served(node.desk) as address:
        for name in ("anna", "bob"):
            await pair(address, Anna(name).pairing(node.window.open(node.clock())))
    assert {one.name for one in node.trust.trusted()} == {"anna", "bob"}


async def test_one_code_pairing_at_a_time(tmp_path: Path) -> None:
    """While one coordinator has proved the code another is told that the node is busy; when that one breaks off, it is free."""
    node, anna = make_desk(tmp_path), Anna()
    code = node.window.open(node.clock())
    machine, to_node, proved = anna.pairing(code), asyncio.Queue[PairingFrame | None](), asyncio.Event()

    async def frames() -> AsyncIterator[PairingFrame]:
        while (frame := await to_node.get()) is not None:
            yield frame

    async def send(frame: PairingFrame) -> None:
        if isinstance(frame, CertificateRequest):
            proved.set()
            return
        for answer in machine.receive(frame):
            to_node.put_nowait(answer)

    async with served(node.desk) as address:
        first = asyncio.create_task(node.desk.serve(frames(), send, "192.168.1.2"))
        await proved.wait()
        with pytest.raises(PairingError, match="busy with somebody else's pairing"):
            await pair(address, Anna().pairing(code))
        to_node.put_nowait(None)
        assert await first is None
        await pair(address, Anna().pairing(code))


async def test_pairing_over_a_stream_that_the_node_dialled(tmp_path: Path) -> None:
    """The same machines run over any stream, here two queues; the node waits for the coordinator to begin."""
    node, anna = make_desk(tmp_path, patience=0.0), Anna()
    machine = anna.pairing(node.window.open(node.clock()), expect=node.id)
    to_node, to_coordinator = asyncio.Queue[PairingFrame](), asyncio.Queue[PairingFrame]()

    async def frames(queue: asyncio.Queue[PairingFrame]) -> AsyncIterator[PairingFrame]:
        while True:
            yield await queue.get()

    granted, _ = await asyncio.gather(
        node.desk.serve(frames(to_node), to_coordinator.put, "192.168.1.2", waits=True),
        converse(machine, frames(to_coordinator), to_node.put),
    )
    assert machine.result is not None
    assert granted is not None
    assert granted.leaf == machine.result.leaf
    assert node.trust.trusted()


async def test_a_node_that_cannot_keep_it_is_not_paired(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that takes nothing: the coordinator is told before it believes in the pairing, the node's log names the reason."""
    node = make_desk(tmp_path)
    (tmp_path / "trusted").write_text("not a folder")
    async with served(node.desk) as address:
        with pytest.raises(PairingError, match="could not keep"):
            await pair(address, Anna().pairing(LOCAL_SECRET, SecretKind.LOCAL))
    assert node.reports == []
    assert str(tmp_path) in caplog.text


async def test_a_pairing_whose_last_answer_is_lost_holds(tmp_path: Path) -> None:
    """The node trusts the coordinator and has closed its window: the coordinator must not have forgotten it, or a person would
    have to go there again."""
    node, trust = make_desk(tmp_path / "node"), Trust.load(tmp_path / "coordinator")
    code = node.window.open(node.clock()).encode()

    async def breaks(machine: CoordinatorPairing | CoordinatorRenewal) -> None:
        to_node = asyncio.Queue[PairingFrame]()

        async def frames() -> AsyncIterator[PairingFrame]:
            while True:
                yield await to_node.get()

        async def send(frame: PairingFrame) -> None:
            if not isinstance(frame, Done):
                for answer in machine.receive(frame):
                    to_node.put_nowait(answer)

        assert await node.desk.serve(frames(), send, "192.168.1.2") is not None
        raise NetworkError("The connection broke.")

    with pytest.raises(NetworkError, match="broke"):
        await pair_and_keep(trust, breaks, SecretKind.CODE, code, node.id, "127.0.0.1:7433")
    assert [one.authority for one in node.trust.trusted()] == [trust.authority.id]
    assert trust.paired.is_paired(node.id)


@pytest.mark.parametrize("removed", [False, True])
async def test_a_node_that_could_not_keep_it_is_not_kept_either(tmp_path: Path, removed: bool) -> None:
    """It says so: the coordinator knows of it what it knew before."""
    node, trust = make_desk(tmp_path / "node"), Trust.load(tmp_path / "coordinator")
    (tmp_path / "node" / "trusted").write_text("not a folder")
    if removed:
        trust.paired.add(PairedNode(node.id, "node", now_utc(), "code", now_utc()))
        trust.paired.remove(node.id)
    before, removal = trust.paired.get(node.id), trust.paired.removal(node.id)
    async with served(node.desk) as address:
        way = over(address, node.id)
        with pytest.raises(PairingError, match="could not keep"):
            await pair_and_keep(trust, way, SecretKind.LOCAL, LOCAL_SECRET, node.id, address, removal=removal)
    # What it calls itself and where it is may be newer.
    assert trust.paired.removal(node.id) == removal
    assert removed or trust.paired.get(node.id) == before


@pytest.mark.parametrize("hours", [-2, 2])
async def test_an_unpaired_device_comes_back_whatever_the_clock_said(tmp_path: Path, hours: int) -> None:
    """The coordinator's was wrong when it unpaired the device: an invitation that is made afterwards counts, an older one does not,
    and a pairing that nobody asked for who knew of the removal is refused."""
    trust = Trust.load(tmp_path / "coordinator")
    old = trust.invites.make()
    node = make_desk(tmp_path / "node", invite=old)
    async with served(node.desk) as address:
        way = over(address, node.id)
        await pair_and_keep(trust, way, SecretKind.LOCAL, LOCAL_SECRET, node.id, address)
        trust.paired.remove(node.id)
        when = (now_utc() + timedelta(hours=hours)).timestamp()
        os.utime(tmp_path / "coordinator" / "removed" / f"{node.id}.json", (when, when))
        with pytest.raises(PairingError, match="no invitation that could have been meant"):
            await pair_invited(trust, [(way, address)], [old], node.id)
        with pytest.raises(PairingError, match="unpaired while it was being paired"):
            await pair_and_keep(trust, way, SecretKind.LOCAL, LOCAL_SECRET, node.id, address)
        node.desk.invite = trust.invites.make()
        await pair_invited(trust, [(way, address)], trust.invites.outstanding(now_utc()), node.id)
    assert trust.paired.is_paired(node.id)


async def test_a_damaged_invitation_is_as_good_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A paired device starts and says why the invitation does not count; what is left of that is not written over."""
    anna = Anna()
    async with served(make_desk(tmp_path, invite=anna.invite()).desk) as address:
        await pair(address, anna.pairing(anna.invite().secret, SecretKind.INVITE))
    held = tmp_path / "invitations" / f"{anna.invite().id}.json"
    held.write_text("", encoding="utf-8")
    NodeTrust(tmp_path).untrust(anna.id)
    for _ in range(2):
        caplog.clear()
        node = make_desk(tmp_path, invite=anna.invite())
        assert [line for line in logged(caplog, "edgenode.net") if "not used" in line and "this device needs another" in line]
        async with served(node.desk) as address:
            assert (await greet(address)).introduction.invited_by == ()
            with pytest.raises(PairingError, match="has dropped this coordinator"):
                await pair(address, anna.pairing(anna.invite().secret, SecretKind.INVITE))
        assert held.read_text(encoding="utf-8") == ""


async def test_an_invitation_that_could_not_be_remembered_is_not_used(tmp_path: Path) -> None:
    """There was no room: nobody could tell later that it was given before a removal."""
    anna = Anna()
    NodeTrust(tmp_path).key  # noqa: B018 - makes it
    with full_disk():
        node = make_desk(tmp_path, invite=anna.invite())
    async with served(node.desk) as address:
        assert (await greet(address)).introduction.invited_by == ()
        with pytest.raises(PairingError, match="holds no invitation"):
            await pair(address, anna.pairing(anna.invite().secret, SecretKind.INVITE))


@pytest.mark.parametrize("fault", ["trusted", "removed", "invitations", "record"])
async def test_a_device_that_cannot_read_whom_it_trusts_answers(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It says who it is, but nothing of a certificate, tells its owner once why, and calls nobody a stranger."""
    anna = Anna()
    node = make_desk(tmp_path, invite=anna.invite())
    shown = certificates.der(anna.leaf())
    async with served(node.desk) as address:
        await pair(address, anna.pairing(node.window.open(node.clock())))
        at = tmp_path / "trusted" / f"{anna.id}.json" if fault == "record" else tmp_path / fault
        at.rename(tmp_path / "aside")
        at.write_text("", encoding="utf-8")
        for _ in range(3):
            greeting = await greet(address, shown)
            assert greeting.introduction.id == node.id
            assert greeting.verdict is (Verdict.TRUSTED if fault == "invitations" else None)
        if fault != "invitations":
            with pytest.raises(PairingError, match="for a reason of its own"):
                await renew(address, anna.renewal(node.id), node.id)
        at.unlink()
        (tmp_path / "aside").rename(at)
        assert (await greet(address, shown)).verdict is Verdict.TRUSTED
    told = logged(caplog, "edgenode.net")
    assert len([line for line in told if line.startswith("Whom this device trusts: cannot be read: ")]) == (fault != "invitations")
    assert not any("not trusted here" in line for line in told)
    assert logged(caplog, "grpc") == []


@pytest.mark.parametrize("at", [CertificateRequest, Refused, Done])
async def test_a_node_that_is_unpaired_meanwhile_stays_out(tmp_path: Path, at: type[PairingFrame]) -> None:
    """Whether before it gets its certificate, or before it refuses to keep that or has kept it: what it says then does not bring it
    back, and nobody is told that it is paired."""
    node, trust = make_desk(tmp_path / "node"), Trust.load(tmp_path / "coordinator")
    if at is not Done:
        (tmp_path / "node" / "trusted").write_text("not a folder")
    trust.paired.add(PairedNode(node.id, "kitchen-pi", now_utc(), "code", now_utc()))

    async def between(machine: CoordinatorPairing | CoordinatorRenewal) -> None:
        to_node = asyncio.Queue[PairingFrame]()

        async def frames() -> AsyncIterator[PairingFrame]:
            while True:
                yield await to_node.get()

        async def send(frame: PairingFrame) -> None:
            if isinstance(frame, at):
                # By another command.
                Trust.load(tmp_path / "coordinator").paired.remove(node.id)
            try:
                for answer in machine.receive(frame):
                    to_node.put_nowait(answer)
            except PairingStopped as stopped:
                ended.append(stopped)
                to_node.put_nowait(stopped.refusal)

        granted = await node.desk.serve(frames(), send, "192.168.1.2")
        assert (granted is not None) == (at is Done)
        if ended:
            raise ended[0]

    ended: list[PairingStopped] = []
    with pytest.raises(PairingError):
        await pair_and_keep(trust, between, SecretKind.LOCAL, LOCAL_SECRET, node.id, "127.0.0.1:7433")
    kept = trust.paired.get(node.id)
    assert kept is not None
    assert kept.removed is not None


async def test_nobody_there_is_a_sentence() -> None:
    """A closed port, something that is no TLS, and an address that is none."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(NetworkError, match="can be reached for pairing"):
            await greet(f"127.0.0.1:{closed.getsockname()[1] - 1}")
    with pytest.raises(NetworkError, match="not an address"):
        await greet("kitchen-pi")

    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        writer.close()

    async with await asyncio.start_server(mumble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NetworkError, match="can be reached for pairing"):
            await pair(f"127.0.0.1:{port - 1}", Anna().pairing("12345678"))


async def test_another_device_at_a_known_address_is_noticed(tmp_path: Path) -> None:
    """Its key is not the one that the id is made of: nothing is said to it, above all no secret."""
    node, other = make_desk(tmp_path), NodeId("0" * 32)
    async with served(node.desk) as address:
        for attempt in (
            greet(address, expect=other),
            pair(address, Anna().pairing("12345678"), other),
            renew(address, Anna().renewal(other), other),
            open_window(RunningNode(other, "kitchen-pi", address, LOCAL_SECRET, 1)),
        ):
            with pytest.raises(NetworkError, match="Another device answers"):
                await attempt
    assert not node.window.is_open(node.clock())


def test_a_rate_is_held_for_each_host_and_for_all() -> None:
    """A host has its burst and then its rate; all of them together have a multiple of that; few are remembered."""
    limit = RateLimit(burst=2, per_second=1)
    assert [limit.allow("a", 10.0) for _ in range(3)] == [True, True, False]
    assert limit.allow("b", 10.0)
    assert limit.allow("a", 11.0)
    assert not limit.allow("a", 11.5)
    assert sum(limit.allow(f"host {n}", 12.0) for n in range(10_000)) == 2 * OVERALL
    assert len(limit) == HOSTS
