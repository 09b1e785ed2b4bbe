"""mDNS: announcing a node and finding nodes. What is found is a rumour: unauthenticated, and perhaps long gone."""

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from zeroconf import DNSQuestionType, Error, IPVersion, NonUniqueNameException, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from edgenode.errors import NetworkError
from edgenode.net.interfaces import host_port
from edgenode.net.wire import NAME_CHARACTERS
from edgenode.text import clean_line
from edgenode.types import NodeId

SERVICE: Final = "_edgenode._tcp.local."
RESOLVE_MILLISECONDS: Final = 3_000
# A home has a handful; a flood of forged records must not fill the memory.
MAX_SIGHTINGS: Final = 256

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A node as mDNS tells of it. `addresses` are HOST:PORT; `name` is cleaned."""

    id: NodeId
    name: str
    addresses: tuple[str, ...]


def _open(addresses: tuple[str, ...]) -> AsyncZeroconf:
    try:
        return AsyncZeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
    except OSError as error:
        raise NetworkError(
            f"mDNS cannot be used on {', '.join(addresses)}: {error.strerror}. Is port 5353 taken by another program?"
        ) from error


class Announcer:
    """Announces a node as long as it is entered; says goodbye when left. Raises `NetworkError` where mDNS cannot be used.

    The instance is named by the node's id, so that names need not be unique and registering needs no probing
    (1 ms instead of 1.2 s).
    """

    def __init__(self, id: NodeId, name: str, address: str, port: int, interfaces: tuple[str, ...]) -> None:
        self._info = AsyncServiceInfo(
            SERVICE,
            f"{id}.{SERVICE}",
            port=port,
            parsed_addresses=[address],
            server=f"{id}.local.",
            properties={"id": id, "name": name},
        )
        self._interfaces = interfaces
        self._zeroconf: AsyncZeroconf | None = None

    async def __aenter__(self) -> Self:
        self._zeroconf = _open(self._interfaces)
        try:
            await (await self._zeroconf.async_register_service(self._info, cooperating_responders=True))
        except (Error, NonUniqueNameException, OSError) as error:
            await self._zeroconf.async_close()
            raise NetworkError(f"The node cannot be announced by mDNS: {error}") from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._zeroconf is not None:
            # Registering and unregistering hand out the broadcast itself: awaited twice, or the goodbye may never be sent.
            await (await self._zeroconf.async_unregister_service(self._info))
            await self._zeroconf.async_close()


class Browser:
    """Calls `seen` for each node found or changed and `gone` for each that said goodbye, on the event loop, while entered."""

    def __init__(self, interfaces: tuple[str, ...], seen: Callable[[Sighting], None], gone: Callable[[NodeId], None]) -> None:
        self._interfaces = interfaces
        self._seen = seen
        self._gone = gone
        self._ids: dict[str, NodeId] = {}
        self._resolving: set[asyncio.Task[None]] = set()
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None

    async def __aenter__(self) -> Self:
        self._zeroconf = _open(self._interfaces)
        # Asked by multicast from the first: a reply by unicast reaches only one of the programs that share port 5353 on a machine,
        # perhaps not this one, and the second question comes a second later (found after 1.1 s instead of 0.1 s).
        self._browser = AsyncServiceBrowser(
            self._zeroconf.zeroconf, SERVICE, handlers=[self._changed], question_type=DNSQuestionType.QM
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._resolving:
            task.cancel()
        await asyncio.gather(*self._resolving, return_exceptions=True)
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_close()

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            id = self._ids.pop(name, None)
            if id is not None:
                self._gone(id)
        elif (name in self._ids or len(self._ids) < MAX_SIGHTINGS) and len(self._resolving) < MAX_SIGHTINGS:
            task = asyncio.create_task(self._resolve(zeroconf, service_type, name), name="mdns-resolve")
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        try:
            info = AsyncServiceInfo(service_type, name)
            if not (info.load_from_cache(zeroconf) or await info.async_request(zeroconf, RESOLVE_MILLISECONDS)):
                return
            sighting = _sighting(info)
        except (Error, ValueError, OSError) as error:
            logger.debug("An mDNS record was not understood: %s", error)
            return
        if sighting is not None:
            self._ids[name] = sighting.id
            self._seen(sighting)


def _sighting(info: AsyncServiceInfo) -> Sighting | None:
    text = {key: value.decode("utf-8", "replace") for key, value in info.properties.items() if value is not None}
    id = text.get(b"id", "")
    if not re.fullmatch(r"[0-9a-f]{32}", id) or not info.port:
        return None
    # Only loopback until nodes can be paired: an address from a record is anybody's claim.
    addresses = [a for a in info.parsed_addresses(IPVersion.All) if ipaddress.ip_address(a.split("%")[0]).is_loopback]
    if not addresses:
        return None
    name = clean_line(text.get(b"name", ""), NAME_CHARACTERS) or id[:8]
    return Sighting(NodeId(id), name, tuple(host_port(address, info.port) for address in addresses[:8]))


def default_name() -> str:
    """The device's host name, without its domain."""
    return clean_line(socket.gethostname().split(".")[0], NAME_CHARACTERS) or "node"
