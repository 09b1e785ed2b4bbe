"""What strangers send to a node's ports is nothing that its owner has to read."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import grpc
import pytest

from edgenode.net.addresses import split_host_port
from edgenode.net.channel import pairing_address
from tests.attacks.floods import client_context, flood
from tests.end_to_end.pools import PATIENCE, RunningNode

JUNK = (b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(64), b"\x16\x03\x01\x02\x00", b"\xff" * 5_000)
METHODS = ("/edgenode.v1.PairingService/Pair", "/edgenode.v1.NodeService/Work", "/grpc.health.v1.Health/Check", "/")


def say(address: str, data: bytes) -> None:
    """Without TLS."""
    with suppress(OSError), socket.create_connection(split_host_port(address), timeout=PATIENCE) as one:
        one.sendall(data)


def call(address: str, certificate: bytes, method: str) -> None:
    """A call that gRPC takes, with messages that are none."""
    options = (("grpc.ssl_target_name_override", "edgenode"),)
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(certificate), options) as channel, suppress(grpc.RpcError):
        replies = channel.stream_stream(method)(iter([b"\xff" * 100, b"x"]), timeout=5.0)
        for _ in replies:
            pass


async def certificate_of(address: str) -> bytes:
    """As PEM."""
    _, writer = await asyncio.open_connection(*split_host_port(address), ssl=client_context(None))
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(der).encode("ascii")


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_garbage_at_every_port_puts_nothing_on_the_screen(start_node: Callable[..., RunningNode], verbose: tuple[str, ...]) -> None:
    """No traceback of ours, no line of gRPC's own log, and few lines at all; the node goes on."""
    node = start_node(*verbose)
    work = node.told["address"]
    pairing = pairing_address(work)
    # Before the floods, whose places are taken for a moment afterwards.
    certificate = asyncio.run(certificate_of(pairing))
    for method in METHODS:
        call(pairing, certificate, method)
    for address in (work, pairing):
        for data in JUNK:
            say(address, data)
    for kind in ("garbage", "continuation", "unknown frames"):
        assert flood(pairing, kind, METHODS[0], 0.3, 4)
    assert node.process.poll() is None
    node.process.terminate()
    _, told = node.process.communicate(timeout=PATIENCE)
    assert "Traceback" not in told
    assert ".cc:" not in told, "gRPC writes the place in its source"
    assert len(told.splitlines()) < 30, told
