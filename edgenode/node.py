"""One node: home, engine, queue, server and announcement, put together."""

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edgenode import __version__
from edgenode.engines.engine import Engine
from edgenode.errors import NetworkError, UsageError
from edgenode.home import default_home, open_home
from edgenode.net.discovery import Announcer, default_name
from edgenode.net.interfaces import listen_address, multicast_addresses
from edgenode.net.service import NodeServer
from edgenode.net.wire import NAME_CHARACTERS
from edgenode.text import clean_line
from edgenode.types import NodeDescription, NodeId
from edgenode.work import WorkQueue

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Where and as what a node serves. `None` is "as usual": the default home, the host's name, loopback, a free port."""

    home: Path | None = None
    name: str | None = None
    interface: str | None = None
    listen: str | None = None
    port: int = 0


class Node:
    """An async context manager: entering locks the home, starts the engine, listens and announces; leaving undoes it in reverse,
    so that the goodbye goes out first and the engine is stopped last.

    Raises `HomeError`, `EngineError` or `NetworkError` when it cannot start. Without mDNS it serves all the same and warns.
    """

    def __init__(self, config: NodeConfig, engine: Engine) -> None:
        self._config = config
        self._engine = engine
        self._stack = contextlib.AsyncExitStack()
        self._id = NodeId("")
        self._name = _usable_name(config.name) if config.name is not None else default_name()
        self._queue = WorkQueue(engine)
        self._server: NodeServer | None = None
        self.announced = False
        """Whether mDNS tells of it."""

    @property
    def address(self) -> str:
        """HOST:PORT it listens at, once entered."""
        assert self._server is not None, "entered"
        return self._server.address

    def description(self) -> NodeDescription:
        return NodeDescription(
            id=self._id,
            name=self._name,
            version=__version__,
            engine=self._engine.name,
            engine_state=self._engine.state,
            models=self._engine.models,
            lease_limit=self._queue.limit,
        )

    async def __aenter__(self) -> Self:
        config = self._config
        host = listen_address(config.listen, config.interface)
        interfaces = multicast_addresses(config.interface)
        async with contextlib.AsyncExitStack() as stack:
            self._id = stack.enter_context(open_home(config.home or default_home()))
            await stack.enter_async_context(self._engine)
            await stack.enter_async_context(self._queue)
            self._server = await stack.enter_async_context(NodeServer(self.description, self._queue, host, config.port))
            # Left before the server is, so that every coordinator is told what became of its leases.
            stack.push_async_callback(self._queue.stop)
            self._engine.watch(self._server.announce_change)
            try:
                await stack.enter_async_context(Announcer(self._id, self._name, host, self._server.port, interfaces))
                self.announced = True
            except NetworkError as error:
                logger.warning("%s Coordinators will not find this node.", error)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()


def _usable_name(name: str) -> str:
    """`name` as one line that fits a record of mDNS (255 bytes with its key)."""
    cleaned = clean_line(name, NAME_CHARACTERS).encode("utf-8")[:200].decode("utf-8", "ignore")
    if not cleaned:
        raise UsageError(f"A node's name needs at least one visible character; {name!r} has none.")
    return cleaned
