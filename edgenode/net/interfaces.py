"""The interfaces of this machine: which there are, of what kind, and which of their addresses a node or a coordinator uses."""

import contextlib
import ipaddress
import os
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import ifaddr

from edgenode.errors import NetworkError
from edgenode.net.addresses import MAX_ADDRESSES, IpAddress, Network, host_port, parse_ip

__all__ = ["LOOPBACK", "VARIABLE", "Interface", "Kind", "Scope", "host_port", "interfaces", "scope"]

LOOPBACK: Final = "127.0.0.1"
VARIABLE: Final = "EDGENODE_INTERFACE"

_CONTAINER: Final = re.compile(
    r"docker|br-[0-9a-f]{6,}|veth|virbr|vnet\d|lxc|lxd|cni|cali|flannel|podman|vmnet|vboxnet|vEthernet|bridge1\d\d|kube|cilium|nerdctl",
    re.IGNORECASE,
)
_VPN: Final = re.compile(r"tun\d|tap\d|wg|utun|ipsec|ppp|tailscale|zt|nordlynx|proton|gpd|ham\d", re.IGNORECASE)
# Wi-Fi Direct and the like of Apple devices: up, with a link-local address, and nobody to talk to.
_USELESS: Final = re.compile(r"awdl|llw|anpi|ap\d$", re.IGNORECASE)

_IFF_UP: Final = 0x1
_IFF_POINT_TO_POINT: Final = 0x10
_IFF_RUNNING: Final = 0x40
_SIOCGIFFLAGS: Final = {"linux": 0x8913, "android": 0x8913, "darwin": 0xC0206911}


class Kind(StrEnum):
    LOOPBACK = "loopback"
    LAN = "lan"
    LINK_LOCAL = "link-local"
    """A LAN that gave out no address: only those the machine made itself."""
    VPN = "vpn"
    CONTAINER = "container"
    """A bridge or a pair of this machine's own containers and virtual machines."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface as it is now. `addresses` as text, IPv6 link-local ones with their zone (`fe80::1%eth0`); `networks` are theirs,
    in the same order. `up`: switched on and, where the platform tells, with a cable or a radio connection."""

    name: str
    index: int
    kind: Kind
    up: bool
    addresses: tuple[str, ...]
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of the network is used: what one `interface` (a name or an address) reaches, or, None, all that is usable.

    Every method looks anew: addresses and interfaces come and go. They take about a millisecond. Not usable by themselves are
    loopback (but if there is nothing else) and what belongs to containers and virtual machines. Over a VPN there is no multicast,
    but its addresses are announced.
    """

    interface: str | None = None
    listen: str | None = None
    """The one address that is served, None for all of the scope."""

    def interfaces(self) -> tuple[Interface, ...]:
        """Those in use now, empty if `interface` is gone."""
        found = interfaces()
        if self.interface is not None:
            return tuple(i for i in (_narrowed(each, self.interface) for each in found) if i is not None and i.up)
        up = [i for i in found if i.up and i.addresses]
        usable = [i for i in up if i.kind in (Kind.LAN, Kind.LINK_LOCAL, Kind.VPN) and not _USELESS.match(i.name)]
        if not any(i.kind is not Kind.VPN for i in usable):
            usable += [i for i in up if i.kind is Kind.LOOPBACK]
        return tuple(usable)

    def addresses(self) -> tuple[str, ...]:
        """Addresses at which others reach this machine now, best first, at most `MAX_ADDRESSES`."""
        used = self.interfaces()
        if self.listen is not None:
            return (self.listen,)
        if any(i.kind is not Kind.LOOPBACK for i in used):
            used = tuple(i for i in used if i.kind is not Kind.LOOPBACK)
        ranked = sorted((_rank(i, number, address), address) for i in used for number, address in enumerate(_spread(i.addresses)))
        return tuple(dict.fromkeys(address for _, address in ranked))[:MAX_ADDRESSES]

    def multicast(self) -> tuple[tuple[str, int], ...]:
        """An address and the index of its interface for each interface and IP version that mDNS is spoken on now."""
        chosen = []
        for interface in self.interfaces():
            if interface.kind is Kind.VPN and self.interface is None:
                continue
            v4 = [a for a in interface.addresses if ":" not in a]
            # mDNS over IPv6 is spoken from link-local addresses; on loopback there are none, and IPv4 is always there.
            v6 = sorted((a for a in interface.addresses if ":" in a), key=lambda a: not a.startswith("fe80"))
            if interface.kind is Kind.LOOPBACK and v4:
                v6 = []
            chosen += [(a, interface.index) for a in (*v4, *v6[:1])]
        return tuple(chosen)

    def networks(self) -> tuple[Network, ...]:
        """The networks that this machine's interfaces are on, container bridges included."""
        return tuple(network for interface in interfaces() if interface.up for network in interface.networks)

    def listen_addresses(self) -> tuple[str, ...]:
        """The addresses to serve at: one for `listen` and for a scope that is an address, an interface's addresses now, or the one
        that stands for all, `::` (IPv4 too) or, without IPv6, `0.0.0.0`. Raises `NetworkError` if the interface has none now."""
        if self.listen is not None:
            return (self.listen,)
        if self.interface is None:
            return ("::",) if _has_ipv6() else ("0.0.0.0",)  # noqa: S104 (the callers are authenticated, whoever they are)
        addresses = self.addresses()
        if not addresses:
            raise NetworkError(f"The interface {self.interface} has no address now, so nothing can be served on it.")
        return addresses

    @property
    def is_loopback(self) -> bool:
        """Whether nothing of it leaves this machine, now."""
        used = self.interfaces()
        return bool(used) and all(i.kind is Kind.LOOPBACK for i in used)


