"""mDNS: announcing a node and finding nodes. What is found is a rumour: unauthenticated, and perhaps long gone."""

import ipaddress
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# The package names these at its top for its users, but not among what it exports.
from zeroconf import (  # type: ignore[attr-defined]
    DNSOutgoing,
    DNSQuestion,
    DNSRecord,
    RecordUpdate,
)
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edgenode.net.addresses import host_port, merge_addresses, usable
from edgenode.net.announced import SERVICE, alias, drop, name_of, told_of
from edgenode.net.interfaces import Scope
from edgenode.net.multicast import Responder, publish
from edgenode.net.wire import NAME_CHARACTERS
from edgenode.text import clean_line
from edgenode.types import NodeId

# A pair of a text record holds 255 bytes, its key included.
NAME_BYTES: Final = 200
# Asked again this often: a node that came back without a word is found within 5 s, and one that is silent for long is gone.
ASK_TICKS: Final = 4
SILENT_SECONDS: Final = 30.0
# A goodbye counts if nobody contradicts it: anybody can forge one. A responder may wait 1.2 s before it repeats itself, so what
# comes that soon may have been in its queue when it said goodbye. Later it is asked, each tick: of two equal packets within a
# second the receiver drops the second.
DOUBT_SECONDS: Final = 1.25
ANSWER_SECONDS: Final = 2.5
# A node that keeps talking is passed on at most this often, unless it is new.
NUDGE_SECONDS: Final = 1.0
# A home has a handful. Of strangers' nodes the earliest half stays whatever is forged, the other half are the latest.
MAX_SIGHTINGS: Final = 256
MAX_ADDRESSES_READ: Final = 64
MAX_INCOMPLETE: Final = 32
WARN_SECONDS: Final = 60.0

