"""A call that a node made, read and written so that its end, however it came about, is no surprise."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import grpc

from edgenode.errors import NetworkError
from edgenode.net.wire import MESSAGE_CHARACTERS
from edgenode.net.work_streams import COORDINATOR_SILENCE_SECONDS
from edgenode.text import clean_line

# For the last outcomes on their way to a coordinator, when the node stops.
STOP_SECONDS: Final = 1.0

Call = grpc.aio.StreamStreamCall[bytes, bytes]
# What gRPC raises for a call that has ended meanwhile.
ENDED: Final = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)


async def messages(call: Call) -> AsyncIterator[bytes]:
    """Until the call is over, however that came about. Leaving it early does not end the call."""
    while True:
        # To cancel a read is to cancel the call, and with it what is still on its way to the coordinator.
        reading = asyncio.ensure_future(call.read())
        reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            data = await asyncio.shield(reading)
        except ENDED:
            return
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return  # nobody cancelled us: gRPC gave up the call by itself
        if not isinstance(data, bytes):  # grpc.aio.EOF
            return
        yield data


async def write(call: Call, data: bytes) -> None:
    """Raises `NetworkError` when the call is over, or the coordinator has not read for as long as it may be silent."""
    try:
        async with asyncio.timeout(COORDINATOR_SILENCE_SECONDS):
            await call.write(data)
    except (*ENDED, TimeoutError) as error:
        raise NetworkError("The connection is over.") from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise NetworkError("The connection is over.") from None


async def finish(call: Call) -> tuple[grpc.StatusCode | None, str]:
    """Says that nothing more comes, and gives what is on its way a moment. How the call ended, None if it has not by then, and what
    the other side said of that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            with contextlib.suppress(*ENDED):
                await call.done_writing()
            return await call.code(), clean_line(await call.details() or "", MESSAGE_CHARACTERS)
    return None, ""
