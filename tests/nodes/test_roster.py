"""The roster with real nodes: every way a node is found and paired, everything that keeps it from joining, and its return."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self, TypeVar

import pytest

from coordinator.events import NodeInfo, NodeState
from coordinator.nodes.news import Down, Heard, News, Up
from coordinator.nodes.pair_node import pair_node, unpair
from coordinator.nodes.pairing import Trust
from coordinator.nodes.peer import Peer
from coordinator.nodes.places import Places
from coordinator.nodes.roster import MAX_STRANGERS, Roster
from coordinator.nodes.tasks import Tasks
from coordinator.trust.authority import coordinator_folder
from coordinator.trust.paired import PairedNode
from edgenode.errors import NetworkError, PairingError, UsageError
from edgenode.net.dialled_in import WaitingDevice
from edgenode.net.discovery import Sighting
from edgenode.net.interfaces import scope
from edgenode.net.ports import are_free, bound
from edgenode.node import Node, NodeConfig
from edgenode.trust import certificates
from edgenode.trust.certificates import now_utc
from edgenode.trust.frames import Introduction, PairingFrame
from edgenode.trust.running import running_nodes
from edgenode.trust.token import Invite
from edgenode.types import Completion, EngineState, Lease, LeaseId, NodeId, Outcome, Subtask, SubtaskId
from tests.dial_parts import free_pair
from tests.logged import logged
from tests.patience import SECONDS
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired

LEASE = Lease(LeaseId("l1"), "scripted-model", "system", "chunk ", (Subtask(SubtaskId("1"), "task", "{}", 10),))

T = TypeVar("T", bound=News)


def unique(name: str) -> str:
    """A name no other test's node has: all share the loopback's mDNS."""
    return f"{name}-{secrets.token_hex(4)}"


@pytest.fixture
def trust() -> Trust:
    return Trust.load()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Node]:
    """Makes nodes that leave their private file where this coordinator does not look, like those of another machine."""

    @contextlib.asynccontextmanager
    async def start(name: str, invite: Invite | None = None, join: tuple[str, ...] = ()) -> AsyncIterator[Node]:
        with monkeypatch.context() as patch:
            patch.setenv("EDGENODE_DATA", str(tmp_path / f"data-of-{name}"))
            node = Node(NodeConfig(home=tmp_path / name, name=name, invite=invite, join=join), ScriptedEngine())
            await node.__aenter__()
        try:
            yield node
        finally:
            await node.__aexit__(None, None, None)

    return start


def roster_of(trust: Trust, *only: str, join: tuple[str, ...] = ()) -> Roster:
    """Sees no nodes of others'. Strangers that are asked for by their ids are crowded out by no forger of another test."""
    return Roster(scope("127.0.0.1"), trust, only, join)


async def until(news: asyncio.Queue[News], kind: type[T]) -> T:
    async with asyncio.timeout(SECONDS):
        while True:
            item = await news.get()
            if isinstance(item, kind):
                return item


async def seen(roster: Roster, wanted: Callable[[NodeInfo], bool]) -> NodeInfo:
    """The first node that is as wanted."""
    async with asyncio.timeout(SECONDS):
        async for nodes in roster.watch():
            for node in nodes:
                if wanted(node):
                    return node
    raise AssertionError("watched for ever")


def is_joined(node: NodeInfo) -> bool:
    return node.state is NodeState.JOINED


async def never(node: NodeInfo) -> str:
    raise AssertionError("asked for a code")


