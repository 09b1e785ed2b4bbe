"""Listening at the addresses of this machine, two ports at each: one for work and the next for pairing."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from edgenode.errors import EdgenodeError, NetworkError
from edgenode.net.addresses import host_port
from edgenode.net.channel import TlsServer
from edgenode.net.once import LogOnce
from edgenode.net.ports import are_free
from edgenode.threads import in_thread

# How soon a new address is served: as soon as it is announced.
LOOK_SECONDS: Final = 2.0
MAX_HOSTS: Final = 16

logger = logging.getLogger(__name__)


class Listeners:
    """Servers at all addresses that `hosts` gives: those there are when it is opened, and those that appear later. An address that
    is gone is left as it is: nothing reaches it, and if it comes back, as after a cable was out, its connections go on. Only beyond
    `MAX_HOSTS` it makes room for a new one, the one served first before others.

    `build` makes the two servers of one address, since gRPC cannot add an address to a server that runs. `look` is called every
    `LOOK_SECONDS`, on the event loop; `hosts` in a thread.
    """

    def __init__(
        self,
        hosts: Callable[[], tuple[str, ...]],
        build: Callable[[], tuple[TlsServer, TlsServer]],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._hosts = hosts
        self._build = build
        self._look = look
        self._servers: dict[str, tuple[TlsServer, TlsServer]] = {}
        self._follower: asyncio.Task[None] | None = None
        self._once = LogOnce(logger)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses served, those there were at the start first."""
        return tuple(self._servers)

    async def open(self, hosts: tuple[str, ...], port: int) -> None:
        """Serves at `hosts`, what the function of that name gave a moment ago, at `port` and the next one. Raises `NetworkError`,
        and serves nowhere, when one of them cannot be had."""
        try:
            for host in hosts:
                await self._serve(host, port)
        except BaseException:
            await self.close(None)
            raise
        self._follower = asyncio.create_task(self._follow(port), name="new-addresses")

    async def close(self, grace: float | None) -> None:
        """Stops all servers, calls that are open after `grace` seconds."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        servers = [each for pair in self._servers.values() for each in pair]
        self._servers.clear()
        await asyncio.gather(*(server.stop(grace) for server in servers))

    async def _serve(self, host: str, port: int) -> None:
        if not are_free((host,), port):
            raise NetworkError(f"Nothing can listen at {host} on the ports {port} and {port + 1}: one is in use, or not allowed.")
        servers = self._build()
        try:
            for offset, each in enumerate(servers):
                each.listen(host_port(host, port + offset))
        except NetworkError:
            # A server cannot give a port back.
            for each in servers:
                await each.stop(None)
            raise
        self._servers[host] = servers
        # To be cancelled waits for this: a server whose start is broken off, or that has ports and never starts, keeps them.
        starting = asyncio.gather(*(each.start() for each in servers))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.gather(starting, return_exceptions=True)
            raise

    async def _follow(self, port: int) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._look()
            try:
                hosts = await in_thread(self._hosts)
            except NetworkError:  # there is none for now
                continue
            except (EdgenodeError, OSError) as error:
                self._once.warning("The addresses of this machine", f"cannot be read: {error}")
                continue
            for host in hosts:
                if host not in self._servers and await self._make_room(hosts):
                    try:
                        await self._serve(host, port)
                    except (EdgenodeError, OSError) as error:
                        self._once.warning(host, f"is not served: {error}")

    async def _make_room(self, hosts: tuple[str, ...]) -> bool:
        """Whether there is room for one more, for which one that is not among `hosts` may go."""
        if len(self._servers) < MAX_HOSTS:
            return True
        gone = next((host for host in self._servers if host not in hosts), None)
        if gone is None:
            return False
        for each in self._servers.pop(gone):
            await each.stop(None)
        return True