_QUERY: Final = 0
_TYPE_PTR, _TYPE_TXT, _TYPE_SRV, _CLASS_IN = 12, 16, 33, 1
_SERVICES: Final = "_services._dns-sd._udp.local."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A node as mDNS tells of it. `addresses` are HOST:PORT of its work port, 1 to 8, the latest told first; `name` is cleaned."""

    id: NodeId
    name: str
    addresses: tuple[str, ...]


class Announcer(Responder):
    """Announces a node as long as it is entered, at all addresses that `scope` has at the time; says goodbye when left.

    The instance is named by the node's id, so that names need not be unique. Entering never fails for want of a network or because
    port 5353 is taken: `problem` tells, and it goes on trying.
    """

    def __init__(self, id: NodeId, name: str, port: int, scope: Scope, clock: Callable[[], float] = time.time) -> None:
        super().__init__(scope, clock)
        self._id = id
        self._name = name.encode("utf-8", "replace")[:NAME_BYTES].decode("utf-8", "ignore")
        self._port = port

    async def _opened(self, zeroconf: AsyncZeroconf) -> None:
        await self._moved(zeroconf)

    async def _moved(self, zeroconf: AsyncZeroconf) -> None:
        if not self._surroundings.addresses:
            return
        info = AsyncServiceInfo(
            SERVICE,
            f"{self._id}.{SERVICE}",
            port=self._port,
            addresses=[ipaddress.ip_address(address.partition("%")[0]).packed for address in self._surroundings.addresses],
            server=f"{self._id}.local.",
            properties={"name": self._name},
        )
        await publish(zeroconf, info)

    def _needs(self, record: DNSRecord) -> bool:
        # What it has said itself: by that it knows what need not be repeated.
        return told_of(record) == self._id or (record.name == _SERVICES and alias(record) == SERVICE)

    def _is_shared(self, record: DNSRecord) -> bool:
        return record.name in (SERVICE, _SERVICES)


@dataclass(slots=True)
class _Known:
    addresses: dict[str, float]
    """HOST:PORT, the longest known first, and when a record last said so."""
    told: float
    """When it was last passed on."""
    heard: float
    wanted: bool
    doubted: float | None = None
    """When it said goodbye, or somebody in its name."""


class Browser(Responder):
    """Calls `seen` for each node found, changed or heard again and `gone` for each that has left, on the event loop, while entered.

    `seen` is called at most once in a second for a node that is known; whoever is heard again after a silence is worth dialling
    at once. `gone` comes for a goodbye that nobody contradicts, after half a minute of silence, and for strangers beyond
    `MAX_SIGHTINGS`; nodes that are `wanted` are never crowded out by others. This device's own node is reported like any other.
    """

    def __init__(
        self,
        scope: Scope,
        seen: Callable[[Sighting], None],
        gone: Callable[[NodeId], None],
        wanted: Callable[[NodeId], bool] = lambda _id: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(scope, clock)
        self._seen = seen
        self._gone = gone
        self._wanted = wanted
        self._known: dict[NodeId, _Known] = {}
        self._incomplete: dict[NodeId, None] = {}
        self._asked: set[NodeId] = set()
        """Those that were incomplete at the last question: what they had told waits for the answer."""
        self._heard: set[NodeId] = set()
        self._left: set[NodeId] = set()
        self._later: set[NodeId] = set()
        self._warned: float | None = None

    def _hear(self, records: list[RecordUpdate]) -> None:
        for update in records:
            id = told_of(update.new)
            if id is None:
                continue
            # Records that only expired in the cache come as both new and old.
            if update.new.ttl == 0:
                self._left.add(id)
            elif update.old is not update.new:
                self._heard.add(id)

    def _heard_all(self, zeroconf: AsyncZeroconf) -> None:
        heard, left, self._heard, self._left = self._heard, self._left, set(), set()
        now = time.monotonic()
        for id in left - heard:
            known = self._known.get(id)
            if known is not None and known.doubted is None:
                known.doubted = now
        for id in heard:
            self._read(zeroconf, id, now)

    def _needs(self, record: DNSRecord) -> bool:
        id = told_of(record)
        return id is not None and (id in self._known or id in self._incomplete or id in self._asked or self._wanted(id))

    def _is_shared(self, record: DNSRecord) -> bool:
        return record.name == SERVICE

    async def _opened(self, zeroconf: AsyncZeroconf) -> None:
        self._ask(zeroconf)

    async def _moved(self, zeroconf: AsyncZeroconf) -> None:
        self._ask(zeroconf)

    def _ticked(self, zeroconf: AsyncZeroconf, tick: int) -> None:
        now = time.monotonic()
        doubts = False
        for id, known in list(self._known.items()):
            doubted = now - known.doubted if known.doubted is not None else 0.0
            if doubted >= DOUBT_SECONDS + ANSWER_SECONDS or now - known.heard >= SILENT_SECONDS:
                self._forget(zeroconf, id)
            else:
                doubts |= doubted >= DOUBT_SECONDS
        later, self._later = self._later, set()
        for id in later & self._known.keys():
            self._tell_of(zeroconf, id, now)
        # The second question, after a second, is for those that keep silent because they had just spoken.
        if doubts or tick == 1 or tick % ASK_TICKS == 0:
            self._ask(zeroconf)

    def _ask(self, zeroconf: AsyncZeroconf) -> None:
        """Asks everybody, by multicast, without naming those known already: who is there says so.

        A reply by unicast would reach only one of the programs that share port 5353 on a machine, perhaps not this one.
        """
        out = DNSOutgoing(_QUERY)
        out.add_question(DNSQuestion(SERVICE, _TYPE_PTR, _CLASS_IN))
        for id in self._incomplete:
            out.add_question(DNSQuestion(f"{id}.{SERVICE}", _TYPE_SRV, _CLASS_IN))
            out.add_question(DNSQuestion(f"{id}.{SERVICE}", _TYPE_TXT, _CLASS_IN))
        for id in self._asked - self._known.keys() - self._incomplete.keys():
            drop(zeroconf, id)
        self._asked = set(self._incomplete)
        self._incomplete.clear()
        zeroconf.zeroconf.async_send(out)

    def _read(self, zeroconf: AsyncZeroconf, id: NodeId, now: float) -> None:
        """Takes in what is known of a node that was just heard."""
        known = self._known.get(id)
        if known is not None:
            known.heard = now
            if known.doubted is not None and now - known.doubted >= DOUBT_SECONDS:
                known.doubted = None
            if now - known.told < NUDGE_SECONDS:
                self._later.add(id)
                return
        self._tell_of(zeroconf, id, now)

    def _tell_of(self, zeroconf: AsyncZeroconf, id: NodeId, now: float) -> None:
        info = AsyncServiceInfo(SERVICE, f"{id}.{SERVICE}")
        if not info.load_from_cache(zeroconf.zeroconf):
            if len(self._incomplete) < MAX_INCOMPLETE:
                self._incomplete[id] = None
            return
        told = self._addresses(id, info)
        if not told:
            return
        wanted = self._wanted(id)
        known = self._known.get(id)
        if known is None:
            if not wanted:
                self._make_room(zeroconf, now)
            known = self._known[id] = _Known({}, now, now, wanted)
        # A node that moved says so; only what a record keeps saying is kept.
        before = {address: since for address, since in known.addresses.items() if now - since < SILENT_SECONDS}
        merged = merge_addresses(tuple(before), told)
        known.addresses = {address: now if address in told else before[address] for address in merged}
        known.told, known.wanted = now, wanted
        current = [address for address in told if address in known.addresses]
        others = [address for address in known.addresses if address not in told]
        self._seen(Sighting(id, name_of(info) or id[:8], (*current, *others)))

    def _addresses(self, id: NodeId, info: AsyncServiceInfo) -> tuple[str, ...]:
        # Nodes of ours name their host by their id too: records for another's host say nothing about this one.
        if info.server != f"{id}.local." or not info.port:
            return ()
        told = (_named_zone(address) for address in info.parsed_scoped_addresses()[:MAX_ADDRESSES_READ])
        around = self._surroundings
        good = usable((address for address in told if address), around.loopback, around.networks)
        return tuple(host_port(address, info.port) for address in good)

    def _make_room(self, zeroconf: AsyncZeroconf, now: float) -> None:
        strangers = [id for id, known in self._known.items() if not known.wanted]
        if len(strangers) < MAX_SIGHTINGS:
            return
        if self._warned is None or now - self._warned >= WARN_SECONDS:
            self._warned = now
            logger.warning("More than %d devices announce themselves by mDNS; not all of them are listed.", MAX_SIGHTINGS)
        self._forget(zeroconf, strangers[MAX_SIGHTINGS // 2])

    def _forget(self, zeroconf: AsyncZeroconf, id: NodeId) -> None:
        del self._known[id]
        drop(zeroconf, id)
        self._gone(id)


def default_name() -> str:
    """The device's host name, without its domain."""
    return clean_line(socket.gethostname().split(".")[0], NAME_CHARACTERS) or "node"


def _named_zone(address: str) -> str | None:
    """`fe80::1%2` as `fe80::1%eth0`, None if there is no such interface (any more)."""
    bare, percent, index = address.partition("%")
    if not percent:
        return address
    try:
        return f"{bare}%{socket.if_indextoname(int(index))}"
    except (OSError, ValueError, OverflowError):
        return None
