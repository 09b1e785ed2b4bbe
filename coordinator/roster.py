"""Who is there: finds nodes, keeps a work stream to each, and tells whoever listens what they send."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Self

from coordinator.events import NodeInfo, NodeState
from edgenode.errors import NetworkError
from edgenode.net.client import NodeConnection, NodeLost
from edgenode.net.discovery import Browser, Sighting
from edgenode.types import Frame, Heartbeat, NodeDescription, NodeId

# mDNS answers a browser's first question within 0.2 s, but a node that announced itself less than a second before keeps silent
# then, and answers the second question, which comes after one second.
LISTEN_SECONDS: Final = 1.6
SETTLE_SECONDS: Final = 0.4
DISCOVER_SECONDS: Final = 4.0
# Nodes that were asked for by name are waited for longer than those that may happen to be there.
NAMED_SECONDS: Final = 10.0
# A home has a handful; forged records must not fill the memory with peers to be dialled.
MAX_PEERS: Final = 256
RECONNECT_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
# Failing to connect for this many times in a row turns a suspect into gone; it is tried on all the same.
TRIES_UNTIL_GONE: Final = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Up:
    """A node is connected, or described itself anew."""

    node: NodeInfo


@dataclass(frozen=True, slots=True)
class Down:
    node: NodeInfo
    why: str


@dataclass(frozen=True, slots=True)
class Heard:
    node: NodeId
    frame: Frame


News = Up | Down | Heard
Listener = Callable[[News], None]


@dataclass(slots=True, eq=False)
class _Peer:
    sighting: Sighting
    state: NodeState = NodeState.SUSPECT
    description: NodeDescription | None = None
    address: str = ""
    connection: NodeConnection | None = None
    tries: int = 0
    nudge: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None

    def info(self) -> NodeInfo:
        told = self.description
        return NodeInfo(
            id=self.sighting.id,
            name=(told.name if told else "") or self.sighting.name,
            address=self.address or self.sighting.addresses[0],
            state=self.state,
            engine=told.engine if told else "",
            engine_state=told.engine_state if told else None,
            models=told.models if told else (),
        )


class Roster:
    """The nodes found by mDNS on `interfaces`, each with a connection that is made again when it breaks.

    `only` restricts it to nodes of these names or ids. An async context manager; everything it started ends with it.
    """

    def __init__(self, interfaces: tuple[str, ...], only: Collection[str] = ()) -> None:
        self.only = frozenset(only)
        self.others: set[str] = set()
        """Names of nodes that were found and are not wanted."""
        self._browser = Browser(interfaces, self._seen, self._goodbye)
        self._peers: dict[NodeId, _Peer] = {}
        self._listeners: list[Listener] = []
        self._started = 0.0
        self._last_change = 0.0
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._browser.__aenter__()
        self._started = self._last_change = time.monotonic()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._browser.__aexit__(*exc_info)
        keepers = [peer.keeper for peer in self._peers.values() if peer.keeper is not None]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    def nodes(self) -> tuple[NodeInfo, ...]:
        """All nodes ever seen, by name."""
        return tuple(sorted((peer.info() for peer in self._peers.values()), key=lambda node: (node.name, node.id)))

    async def settle(self) -> None:
        """Returns once every node found is either connected or was tried in vain and no news has come for a moment; bounded by
        `DISCOVER_SECONDS` after the start, or `NAMED_SECONDS` while a node that was asked for is missing."""
        while True:
            now = time.monotonic()
            missing = self._missing()
            rest = self._started + (NAMED_SECONDS if missing else DISCOVER_SECONDS) - now
            waiting = missing or any(peer.state is NodeState.SUSPECT for peer in self._peers.values())
            quiet = max(self._last_change + SETTLE_SECONDS, self._started + LISTEN_SECONDS) - now
            if rest <= 0 or (quiet <= 0 and self._peers and not waiting):
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(rest if waiting or not self._peers else min(rest, max(quiet, 0.01))):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _missing(self) -> bool:
        joined = [peer.info() for peer in self._peers.values() if peer.state is NodeState.JOINED]
        return not self.only <= {text for node in joined for text in (node.name, node.id)}

    def send(self, node: NodeId, frame: Frame) -> None:
        """Sends a frame to a node; lost when it is not connected, which `Down` will have told or is about to tell."""
        peer = self._peers.get(node)
        if peer is not None and peer.connection is not None:
            peer.connection.send(frame)

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Calls `listener` with all news on the event loop, first with an `Up` for each node connected now. It must not block."""
        for peer in self._peers.values():
            if peer.state is NodeState.JOINED:
                listener(Up(peer.info()))
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _tell(self, news: News) -> None:
        if not isinstance(news, Heard):
            self._last_change = time.monotonic()
            self._changed.set()
        for listener in tuple(self._listeners):
            listener(news)

    def _seen(self, sighting: Sighting) -> None:
        if self.only and not self.only & {sighting.name, sighting.id}:
            if len(self.others) < MAX_PEERS:
                self.others.add(sighting.name)
            return
        peer = self._peers.get(sighting.id)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                return
            peer = self._peers[sighting.id] = _Peer(sighting)
            peer.keeper = asyncio.create_task(self._keep(peer), name=f"node-{sighting.name}")
        else:
            peer.sighting = sighting
            peer.nudge.set()
        self._last_change = time.monotonic()
        self._changed.set()

    def _goodbye(self, node: NodeId) -> None:
        peer = self._peers.get(node)
        # A goodbye is a rumour too: a node that is connected is believed, its stream will end by itself.
        if peer is not None and peer.connection is None:
            peer.state = NodeState.GONE
            peer.tries = TRIES_UNTIL_GONE

    async def _keep(self, peer: _Peer) -> None:
        """Connects to one node for as long as the roster lives."""
        while True:
            why = "The node cannot be reached."
            for address in peer.sighting.addresses:
                try:
                    async with NodeConnection(address) as connection:
                        await self._converse(peer, address, connection)
                except NetworkError as error:
                    why = str(error)
                except Exception:
                    # A defect of ours must cost this connection and not the node for good: listeners are told, it is tried again.
                    logger.exception("The connection to %s broke unexpectedly.", peer.sighting.name)
                    why = "The connection broke unexpectedly."
                finally:
                    was_joined = peer.state is NodeState.JOINED
                    peer.connection = None
                    peer.state = NodeState.GONE if peer.tries >= TRIES_UNTIL_GONE else NodeState.SUSPECT
                if was_joined:
                    self._tell(Down(peer.info(), why))
                    break
            peer.tries += 1
            if peer.tries == TRIES_UNTIL_GONE:
                peer.state = NodeState.GONE
                self._changed.set()
                logger.info("Node %s (%s): %s", peer.info().name, peer.info().address, why)
            peer.nudge.clear()
            try:
                # A record is a nudge to try again now.
                async with asyncio.timeout(RECONNECT_SECONDS[min(peer.tries, len(RECONNECT_SECONDS)) - 1]):
                    await peer.nudge.wait()
            except TimeoutError:
                pass

    async def _converse(self, peer: _Peer, address: str, connection: NodeConnection) -> None:
        description = connection.description
        if description.id != peer.sighting.id:
            raise NodeLost(f"Another node answers at {address} than was announced.")
        peer.tries = 0
        peer.address = address
        peer.description = description
        peer.connection = connection
        peer.state = NodeState.JOINED
        self._tell(Up(peer.info()))
        async for frame in connection.frames():
            match frame:
                case Heartbeat():
                    pass
                case NodeDescription():
                    if frame.id != peer.sighting.id:
                        raise NodeLost("The node changed its identity in the middle of a connection.")
                    peer.description = frame
                    self._tell(Up(peer.info()))
                case _:
                    self._tell(Heard(peer.sighting.id, frame))
