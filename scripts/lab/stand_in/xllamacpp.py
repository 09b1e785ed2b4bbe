"""Stands in for the library `xllamacpp` in nodes of the lab: a server of the same HTTP dialect whose replies are those of the test
engine. All above the library is what users run: the child process, its orders, its restarts, the HTTP adapter.

Whoever has its folder in PYTHONPATH imports it instead of the library. LAB_SPEED is READ:WRITE, tokens a second. LAB_PACE is a file
with the time (a double, of the monotonic clock) after which no work is begun until a later one stands there. LAB_CRASH is a file
whose being there means that the process is to die, as native code does, at the first work it has: it takes the file away, and dies.
"""

import asyncio
import json
import os
import signal
import struct
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import EngineProgress, Request
from edgenode.errors import EngineError

PACE_SECONDS = 0.01


class CommonParams(SimpleNamespace):
    """What the child process sets; the context counts, the rest is taken as it comes."""

    def __init__(self) -> None:
        super().__init__(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace(), n_ctx=0)


class Server:
    """Serves from the moment it is made, in a thread of its own, as long as the process lives."""

    def __init__(self, params: CommonParams) -> None:
        read, _, write = os.environ["LAB_SPEED"].partition(":")
        self._engine = DeterministicEngine(
            context_tokens=params.n_ctx, read_tokens_per_second=float(read), write_tokens_per_second=float(write)
        )
        self._pace, self._crash = Path(os.environ["LAB_PACE"]), Path(os.environ["LAB_CRASH"])
        self.listening_address = ""
        serves = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(serves)), daemon=True).start()
        serves.wait()

    async def _serve(self, serves: threading.Event) -> None:
        async with self._engine, await asyncio.start_server(self._answer, "127.0.0.1", 0) as server:
            self.listening_address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            serves.set()
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:"))
            body = json.loads(await reader.readexactly(int(length)))
            reply = asyncio.create_task(self._reply(body, writer))
            # A caller that hangs up is noticed while its prompt is read, as by llama.cpp.
            dropped = asyncio.create_task(reader.read())
            await asyncio.wait([reply, dropped], return_when=asyncio.FIRST_COMPLETED)
            for task in (reply, dropped):
                task.cancel()
            await asyncio.gather(reply, dropped, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _reply(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        def tell(event: dict[str, Any]) -> None:
            writer.write(f"data: {json.dumps(event)}\n\n".encode())

        def progress(at: EngineProgress) -> None:
            if self._crash.exists():
                self._crash.unlink()
                os.kill(os.getpid(), signal.SIGSEGV)
            tell({"choices": [], "prompt_progress": {"total": at.prompt_tokens, "processed": at.read_tokens}})

        system, user = (message["content"] for message in body["messages"])
        schema = json.dumps(body["response_format"]["json_schema"]["schema"])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        while time.monotonic() > struct.unpack("d", self._pace.read_bytes())[0]:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(PACE_SECONDS)
        try:
            done = await self._engine.complete(Request(body["model"], system, user, schema, body["max_tokens"]), progress)
        except EngineError as error:
            tell({"error": {"message": str(error)}})
        else:
            usage = {"prompt_tokens": done.usage.prompt_tokens, "completion_tokens": done.usage.completion_tokens}
            tell({"choices": [], "timings": {"prompt_ms": done.usage.seconds * 1000, "predicted_ms": 0.0}})
            tell({"choices": [{"delta": {"content": done.text}}]})
            tell({"choices": [], "usage": usage | {"prompt_tokens_details": {"cached_tokens": done.usage.cached_tokens}}})
            tell({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        await writer.drain()
