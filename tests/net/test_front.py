"""Who a call is from, behind the front: the certificate of its handshake, and nothing that a client can say."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from coordinator.trust.authority import Authority
from edgenode.net.channel import WORK_BUDGETS, WORK_SERVER, TlsServer, open_work_channel
from edgenode.net.front import HAS_UNIX_SOCKETS, Front, caller_of
from edgenode.trust.certificates import der, node_host_name, parse_certificate
from tests.patience import SECONDS
from tests.trusted import paired


class Who(grpc.GenericRpcHandler):
    def service(self, _: grpc.HandlerCallDetails) -> Any:
        async def answer(_: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            caller = caller_of(context)
            return b"\n".join((caller.host.encode("ascii"), caller.certificate))

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.mark.parametrize("unix", [pytest.param(True, marks=pytest.mark.skipif(not HAS_UNIX_SOCKETS, reason="none")), False])
async def test_only_who_came_through_the_front_is_somebody(tmp_path: Path, unix: bool) -> None:
    """With the certificate that was shown; whoever finds gRPC behind it has none, whatever metadata he sends."""
    anna = Authority(tmp_path / "anna", "anna@laptop")
    trust = paired(tmp_path / "node", anna)
    front = Front(trust.server_tls, asks_certificate=True, limit=4, budgets=WORK_BUDGETS, unix=unix)
    served = TlsServer(WORK_SERVER, 4, front)
    served.server.add_generic_rpc_handlers((Who(),))
    port = served.listen("127.0.0.1:0")
    await served.start()
    tls = anna.client_tls()
    async with open_work_channel(f"127.0.0.1:{port}", tls, node_host_name(trust.id, anna.id)) as channel:
        host, _, shown = (await channel.unary_unary("/who/Am")(b"", timeout=SECONDS)).partition(b"\n")
        assert host == b"127.0.0.1"
        assert shown == der(parse_certificate(tls.certificate))
        async with grpc.aio.insecure_channel(front.backend) as past:
            metadata = (("x509_pem_cert", "forged"), ("peer", f"ipv4:127.0.0.1:{port}"))
            host, _, shown = (await past.unary_unary("/who/Am")(b"", timeout=SECONDS, metadata=metadata)).partition(b"\n")
            assert (host, shown) == (b"unknown", b"")
    await served.stop(None)
