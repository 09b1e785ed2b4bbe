"""A small HTTP server on loopback that answers as a script says, for tests of the adapter: events, errors, garbage, silence."""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass
class Exchange:
    """One request as it came, and the means to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    _reader: asyncio.StreamReader = field(repr=False)
    _writer: asyncio.StreamWriter = field(repr=False)

    async def reply(self, body: Any, status: int = 200, kind: str = "application/json") -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        await self.raw(head.encode() + content)

    async def begin_events(self) -> None:
        await self.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n")

    async def events(self, *events: Any) -> None:
        for event in events:
            text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            await self.raw(f"data: {text}\n\n".encode())

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def dropped(self) -> None:
        """Returns when the caller has closed the connection."""
        while await self._reader.read(1024):
            pass


Handler = Callable[[Exchange], Awaitable[None]]


class EngineServer:
    """An async context manager. `handlers` maps paths to what answers them; anything else is a 404. `seen` holds the requests. Its
    port stays its own between `close` and `listen`."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.seen: list[Exchange] = []
        self.url = ""
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._port = socket.socket()
        self._address = ("", 0)

    def chat(self, handler: Handler) -> Handler:
        self.handlers["/v1/chat/completions"] = handler
        return handler

    async def __aenter__(self) -> Self:
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self._address = self._port.getsockname()
        self.url = f"http://127.0.0.1:{self._address[1]}"
        if sys.platform != "linux":  # where one socket may listen at a port that another is bound to
            self._port.close()
        await self.listen()
        return self

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._answer, *self._address, reuse_address=True)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        await self._server.wait_closed()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
        self._port.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            content = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = first.split()
            exchange = Exchange(method, path, headers, json.loads(content) if content else None, reader, writer)
            self.seen.append(exchange)
            handler = self.handlers.get(path)
            await (handler(exchange) if handler else exchange.reply({"error": {"message": "File Not Found"}}, 404))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            # What the caller has not read would keep the connection open, for a loop that ends.
            writer.transport.abort()
            raise
        finally:
            self._answering.discard(task)
            writer.close()


def says(*words: str, finish: str = "stop") -> list[Any]:
    """The events of a reply, one for each word, without its terminator."""
    events: list[Any] = [{"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in words]
    return [*events, {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}]