async def test_a_node_of_this_user_pairs_by_itself_and_works(trust: Trust, tmp_path: Path) -> None:
    """The whole life: found by its file, paired without a code, leased to, gone."""
    name = unique("kitchen")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with roster_of(trust, name) as roster:
        with roster.listening(news.put_nowait):
            async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node:
                up = await until(news, Up)
                assert (up.node.address, up.node.state) == (node.address, NodeState.JOINED)
                assert up.node.models[0].name == "scripted-model"
                kept = trust.paired.get(up.node.id)
                assert kept is not None
                assert (kept.name, kept.via) == (name, "local")
                roster.send(up.node.id, LEASE)
                heard = await until(news, Heard)
                while not isinstance(heard.frame, Outcome):
                    heard = await until(news, Heard)
                assert isinstance(heard.frame.result, Completion)
            down = await until(news, Down)
            assert down.node.name == name
        gone = await seen(roster, lambda node: node.state is NodeState.GONE)
        assert gone.why


async def test_a_node_that_returns_is_joined_again(trust: Trust, tmp_path: Path) -> None:
    """Restarted, perhaps on another port, it is the same node and needs no restart of anything else."""
    name = unique("phone")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with roster_of(trust, name) as roster:
        with roster.listening(news.put_nowait):
            async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()):
                first = await until(news, Up)
            await until(news, Down)
            async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()):
                second = await until(news, Up)
    assert second.node.id == first.node.id


async def test_two_nodes_of_one_name_are_two_nodes(trust: Trust, tmp_path: Path) -> None:
    """A name is only a name; the identity tells them apart."""
    name = unique("twin")
    async with (
        Node(NodeConfig(home=tmp_path / "a", name=name), ScriptedEngine()),
        Node(NodeConfig(home=tmp_path / "b", name=name), ScriptedEngine()),
        roster_of(trust, name) as roster,
        asyncio.timeout(SECONDS),
    ):
        async for found in roster.watch():
            if [node.state for node in found] == [NodeState.JOINED] * 2:
                break
    assert [node.name for node in found] == [name, name]
    assert len({node.id for node in found}) == 2


async def test_a_strangers_node_is_listed_and_left_alone(trust: Trust, elsewhere: Callable[..., Node]) -> None:
    """Being on the network is not permission, in either direction; what to do about it is said."""
    name = unique("stranger")
    async with elsewhere(name) as node, roster_of(trust, node.trust.id) as roster:
        await seen(roster, lambda info: info.id == node.trust.id)
        await roster.settle()
        (found,) = roster.nodes()
        assert found.state is NodeState.UNPAIRED
        assert found.why == f"It is not paired: coordinator pair {name}"
        assert node.trust.trusted() == ()


async def test_the_code_on_the_screen_pairs(trust: Trust, elsewhere: Callable[..., Node]) -> None:
    """Asked for once; typed as people write it; the node is joined without a restart of anything."""
    name = unique("pi")
    async with elsewhere(name) as node, roster_of(trust, node.trust.id) as roster:
        code, _ = node.open_window()

        async def ask(info: NodeInfo) -> str:
            assert info.name == name
            return f"{code[:4]} {code[4:]}"

        kept = await pair_node(roster, name, ask)
        assert (kept.id, kept.via) == (node.trust.id, "code")
        await seen(roster, lambda info: info.name == name and is_joined(info))
        assert await pair_node(roster, name, never) == trust.paired.get(kept.id)


async def test_a_node_that_trusts_already_needs_no_code(trust: Trust, elsewhere: Callable[..., Node], tmp_path: Path) -> None:
    """Its window is closed, and the connection may not be there yet: it is paired all the same, as after a lost last answer."""
    name = unique("pi")
    async with elsewhere(name) as node, roster_of(trust, node.trust.id) as roster:
        node.window.close()
        paired(tmp_path / name, trust.authority, trust.paired, name)
        kept = await pair_node(roster, node.address, never)
        assert kept.id == node.trust.id
        await seen(roster, lambda info: info.id == kept.id and is_joined(info))


