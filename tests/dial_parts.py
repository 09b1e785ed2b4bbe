"""What tests of dialling in are made of: a coordinator that listens, and keeps whoever comes."""

import asyncio
import atexit
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coordinator.nodes.pairing import Trust
from edgenode.net.dial_in import DialInListener, Host
from edgenode.net.dialled_in import DialledIn, WaitingDevice
from edgenode.types import Frame, NodeId

# For what must happen, however busy the machine is.
SECONDS = 120.0


class Listening:
    """A coordinator's listener at `port` of loopback, and whoever has dialled in."""

    def __init__(self, folder: Path, port: int) -> None:
        self.trust = Trust.load(folder)
        self.port = port
        self.streams: asyncio.Queue[DialledIn] = asyncio.Queue()
        self.devices: asyncio.Queue[WaitingDevice] = asyncio.Queue()
        self.left: list[WaitingDevice] = []
        self.connected: set[NodeId] = set()
        """Nodes that have another stream already."""
        authority = self.trust.authority
        self.host = Host(
            server_tls=authority.server_tls,
            placeholder_tls=authority.placeholder_tls,
            identify=authority.identify,
            is_admitted=self.trust.paired.is_paired,
            is_connected=self.connected.__contains__,
            on_work=self.streams.put_nowait,
            on_waiting=self.devices.put_nowait,
            on_left=self.left.append,
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def stream(self) -> DialledIn:
        """The next work stream."""
        async with asyncio.timeout(SECONDS):
            return await self.streams.get()

    async def device(self) -> WaitingDevice:
        """The next device that waits and has not hung up by now."""
        async with asyncio.timeout(SECONDS):
            while not (device := await self.devices.get()).is_waiting:
                pass
            return device


@asynccontextmanager
async def listening(folder: Path, port: int = 0) -> AsyncIterator[Listening]:
    there = Listening(folder, port or free_pair())
    async with DialInListener(there.host, lambda: ("127.0.0.1",), there.port):
        yield there


def free_pair() -> int:
    """A port that is free together with the next one, on loopback, until this process ends: it holds both without listening, so
    that neither another test nor the system, which takes ports for those who dial, can have them meanwhile."""
    while True:
        held = socket.socket(), socket.socket()
        try:
            held[0].bind(("127.0.0.1", 0))
            port: int = held[0].getsockname()[1]
            held[1].bind(("127.0.0.1", port + 1))
        except (OSError, OverflowError):
            for each in held:
                each.close()
            continue
        for each in held:
            # By this Linux lets others listen there that ask for the same, as gRPC and asyncio do. Other systems do not.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sys.platform == "linux":
                atexit.register(each.close)
            else:
                each.close()
        return port


async def next_frame(stream: DialledIn, kind: type[Frame]) -> Any:
    async with asyncio.timeout(SECONDS):
        async for frame in stream.frames():
            if isinstance(frame, kind):
                return frame
    raise AssertionError("the stream ended")
