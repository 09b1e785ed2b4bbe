"""Forged mDNS, packet by packet: what anybody on the network can send must not kill, fill, mislead or write to the terminal.

All on loopback. Other nodes may be talking there: each test looks at its own.
"""

import asyncio
import contextlib
import gc
import logging
import random
import secrets
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from zeroconf import DNSCache, DNSNsec, DNSText  # type: ignore[attr-defined]

from edgenode.net.addresses import MAX_ADDRESSES
from edgenode.net.announced import SERVICE
from edgenode.net.discovery import MAX_SIGHTINGS, Announcer, Browser, Sighting
from edgenode.net.interfaces import scope
from edgenode.net.multicast import RECORDS_OF_NAME
from edgenode.types import NodeId
from tests.logged import logged, ours

# For what must happen, however busy the machine is.
SECONDS = 120.0
GROUP = ("224.0.0.251", 5353)
A, PTR, TXT, AAAA, SRV, NSEC = 1, 12, 16, 28, 33, 47
IN, FLUSH = 0x0001, 0x8001


def name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in text.encode().split(b".") if label) + b"\0"


def record(owner: str, kind: int, data: bytes, ttl: int = 120, flags: int = FLUSH) -> bytes:
    return name(owner) + struct.pack("!HHIH", kind, IN if kind == PTR else flags, ttl, len(data)) + data