async def test_a_wrong_code_pairs_nobody(trust: Trust, elsewhere: Callable[..., Node]) -> None:
    """Neither side keeps anything, and what is no code is not even tried."""
    name = unique("pi")
    async with elsewhere(name) as node, roster_of(trust, node.trust.id) as roster:
        code, _ = node.open_window()

        async def wrong(_: NodeInfo) -> str:
            return code[::-1] if code != code[::-1] else "12345678"

        async def nonsense(_: NodeInfo) -> str:
            return "kitchen"

        with pytest.raises(PairingError, match="not the code"):
            await pair_node(roster, node.trust.id, wrong)
        with pytest.raises(UsageError, match="8 digits"):
            await pair_node(roster, node.trust.id, nonsense)
        assert node.trust.trusted() == ()
        assert trust.paired.all() == ()


async def test_a_code_is_tried_once_where_the_node_answers(trust: Trust, elsewhere: Callable[..., Node]) -> None:
    """And at no connection that waits in its name, which may be a stranger's and would be a guess for him."""
    sent: list[PairingFrame] = []

    async def send(frame: PairingFrame) -> None:
        sent.append(frame)

    async with elsewhere(unique("pi")) as node, roster_of(trust, node.trust.id) as roster:
        await seen(roster, lambda info: info.id == node.trust.id and bool(info.address))
        (peer,) = (each for each in roster.peers() if each.id == node.trust.id)
        code, _ = node.open_window()
        peer.waits(WaitingDevice(Introduction(peer.id, peer.name, "0.1", 1_700_000_000.0, True), "192.168.1.66", send))

        async def wrong(_: NodeInfo) -> str:
            return f"{(int(code) + 1) % 10**8:08}"

        with pytest.raises(PairingError, match="not the code"):
            await pair_node(roster, node.trust.id, wrong)
        assert len(node.window.failures) == 1
        assert sent == []


async def test_a_closed_window_is_said_before_a_code_is_asked_for(trust: Trust, elsewhere: Callable[..., Node]) -> None:
    """Nobody types a code that cannot count."""
    name = unique("pi")
    async with elsewhere(name) as node, roster_of(trust, node.trust.id) as roster:
        node.window.close()
        with pytest.raises(PairingError, match="edgenode pair"):
            await pair_node(roster, node.trust.id, never)


async def test_namesakes_are_told_apart_by_id(trust: Trust, elsewhere: Callable[..., Node], tmp_path: Path) -> None:
    """Pairing by a name that two bear names both, and the beginning of an id is enough."""
    name = unique("twin")
    async with (
        elsewhere(name) as one,
        roster_of(trust, name, one.trust.id) as roster,
        Node(NodeConfig(home=tmp_path / "other", name=name), ScriptedEngine()) as two,
    ):
        await seen(roster, lambda node: node.id == two.trust.id and is_joined(node))
        unpair(trust, two.trust.id)
        await seen(roster, lambda node: node.id == two.trust.id and node.state is NodeState.UNPAIRED)
        for node in (one, two):
            await seen(roster, lambda info, id=node.trust.id: info.why.endswith(f"coordinator pair {id[:12]}"))
        with pytest.raises(UsageError) as refused:
            await pair_node(roster, name, never)
        assert all(f"{node.trust.id[:12]} ({node.address})" in str(refused.value) for node in (one, two))
        assert (await pair_node(roster, two.trust.id[:12], never)).id == two.trust.id


async def test_an_unpaired_device_is_shut_out_at_once_and_stays_out(trust: Trust, tmp_path: Path) -> None:
    """Its open stream is closed by what another process wrote, and it does not pair by itself again, but by a person's wish."""
    name = unique("lost")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node, roster_of(trust, name) as roster:
        with roster.listening(news.put_nowait):
            await until(news, Up)
            unpair(Trust.load(), name)
            assert (await until(news, Down)).why == "It was unpaired."
        out = await seen(roster, lambda info: info.state is NodeState.UNPAIRED)
        assert out.why == f"It was unpaired. To take it back: coordinator pair {name}"
        roster.look()
        assert roster.nodes()[0].state is NodeState.UNPAIRED
        await pair_node(roster, name, never)
        await seen(roster, is_joined)
        assert node.trust.trusted()


