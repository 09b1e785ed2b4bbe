"""The gRPC service of a node: tells what the node is, and carries the frames of work streams."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final, Self

import grpc

from edgenode.errors import NetworkError
from edgenode.net.channel import make_server
from edgenode.net.interfaces import host_port
from edgenode.net.wire import WireError, describe_to_proto, frame_from_proto, frame_to_proto
from edgenode.types import Cancel, Frame, Heartbeat, Hello, Lease, NodeDescription, Outcome, Progress, Refusal
from edgenode.v1 import node_service_pb2, node_service_pb2_grpc
from edgenode.work import WorkQueue

HEARTBEAT_SECONDS: Final = 1.0
# A coordinator that is silent for this long is gone, and what it asked for is stopped. Generous: its process may be busy
# extracting text, and gRPC's own keepalive notices a dead machine sooner.
COORDINATOR_SILENCE_SECONDS: Final = 30.0
# Frames waiting for a peer that reads slowly. Beyond the first, progress is dropped; beyond the second, the peer is: it sends
# leases and reads no answers.
OUTBOX_FRAMES: Final = 256
OUTBOX_LIMIT: Final = 1_024

logger = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[Any, Any]


class _Outbox:
    """Frames on their way to one coordinator, with a heartbeat when there are none for a while."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, frame: Frame) -> None:
        if isinstance(frame, Progress) and len(self._frames) >= OUTBOX_FRAMES:
            return
        if len(self._frames) >= OUTBOX_LIMIT:
            self._frames.clear()
            self.close()
            return
        self._frames.append(frame)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def drain(self) -> AsyncIterator[Frame]:
        while True:
            while self._frames:
                yield self._frames.popleft()
            if self._closed:
                return
            self._wake.clear()
            try:
                # And not wait_for, which in Python 3.11 swallows a cancellation that comes as its call ends.
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                yield Heartbeat()


class NodeServer:
    """Serves one node. An async context manager; `address` is known once entered.

    Leaving it tells every coordinator what happened to its leases and closes the streams.
    """

    def __init__(self, describe: Callable[[], NodeDescription], queue: WorkQueue, address: str, port: int) -> None:
        self._describe = describe
        self._queue = queue
        self._host = address
        self._port = port
        self._server: grpc.aio.Server | None = None
        self._outboxes: set[_Outbox] = set()

    @property
    def address(self) -> str:
        """HOST:PORT it listens at."""
        return host_port(self._host, self._port)

    @property
    def port(self) -> int:
        return self._port

    async def __aenter__(self) -> Self:
        self._server = make_server()
        node_service_pb2_grpc.add_NodeServiceServicer_to_server(_Servicer(self), self._server)
        try:
            self._port = self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise NetworkError(
                f"The node cannot listen at {self.address}: the port is in use or not allowed. Without --port it takes a free one."
            ) from error
        await self._server.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for outbox in tuple(self._outboxes):
            outbox.close()
        if self._server is not None:
            await self._server.stop(grace=1.0)

    def announce_change(self) -> None:
        """Sends the description again on every stream: the engine's state or its models changed."""
        for outbox in self._outboxes:
            outbox.put(self._describe())

    async def serve_stream(self, requests: AsyncIterator[Frame]) -> AsyncGenerator[Frame, None]:
        """One work stream. Reads `requests` in a task of its own; yields what goes back until either side is done."""
        outbox = _Outbox()
        outbox.put(self._describe())
        session = self._queue.open_session(outbox.put)
        self._outboxes.add(outbox)

        async def read() -> None:
            try:
                while True:
                    async with asyncio.timeout(COORDINATOR_SILENCE_SECONDS):
                        frame = await anext(requests, None)
                    match frame:
                        case None:
                            return
                        case Lease():
                            session.offer(frame)
                        case Cancel(lease, subtasks):
                            session.cancel(lease, subtasks)
                        case Hello() | Heartbeat() | NodeDescription() | Refusal() | Progress() | Outcome():
                            pass
            except TimeoutError:
                logger.warning("A coordinator was silent for %.0f s; its work is stopped.", COORDINATOR_SILENCE_SECONDS)
            except WireError as error:
                logger.warning("A coordinator broke the protocol: %s Its work is stopped.", error)
            finally:
                outbox.close()

        reader = asyncio.create_task(read(), name="work-stream-reader")
        try:
            async for frame in outbox.drain():
                yield frame
        finally:
            self._outboxes.discard(outbox)
            session.close()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def description(self) -> NodeDescription:
        return self._describe()


class _Servicer(node_service_pb2_grpc.NodeServiceServicer):
    def __init__(self, server: NodeServer) -> None:
        self._node = server

    async def Describe(self, request: node_service_pb2.DescribeRequest, context: _Context) -> node_service_pb2.DescribeResponse:  # noqa: N802, ARG002 - the name and signature gRPC asks for
        return node_service_pb2.DescribeResponse(description=describe_to_proto(self._node.description()))

    async def Work(  # noqa: N802 - the name gRPC asks for
        self,
        request_iterator: AsyncIterator[node_service_pb2.WorkRequest],
        context: _Context,  # noqa: ARG002 - likewise
    ) -> AsyncIterator[node_service_pb2.WorkResponse]:
        async def frames() -> AsyncIterator[Frame]:
            async for message in request_iterator:
                frame = frame_from_proto(message.frame)
                if frame is not None:
                    yield frame

        async with contextlib.aclosing(self._node.serve_stream(frames())) as outgoing:
            async for frame in outgoing:
                yield node_service_pb2.WorkResponse(frame=frame_to_proto(frame))
