"""Addresses as text: what a person types, what gRPC dials, and which of those in a record of mDNS are worth dialling. Pure."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from edgenode.errors import UsageError

MAX_ADDRESSES: Final = 8
# Of the addresses known of a node, the oldest are kept whatever is told later: who forges records for a node already found cannot
# push its good address out, and who forges them first leaves room for what the node itself tells.
KEPT_ADDRESSES: Final = MAX_ADDRESSES // 2

_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.?", re.IGNORECASE | re.ASCII
)
_SCOPE: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,32}")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NODE_PORT: Final = 7_433
"""Where a node serves work, unless told otherwise; it can be paired at the next port."""
COORDINATOR_PORT: Final = 7_435
"""Likewise where a coordinator waits for devices that dial it."""


def host_port(host: str, port: int) -> str:
    """`HOST:PORT` as people write it, IPv6 addresses in brackets: `[fe80::1%eth0]:7433`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def grpc_target(address: str) -> str:
    """HOST:PORT as gRPC takes it, to dial or to listen. It decodes percent signs as in a URL: `%f1b`, `%can0` or `%12` would be
    other zones than those meant, or no text at all."""
    return address.replace("%", "%25")


def split_host_port(address: str) -> tuple[str, int]:
    """What `host_port` put together. Raises `UsageError`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal():
        raise UsageError(f"{address!r} is not an address with a port, such as 192.168.1.20:7433.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def parse_host_port(text: str, default_port: int, option: str = "--join") -> str:
    """`HOST[:PORT]` as a person types it, as `host_port` writes it. HOST is a name or an address; IPv6 goes in brackets if a port
    follows. Names are not looked up. Raises `UsageError`, one sentence that names `option`."""
    typed = text.strip()
    wrong = UsageError(
        f"{option} takes HOST or HOST:PORT, such as pi.local, 192.168.1.20:{default_port} or [fe80::1%eth0]:{default_port}, "
        f"not {text[:80]!r}."
    )
    if "/" in typed or re.match(r"https?:(?!\d*$)", typed, re.IGNORECASE):  # a URL, perhaps one whose slashes are missing
        raise wrong
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([^:]*))?", typed)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
        if not isinstance(parse_ip(host), ipaddress.IPv6Address):
            raise wrong
    elif parse_ip(typed) is not None:
        host, port = typed, None
    else:
        host, colon, after = typed.partition(":")
        port = after if colon else None
        # A name of digits and dots is a mistyped address.
        if parse_ip(host) is None and (not _HOST_NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host)):
            raise wrong
    if port is None:
        return host_port(host, default_port)
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or not 0 < int(port) <= 65_535:
        raise UsageError(f"{option} {typed[:80]!r}: a port is a number from 1 to 65535.")
    return host_port(host, int(port))


def parse_ip(text: str) -> IpAddress | None:
    """The address that `text` is, None if it is none. The zone of an IPv6 address (`%eth0`) must look like an interface."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    zone = getattr(address, "scope_id", None)
    return address if zone is None or _SCOPE.fullmatch(zone) else None


def is_link_local(address: str) -> bool:
    """Whether HOST:PORT is an address of one link, which means nothing elsewhere. False for what is no address."""
    host = parse_ip(address.rpartition(":")[0].removeprefix("[").removesuffix("]"))
    return host is not None and host.is_link_local


def usable(told: Iterable[str], loopback: bool, on_link: Iterable[Network]) -> tuple[str, ...]:
    """Of the addresses that a record tells, those worth dialling, each once: first those on a network of this machine, link-local
    ones last.

    Only loopback ones where `loopback`, otherwise none of them. A record is anybody's claim, so an address of the open internet
    counts only if it is in one of the networks `on_link`: nobody makes this machine knock at strangers' doors.
    """
    networks = tuple(on_link)
    near: dict[str, None] = {}
    far: dict[str, None] = {}
    last: dict[str, None] = {}
    for text in told:
        address = parse_ip(text)
        if address is None or not _dialable(address, loopback):
            continue
        bare = address if isinstance(address, ipaddress.IPv4Address) else ipaddress.IPv6Address(int(address))
        if address.is_link_local:
            last[text] = None
        elif any(bare in network for network in networks):
            near[text] = None
        elif not address.is_global:
            far[text] = None
    return (*near, *far, *last)


def merge_addresses(known: tuple[str, ...], told: tuple[str, ...]) -> tuple[str, ...]:
    """What is known of a node's addresses once it told `told`, oldest first, at most `MAX_ADDRESSES`: the oldest `KEPT_ADDRESSES`
    stay, then comes what was told, then whatever else was known."""
    merged = dict.fromkeys((*known[:KEPT_ADDRESSES], *told, *known[KEPT_ADDRESSES:]))
    return tuple(merged)[:MAX_ADDRESSES]


def _dialable(address: IpAddress, loopback: bool) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:  # another spelling of an address that has one
            return False
        if address.is_link_local and not address.scope_id:  # nobody knows on which interface
            return False
    if address.is_unspecified or address.is_multicast or address == ipaddress.IPv4Address("255.255.255.255"):
        return False
    return address.is_loopback == loopback
