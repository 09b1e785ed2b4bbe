"""Probes of multicast: whether it works on an interface, whether mDNS's port can be had, and whether any mDNS is heard."""

import asyncio
import contextlib
import errno
import secrets
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from edgenode.doctor.facts import MdnsPort
from edgenode.doctor.firewalls import MDNS_PORT

MDNS_GROUP: Final = "224.0.0.251"
# Groups of nobody's. What is sent to them ends in this machine: time to live 0, and an interface-local scope.
OWN_GROUP: Final = "239.255.74.33"
OWN_GROUP_6: Final = "ff01::ed6e:7433"
ECHO_SECONDS: Final = 0.7
HEAR_SECONDS: Final = 1.8
# "Which services are there?", asked of everybody (RFC 6763, section 9): any device that speaks mDNS answers.
_QUESTION: Final = (
    struct.pack(">6H", 0, 0, 1, 0, 0, 0)
    + b"".join(bytes([len(label)]) + label for label in (b"_services", b"_dns-sd", b"_udp", b"local"))
    + struct.pack(">BHH", 0, 12, 1)
)


async def comes_back(address: str, index: int) -> bool:
    """Whether a datagram sent to a multicast group on the interface with this address comes back to this machine."""
    word = secrets.token_bytes(16)
    loop = asyncio.get_running_loop()
    try:
        with _echo_sockets(address, index) as (receiver, sender, target):
            sender.sendto(word, target)
            async with asyncio.timeout(ECHO_SECONDS):
                while await loop.sock_recv(receiver, 64) != word:
                    pass
            return True
    except OSError:  # a deadline that has passed is one too
        return False


def mdns_port() -> MdnsPort:
    """Whether mDNS's port can be shared with whoever has it."""
    try:
        _open_mdns().close()
    except OSError as error:
        return MdnsPort.FORBIDDEN if error.errno in {errno.EACCES, errno.EPERM} else MdnsPort.TAKEN
    return MdnsPort.USABLE


async def hears_others(addresses: Iterable[str]) -> bool | None:
    """Whether another machine's mDNS is heard on the interfaces with these IPv4 addresses; None where nobody can be asked."""
    own = tuple(addresses)
    loop = asyncio.get_running_loop()
    asked = False
    try:
        with _open_mdns() as ear:
            for address in own:
                try:
                    ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _pair(MDNS_GROUP, address))
                    ear.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
                    ear.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
                    ear.sendto(_QUESTION, (MDNS_GROUP, MDNS_PORT))
                    asked = True
                except OSError:  # that interface does not take part; the others may
                    continue
            if not asked:
                return None
            async with asyncio.timeout(HEAR_SECONDS):
                while True:
                    _, (sender, _) = await loop.sock_recvfrom(ear, 9_000)
                    if sender not in own:
                        return True
    except TimeoutError:
        return False
    except OSError:
        return None


_Target = tuple[str, int] | tuple[str, int, int, int]


@contextlib.contextmanager
def _echo_sockets(address: str, index: int) -> Iterator[tuple[socket.socket, socket.socket, _Target]]:
    """A receiver in a group on one interface, a sender to it, and where to send."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.setblocking(False)
        sender.setblocking(False)
        receiver.bind(("", 0))
        port = receiver.getsockname()[1]
        if family is socket.AF_INET6:
            group = socket.inet_pton(family, OWN_GROUP_6) + struct.pack("@I", index)
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
            yield receiver, sender, (OWN_GROUP_6, port, 0, index)
        else:
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _pair(OWN_GROUP, address))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            yield receiver, sender, (OWN_GROUP, port)


def _open_mdns() -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(("", MDNS_PORT))
    except BaseException:
        found.close()
        raise
    return found


def _pair(group: str, address: str) -> bytes:
    return socket.inet_aton(group) + socket.inet_aton(address)