async def test_an_unpaired_device_stays_out_while_its_record_cannot_be_read(trust: Trust, tmp_path: Path) -> None:
    """It runs here and would pair by itself if it had never been paired: nothing is begun until a person wants it back."""
    name = unique("lost")
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node, roster_of(trust, name) as roster:
        await seen(roster, is_joined)
        unpair(Trust.load(), name)
        await seen(roster, lambda info: info.state is NodeState.UNPAIRED)
        (coordinator_folder() / "removed" / f"{node.trust.id}.json").write_text("{", encoding="utf-8")
        roster.look()
        (peer,) = roster.peers()
        assert not peer.is_undecided
        assert peer.info().why.startswith("It was unpaired.")
        await pair_node(roster, name, never)
        assert trust.paired.is_paired(node.trust.id)


async def test_a_joined_device_returns_once_its_record_can_be_read(trust: Trust, tmp_path: Path) -> None:
    """It might have been unpaired, so it is hung up on; that passes."""
    name = unique("flickers")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node, roster_of(trust, name) as roster:
        with roster.listening(news.put_nowait):
            await until(news, Up)
            record = coordinator_folder() / "nodes" / f"{node.trust.id}.json"
            aside = record.rename(record.with_suffix(".aside"))
            record.mkdir()
            await until(news, Down)
            record.rmdir()
            aside.rename(record)
            await until(news, Up)
        assert [one.authority for one in node.trust.trusted()] == [trust.authority.id]


@pytest.mark.parametrize("removed", [True, False])
async def test_a_refusal_brings_nobody_back_who_was_removed_meanwhile(trust: Trust, tmp_path: Path, removed: bool) -> None:
    """A node of this user that does not know the coordinator is paired by its file only while it counts as paired."""
    tasks = Tasks()
    async with Node(NodeConfig(home=tmp_path, name="refuses"), ScriptedEngine()) as node:
        id = node.trust.id
        if removed:
            trust.paired.add(PairedNode(id, "refuses", now_utc(), "local", now_utc()))
            trust.paired.remove(id)
        peer = Peer(id, trust, tasks.spawn, lambda _: None, lambda: None)
        (peer.running,) = (each for each in running_nodes() if each.id == id)
        peer.found("running", "refuses", [node.address])
        assert await peer.refused("The node does not let it in.") == ""
        assert not trust.paired.is_paired(id)
        assert not node.trust.trusted()
    await tasks.end()


@pytest.mark.parametrize("folder", ["invites", "nodes"])
async def test_who_was_unpaired_does_not_stay_because_a_folder_cannot_be_read(trust: Trust, tmp_path: Path, folder: str) -> None:
    """Whichever it is: what it says of others is no reason, and what it might say of the device cannot be known."""
    name = unique("lost")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()), roster_of(trust, name) as roster:
        with roster.listening(news.put_nowait):
            await until(news, Up)
            unpair(Trust.load(), name)
            told = coordinator_folder() / folder
            if told.exists():
                told.rename(told.with_name("aside"))
            told.write_text("not a folder")
            assert (await until(news, Down)).why == "It was unpaired."


async def test_a_node_that_drops_the_coordinator_is_not_talked_into_it_again(trust: Trust, tmp_path: Path) -> None:
    """`edgenode untrust` ends the stream, and what the owner of the device must do to undo it is said."""
    name = unique("dropped")
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node, roster_of(trust, name) as roster:
        await seen(roster, is_joined)
        node.trust.untrust(trust.authority.id)
        told = await seen(roster, lambda info: "edgenode pair" in info.why)
        assert told.state is NodeState.SUSPECT
        assert node.trust.trusted() == ()


