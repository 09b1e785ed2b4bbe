"""Channels to pairing ports, which show a certificate that nobody has signed."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Final

import grpc

from edgenode.errors import NetworkError
from edgenode.net.addresses import split_host_port
from edgenode.net.channel import open_pairing_channel, pairing_address
from edgenode.net.reachable import UnknownName
from edgenode.trust.certificates import Certificate, parse_certificate, pem, public_key
from edgenode.trust.keys import fingerprint
from edgenode.types import NodeId

CONNECT_SECONDS: Final = 5.0


@contextlib.asynccontextmanager
async def pinned_channel(address: str, expect: NodeId | None) -> AsyncIterator[tuple[grpc.aio.Channel, NodeId]]:
    """A channel to the pairing port beside the work port HOST:PORT, and the identity of the key that answers there.

    Raises `NetworkError` when nobody usable answers, or another device than `expect`.
    """
    where = pairing_address(address)
    certificate = await _shown_certificate(where)
    id = NodeId(fingerprint(public_key(certificate)))
    if expect is not None and id != expect:
        raise NetworkError(f"Another device answers at {address} than the one that is meant.")
    async with open_pairing_channel(where, pem(certificate), f"{id}.pairing.edge") as channel:
        yield channel, id


async def _shown_certificate(address: str) -> Certificate:
    """The certificate that a server shows. gRPC cannot be told to accept one unseen, so it is fetched first and then pinned."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    host, port = split_host_port(address)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except TimeoutError:
        raise NetworkError(f"Nothing answers at {address} within {CONNECT_SECONDS:.0f} s.") from None
    except socket.gaierror as error:
        raise UnknownName(host) from error
    except (OSError, ValueError) as error:  # TLS errors are OSErrors; a host name that cannot be one is a ValueError
        raise NetworkError(f"No node can be reached for pairing at {address}.") from error
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return parse_certificate(shown or b"")
