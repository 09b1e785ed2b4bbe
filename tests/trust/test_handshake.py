"""Certificates made here, in real handshakes of gRPC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from coordinator.trust.authority import Authority
from edgenode.net.channel import TlsServer, make_pairing_server, make_work_server, open_pairing_channel, open_work_channel
from edgenode.net.front import caller_of
from edgenode.trust.certificates import (
    NODE_LIFE,
    Role,
    coordinator_host_name,
    node_host_name,
    now_utc,
    parse_certificate,
    public_key,
)
from edgenode.trust.keys import fingerprint
from edgenode.trust.store import NodeTrust
from edgenode.trust.tls import ClientTls
from tests.trust.people import open_node

# However busy the machine is.
DEADLINE = 120.0


class Echo(grpc.GenericRpcHandler):
    """Answers with the certificate that the client showed."""

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        async def answer(_: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            return caller_of(context).certificate

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def serving(made: TlsServer) -> AsyncIterator[str]:
    made.server.add_generic_rpc_handlers((Echo(),))
    port = made.listen("127.0.0.1:0")
    await made.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await made.stop(None)


async def call(channel: grpc.aio.Channel) -> bytes:
    async with channel:
        shown: bytes = await channel.unary_unary("/any/Method")(b"", timeout=DEADLINE)
        return shown


def pair(authority: Authority, node: NodeTrust, later: timedelta = timedelta()) -> None:
    node.trust(authority.certificate, authority.sign_node(node.key.public_key(), now_utc() + later), "code")


async def refused(address: str, tls: ClientTls, name: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await call(open_work_channel(address, tls, name))
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_two_coordinators_and_a_node(tmp_path: Path) -> None:
    """Each authority's coordinator gets the node's certificate that its own authority signed, and is known by its own; a third is
    refused, and so is either by the other's name."""
    node = open_node(tmp_path / "home")
    anna, jiro, third = Authority(tmp_path / "a", "anna"), Authority(tmp_path / "b", "次郎@書斎"), Authority(tmp_path / "c")
    pair(anna, node)
    pair(jiro, node)
    async with serving(make_work_server(node.server_tls)) as address:
        for authority in (anna, jiro):
            shown = await call(open_work_channel(address, authority.client_tls(), node_host_name(node.id, authority.id)))
            peer = node.identify(shown)
            assert (peer.role, peer.authority) == (Role.COORDINATOR, authority.id)
        await refused(address, third.client_tls(), node_host_name(node.id, third.id))
        await refused(address, anna.client_tls(), node_host_name(node.id, jiro.id))
        borrowed = ClientTls(third.client_tls().key, third.client_tls().certificate, anna.client_tls().root)
        await refused(address, borrowed, node_host_name(node.id, anna.id))


async def test_a_node_dials_its_coordinator(tmp_path: Path) -> None:
    """The same certificates work the other way round."""
    node, authority = open_node(tmp_path / "home"), Authority(tmp_path / "a")
    pair(authority, node)
    async with serving(make_work_server(authority.server_tls)) as address:
        name = coordinator_host_name(authority.id)
        shown = await call(open_work_channel(address, node.client_tls(authority.id), name))
        peer = authority.identify(shown)
        assert (peer.role, peer.id) == (Role.NODE, node.id)


async def test_a_node_without_coordinators_lets_nobody_in(tmp_path: Path) -> None:
    """Until the first pairing, which counts at the next handshake, and from the removal on."""
    node, authority = open_node(tmp_path / "home"), Authority(tmp_path / "a")
    name = node_host_name(node.id, authority.id)
    async with serving(make_work_server(node.server_tls)) as address:
        await refused(address, authority.client_tls(), name)
        pair(authority, node)
        assert await call(open_work_channel(address, authority.client_tls(), name))
        NodeTrust(tmp_path / "home").untrust(authority.id)
        await refused(address, authority.client_tls(), name)


async def test_an_expired_node_is_refused_by_its_coordinator(tmp_path: Path) -> None:
    """Until it is renewed: the next handshake shows the new certificate."""
    node, authority = open_node(tmp_path / "home"), Authority(tmp_path / "a")
    pair(authority, node, -NODE_LIFE - timedelta(days=1))
    name = node_host_name(node.id, authority.id)
    async with serving(make_work_server(node.server_tls)) as address:
        await refused(address, authority.client_tls(), name)
        node.renew(authority.sign_node(node.key.public_key(), now_utc()))
        assert await call(open_work_channel(address, authority.client_tls(), name))


async def test_the_placeholder_serves_pairing(tmp_path: Path) -> None:
    """Whoever pins it gets through without a certificate of his own, at a node and at a coordinator that nodes dial."""
    node, authority = open_node(tmp_path / "home"), Authority(tmp_path / "a")
    for tls in (node.placeholder_tls(), authority.placeholder_tls()):
        (shown,) = tls.certificates
        name = fingerprint(public_key(parse_certificate(shown)))
        async with serving(make_pairing_server(tls)) as address:
            assert await call(open_pairing_channel(address, shown, f"{name}.pairing.edge")) == b""
