"""Which addresses of this machine may be announced on, browsed on and listened at.

Until pairing exists everything stays on loopback: a service without certificates must not be reachable from elsewhere.
"""

import ipaddress
import os

import ifaddr

from edgenode.errors import NetworkError

LOOPBACK = "127.0.0.1"
VARIABLE = "EDGENODE_INTERFACE"


def multicast_addresses(interface: str | None) -> tuple[str, ...]:
    """The IPv4 addresses to send and receive mDNS on: those of `interface` (its name or one of its addresses), by default of
    the variable `EDGENODE_INTERFACE`, else loopback. Raises `NetworkError` for what is unknown or not loopback."""
    wanted = interface or os.environ.get(VARIABLE) or LOOPBACK
    found = _addresses(wanted)
    addresses = tuple(address for address in found if ipaddress.ip_address(address).version == 4)
    for address in found:
        require_loopback(address, f"The interface {wanted}")
    if not addresses:
        raise NetworkError(f"The interface {wanted} has no IPv4 address, which mDNS on loopback needs. Use {LOOPBACK}.")
    return addresses


def listen_address(listen: str | None, interface: str | None) -> str:
    """The address to serve on: `listen` if given, else the first address of the interface. Raises `NetworkError`."""
    if listen is None:
        return multicast_addresses(interface)[0]
    try:
        address = str(ipaddress.ip_address("127.0.0.1" if listen == "localhost" else listen.strip("[]")))
    except ValueError:
        raise NetworkError(f"--listen takes an IP address of this machine, such as {LOOPBACK}, not {listen!r}.") from None
    require_loopback(address, f"The address {listen}")
    return address


def require_loopback(address: str, what: str) -> None:
    if not ipaddress.ip_address(address).is_loopback:
        raise NetworkError(
            f"{what} can be reached by other machines, and nodes cannot be paired yet: for now only loopback "
            f"({LOOPBACK} or lo) is allowed."
        )


def host_port(address: str, port: int) -> str:
    """`HOST:PORT` as gRPC and people write it, IPv6 addresses in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _addresses(wanted: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(wanted))]
    except ValueError:
        pass
    adapters = list(ifaddr.get_adapters())
    for adapter in adapters:
        if wanted in {adapter.name, adapter.nice_name}:
            # An IPv6 address is a tuple: address, flow info, scope.
            return [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips]
    names = ", ".join(sorted(adapter.name for adapter in adapters))
    raise NetworkError(f"There is no interface {wanted} on this machine; there are: {names}.")
