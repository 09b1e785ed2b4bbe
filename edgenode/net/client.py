"""The coordinator's end of a node: one object per connection life."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import grpc

from edgenode import __version__
from edgenode.errors import NetworkError
from edgenode.net.channel import open_channel
from edgenode.net.service import HEARTBEAT_SECONDS
from edgenode.net.wire import WireError, frame_from_proto, frame_to_proto
from edgenode.types import Frame, Heartbeat, Hello, NodeDescription
from edgenode.v1 import node_service_pb2, node_service_pb2_grpc

CONNECT_SECONDS: Final = 5.0
# Ten missed heartbeats: a busy Pi may stop scheduling us for seconds while it reads, a frozen phone never answers.
SILENCE_SECONDS: Final = 10.0


class NodeLost(NetworkError):
    """The connection to a node could not be made or is over. The text says why."""


class NodeConnection:
    """One work stream to the node at HOST:PORT. Entering connects and reads its description; raises `NodeLost`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._outgoing: asyncio.Queue[node_service_pb2.WorkRequest] = asyncio.Queue()
        self._stack = contextlib.AsyncExitStack()
        self._incoming: AsyncIterator[node_service_pb2.WorkResponse | None] | None = None
        self._description: NodeDescription | None = None

    @property
    def description(self) -> NodeDescription:
        """As the node gave it when the connection was made."""
        assert self._description is not None, "entered"
        return self._description

    async def __aenter__(self) -> Self:
        try:
            channel = await self._stack.enter_async_context(open_channel(self.address))
            call = node_service_pb2_grpc.NodeServiceStub(channel).Work(self._requests())
            self._stack.callback(call.cancel)
            self._incoming = aiter(call)
            first = await self._next(CONNECT_SECONDS)
            if not isinstance(first, NodeDescription):
                raise NodeLost(f"{self.address} does not speak edgenode's protocol.")
            self._description = first
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    def send(self, frame: Frame) -> None:
        """Queues a frame. Frames to a connection that is over are lost, as `frames` will have said.

        Raises ValueError, here and not in the middle of the stream, for a frame that cannot be encoded (lone surrogates).
        """
        self._outgoing.put_nowait(node_service_pb2.WorkRequest(frame=frame_to_proto(frame)))

    async def frames(self) -> AsyncIterator[Frame]:
        """What the node sends, until the connection is over: then raises `NodeLost`."""
        while True:
            frame = await self._next(SILENCE_SECONDS)
            if frame is not None:
                yield frame

    async def _next(self, silence: float) -> Frame | None:
        assert self._incoming is not None, "entered"
        try:
            async with asyncio.timeout(silence):
                message = await anext(self._incoming)
            if message is None:  # what gRPC gives for bytes that are no message
                raise NodeLost("The node broke the protocol: it sent bytes that are no message.")
            return frame_from_proto(message.frame)
        except StopAsyncIteration:
            raise NodeLost("The node closed the connection.") from None
        except TimeoutError:
            raise NodeLost(f"The node was silent for {silence:.0f} s.") from None
        except WireError as error:
            raise NodeLost(f"The node broke the protocol: {error}") from error
        except grpc.aio.AioRpcError as error:
            raise NodeLost(_in_words(error)) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: gRPC gave up the call by itself.
            raise NodeLost("The connection broke.") from None

    async def _requests(self) -> AsyncIterator[node_service_pb2.WorkRequest]:
        yield node_service_pb2.WorkRequest(frame=frame_to_proto(Hello(__version__)))
        while True:
            request = node_service_pb2.WorkRequest(frame=frame_to_proto(Heartbeat()))
            # asyncio.timeout and not wait_for, which in Python 3.11 swallows a cancellation that comes as its call ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    request = await self._outgoing.get()
            yield request


def _in_words(error: grpc.aio.AioRpcError) -> str:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return "The node cannot be reached."
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return "The node or a message of it is over a limit."
        case grpc.StatusCode.UNIMPLEMENTED:
            return "The node does not speak this version of edgenode's protocol."
        case code:
            return f"The connection broke ({code.name.lower().replace('_', ' ')})."
