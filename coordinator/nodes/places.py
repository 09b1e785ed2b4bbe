"""Where a node may be, by who says so."""

from collections.abc import Iterable, Sequence
from typing import Final

from edgenode.net.addresses import is_link_local

# A device has a few addresses of each kind. What somebody claims by mDNS comes after what has worked.
MAX_ADDRESSES: Final = 16
# Of those that speak for a node, in whose order its addresses are tried.
SOURCES: Final = ("running", "joined", "kept", "seen")


class Places:
    """Of one node. Sources are "seen" (mDNS), "running" (its private file), "joined" (an address that a person gave), "kept" (where
    it was met before) and "dialled in" (it came by itself, and is at no address)."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, ...]] = {}

    def put(self, source: str, addresses: Sequence[str]) -> bool:
        """Whether that is new. No addresses say that it is there all the same."""
        before = self._told.get(source)
        self._told[source] = tuple(addresses)
        return before != self._told[source]

    def drop(self, source: str) -> None:
        self._told.pop(source, None)

    def addresses(self, worked: Iterable[str]) -> tuple[str, ...]:
        """All of them, HOST:PORT, after those that have `worked`, link-local ones last (empty ones are left out)."""
        told = sorted((address for source in SOURCES for address in self._told.get(source, ())), key=is_link_local)
        return tuple(dict.fromkeys(address for address in (*worked, *told) if address))[:MAX_ADDRESSES]

    def was_given(self, address: str) -> bool:
        """Whether it answered at HOST:PORT when a person gave that."""
        return address in self._told.get("joined", ())

    def __bool__(self) -> bool:
        """Whether anything speaks for it."""
        return bool(self._told)

    @property
    def is_only_seen(self) -> bool:
        """Whether nothing but mDNS speaks for it."""
        return self._told.keys() <= {"seen"}

    @property
    def is_found(self) -> bool:
        """Whether it may be there now: where a paired node once was is no sign of that."""
        return bool(self._told.keys() - {"kept"})