def scope(interface: str | None = None, listen: str | None = None) -> Scope:
    """The part of the network to use: `interface` (a name or an address of this machine), else the variable `EDGENODE_INTERFACE`,
    else everything usable. `listen` is an address to serve at (`0.0.0.0` and `::` for all); alone it narrows the rest too. Raises
    `NetworkError` for what this machine does not have."""
    wanted = interface or os.environ.get(VARIABLE) or None
    served = None
    if listen is not None:
        served = _own_address(LOOPBACK if listen == "localhost" else listen.strip("[]"), listen)
    found = interfaces()
    for each in (wanted, served):
        if each is not None and not any(_narrowed(interface, each) for interface in found):
            if parse_ip(each):
                has = _list(address for interface in found for address in interface.addresses)
                raise NetworkError(f"This machine does not have the address {each}; it has: {has}.")
            told = "" if interface or each != wanted else f" (which {VARIABLE} names)"
            raise NetworkError(f"There is no interface {each}{told} on this machine; there are: {_list(i.name for i in found)}.")
    if served is not None and wanted is not None:
        within = [narrow for interface in found if (narrow := _narrowed(interface, wanted)) is not None]
        if not any(_narrowed(interface, served) for interface in within):
            raise NetworkError(f"The address {served} is not one of the interface {wanted}, so it is not served.")
    return Scope(wanted or served, served)


def interfaces() -> tuple[Interface, ...]:
    """All interfaces of this machine, by name."""
    found: dict[str, Interface] = {}
    flags = _flags_of()
    for adapter in ifaddr.get_adapters(include_unconfigured=True):
        addresses, networks = [], []
        for ip in adapter.ips:
            address, network = _read(ip, adapter.name)
            addresses.append(address)
            networks.append(network)
        name = adapter.nice_name if sys.platform == "win32" else adapter.name
        bits = flags(adapter.name)
        up = bits is None or (bits & (_IFF_UP | _IFF_RUNNING)) == _IFF_UP | _IFF_RUNNING
        found[name] = Interface(name, adapter.index or 0, _kind(name, addresses, bits), up, tuple(addresses), tuple(networks))
    return tuple(found[name] for name in sorted(found))


def _narrowed(interface: Interface, wanted: str) -> Interface | None:
    """The part of `interface` that `wanted` names, None if it names none of it."""
    if wanted == interface.name:
        return interface
    address = parse_ip(wanted)
    if address is None:
        return None
    kept = [
        (own, network)
        for own, network in zip(interface.addresses, interface.networks, strict=True)
        if own == wanted or _bare(own) == _bare(wanted)
    ]
    if not kept and interface.kind is Kind.LOOPBACK and address.is_loopback and address.version == 4:
        # Any address in 127.0.0.0/8 is there, though only one is listed.
        kept = [(wanted, ipaddress.ip_network("127.0.0.0/8"))]
    if not kept:
        return None
    addresses, networks = zip(*kept, strict=True)
    return Interface(interface.name, interface.index, interface.kind, interface.up, addresses, networks)


def _own_address(text: str, typed: str) -> str | None:
    """None for all addresses."""
    address = parse_ip(text)
    if address is None:
        raise NetworkError(f"--listen takes an IP address of this machine, such as 192.168.1.20 or {LOOPBACK}, not {typed[:80]!r}.")
    return None if address.is_unspecified else text


def _read(ip: ifaddr.IP, name: str) -> tuple[str, Network]:
    """An address, with its zone if it needs one, and the network it is on."""
    # An IPv6 address is a tuple: address, flow info, zone.
    text, zone = (ip.ip, 0) if isinstance(ip.ip, str) else (ip.ip[0].partition("%")[0], ip.ip[2])
    network = ipaddress.ip_network(f"{text}/{ip.network_prefix}", strict=False)
    if ipaddress.ip_address(text).is_link_local and ":" in text:
        text = f"{text}%{zone if sys.platform == 'win32' else name}"
    return text, network


def _kind(name: str, addresses: list[str], bits: int | None) -> Kind:
    parsed = [ipaddress.ip_address(address) for address in addresses]
    if parsed and all(address.is_loopback for address in parsed):
        return Kind.LOOPBACK
    if re.fullmatch(r"lo\d*", name):
        return Kind.LOOPBACK
    if _CONTAINER.match(name):
        return Kind.CONTAINER
    if _VPN.match(name) or (bits is not None and bits & _IFF_POINT_TO_POINT):
        return Kind.VPN
    if parsed and all(address.is_link_local for address in parsed):
        return Kind.LINK_LOCAL
    return Kind.LAN


def _rank(interface: Interface, number: int, address: str) -> tuple[bool, bool, bool, int, int]:
    """The smaller, the likelier others reach it: no VPN, no link-local one, IPv4, in the order of the system."""
    parsed = ipaddress.ip_address(address)
    return (interface.kind is Kind.VPN, parsed.is_link_local, parsed.version == 6, number, interface.index)


def _spread(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """`addresses` with at most two routed ones of IPv6: machines that change theirs for privacy have many at a time."""
    routed = [a for a in addresses if ":" in a and not ipaddress.ip_address(a).is_link_local]
    return tuple(a for a in addresses if a not in routed[2:])


def _flags_of() -> Callable[[str], int | None]:
    """A function from the name of an interface to its flags, None where the platform does not tell."""
    request = _SIOCGIFFLAGS.get(sys.platform)
    if request is None:
        return lambda _name: None
    import fcntl  # only where there is one

    def flags(name: str) -> int | None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            answer = fcntl.ioctl(asker.fileno(), request, struct.pack("256s", os.fsencode(name)[:15]))
            return int(struct.unpack_from("H", answer, 16)[0])
        return None

    return flags


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _bare(address: str) -> IpAddress:
    return ipaddress.ip_address(address.partition("%")[0])


def _list(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
