"""Probes that dial another machine: names to addresses, TCP ports, and what speaks at them. All have a deadline, none raises."""

import asyncio
import errno
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Final

from edgenode.doctor.facts import Answer, Port, Reach, Way
from edgenode.errors import TrustError
from edgenode.net.addresses import parse_ip, split_host_port
from edgenode.net.interfaces import Interface, Kind, Scope, interfaces
from edgenode.threads import in_thread
from edgenode.trust.certificates import Certificate, der, parse_certificate, public_key
from edgenode.trust.keys import fingerprint

# Linux takes 3.1 s to find that nobody has an address, which is then told apart from packets that are dropped.
CONNECT_SECONDS: Final = 3.8
HANDSHAKE_SECONDS: Final = 2.0
RESOLVE_SECONDS: Final = 3.0
# Sooner than any search for a neighbour ends: somebody said no.
REJECTED_SECONDS: Final = 0.9
MAX_WAYS: Final = 8

_NO_HOST: Final = {errno.EHOSTUNREACH, getattr(errno, "EHOSTDOWN", errno.EHOSTUNREACH)}
_NO_ROUTE: Final = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENETDOWN, errno.ENODEV}
_FORBIDDEN: Final = {errno.EACCES, errno.EPERM}


async def resolve(host: str, scope: Scope) -> tuple[tuple[str, ...], str]:
    """The addresses of a name, and why there are none. Where only loopback may be used, nobody is asked for names."""
    if parse_ip(host) is not None:
        return (host,), ""
    if scope.is_loopback and host.lower() not in {"localhost", socket.gethostname().lower()}:
        return (), "names are not looked up while only loopback is used."
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await in_thread(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        return (), f"the name {host} was not resolved within {RESOLVE_SECONDS:.0f} s."
    except (OSError, ValueError) as error:  # a name with an empty or overlong label is a ValueError
        text = error.strerror if isinstance(error, OSError) and error.strerror else "it is no name of a machine"
        return (), f"the name {host} does not resolve ({text})."
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    return tuple(addresses)[:MAX_WAYS], ""


async def ways(addresses: Iterable[str], scope: Scope) -> tuple[Way, ...]:
    """What comes of dialling each HOST:PORT (a work port) and the pairing port after it, all at once. Names that lead nowhere are
    left out."""
    own = await in_thread(interfaces)
    places: dict[tuple[str, int], None] = {}
    for each in list(dict.fromkeys(addresses))[:MAX_WAYS]:
        host, port = split_host_port(each)
        places |= dict.fromkeys((address, port) for address in (await resolve(host, scope))[0])
    return tuple(await asyncio.gather(*(_way(address, port, scope, own) for address, port in list(places)[:MAX_WAYS])))


async def _way(address: str, port: int, scope: Scope, own: tuple[Interface, ...]) -> Way:
    ip = parse_ip(address)
    ours = ip is not None and (ip.is_loopback or any(address in each.addresses for each in own))
    near = _interface_to(address, own)
    if scope.is_loopback and not (ip is not None and ip.is_loopback):
        work, pairing = Port(port, Reach.NOT_TRIED), Port(port + 1, Reach.NOT_TRIED)
    else:
        on_link = near is not None and near.kind is not Kind.VPN
        work, pairing = await asyncio.gather(knock(address, port, on_link), knock(address, port + 1, on_link))
    return Way(address, near.name if near else None, near.kind if near else None, work, pairing, ours)


async def knock(address: str, port: int, on_link: bool = False) -> Port:
    """What comes of connecting to a TCP port and greeting it in TLS. `on_link`: its network is one of this machine's."""
    if parse_ip(address) is None:
        return Port(port, Reach.NO_ROUTE)
    started = time.monotonic()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, ValueError, OverflowError) as error:  # a port or an address that cannot be one is a ValueError
        quick = time.monotonic() - started < REJECTED_SECONDS
        return Port(port, _reach(error, quick and on_link))
    try:
        certificate = await _shown(writer)
    except TimeoutError:
        return Port(port, Reach.OPEN, Answer.QUIET)
    except (OSError, ssl.SSLError, TrustError, ValueError):
        return Port(port, Reach.OPEN, Answer.OTHER)
    finally:
        writer.transport.abort()
    id = fingerprint(public_key(certificate))
    # All certificates of edgenode name the identity of their own key; nobody else's do.
    known = id.encode("ascii") in der(certificate)
    return Port(port, Reach.OPEN, Answer.EDGENODE if known else Answer.OTHER, id if known else "")


async def _shown(writer: asyncio.StreamWriter) -> Certificate:
    """The certificate that a server shows to somebody who shows none. Nothing is believed of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    async with asyncio.timeout(HANDSHAKE_SECONDS):
        await writer.start_tls(context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return parse_certificate(shown or b"")


def _reach(error: Exception, quick_on_link: bool) -> Reach:
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, ConnectionError):
        return Reach.REFUSED
    if isinstance(error, TimeoutError):
        return Reach.SILENT
    if number in _NO_HOST:
        return Reach.REJECTED if quick_on_link else Reach.NO_HOST
    if number in _FORBIDDEN:
        return Reach.FORBIDDEN
    return Reach.NO_ROUTE if number in _NO_ROUTE or number is None else Reach.SILENT


def _interface_to(address: str, own: tuple[Interface, ...]) -> Interface | None:
    """The interface of a network that holds `address`; the VPN that takes what is sent to it, whoever's network it is in."""
    source = _source(address)
    through = next((each for each in own if source in each.addresses), None)
    if through is not None and through.kind is Kind.VPN:
        return through
    text, _, zone = address.partition("%")
    try:
        bare = ipaddress.ip_address(text)
    except ValueError:
        return None
    if zone:
        return next((each for each in own if each.name == zone), None)
    return next((each for each in own if each.up and any(bare in network for network in each.networks)), None)


def _source(address: str) -> str:
    """The address of ours that what is sent to `address` would carry. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return ""
