"""The gRPC servers of a node: the work port, which only paired coordinators get through, and the pairing port beside it."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NoReturn, Self

import grpc

from edgenode.errors import EdgenodeError, NetworkError, TrustError
from edgenode.net.addresses import NODE_PORT
from edgenode.net.channel import TlsServer, make_pairing_server, make_work_server
from edgenode.net.door import Door
from edgenode.net.front import caller_of
from edgenode.net.listeners import Listeners
from edgenode.net.once import LogOnce
from edgenode.net.pairing_service import PairingService, parse
from edgenode.net.ports import are_free, bound
from edgenode.net.wire import describe_to_proto, frame_from_proto, frame_to_proto
from edgenode.net.work_streams import OverLimit, PeerRefused, WorkStreams
from edgenode.trust.certificates import Peer
from edgenode.trust.store import NodeTrust
from edgenode.trust.tls import ServerTls
from edgenode.trust.verdict import REFUSALS
from edgenode.types import Frame
from edgenode.v1 import node_service_pb2

# Pairs of free ports that somebody else took just before us.
TRIES: Final = 20
STOP_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[Any, Any]


class NodeServer:
    """Serves one node on two adjacent ports: `port` for work, the next for pairing. Port 0 is the usual pair, or any free one where
    that is taken. `hosts` gives the addresses of this machine to serve at; those that come later are served too. An async context
    manager; `port` is known once entered.

    Raises `NetworkError` when it cannot listen. To be left after the streams have been told what became of their leases.
    """

    def __init__(
        self,
        streams: WorkStreams,
        trust: NodeTrust,
        pairing: PairingService,
        hosts: Callable[[], tuple[str, ...]],
        port: int = 0,
    ) -> None:
        self._streams = streams
        self._trust = trust
        self._pairing = pairing
        self._hosts = hosts
        self._told = port
        self._door = Door()
        self._listeners = Listeners(hosts, self._build, self._door.look)
        self.port = port

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses served, those there were at the start first."""
        return self._listeners.hosts

    async def __aenter__(self) -> Self:
        hosts = self._hosts()
        for port in _candidates(hosts, self._told):
            # Else taken since we looked.
            with contextlib.suppress(NetworkError):
                await self._listeners.open(hosts, port)
                self.port = port
                return self
        raise _cannot_listen(hosts, self._told)

    async def __aexit__(self, *exc_info: object) -> None:
        self._streams.close()
        await self._listeners.close(STOP_SECONDS)

    def _build(self) -> tuple[TlsServer, TlsServer]:
        work, pairing = make_work_server(self._let_in), make_pairing_server(self._trust.placeholder_tls())
        _NodeService(self._streams, self._trust, self._door).add_to(work.server)
        self._pairing.add_to(pairing.server)
        return work, pairing

    def _let_in(self) -> ServerTls:
        self._door.knock()
        return self._trust.server_tls()


class _NodeService:
    """Every call is checked here by the certificate that it came with, whatever the handshake let through. Requests are parsed here
    too: gRPC itself writes a traceback to the log for each message that is none."""

    def __init__(self, streams: WorkStreams, trust: NodeTrust, door: Door) -> None:
        self._streams = streams
        self._trust = trust
        self._door = door
        self._once = LogOnce(logger)

    def add_to(self, server: grpc.aio.Server) -> None:
        service = node_service_pb2.DESCRIPTOR.services_by_name["NodeService"].full_name
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            # To be called before the request is read: it says nothing, and is not.
            "Describe": grpc.stream_unary_rpc_method_handler(self._describe),
            "Work": grpc.stream_stream_rpc_method_handler(self._work),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    async def _describe(self, requests: AsyncIterator[bytes], context: _Context) -> bytes:  # noqa: ARG002 - not read
        await self._coordinator(context)
        return node_service_pb2.DescribeResponse(description=describe_to_proto(self._streams.describe())).SerializeToString()

    async def _work(self, requests: AsyncIterator[bytes], context: _Context) -> AsyncIterator[bytes]:
        peer = await self._coordinator(context)

        async def frames() -> AsyncIterator[Frame | None]:
            async for data in requests:
                yield frame_from_proto(parse(node_service_pb2.WorkRequest, data).frame)

        try:
            async with contextlib.aclosing(self._streams.serve(peer.authority, frames(), peer.ends)) as outgoing:
                async for frame in outgoing:
                    yield node_service_pb2.WorkResponse(frame=frame_to_proto(frame)).SerializeToString()
        except OverLimit as refusal:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refusal))
        except PeerRefused as refusal:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(refusal))

    async def _coordinator(self, context: _Context) -> Peer:
        """The coordinator that calls; ends the call of anybody else."""
        caller = caller_of(context)
        self._door.passed(caller.peer)
        try:
            verdict = self._trust.verdict(caller.certificate, self._streams.now())
            if verdict in REFUSALS:
                await self._refuse(context, REFUSALS[verdict])
            peer = self._trust.identify(caller.certificate)
        except TrustError as error:  # dropped in this very moment
            await self._refuse(context, str(error))
        except (EdgenodeError, OSError) as error:
            self._once.warning("Whom this device trusts", f"cannot be read: {error}")
            await self._refuse(context, "This device cannot read whom it trusts.")
        if not self._door.may_call(peer.authority):
            await self._refuse(context, "The coordinator calls more often than is answered.", grpc.StatusCode.RESOURCE_EXHAUSTED)
        return peer

    async def _refuse(self, context: _Context, why: str, status: grpc.StatusCode = grpc.StatusCode.PERMISSION_DENIED) -> NoReturn:
        self._once.warning(caller_of(context).host, f"refused. {why}")
        await context.abort(status, why)
        raise AssertionError("abort raises")


def _candidates(hosts: tuple[str, ...], told: int) -> Iterator[int]:
    """Ports that are free together with the next one, as far as can be seen."""
    if told:
        if are_free(hosts, told):
            yield told
        return
    if are_free(hosts, NODE_PORT):
        yield NODE_PORT
    for _ in range(TRIES):
        with bound(hosts[0], 0) as probe:
            port: int = probe.getsockname()[1]
        if are_free(hosts, port):
            yield port


def _cannot_listen(hosts: tuple[str, ...], port: int) -> NetworkError:
    where = ", ".join(hosts)
    if not port:
        return NetworkError(f"The node cannot listen at {where}: no two ports side by side are free there.")
    return NetworkError(
        f"The node cannot listen at {where} on the ports {port} (work) and {port + 1} (pairing): one is in use or not allowed. "
        "Name another with --port, or leave it out to get free ones."
    )