def response(*records: bytes) -> bytes:
    return struct.pack("!6H", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def text(*pairs: bytes) -> bytes:
    return b"".join(bytes([len(pair)]) + pair for pair in pairs)


def node(
    id: str,
    addresses: tuple[str, ...] = ("127.0.0.1",),
    port: int = 7433,
    txt: bytes = b"\x09name=fake",
    server: str | None = None,
    ttl: int = 120,
) -> bytes:
    """All that a node announces, as a forger would write it."""
    instance, host = f"{id}.{SERVICE}", server or f"{id}.local."
    records = [
        record(SERVICE, PTR, name(instance), ttl),
        record(instance, SRV, struct.pack("!3H", 0, 0, port) + name(host), ttl),
        record(instance, TXT, txt, ttl),
    ]
    for address in addresses:
        version, kind = (socket.AF_INET6, AAAA) if ":" in address else (socket.AF_INET, A)
        records.append(record(host, kind, socket.inet_pton(version, address), ttl))
    return response(*records)


def new_id() -> NodeId:
    return NodeId(secrets.token_hex(16))


class Forger:
    """Sends packets to everybody who listens on loopback."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        self._socket.bind(("127.0.0.1", 0))

    async def send(self, *packets: bytes) -> None:
        for packet in packets:
            self._socket.sendto(packet, GROUP)
            # As fast as the browser reads, a packet in each round of the loop: what the kernel drops attacks nobody.
            await asyncio.sleep(0)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def forger() -> Iterator[Forger]:
    made = Forger()
    yield made
    made.close()


class Watch:
    """What the browser under attack told of; `wanted` are the nodes that it was told to keep whatever happens."""

    def __init__(self) -> None:
        self.browser: Browser
        self.wanted: set[NodeId] = set()
        self.now: dict[NodeId, Sighting] = {}
        self.seen: dict[NodeId, list[Sighting]] = {}
        self.gone: list[NodeId] = []
        self.most = 0
        self._told = asyncio.Event()

    def on_seen(self, sighting: Sighting) -> None:
        self.now[sighting.id] = sighting
        self.seen.setdefault(sighting.id, []).append(sighting)
        self.most = max(self.most, len(self.now))
        self._told.set()

    def on_gone(self, id: NodeId) -> None:
        del self.now[id]
        self.gone.append(id)
        self._told.set()

    async def until(self, true: Callable[[], object], seconds: float = SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                self._told.clear()
                await self._told.wait()


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """A browser on loopback. Whatever the loop has to complain of fails the test."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    told = Watch()
    async with Browser(scope("127.0.0.1"), told.on_seen, told.on_gone, lambda id: id in told.wanted) as told.browser:
        yield told
    assert complaints == []


async def tell(watch: Watch, forger: Forger, true: Callable[[], object], *packets: bytes) -> None:
    """Sends `packets` until `true`: the kernel drops some where others send much and this process is not let run."""
    async with asyncio.timeout(SECONDS):
        while not true():
            await forger.send(*packets)
            with contextlib.suppress(TimeoutError):
                await watch.until(true, 1.0)


async def after(watch: Watch, forger: Forger) -> None:
    """Everything that was sent before has been read: a node that was announced after it is known."""
    marker = new_id()
    await tell(watch, forger, lambda: marker in watch.seen, node(marker))


async def test_a_plain_record(watch: Watch, forger: Forger) -> None:
    """The forger's packets are good ones: what the other tests refuse is not refused for a slip of theirs."""
    id = new_id()
    await tell(watch, forger, lambda: id in watch.now, node(id))
    assert watch.now[id] == Sighting(id, "fake", ("127.0.0.1:7433",))


BAD_ADDRESSES = ("0.0.0.0", "224.0.0.1", "255.255.255.255", "8.8.8.8", "192.168.1.1", "::", "ff02::1", "2600::1", "fe80::1")


@pytest.mark.parametrize("address", [*BAD_ADDRESSES, "::ffff:127.0.0.1"])
async def test_addresses_that_are_none(watch: Watch, forger: Forger, address: str) -> None:
    """A browser kept on loopback passes on no address that leads out, and no node that has no other."""
    lost, mixed = new_id(), new_id()
    await tell(watch, forger, lambda: mixed in watch.now, node(lost, (address,)), node(mixed, (address, "127.0.0.1")))
    assert watch.now[mixed].addresses == ("127.0.0.1:7433",)
    assert lost not in watch.seen


@pytest.mark.parametrize(
    "packet",
    [
        node("not-an-id"),
        node("a" * 31),
        node("A" * 32),
        node("g" * 32),
        node("\u0661" * 31),
        node("a" * 32 + ".b" * 20),
        node("b" * 32, port=0),
        node("c" * 32, server=f"{'d' * 32}.local."),
        node("e" * 32, ()),
    ],
)
async def test_nodes_that_are_none(watch: Watch, forger: Forger, packet: bytes) -> None:
    """Whatever is not named as nodes are, has no port, no address or another node's host is not passed on."""
    await forger.send(packet)
    await after(watch, forger)
    assert not watch.seen.keys() & {id * 32 for id in "abcdefg"}
    assert all(len(id) == 32 for id in watch.seen)


@pytest.mark.parametrize(
    ("txt", "shown"),
    [
        (text(b"name=a\x1b[2Jb\x07\r\nc"), "a [2Jb c"),
        (text("name=evil\u202egpj.exe\u2066".encode()), "evilgpj.exe"),
        (text(b"name=\xff\xfe\xed\xa0\x80"), "\ufffd" * 5),
        (text(b"name"), ""),
        (text(b"name="), ""),
        (text(b"NAME=x", b"=", b""), ""),
        (text(b"name=\x00\x1b\x7f\xc2\x9b"), ""),
        (text(*[b"name=" + b"x" * 250] * 30), "x" * 63 + "…"),
        (text(b"name=cut off")[:-4], "cut"),
        (b"\xff" * 2_000, ""),
        (b"", ""),
    ],
)
async def test_names(watch: Watch, forger: Forger, txt: bytes, shown: str) -> None:
    """Whatever stands in a text record, the name that is passed on is one short line that a terminal can take."""
    id = new_id()
    await tell(watch, forger, lambda: id in watch.now, node(id, txt=txt))
    name = watch.now[id].name
    assert name.isprintable()
    assert name.startswith(shown[:20] or id[:8])
    assert 0 < len(name) <= 64


async def test_packets_that_are_none(watch: Watch, forger: Forger, caplog: pytest.LogCaptureFixture) -> None:
    """Loops of compression, cut and random packets are dropped without a word, and the node that follows is found."""
    caplog.set_level(logging.INFO)
    dice = random.Random(7)
    good = node(new_id(), ("127.0.0.1", "::1"))
    header = struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0)
    loops = [
        header + b"\xc0\x0c" + struct.pack("!HHIH", PTR, IN, 120, 2) + b"\xc0\x0c",
        header + b"\xc0\x0e\xc0\x0c" + struct.pack("!HHIH", PTR, IN, 120, 2) + b"\xc0\x0c",
        header + b"\x01a\xc0\x0c" + struct.pack("!HHIH", PTR, IN, 120, 2) + b"\xc0\x0c",
        header + b"\xc0\xff",
        struct.pack("!6H", 0, 0x8400, 65_535, 65_535, 65_535, 65_535),
        header + b"\x3f" + b"a" * 8_000,
    ]
    await forger.send(*loops, *(good[:length] for length in range(len(good))))
    for _ in range(1_000):
        mutant = bytearray(good)
        for _ in range(dice.randint(1, 8)):
            mutant[dice.randrange(len(mutant))] = dice.randrange(256)
        await forger.send(bytes(mutant))
    await forger.send(*(dice.randbytes(dice.randint(0, 1_400)) for _ in range(300)))
    await after(watch, forger)
    assert [record.getMessage() for record in ours(caplog)] == []


