"""Pairs of ports: one for work, the next for pairing."""

import os
import socket


def are_free(hosts: tuple[str, ...], port: int) -> bool:
    """Whether something can listen at `port` and at the next one, at each of `hosts` (addresses of this machine), as far as can be
    seen. gRPC would see it too, but writes to the log of its own what a person has no use for."""
    try:
        for host in hosts:
            for each in (port, port + 1):
                bound(host, each).close()
    except (OSError, OverflowError):
        return False
    return True


def bound(host: str, port: int) -> socket.socket:
    """A socket that holds a port. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    probe = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # As gRPC does: connections that were closed a moment ago do not keep a port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    except BaseException:
        probe.close()
        raise
    return probe
