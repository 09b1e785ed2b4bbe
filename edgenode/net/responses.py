"""What a server sends in a call that two tasks have a part in."""

import asyncio
import contextlib
from typing import Any, Final

import grpc

from edgenode.errors import NetworkError

FINISH_SECONDS: Final = 1.0
# What gRPC raises for a call that has ended meanwhile.
_ENDED: Final = (grpc.RpcError, grpc.aio.BaseError)


class Responses:
    """What is sent to one caller. A write that nobody waits for any more goes on: gRPC takes no status beside it."""

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._context = context
        self._last: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Raises `NetworkError` when the caller is gone."""
        await self.settled()
        self._last = asyncio.ensure_future(self._context.write(data))
        self._last.add_done_callback(lambda last: last.cancelled() or last.exception())
        try:
            await asyncio.shield(self._last)
        except _ENDED as error:
            raise NetworkError("The other side has hung up.") from error

    async def finish(self) -> None:
        """Before the call's end: what is being written has a moment left. A caller that does not read keeps what is gRPC's, the
        call, and nothing of ours."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self.settled()

    async def settled(self) -> None:
        """Returns when nothing is being written, which is never if the caller stays and does not read."""
        if self._last is not None:
            await asyncio.wait({self._last})
