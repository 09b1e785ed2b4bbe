"""Where a coordinator listens for nodes that can only dial out: a port for work, where the handshake asks for a certificate, and
the next one for pairing and renewal.

Methods take bytes and parse them here: gRPC itself writes a traceback to the log for each message that is none.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn, Self

import grpc

from edgenode import __version__
from edgenode.errors import EdgenodeError, NetworkError, TrustError
from edgenode.net.addresses import COORDINATOR_PORT
from edgenode.net.channel import TlsServer, make_pairing_server, make_work_server
from edgenode.net.dial_in_pairing import DialInPairingService
from edgenode.net.dialled_in import DialledIn, NotAdmitted, WaitingDevice
from edgenode.net.door import Door
from edgenode.net.front import caller_of
from edgenode.net.listeners import Listeners
from edgenode.net.once import LogOnce
from edgenode.net.pairing_service import parse
from edgenode.net.rates import RateLimit
from edgenode.net.responses import Responses
from edgenode.net.wire import WireError, frame_from_proto, frame_to_proto
from edgenode.trust.certificates import Peer, Role, now_utc
from edgenode.trust.tls import ServerTls
from edgenode.types import Frame, Hello, NodeDescription, NodeId
from edgenode.v1 import node_service_pb2, work_pb2

FIRST_FRAME_SECONDS: Final = 5.0
WORK_STREAMS: Final = 64
# A node that is refused dials again after 5 s at the most, and a lively one after half a second a few times.
CALLS: Final = (20.0, 1.0)
# A stream that is silent for this long gives way to a new one of the same node.
SILENT_SECONDS: Final = 3.0
STOP_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Host:
    """What a listener asks of the coordinator that it belongs to. All but `server_tls` are called on the event loop."""

    server_tls: Callable[[], ServerTls]
    """Called at every handshake, in a thread of gRPC's."""
    placeholder_tls: Callable[[], ServerTls]
    identify: Callable[[bytes], Peer]
    """Who a certificate belongs to. Raises `TrustError`."""
    is_admitted: Callable[[NodeId], bool]
    """Whether the node is paired and was not removed; raises `HomeError` when that cannot be told. Asked again about every second
    while its stream is open."""
    is_connected: Callable[[NodeId], bool]
    """Whether the node has a work stream already, whichever side dialled."""
    on_work: Callable[[DialledIn], None]
    """Whoever is given a stream closes it."""
    on_waiting: Callable[[WaitingDevice], None]
    on_left: Callable[[WaitingDevice], None]
    now: Callable[[], datetime] = now_utc
    """The date."""


class PortTaken(NetworkError):
    """One of the two ports is another program's, or not allowed."""


class DialInListener:
    """Listens at `hosts()` (addresses of this machine) on `port` and the next one, for as long as it is entered; at addresses that
    appear meanwhile too.

    Raises `PortTaken`, a sentence, when it cannot.
    """

    def __init__(self, host: Host, hosts: Callable[[], tuple[str, ...]], port: int = COORDINATOR_PORT) -> None:
        self._host = host
        self._hosts = hosts
        self.port = port
        self._door = Door()
        self._work = _DialInService(host, self._door)
        self._pairing = DialInPairingService(host.on_waiting, host.on_left)
        self._listeners = Listeners(hosts, self._build, self._door.look)

    async def __aenter__(self) -> Self:
        hosts = self._hosts()
        try:
            await self._listeners.open(hosts, self.port)
        except NetworkError:
            raise PortTaken(
                f"This coordinator cannot listen for devices that dial in, at {', '.join(hosts)} on the ports {self.port} and "
                f"{self.port + 1}: one is in use, perhaps by another coordinator command, or not allowed."
            ) from None
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._work.close()
        self._pairing.close()
        await self._listeners.close(STOP_SECONDS)

    def _build(self) -> tuple[TlsServer, TlsServer]:
        work, pairing = make_work_server(self._let_in), make_pairing_server(self._host.placeholder_tls())
        self._work.add_to(work.server)
        self._pairing.add_to(pairing.server)
        return work, pairing

    def _let_in(self) -> ServerTls:
        self._door.knock()
        return self._host.server_tls()


