"""Who is there: finds nodes, pairs with those that need no asking, keeps a work stream to each, and tells whoever listens."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import Final, Self, TypeVar

from coordinator.events import NodeInfo, NodeState
from coordinator.nodes import settling
from coordinator.nodes.changes import Changes, wait
from coordinator.nodes.joins import Joins
from coordinator.nodes.listening import Listening
from coordinator.nodes.news import Heard, Listener, News, Up, WorkStream
from coordinator.nodes.pairing import Trust
from coordinator.nodes.peer import Peer
from coordinator.nodes.tasks import Tasks
from edgenode.errors import EdgenodeError
from edgenode.net.addresses import is_link_local
from edgenode.net.dialled_in import WaitingDevice
from edgenode.net.discovery import Browser, Sighting
from edgenode.net.interfaces import Scope
from edgenode.trust.certificates import now_utc
from edgenode.trust.frames import Introduction
from edgenode.trust.running import running_nodes
from edgenode.types import Frame, NodeId

# Of whom nothing but mDNS tells. A home has a handful; forged records must fill neither the memory nor the place of others.
MAX_STRANGERS: Final = 256
# How soon what another process does is seen: a node that starts on this machine, one that is unpaired.
LOOK_SECONDS: Final = 1.0
# Watchers get what has changed at most this often.
WATCH_SECONDS: Final = 0.2

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Roster:
    """The nodes around, each paired one with a work stream that is made again when it breaks.

    They are found by mDNS within `scope`, by the files of nodes that run on this machine, where paired nodes were last met, and at
    the addresses `join` (HOST:PORT); those that can only dial out come by themselves while it listens, at `listen_port` or, where
    there is a reason, the usual port. `only` restricts them to nodes of these names or ids; nodes at `join` are always wanted. An
    async context manager; everything it started ends with it.
    """

    def __init__(
        self, scope: Scope, trust: Trust, only: Collection[str] = (), join: Sequence[str] = (), listen_port: int | None = None
    ) -> None:
        self.only = frozenset(only)
        self.others: set[str] = set()
        """Names of nodes that were found and are not wanted."""
        self.trust = trust
        self._join = tuple(join)
        self._changes = Changes()
        self._changed = self._changes.tell
        self._tasks = Tasks()
        self._spawn = self._tasks.spawn
        self._joins = Joins(self._spawn, self._is_connected, self._met, self._changed)
        self.dial_in = Listening(scope, trust, listen_port, self._is_connected, self.take, self._waits, self._waits_no_more)
        self._browser = Browser(scope, self._seen, self._goodbye, self._is_ours)
        self._stack = AsyncExitStack()
        self._peers: dict[NodeId, Peer] = {}
        self._listeners: list[Listener] = []
        self._unread: list[str] = []
        self._ending = False
        self._started = 0.0

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._end)
            self._started = time.monotonic()
            self.look()
            await stack.enter_async_context(self._browser)
            self._spawn(self._look_again(), "look-around")
            self._spawn(self.dial_in.run(), "listen")
            for address in self._join:
                self._joins.add(address)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def nodes(self) -> tuple[NodeInfo, ...]:
        """All nodes ever seen, and the paired ones, by name."""
        names = Counter(peer.name for peer in self._peers.values())
        infos = (self._steady(peer.info(names[peer.name] > 1)) for peer in self._peers.values())
        return tuple(sorted(infos, key=lambda node: (node.name, node.id)))

    def _steady(self, node: NodeInfo) -> NodeInfo:
        """With an address that means something on other machines too, where one has worked: which of several a connection comes
        about at changes from run to run."""
        kept = self.trust.paired.known(node.id) if is_link_local(node.address) else None
        wider = next((each for each in kept.addresses if not is_link_local(each)), "") if kept else ""
        return replace(node, address=wider) if wider else node

    async def settle(self) -> None:
        """Returns once every node found is either connected or was tried in vain and no news has come for a moment; bounded by
        `DISCOVER_SECONDS` after the start (`DIAL_IN_SECONDS` where nodes dial in), or `NAMED_SECONDS` while a node that was asked
        for may still come."""
        while (rest := self._rest()) > 0:
            await wait(self._changes.next(), rest)

    def _rest(self) -> float:
        """Seconds for which discovery goes on unless something changes before; none or fewer when it has come to rest."""
        peers, dials_in = self.peers(), any(kept.dials_in for kept in self.trust.paired.all())
        is_missing = bool(self.unreachable) or settling.is_missing(self.only, peers, time.monotonic() - self._started)
        return settling.rest(peers, is_missing, dials_in, self._started, self._changes.last, time.monotonic())

    async def watch(self) -> AsyncIterator[tuple[NodeInfo, ...]]:
        """`nodes()` now and after every change, for as long as somebody asks."""
        while True:
            change = self._changes.next()
            yield self.nodes()
            await change.wait()
            await asyncio.sleep(WATCH_SECONDS)

    @property
    def problem(self) -> str:
        """Why mDNS does not work now, a sentence; empty while it does."""
        return self._browser.problem

    def peers(self) -> tuple[Peer, ...]:
        return tuple(self._peers.values())

    @property
    def unreachable(self) -> Mapping[str, str]:
        """Addresses to join at which no node has answered yet, and why."""
        return self._joins.unreachable

    def join(self, address: str) -> None:
        """Finds out who serves work at HOST:PORT, as for the addresses given at the start."""
        self._joins.add(address)

    async def changed(self, seconds: float) -> None:
        """Returns after the next change of anything that `nodes` shows, or after `seconds`."""
        await wait(self._changes.next(), seconds)

    def send(self, node: NodeId, frame: Frame) -> None:
        """Sends a frame to a node; lost when it is not connected, which `Down` will have told or is about to tell."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.send(frame)

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Calls `listener` with all news on the event loop, first with an `Up` for each node connected now. It must not block."""
        for peer in self._peers.values():
            if peer.is_connected:
                listener(Up(peer.info()))
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def look(self) -> None:
        """Reads what this machine's files say: who runs here, who is paired, who is invited. Done every second; to be called where
        something in `trust` was just changed."""
        if self._ending:
            return
        # What cannot be read is no reason to keep anybody, nor to leave others: each peer asks for its own record.
        unread: list[str] = []
        paired = _read(self.trust.paired.all, unread)
        running = {node.id: node for node in running_nodes()}
        for kept in paired:
            if kept.id not in self._peers:
                self._found(kept.id, "kept", kept.name, kept.addresses)
        for node in running.values():
            known = self._peers.get(node.id)
            # Found anew at each start, and not at each look.
            if known is None or known.running != node:
                peer = self._peer(node.id, node.name, "running")
                if peer is not None:
                    peer.running = node
                    peer.found("running", node.name, [node.address])
        invites = _read(lambda: self.trust.invites.outstanding(now_utc()), unread)
        for id, peer in tuple(self._peers.items()):
            if peer.running is not None and id not in running:
                peer.running = None
                peer.left("running")
            peer.look(invites)
            if not peer.is_known:
                del self._peers[id]
                self._changed()
        for why in unread:
            if why not in self._unread:
                logger.warning("%s", why)
        self._unread = unread

    # Nodes that dial this coordinator.

    def take(self, stream: WorkStream) -> None:
        """A work stream that a node opened, whose certificate agrees with its description. It is kept in place of an older one, or
        closed."""
        told = stream.description
        peer = self._peer(told.id, told.name, "dialled in")
        if peer is None:
            self._spawn(stream.aclose(), "close-stream")
        else:
            peer.take(stream)

    def _waits(self, device: WaitingDevice) -> None:
        met = device.introduction
        peer = self._peer(met.id, met.name, "dialled in")
        if peer is not None:
            peer.waits(device)
            self.look()

    def _waits_no_more(self, device: WaitingDevice) -> None:
        peer = self._peers.get(device.introduction.id)
        if peer is not None:
            peer.waits_no_more(device)

    # Where nodes are found.

    def _seen(self, sighting: Sighting) -> None:
        is_new = sighting.id not in self._peers
        if self._found(sighting.id, "seen", sighting.name, sighting.addresses) and is_new:
            # It may be one that started on this machine just now.
            self.look()

    def _met(self, address: str, met: Introduction) -> None:
        self._found(met.id, "joined", met.name, (address,))
        self.look()

    def _is_connected(self, id: NodeId) -> bool:
        return id in self._peers and self._peers[id].is_connected

    def _goodbye(self, node: NodeId) -> None:
        peer = self._peers.get(node)
        if peer is not None:
            peer.left("seen")

    def _is_ours(self, id: NodeId) -> bool:
        """Whether it is to be told of however many others there are."""
        peer = self._peers.get(id)
        return id in self.only or (peer is not None and peer.state is not NodeState.UNPAIRED)

    def _found(self, id: NodeId, source: str, name: str, addresses: Sequence[str]) -> Peer | None:
        peer = self._peer(id, name, source)
        if peer is not None:
            peer.found(source, name, addresses)
        return peer

    def _peer(self, id: NodeId, name: str, source: str) -> Peer | None:
        """The peer of that id, made if it is wanted and there is room."""
        peer = self._peers.get(id)
        if peer is not None or self._ending:
            return peer
        kept = self.trust.paired.known(id)
        if self.only and source != "joined" and not self.only & {id, name, kept.name if kept else ""}:
            if source != "kept" and len(self.others) < MAX_STRANGERS:
                self.others.add(name)
            return None
        strangers = [each.id for each in self._peers.values() if each.is_rumour]
        if len(strangers) >= MAX_STRANGERS:
            if source == "seen" and (kept is None or kept.removed is not None):
                return None
            del self._peers[strangers[-1]]
        peer = self._peers[id] = Peer(id, self.trust, self._spawn, self._tell, self._changed, lambda: self.dial_in.problem)
        return peer

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    # What goes on.

    def _tell(self, news: News) -> None:
        if not isinstance(news, Heard):
            self._changed()
        for listener in tuple(self._listeners):
            listener(news)

    async def _end(self) -> None:
        self._ending = True
        for peer in self._peers.values():
            peer.close()
        await self._tasks.end()


def _read(read: Callable[[], tuple[T, ...]], unread: list[str]) -> tuple[T, ...]:
    """What it reads; none where that cannot be, and then why is put into `unread`."""
    try:
        return read()
    except EdgenodeError as error:
        unread.append(str(error))
        return ()
