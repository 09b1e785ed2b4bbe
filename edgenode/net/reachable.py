"""Which of the addresses that a name stands for answer now."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from edgenode.errors import NetworkError
from edgenode.net.addresses import MAX_ADDRESSES, host_port, parse_ip, split_host_port
from edgenode.threads import in_thread

CONNECT_SECONDS: Final = 5.0


class UnknownName(NetworkError):
    """A host name that does not resolve: mistyped, or of a device that is not there."""

    def __init__(self, host: str) -> None:
        super().__init__(f"The name {host} does not resolve on this network now.")


async def reachable_addresses(address: str) -> list[str]:
    """The addresses of HOST:PORT at which something answers. Raises `NetworkError` where there is none, `UnknownName` for a
    name of none.

    gRPC tries the addresses of a name by itself, but work and pairing must meet the same machine.
    """
    host, port = split_host_port(address)
    hosts = (host,) if parse_ip(host) is not None else await _look_up(host, port)
    answers = await asyncio.gather(*(_answers(each, port) for each in hosts))
    reachable = [host_port(each, port) for each, answer in zip(hosts, answers, strict=True) if answer]
    if not reachable:
        raise NetworkError("Nothing answers there now.")
    return reachable


async def _look_up(host: str, port: int) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await in_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # TimeoutError is one; names that cannot be one are the other
        raise UnknownName(host) from error
    return tuple(dict.fromkeys(_numeric(at) for *_, at in found))[:MAX_ADDRESSES]


def _numeric(at: Sequence[object]) -> str:
    """From what the system calls an address: an IPv6 one of this link alone needs the number of its interface."""
    zone = at[3] if len(at) == 4 else 0
    return f"{at[0]}%{zone}" if zone and "%" not in str(at[0]) else str(at[0])


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, ValueError):
        return False
    writer.transport.abort()
    return True