async def test_another_address_for_a_known_node(watch: Watch, forger: Forger) -> None:
    """Who forges records for a node adds addresses that lead nowhere, and takes away none that it had."""
    id = new_id()
    began = time.monotonic()
    async with Announcer(id, "real", 7433, scope("127.0.0.1")):
        await watch.until(lambda: id in watch.now)
        forged = 0
        while forged < 100 or len(watch.seen[id]) < 4:
            forged += 1
            told = tuple(f"127.{forged % 200}.{n}.1" for n in range(20))
            await forger.send(node(id, told, port=1_000 + forged))
            await asyncio.sleep(0.02)  # the attack itself: its pace, over some seconds
    assert all("127.0.0.1:7433" in sighting.addresses for sighting in watch.seen[id])
    assert all(len(sighting.addresses) <= MAX_ADDRESSES for sighting in watch.seen[id])
    # Each second it may be passed on when it is heard, and once more for what was heard since.
    assert len(watch.seen[id]) <= 2 * (time.monotonic() - began) + 2


async def test_forged_goodbyes(watch: Watch, forger: Forger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A goodbye for a node that is there does not make it gone; for one that is not there it does."""
    id, absent = new_id(), new_id()

    def doubted() -> set[NodeId]:
        return {each for each, known in watch.browser._known.items() if known.doubted is not None}

    # On a busy machine it may take long until the node has contradicted.
    monkeypatch.setattr("edgenode.net.discovery.ANSWER_SECONDS", SECONDS)
    async with Announcer(id, "real", 7433, scope("127.0.0.1")):
        await tell(watch, forger, lambda: {id, absent} <= watch.now.keys(), node(absent))
        await tell(watch, forger, lambda: {id, absent} <= doubted(), node(id, ttl=0), node(absent, ttl=0))
        await after(watch, forger)
        await watch.until(lambda: id not in doubted())
        monkeypatch.setattr("edgenode.net.discovery.ANSWER_SECONDS", 0.0)
        await watch.until(lambda: absent in watch.gone)
        told = len(watch.seen[id])
        await watch.until(lambda: len(watch.seen[id]) > told)
        assert id not in watch.gone


async def test_goodbyes_for_nobody(watch: Watch, forger: Forger) -> None:
    """Goodbyes of nodes that were never seen are told to nobody."""
    ids = [new_id() for _ in range(300)]
    await forger.send(*(node(id, ttl=0) for id in ids))
    await after(watch, forger)
    assert not watch.seen.keys() & set(ids)
    assert not set(watch.gone) & set(ids)


async def test_records_of_any_size(watch: Watch, forger: Forger) -> None:
    """Thousands of the largest records, under others' names, a node's own and ever new ones, and of every class, are not kept by
    who announces or by who looks, nor by the library for when they end; what is needed of a node that is there is."""
    id, early = new_id(), new_id()
    large = b"\xff" + b"x" * 255
    # A bit for each of 256 types, again and again: of 9 kB, which make a list of 65,000 numbers.
    types = b"".join(bytes([window, 32]) + b"\xff" * 32 for window in range(256))

    def huge(owner: str, number: int) -> bytes:
        return response(record(owner, TXT, struct.pack("!B3sQ", 11, b"no=", number) + large * 33, ttl=4_500))

    async with Announcer(id, "real", 7433, scope("127.0.0.1")):
        await tell(watch, forger, lambda: {id, early} <= watch.now.keys(), node(early))
        for each in range(10):
            for owner in ("printer-{}._ipp._tcp.local.", "another.local.", f"{id}.{SERVICE}", f"{id}.local.", f"{early}.{SERVICE}"):
                await forger.send(*(huge(owner.format(number), number) for number in range(each * 100, each * 100 + 100)))
            # Of names as nodes have them, and of one name more addresses than any host has.
            await forger.send(*(huge(f"{new_id()}.{SERVICE}", number) for number in range(100)))
            told = tuple(f"127.{each}.{n}.1" for n in range(250))
            await forger.send(*(node(early, told[at : at + 50]) for at in range(0, 250, 50)))
            # Pointers of our service in classes that nobody uses, each of which is another record.
            pointer = name(SERVICE), name(f"{early}.{SERVICE}")
            for first in range(2 + each * 400, 402 + each * 400, 80):
                told_classes = (struct.pack("!HHIH", PTR, number, 4_500, len(pointer[1])) for number in range(first, first + 80))
                await forger.send(response(*(pointer[0] + head + pointer[1] for head in told_classes)))
            await forger.send(*(response(record(f"{new_id()}.local.", NSEC, b"\0" + types)) for _ in range(3)))
            await after(watch, forger)
        gc.collect()  # those of earlier tests
        caches = [each for each in gc.get_objects() if isinstance(each, DNSCache)]
        kept = [each for cache in caches for records in cache.cache.values() for each in records]
        # More than 45 MB were sent.
        assert len(caches) >= 2
        assert sum(len(each.text) for each in kept if isinstance(each, DNSText)) < 1024 * 1024
        assert len([each for each in kept if each.name == f"{early}.local."]) <= len(caches) * RECORDS_OF_NAME
        assert {each.class_ for each in kept} == {IN}
        ending = [each for cache in caches for _, each in cache._expire_heap]
        assert sum(len(each.text) for each in ending if isinstance(each, DNSText)) < 1024 * 1024
        assert sum(len(each.rdtypes) for each in ending if isinstance(each, DNSNsec)) < 1_000
        heard = len(watch.seen[id])
        await watch.until(lambda: len(watch.seen[id]) > heard)
        assert watch.seen[id][-1].name == "real"
        assert id not in watch.gone


async def test_thousands_of_nodes(
    watch: Watch, forger: Forger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A flood of invented nodes fills no memory and starts no tasks; those that came before, those that are known and those
    that come later are found, and one line is logged."""
    early, known, late = new_id(), new_id(), new_id()
    watch.wanted = {known}
    # However long a busy machine takes: none that is heard once only is gone for its silence, and no second line is due.
    monkeypatch.setattr("edgenode.net.discovery.SILENT_SECONDS", 3_600.0)
    monkeypatch.setattr("edgenode.net.discovery.WARN_SECONDS", 3_600.0)
    await tell(watch, forger, lambda: early in watch.now, node(early))
    tasks = len(asyncio.all_tasks())
    for _ in range(3):
        await forger.send(*(node(new_id()) for _ in range(500)))
        # Pointers alone: each would be worth a question.
        await forger.send(*(response(record(SERVICE, PTR, name(f"{new_id()}.{SERVICE}"))) for _ in range(500)))
        await after(watch, forger)
        assert len(asyncio.all_tasks()) <= tasks + 1
    async with Announcer(known, "known", 7433, scope("127.0.0.1")):
        await watch.until(lambda: known in watch.now)
        await forger.send(*(node(new_id()) for _ in range(500)))
        async with Announcer(late, "late", 7434, scope("127.0.0.1")):
            await watch.until(lambda: late in watch.now)
    assert early in watch.now
    assert known in watch.now
    assert watch.most <= MAX_SIGHTINGS + 1
    assert len(watch.gone) > 0
    (warning,) = logged(caplog, "edgenode.net.discovery")
    assert "256 devices" in warning