class _DialInService:
    """Every call is checked by the certificate that it came with, whatever the handshake let through."""

    def __init__(self, host: Host, door: Door) -> None:
        self._host = host
        self._door = door
        self._open: dict[NodeId, DialledIn] = {}
        self._calls = RateLimit(*CALLS)
        self._once = LogOnce(logger)

    def add_to(self, server: grpc.aio.Server) -> None:
        service = node_service_pb2.DESCRIPTOR.services_by_name["DialInService"].full_name
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._work)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"WorkDialIn": handler}),))

    def close(self) -> None:
        for stream in self._open.values():
            stream.close()

    async def _work(self, requests: AsyncIterator[bytes], context: _Context) -> None:
        who = caller_of(context).host
        peer = await self._peer(context, who)
        node = NodeId(peer.id)
        responses = Responses(context)

        async def write(frame: work_pb2.Frame) -> None:
            await responses.write(node_service_pb2.WorkDialInResponse(frame=frame).SerializeToString())

        # By this the node knows that it is let in.
        with contextlib.suppress(NetworkError):
            await write(frame_to_proto(Hello(__version__)))
        frames = _work_frames(requests)
        stream = DialledIn(who, await self._described(frames, node, context, who))
        # Asked again: meanwhile another may have come.
        await self._make_room(node, context, who)
        self._open[node] = stream
        self._host.on_work(stream)
        code, why = grpc.StatusCode.UNAVAILABLE, "The coordinator ended the connection."
        try:
            await stream.serve(frames, write, lambda: self._check(peer))
        except NotAdmitted as refusal:
            code, why = grpc.StatusCode.PERMISSION_DENIED, str(refusal)
        except NetworkError as lost:
            why = str(lost)
        finally:
            if self._open.get(node) is stream:
                del self._open[node]
        await responses.settled()
        await context.abort(code, why)

    def _check(self, peer: Peer) -> None:
        """Raises `NotAdmitted` for a node that may not work for this coordinator now."""
        try:
            is_admitted = self._host.is_admitted(NodeId(peer.id))
        except EdgenodeError as error:
            raise NotAdmitted("This coordinator cannot read which devices it is paired with.") from error
        if not is_admitted:
            raise NotAdmitted("This coordinator is not paired with the device (any more). Pair them again.")
        if self._host.now() > peer.ends:
            raise NotAdmitted("The device's certificate has expired, by this machine's clock. It dials again to get a new one.")

    async def _peer(self, context: _Context, who: str) -> Peer:
        """Which node calls; ends the call of anybody else."""
        caller = caller_of(context)
        self._door.passed(caller.peer)
        try:
            peer = self._host.identify(caller.certificate)
        except TrustError as error:
            await self._refuse(context, who, grpc.StatusCode.PERMISSION_DENIED, str(error))
        if peer.role is not Role.NODE:
            why = "Only nodes may dial in to work, and this is the certificate of a coordinator."
            await self._refuse(context, who, grpc.StatusCode.PERMISSION_DENIED, why)
        try:
            self._check(peer)
        except NotAdmitted as refusal:
            await self._refuse(context, who, grpc.StatusCode.PERMISSION_DENIED, str(refusal))
        node = NodeId(peer.id)
        if not self._calls.allow(node, time.monotonic()):
            await self._refuse(context, who, grpc.StatusCode.RESOURCE_EXHAUSTED, "The device dials more often than is answered.")
        await self._make_room(node, context, who)
        return peer

    async def _make_room(self, node: NodeId, context: _Context, who: str) -> None:
        """One stream for each node: the first, unless it is silent."""
        older = self._open.get(node)
        if older is not None and older.silent_for >= SILENT_SECONDS:
            del self._open[node]
            older.close()
        elif older is not None or self._host.is_connected(node):
            # Nothing wrong, so nothing is logged: a node may be told several addresses of one coordinator.
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "The node has a connection to this coordinator already.")
        if len(self._open) >= WORK_STREAMS:
            why = f"This coordinator serves {WORK_STREAMS} devices that dial in, and no more."
            await self._refuse(context, who, grpc.StatusCode.RESOURCE_EXHAUSTED, why)

    async def _described(self, frames: AsyncIterator[Frame | None], node: NodeId, context: _Context, who: str) -> NodeDescription:
        why = "The device did not describe itself first."
        try:
            async with asyncio.timeout(FIRST_FRAME_SECONDS):
                first = await anext(frames, None)
            if isinstance(first, NodeDescription) and first.id == node:
                return first
            if isinstance(first, NodeDescription):
                why = "The device says it is another one than its certificate does."
        except TimeoutError:
            why = "The device was silent for too long."
        except WireError as error:
            why = f"The device broke the protocol: {error}"
        await self._refuse(context, who, grpc.StatusCode.INVALID_ARGUMENT, why)
        raise AssertionError("refused")

    async def _refuse(self, context: _Context, who: str, code: grpc.StatusCode, why: str) -> NoReturn:
        self._once.warning(who, f"dialled in and was refused. {why}")
        await context.abort(code, why)
        raise AssertionError("abort raises")


async def _work_frames(requests: AsyncIterator[bytes]) -> AsyncIterator[Frame | None]:
    async for data in requests:
        yield frame_from_proto(parse(node_service_pb2.WorkDialInRequest, data).frame)
