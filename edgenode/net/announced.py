"""How nodes are named in mDNS, and what its records say of them."""

import re
from typing import Final

# The package names these at its top for its users, but not among what it exports.
from zeroconf import DNSPointer, DNSRecord  # type: ignore[attr-defined]
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edgenode.net.wire import NAME_CHARACTERS
from edgenode.text import clean_line
from edgenode.types import NodeId

SERVICE: Final = "_edgenode._tcp.local."
_INSTANCE: Final = re.compile(r"([0-9a-f]{32})\._edgenode\._tcp\.local\.")
_SERVER: Final = re.compile(r"([0-9a-f]{32})\.local\.")


def told_of(record: DNSRecord) -> NodeId | None:
    """The node that a record is about, None for what is not named as our nodes are."""
    if isinstance(record, DNSPointer):
        match = _INSTANCE.fullmatch(alias(record)) if record.name == SERVICE else None
    else:
        match = _INSTANCE.fullmatch(record.name) or _SERVER.fullmatch(record.name)
    return NodeId(match[1]) if match else None


def drop(zeroconf: AsyncZeroconf, id: NodeId) -> None:
    """Forgets what a node has told."""
    cache = zeroconf.zeroconf.cache
    for name in (SERVICE, f"{id}.{SERVICE}", f"{id}.local."):
        cache.async_remove_records([record for record in cache.entries_with_name(name) if told_of(record) == id])


def alias(record: DNSRecord) -> str:
    """What a pointer points at; empty for records of other kinds."""
    return record.alias if isinstance(record, DNSPointer) else ""


def name_of(info: AsyncServiceInfo) -> str:
    """The name that a node gives itself, cleaned; empty where it gives none."""
    try:
        value = info.properties.get(b"name") or b""
    except (ValueError, IndexError):  # a text record that is cut off
        return ""
    return clean_line(value.decode("utf-8", "replace"), NAME_CHARACTERS)