async def test_an_invited_node_pairs_by_itself(trust: Trust, elsewhere: Callable[..., Node]) -> None:
    """The token stands in for the code, once: a second device with the same token stays outside."""
    invite = trust.invites.make()
    token = Invite(invite.authority, invite.id, invite.secret)
    one, two = unique("headless"), unique("second")
    async with elsewhere(one, token) as first:
        async with roster_of(trust, one) as roster:
            await seen(roster, is_joined)
            assert trust.invites.outstanding(now_utc()) == ()
        async with elsewhere(two, token) as second, roster_of(trust, second.trust.id) as roster:
            await seen(roster, lambda node: node.name == two and bool(node.address))
            await roster.settle()
            (outside,) = roster.nodes()
            assert outside.state is NodeState.UNPAIRED
            assert second.trust.trusted() == ()
        kept = trust.paired.get(first.trust.id)
        assert kept is not None
        assert kept.via == "invite"


async def test_an_address_is_enough(trust: Trust, tmp_path: Path, port: int) -> None:
    """`--join` finds out who is there; nobody being there is said, and waited for."""
    name = unique("far")
    async with Node(NodeConfig(home=tmp_path, name=name, port=port), ScriptedEngine()) as node:
        async with Roster(scope("127.0.0.1"), trust, ["nobody"], [node.address]) as roster:
            await seen(roster, lambda info: info.id == node.trust.id and is_joined(info))
            assert roster.unreachable == {}
        address = node.address
    async with Roster(scope("127.0.0.1"), trust, ["nobody"], [address]) as roster:
        async with asyncio.timeout(SECONDS):
            while not roster.unreachable[address]:
                await roster.changed(1.0)
        async with Node(NodeConfig(home=tmp_path, name=name, port=port), ScriptedEngine()):
            await seen(roster, lambda info: info.id == node.trust.id and is_joined(info))


async def test_a_name_to_join_that_does_not_resolve_is_said(trust: Trust) -> None:
    """As what it is, and not as a node that cannot be reached."""
    async with Roster(scope("127.0.0.1"), trust, join=["nosuch.invalid:7433"]) as roster, asyncio.timeout(SECONDS):
        while not roster.unreachable["nosuch.invalid:7433"]:
            await roster.changed(1.0)
        assert "nosuch.invalid does not resolve" in roster.unreachable["nosuch.invalid:7433"]


async def test_an_address_of_one_link_is_not_shown_where_a_wider_one_has_worked(trust: Trust) -> None:
    """Otherwise the address shown changes from run to run."""
    told = {"both": ("[fe80::7%eth0]:9", "192.0.2.7:9"), "one": ("[fe80::8%eth0]:9",)}
    for at, (name, addresses) in enumerate(told.items()):
        ends = now_utc() + timedelta(days=90)
        trust.paired.add(PairedNode(NodeId(f"{at}a" * 16), name, now_utc(), "code", ends, addresses))
    async with roster_of(trust, *told) as roster:
        assert {node.name: node.address for node in roster.nodes()} == {"both": "192.0.2.7:9", "one": "[fe80::8%eth0]:9"}


