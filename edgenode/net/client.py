"""The coordinator's end of a node: one object per connection life."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final, Self

import grpc

from edgenode import __version__
from edgenode.errors import EdgenodeError, NetworkError
from edgenode.net.channel import open_work_channel
from edgenode.net.pairing_client import greet
from edgenode.net.wire import (
    MAX_MESSAGE_BYTES,
    MESSAGE_CHARACTERS,
    WireError,
    describe_from_proto,
    frame_from_proto,
    frame_to_proto,
)
from edgenode.net.work_streams import HEARTBEAT_SECONDS
from edgenode.text import clean_line
from edgenode.trust.certificates import der, node_host_name, parse_certificate
from edgenode.trust.tls import ClientTls
from edgenode.trust.verdict import REFUSALS
from edgenode.types import AuthorityId, Frame, Heartbeat, Hello, NodeDescription, NodeId
from edgenode.v1 import node_service_pb2, node_service_pb2_grpc

CONNECT_SECONDS: Final = 5.0
# A node that ended a call a moment ago answers within milliseconds.
ASK_SECONDS: Final = 2.0
# Ten missed heartbeats: a busy Pi may stop scheduling us for seconds while it reads, a frozen phone never answers.
SILENCE_SECONDS: Final = 10.0
# Frames for a node that does not read. A lease or two and their cancellations wait at most.
OUTGOING_LIMIT: Final = 256


class NodeLost(NetworkError):
    """The connection to a node could not be made or is over. The text says why. `refused`: somebody is there and does not let this
    coordinator in, or shows a certificate that is not good; the node's pairing port may tell the reason."""

    def __init__(self, text: str, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class NodeConnection:
    """One work stream to `node`, which is at one of `addresses` (HOST:PORT). `tls` is for dialling nodes of `authority`.

    Entering dials all addresses at once, keeps the first at which the node proves who it is, and reads its description; raises
    `NodeLost`, also for a node that says it is another than its certificate does.
    """

    def __init__(self, addresses: Sequence[str], node: NodeId, tls: ClientTls, authority: AuthorityId) -> None:
        self.address = addresses[0] if addresses else ""
        """Where it is, once entered."""
        self._addresses = tuple(addresses)
        self._node = node
        self._tls = tls
        self._host_name = node_host_name(node, authority)
        self._outgoing: asyncio.Queue[node_service_pb2.WorkRequest] = asyncio.Queue()
        self._why = "The connection broke."
        self._stack = contextlib.AsyncExitStack()
        self._call: grpc.aio.StreamStreamCall[node_service_pb2.WorkRequest, node_service_pb2.WorkResponse] | None = None
        self._incoming: AsyncIterator[node_service_pb2.WorkResponse | None] | None = None
        self._description: NodeDescription | None = None
        self._let_in = asyncio.Event()

    @property
    def description(self) -> NodeDescription:
        """As the node gave it when the connection was made. Its id is the one that was asked for."""
        assert self._description is not None, "entered"
        return self._description

    async def __aenter__(self) -> Self:
        try:
            channel = await self._dial()
            self._call = call = node_service_pb2_grpc.NodeServiceStub(channel).Work(self._requests())
            self._stack.callback(call.cancel)
            # A call that the node has ended takes no task of its own with it: what waits there must wait no more.
            self._stack.callback(self._let_in.set)
            self._incoming = aiter(call)
            first = await self._next(CONNECT_SECONDS)
            if not isinstance(first, NodeDescription):
                raise NodeLost(f"{self.address} does not speak edgenode's protocol.")
            self._description = first
            self._let_in.set()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the connection. May be called more than once."""
        await self._stack.aclose()

    def send(self, frame: Frame) -> None:
        """Queues a frame. Frames to a connection that is over are lost, as `frames` will have said; a node that does not read is
        hung up on.

        Raises ValueError, here and not in the middle of the stream, for a frame that cannot be encoded (lone surrogates).
        """
        request = node_service_pb2.WorkRequest(frame=frame_to_proto(frame))
        if request.ByteSize() > MAX_MESSAGE_BYTES:
            raise ValueError(f"a frame of {request.ByteSize()} bytes; {MAX_MESSAGE_BYTES} is the limit")
        if self._outgoing.qsize() < OUTGOING_LIMIT:
            self._outgoing.put_nowait(request)
        elif self._call is not None:
            self._why = "The node does not read what it is sent."
            self._call.cancel()

    async def frames(self) -> AsyncIterator[Frame]:
        """What the node sends, until the connection is over: then raises `NodeLost`."""
        while True:
            frame = await self._next(SILENCE_SECONDS)
            if frame is not None:
                yield frame

    async def _dial(self) -> grpc.aio.Channel:
        """A channel to the first address at which the node answers; those that lost are closed."""
        if not self._addresses:
            raise NodeLost("No address of the node is known.")
        channels = {address: open_work_channel(address, self._tls, self._host_name) for address in self._addresses}
        tries = {asyncio.create_task(self._ask(channel), name=f"dial-{address}"): address for address, channel in channels.items()}
        reasons: list[NodeLost] = []
        won = ""
        try:
            for done in asyncio.as_completed(tries):
                try:
                    await done
                except NodeLost as error:
                    reasons.append(error)
                else:
                    # The earliest in the list among those that have answered by now.
                    won = next(address for task, address in tries.items() if task.done() and task.exception() is None)
                    break
        finally:
            for task in tries:
                task.cancel()
            await asyncio.gather(*tries, return_exceptions=True)
            for address, channel in channels.items():
                if address == won:
                    self._stack.push_async_callback(channel.close)
                else:
                    await channel.close()
        if won:
            self.address = won
            return channels[won]
        # Where somebody answered, what is wrong there says more than that nobody does elsewhere.
        raise next((reason for reason in reasons if reason.refused), reasons[0])

    async def _ask(self, channel: grpc.aio.Channel) -> None:
        stub = node_service_pb2_grpc.NodeServiceStub(channel)
        try:
            reply = await stub.Describe(node_service_pb2.DescribeRequest(), timeout=CONNECT_SECONDS)
            told = describe_from_proto(reply.description).id
        except grpc.aio.AioRpcError as error:
            raise _lost(error) from error
        except WireError as error:
            raise NodeLost(f"The node broke the protocol: {error}") from error
        if told != self._node:
            raise NodeLost("The node says it is another one than its certificate does.")

    async def _next(self, silence: float) -> Frame | None:
        assert self._incoming is not None, "entered"
        try:
            async with asyncio.timeout(silence):
                message = await anext(self._incoming)
            if message is None:  # what gRPC gives for bytes that are no message
                raise NodeLost("The node broke the protocol: it sent bytes that are no message.")
            frame = frame_from_proto(message.frame)
        except StopAsyncIteration:
            raise NodeLost("The node closed the connection.") from None
        except TimeoutError:
            raise NodeLost(f"The node was silent for {silence:.0f} s.") from None
        except WireError as error:
            raise NodeLost(f"The node broke the protocol: {error}") from error
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                # The node let us in: whatever it was that ended the connection, it was no refusal.
                raise NodeLost("The connection to the node broke.") from error
            if error.code() is grpc.StatusCode.INTERNAL and not _is_garbled(error):
                raise await self._ended() from error
            raise _lost(error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: gRPC gave up the call by itself.
            raise NodeLost(self._why) from None
        if isinstance(frame, NodeDescription) and frame.id != self._node:
            raise NodeLost("The node says it is another one than its certificate does.")
        return frame

    async def _ended(self) -> NodeLost:
        """Why the node ended the call. gRPC's Python client loses what a call ended with when it was writing at that moment, and
        calls it an internal error; so the node is asked at its pairing port what it thinks of this coordinator."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                greeting = await greet(self.address, der(parse_certificate(self._tls.certificate)), self._node)
        except (EdgenodeError, TimeoutError):
            return NodeLost("The connection to the node broke.")
        if greeting.verdict in REFUSALS:
            return NodeLost(REFUSALS[greeting.verdict], refused=True)
        return NodeLost("The node ended the connection.")

    async def _requests(self) -> AsyncIterator[node_service_pb2.WorkRequest]:
        # Not before: what is written while the node refuses would hide from us why.
        await self._let_in.wait()
        if self._description is None:
            return
        yield node_service_pb2.WorkRequest(frame=frame_to_proto(Hello(__version__)))
        while True:
            request = node_service_pb2.WorkRequest(frame=frame_to_proto(Heartbeat()))
            # asyncio.timeout and not wait_for, which in Python 3.11 swallows a cancellation that comes as its call ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    request = await self._outgoing.get()
            yield request


def _lost(error: grpc.aio.AioRpcError) -> NodeLost:
    details = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return _unavailable(details)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return NodeLost("The node cannot be reached: nothing answers.")
        case grpc.StatusCode.PERMISSION_DENIED:
            return NodeLost(_told(details) or "The node does not let this coordinator in.", refused=True)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return NodeLost(_told(details) or "The node or a message of it is over a limit.")
        case grpc.StatusCode.UNIMPLEMENTED:
            return NodeLost("The node does not speak this version of edgenode's protocol.")
        case grpc.StatusCode.INTERNAL if _is_garbled(error):
            return NodeLost("The node broke the protocol: it sent bytes that are no message.")
        case code:
            return NodeLost(f"The connection broke ({code.name.lower().replace('_', ' ')}).")


def _is_garbled(error: grpc.aio.AioRpcError) -> bool:
    return "deserializ" in (error.details() or "").lower()


def _unavailable(details: str) -> NodeLost:
    """gRPC tells these cases apart only in its texts; one that it words anew is "cannot be reached"."""
    text = details.lower()
    if "certificate has expired" in text:
        return NodeLost("The node's certificate has expired, by this machine's clock.", refused=True)
    if "not yet valid" in text:
        return NodeLost("The node's certificate is not valid yet, by this machine's clock.", refused=True)
    if "certificate_verify_failed" in text or "hostname verification" in text:
        return NodeLost("Another device answers there, or the node is not paired with this coordinator any more.", refused=True)
    if "handshake failed" in text:
        return NodeLost("Something answers there that is no node.", refused=True)
    if "socket closed" in text or "connection reset" in text or "broken pipe" in text:
        # In TLS 1.3 a client hears of its refusal only as the end of the connection.
        return NodeLost("The node closed the connection.", refused=True)
    return NodeLost("The node cannot be reached.")


def _told(details: str) -> str:
    return clean_line(details, MESSAGE_CHARACTERS)
