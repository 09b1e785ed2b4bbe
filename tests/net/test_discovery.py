"""Announcing and finding over loopback. Other nodes may be talking there too: each test looks at its own."""

import asyncio
import contextlib
import itertools
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

import pytest
from zeroconf import DNSIncoming  # type: ignore[attr-defined] # at the package's top for its users, though not exported
from zeroconf.asyncio import AsyncZeroconf

from edgenode.net import multicast
from edgenode.net.announced import SERVICE
from edgenode.net.discovery import Announcer, Browser, Sighting, default_name
from edgenode.net.interfaces import Scope, scope
from edgenode.types import NodeId
from tests.logged import logged

SECONDS = 90.0
PORT = 5353
GROUP = "224.0.0.251"
OURS: set[NodeId] = set()
"""Crowded out by no forger of another test."""


class Watch:
    """What a browser told of, and a way to wait for more."""

    def __init__(self) -> None:
        self.browser: Browser
        self.now: dict[NodeId, Sighting] = {}
        self.seen: list[Sighting] = []
        self.gone: list[NodeId] = []

    def on_seen(self, sighting: Sighting) -> None:
        self.now[sighting.id] = sighting
        self.seen.append(sighting)

    def on_gone(self, id: NodeId) -> None:
        del self.now[id]
        self.gone.append(id)

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(SECONDS):
            while not true():  # noqa: ASYNC110 - not all of it is told
                await asyncio.sleep(0.02)

    def times(self, id: NodeId) -> int:
        return sum(sighting.id == id for sighting in self.seen)


@pytest.fixture
def loopback() -> Scope:
    return scope("127.0.0.1")


@pytest.fixture
async def watch(loopback: Scope) -> AsyncIterator[Watch]:
    told = Watch()
    async with Browser(loopback, told.on_seen, told.on_gone, OURS.__contains__) as told.browser:
        yield told


def new_id() -> NodeId:
    id = NodeId(secrets.token_hex(16))
    OURS.add(id)
    return id


class Ear:
    """Hears the answers about one node on loopback as any other device would: parsed, but not remembered."""

    def __init__(self, id: NodeId) -> None:
        self._id = id
        self.heard: asyncio.Queue[DNSIncoming] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ear.bind((GROUP, PORT))
        member = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton("127.0.0.1"))
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        ear.setblocking(False)
        self._ear = ear
        asyncio.get_running_loop().add_reader(ear, self._read)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.get_running_loop().remove_reader(self._ear)
        self._ear.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            message = DNSIncoming(self._ear.recv(9_000))
            if message.is_response() and any(self._id in record.name for record in message.answers()):
                self.heard.put_nowait(message)

    async def next(self) -> DNSIncoming:
        async with asyncio.timeout(SECONDS):
            return await self.heard.get()


async def test_found_and_gone(loopback: Scope, watch: Watch) -> None:
    """A node is found with its name and address, told again while it is there, and gone after its goodbye."""
    id = new_id()
    async with Announcer(id, "Küche 🍳", 7433, loopback) as announcer:
        assert announcer.problem == ""
        await watch.until(lambda: id in watch.now)
        assert watch.now[id] == Sighting(id, "Küche 🍳", ("127.0.0.1:7433",))
        first = watch.times(id)
        await watch.until(lambda: watch.times(id) > first)
    await watch.until(lambda: id in watch.gone)


async def test_a_late_browser(loopback: Scope) -> None:
    """Nodes that were there before are found, all of them, also by the same name."""
    ids = {new_id() for _ in range(5)}
    async with contextlib.AsyncExitStack() as stack:
        for port, id in enumerate(ids, 7433):
            await stack.enter_async_context(Announcer(id, "pi", port, loopback))
        watch = Watch()
        await stack.enter_async_context(Browser(loopback, watch.on_seen, watch.on_gone, OURS.__contains__))
        await watch.until(lambda: ids <= watch.now.keys())