async def test_a_paired_node_is_found_where_it_was_last_met(
    trust: Trust, elsewhere: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without mDNS and without a file, as after guest Wi-Fi has eaten the multicast."""
    name = unique("known")
    async with elsewhere(name) as node:
        async with roster_of(trust, name) as roster:
            code, _ = node.open_window()
            await pair_node(roster, node.trust.id, lambda _: _said(code))
            await seen(roster, is_joined)
        monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
        async with roster_of(trust, name) as roster:
            found = await seen(roster, is_joined)
            assert found.address == node.address


class Deaf:
    """A browser where there is no multicast."""

    problem = "There is no multicast."

    def __init__(self, *_: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass


async def _said(code: str) -> str:
    return code


async def test_an_expired_certificate_is_renewed_without_asking(
    trust: Trust, elsewhere: Callable[..., Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that was in a drawer for longer than its certificate lived joins all the same."""
    name = unique("drawer")
    async with elsewhere(name) as node:
        long_ago = now_utc() - certificates.NODE_LIFE - timedelta(days=5)
        leaf = trust.authority.sign_node(node.trust.key.public_key(), long_ago)
        node.trust.trust(trust.authority.certificate, leaf, "code")
        async with roster_of(trust, node.trust.id) as roster:
            code, _ = node.open_window()
            sign = trust.authority.sign_node
            with monkeypatch.context() as patch:
                patch.setattr(type(trust.authority), "sign_node", lambda self, key, now: sign(key, long_ago))
                kept = await pair_node(roster, node.trust.id, lambda _: _said(code))
            assert kept.certificate_ends < now_utc()
            await seen(roster, lambda info: info.name == name and is_joined(info))
        renewed = trust.paired.get(kept.id)
        assert renewed is not None
        assert renewed.certificate_ends > now_utc()


async def test_a_certificate_near_its_end_is_renewed_in_passing(trust: Trust, tmp_path: Path) -> None:
    """Whenever the two meet in its last two thirds; the stream goes on."""
    name = unique("old")
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node:
        async with roster_of(trust, name) as roster:
            await seen(roster, is_joined)
        soon = now_utc() + certificates.RENEW_BEFORE_END - timedelta(days=1)
        kept = trust.paired.get(node.trust.id)
        assert kept is not None
        trust.paired.add(replace(kept, certificate_ends=soon))
        async with roster_of(trust, name) as roster, asyncio.timeout(SECONDS):
            await seen(roster, is_joined)
            while kept is not None and kept.certificate_ends <= soon:
                await roster.changed(0.1)
                kept = trust.paired.get(node.trust.id)


async def test_an_imposter_at_its_address_is_not_in_the_way(trust: Trust, tmp_path: Path) -> None:
    """Another device answers where the node was last met, and in its name: the real one is found beside it."""
    name = unique("real")
    async with Node(NodeConfig(home=tmp_path / "real", name=name), ScriptedEngine()) as node:
        async with roster_of(trust, name) as roster:
            await seen(roster, is_joined)
        async with Node(NodeConfig(home=tmp_path / "imposter", name=name), ScriptedEngine()) as imposter:
            trust.paired.met(node.trust.id, name, [imposter.address], False)
            async with roster_of(trust, node.trust.id) as roster:
                found = await seen(roster, is_joined)
                assert (found.id, found.address) == (node.trust.id, node.address)


async def test_a_node_tells_that_it_drains(trust: Trust, tmp_path: Path) -> None:
    """The engine's state and the reason to take no work arrive on the open stream."""
    name = unique("warm")
    engine = ScriptedEngine()
    async with Node(NodeConfig(home=tmp_path, name=name), engine) as node, roster_of(trust, name) as roster:
        await seen(roster, is_joined)
        node._drain("The battery is at 5 %.")
        drained = await seen(roster, lambda info: info.draining == "The battery is at 5 %.")
        assert drained.state is NodeState.JOINED
        engine.become(EngineState.RESTARTING)
        await seen(roster, lambda info: info.engine_state is EngineState.RESTARTING)


async def test_a_stream_that_the_node_opened_counts_as_much(trust: Trust, elsewhere: Callable[..., Node]) -> None:
    """The newest takes the place of the older one, with what was held there told as lost; a stranger's is closed."""
    name = unique("phone")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with elsewhere(name) as node, roster_of(trust, name) as roster:
        stranger = Dialled(node)
        roster.take(stranger)
        async with asyncio.timeout(SECONDS):
            await stranger.over.wait()
        code, _ = node.open_window()
        await pair_node(roster, node.trust.id, lambda _: _said(code))
        with roster.listening(news.put_nowait):
            await seen(roster, is_joined)
            dialled = Dialled(node)
            roster.take(dialled)
            assert (await until(news, Down)).why == "The node opened a new connection."
            assert (await until(news, Up)).node.state is NodeState.JOINED
            roster.send(node.trust.id, LEASE)
            assert dialled.sent == [LEASE]
    assert dialled.over.is_set()


class Dialled:
    """A work stream as the listener for nodes that dial hands it over; quiet, and open until it is closed."""

    address = "192.0.2.1:50000"

    def __init__(self, node: Node) -> None:
        self.description = node.description()
        self.sent: list[object] = []
        self.over = asyncio.Event()

    def send(self, frame: object) -> None:
        self.sent.append(frame)

    async def frames(self) -> AsyncIterator[object]:
        await self.over.wait()
        return
        yield

    async def aclose(self) -> None:
        self.over.set()


@pytest.fixture
def port() -> int:
    """Free, and so is the next."""
    return free_pair()


async def test_a_node_that_only_dials_out_is_paired_by_code_and_works(
    trust: Trust, elsewhere: Callable[..., Node], monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """Nothing tells of it but its own call: that is enough to be paired, to work, and to be known as one that dials in."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    name = unique("phone")
    news: asyncio.Queue[News] = asyncio.Queue()
    async with (
        elsewhere(name, join=(f"127.0.0.1:{port}",)) as node,
        Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster,
    ):
        code, _ = node.open_window()
        assert (await pair_node(roster, name, lambda _: _said(code))).via == "code"
        with roster.listening(news.put_nowait):
            up = await until(news, Up)
            assert up.node.state is NodeState.JOINED
            assert up.node.address == "dials in from 127.0.0.1"
            roster.send(up.node.id, LEASE)
            heard = await until(news, Heard)
            while not isinstance(heard.frame, Outcome):
                heard = await until(news, Heard)
        async with asyncio.timeout(SECONDS):
            while not (kept := trust.paired.all()[0]).dials_in:
                await roster.changed(0.1)
        assert kept.addresses == ()


async def test_an_invited_node_that_only_dials_out_needs_nobody(
    trust: Trust, elsewhere: Callable[..., Node], monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """A headless device behind a firewall; its certificate is renewed over its own call as well."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    name = unique("cellar")
    invite = trust.invites.make()
    token = Invite(invite.authority, invite.id, invite.secret)
    sign, long_ago = trust.authority.sign_node, now_utc() - certificates.NODE_LIFE - timedelta(days=5)
    async with elsewhere(name, token, (f"127.0.0.1:{port}",)) as node:
        with monkeypatch.context() as patch:
            patch.setattr(type(trust.authority), "sign_node", lambda self, key, now: sign(key, long_ago))
            async with Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster:
                await seen(roster, lambda info: info.state is not NodeState.UNPAIRED)
        async with Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster:
            found = await seen(roster, is_joined)
            assert found.id == node.trust.id
        kept = trust.paired.get(node.trust.id)
        assert kept is not None
        assert kept.via == "invite"
        assert kept.certificate_ends > now_utc()


async def test_a_node_that_only_dials_out_is_renewed_in_good_time(
    trust: Trust,
    elsewhere: Callable[..., Node],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    port: int,
) -> None:
    """Weeks before its certificate ends it waits for the next one, beside its work and without a word to anybody."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    name = unique("phone")
    known = paired(tmp_path / name, trust.authority)
    soon = now_utc() + timedelta(days=20)
    leaf = trust.authority.sign_node(known.key.public_key(), soon - certificates.NODE_LIFE)
    known.trust(trust.authority.certificate, leaf, "code")
    trust.paired.add(PairedNode(known.id, name, now_utc(), "code", leaf.not_valid_after_utc, (), True))
    async with (
        elsewhere(name, join=(f"127.0.0.1:{port}",)) as node,
        Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster,
        asyncio.timeout(SECONDS),
    ):
        await seen(roster, is_joined)
        while (kept := trust.paired.all()[0]).certificate_ends == leaf.not_valid_after_utc:
            await roster.changed(0.1)
        while (own := node.trust.trusted()[0].leaf.not_valid_after_utc) <= soon:
            await roster.changed(0.1)
        assert own == kept.certificate_ends
        await seen(roster, is_joined)
        assert logged(caplog, "coordinator") == logged(caplog, "edgenode") == []


async def test_a_crowd_of_rumours_takes_nobodys_place(
    trust: Trust, elsewhere: Callable[..., Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forged records fill the list of strangers; who runs here, was named by address or is paired is listed all the same."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Crowd)
    kept = PairedNode(NodeId("f" * 32), "kept", now_utc(), "code", now_utc() + timedelta(days=80))
    async with elsewhere(unique("far")) as far, Roster(scope("127.0.0.1"), trust) as roster:
        assert len(roster.nodes()) == MAX_STRANGERS
        roster.join(far.address)
        await seen(roster, lambda node: node.id == far.trust.id)
        async with Node(NodeConfig(home=tmp_path / "near", name=unique("near")), ScriptedEngine()) as near:
            await seen(roster, lambda node: node.id == near.trust.id and is_joined(node))
        trust.paired.add(kept)
        await seen(roster, lambda node: node.id == kept.id)
        assert len([peer for peer in roster.peers() if peer.is_rumour]) <= MAX_STRANGERS


class Crowd(Deaf):
    """A browser where somebody forges more records than anybody has nodes."""

    def __init__(self, _: object, sighted: Callable[[Sighting], None], *__: object) -> None:
        self._sighted = sighted

    async def __aenter__(self) -> Self:
        for number in range(MAX_STRANGERS + 10):
            self._sighted(Sighting(NodeId(f"{number:032x}"), "kitchen", ("127.0.0.1:1",)))
        return self


async def test_a_node_that_dials_in_to_another_command(
    trust: Trust, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, port: int
) -> None:
    """One process has the port: the others say what to do, of the device and not as a warning of their own."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    monkeypatch.setattr("coordinator.nodes.listening.COORDINATOR_PORT", port)
    monkeypatch.setattr("coordinator.nodes.pair_node.NAMED_SECONDS", 0.0)
    trust.paired.add(PairedNode(NodeId("f" * 32), "phone", now_utc(), "code", now_utc() + timedelta(days=80), (), True))
    async with Roster(scope("127.0.0.1"), trust) as first:
        async with asyncio.timeout(SECONDS):
            while are_free(("127.0.0.1",), port):
                await first.changed(0.05)
        async with Roster(scope("127.0.0.1"), trust) as second:
            told = await seen(second, lambda node: "--listen-port" in node.why)
            assert told.state is NodeState.SUSPECT
            assert told.why.startswith(f"It dials in at port {port}, which another program has")
            with pytest.raises(NetworkError, match="--listen-port"):
                await pair_node(second, "nobody", never)
            assert logged(caplog, "coordinator") == logged(caplog, "edgenode") == []


async def test_a_port_that_was_asked_for_and_is_taken_is_a_warning(
    trust: Trust, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, port: int
) -> None:
    """Told once."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    monkeypatch.setattr("coordinator.nodes.listening.AGAIN_SECONDS", 0.05)
    with bound("127.0.0.1", port) as taken:
        taken.listen()
        async with Roster(scope("127.0.0.1"), trust, listen_port=port) as roster, asyncio.timeout(SECONDS):
            while not roster.dial_in.problem:
                await roster.changed(0.05)
    assert ["cannot listen for devices" in text for text in logged(caplog, "coordinator.nodes.listening")] == [True]


def test_link_local_addresses_of_a_node_come_last() -> None:
    """Whoever tells them; only one that has worked is before others."""
    places = Places()
    places.put("seen", ("192.168.1.7:7433",))
    places.put("kept", ("[fe80::1%eth0]:7433", "[fe80::2%eth0]:7433"))
    assert places.addresses(()) == ("192.168.1.7:7433", "[fe80::1%eth0]:7433", "[fe80::2%eth0]:7433")
    assert places.addresses(("[fe80::2%eth0]:7433",))[:2] == ("[fe80::2%eth0]:7433", "192.168.1.7:7433")