async def test_back_at_once(loopback: Scope, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that leaves and returns on another port is told of with the new address first, is doubted only until it answers, and
    is not gone."""
    monkeypatch.setattr("edgenode.net.discovery.ANSWER_SECONDS", SECONDS)  # on a busy machine it may take long to return
    id = new_id()
    async with Announcer(id, "pi", 7433, loopback):
        await watch.until(lambda: id in watch.now)
    async with Announcer(id, "pi", 7533, loopback):
        await watch.until(lambda: watch.now[id].addresses[0] == "127.0.0.1:7533")
        await watch.until(lambda: watch.browser._known[id].doubted is None)
    assert id not in watch.gone


async def test_the_record_says_little(loopback: Scope) -> None:
    """What is announced is the id, the name, the port and the addresses, and nothing else."""
    id = new_id()
    async with Ear(id) as ear, Announcer(id, "pi", 7433, loopback):
        answers = (await ear.next()).answers()
    assert {record.name for record in answers} <= {SERVICE, f"{id}.{SERVICE}", f"{id}.local."}
    (text,) = [record.text for record in answers if hasattr(record, "text")]
    assert text == b"\x07name=pi"


async def test_long_names_are_cut(loopback: Scope, watch: Watch) -> None:
    """A name longer than a text record holds is cut and does not keep the node from being announced."""
    id = new_id()
    async with Announcer(id, "ü" * 400, 7433, loopback):
        await watch.until(lambda: id in watch.now)
    assert set(watch.now[id].name.rstrip("…")) == {"ü"}


async def test_after_sleep(loopback: Scope) -> None:
    """A node whose clock jumps, as after sleep, announces itself again."""
    id = new_id()
    hours = itertools.count(0, 3_600)  # every look at the clock is an hour after the one before
    async with Ear(id) as ear, Announcer(id, "pi", 7433, loopback, lambda: next(hours)):
        # Three times at first, then for each sleep; answers to others' questions look alike and hide nothing.
        for _ in range(5):
            await ear.next()


async def test_no_interface_at_first(watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A node without any network starts, says so once, and is found once there is one."""
    id = new_id()
    none = multicast.Surroundings((), (), (), False)
    with monkeypatch.context() as patch:
        patch.setattr(multicast, "_look", lambda _scope: none)
        announcer = Announcer(id, "pi", 7433, scope("127.0.0.1"))
        await announcer.__aenter__()
    try:
        assert "no network interface" in announcer.problem
        await watch.until(lambda: id in watch.now)
        assert announcer.problem == ""
    finally:
        await announcer.__aexit__(None, None, None)
    assert len(logged(caplog, "edgenode.net.multicast")) == 1


async def test_a_goodbye_that_takes_too_long_keeps_no_socket(loopback: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that is too busy to repeat it in time."""
    monkeypatch.setattr(multicast, "CLOSE_SECONDS", 0.0)
    async with Announcer(new_id(), "pi", 7433, loopback) as announcer:
        assert announcer._zeroconf is not None
        engine = announcer._zeroconf.zeroconf.engine
        sockets = [*engine.senders, *engine.readers]
    assert sockets
    assert all(each.transport.is_closing() for each in sockets)


async def test_an_opening_that_is_broken_off_keeps_no_socket(loopback: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a command is interrupted while it begins."""
    opened: list[AsyncZeroconf] = []
    begun = asyncio.Event()

    class Slow(Announcer):
        async def _opened(self, zeroconf: AsyncZeroconf) -> None:
            opened.append(zeroconf)
            begun.set()
            await asyncio.Event().wait()

    entering = asyncio.create_task(Slow(new_id(), "pi", 7433, loopback).__aenter__())
    await begun.wait()
    sockets = [*opened[0].zeroconf.engine.senders, *opened[0].zeroconf.engine.readers]
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert sockets
    assert all(each.transport.is_closing() for each in sockets)


def test_the_name_of_the_machine() -> None:
    """A device that was given no name has one that can be shown."""
    assert default_name()
