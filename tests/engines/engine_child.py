"""A child process that speaks the protocol of engines and does what it is told, for tests of crashes, restarts and orphans.

The "model" in its orders is a JSON file: {"starts": [what to do at the first start, at the second, ...]}, the last entry for all
later ones. Next to that file it notes its pid in `pids`.

"serve" serves. So does "reads SPEED": a device that reads so many words a second, tells its progress once a batch and looks then
whether its caller is still there. "dies" ends when it is asked anything. Anything else is done instead of serving.

When it serves, the first word of a request's text says what happens: `crash SIGSEGV`, `hang` (no event ever), `key` (replies the
key it was given); anything else gets a short reply.
"""

import itertools
import json
import os
import select
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgenode.engines.child_main import Orders, serve


def start(orders: Orders) -> int:
    script = Path(orders.model)
    pids = script.with_name("pids")
    with pids.open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    starts = json.loads(script.read_text(encoding="utf-8"))["starts"]
    what = starts[min(len(pids.read_text(encoding="ascii").split()), len(starts)) - 1]
    match what.split():
        case ["fail"]:
            sys.stderr.write("loading\n0.00.1 E load: error loading model: data is not within the file bounds\n")
            sys.stderr.write("0.00.2 E load: failed to load model\n")
            raise RuntimeError("Failed to init server.")
        case ["crash", name]:
            os.kill(os.getpid(), getattr(signal, name))
        case ["hang"]:
            threading.Event().wait()
        case ["hold"]:
            # Native code that never lets go of the interpreter, as far as other threads can tell.
            os.kill(os.getpid(), signal.SIGSTOP)
    os.write(1, b"noise of a native library\n")
    server = Server(("127.0.0.1", 0), Handler)
    server.key = orders.key
    server.batch = orders.batch_tokens
    server.dies = what == "dies"
    if what.startswith("reads "):
        server.speed = float(what.removeprefix("reads "))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    key = ""
    batch = 0
    dies = False
    speed = 0.0
    """Words a second, 0 where the time to read is not played."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.slot = threading.Lock()
        self.cache: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {self.server.key}":
            self.send_error(401)
            return
        if self.server.dies:
            os._exit(7)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if self.server.speed:
            words = " ".join(message["content"] for message in body["messages"]).split()
            with self.server.slot:
                if not self.read(words):
                    return
        else:
            self.event({"choices": [], "prompt_progress": {"total": 10, "processed": 5}})
        match body["messages"][1]["content"].split():
            case ["crash", name]:
                os.kill(os.getpid(), getattr(signal, name))
                # Another thread may get the signal, a moment later.
                threading.Event().wait()
            case ["exit", status]:
                os._exit(int(status))
            case ["hang"]:
                threading.Event().wait()
            case ["key"]:
                self.event({"choices": [{"delta": {"content": self.server.key}}]})
            case _:
                self.event({"choices": [{"delta": {"content": "done"}}]})
        self.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})

    def read(self, words: list[str]) -> bool:
        """Whether the caller waited for the end."""
        server = self.server
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(server.cache, words, strict=False))
        at = cached = min(len(list(alike)), len(words) - 1)
        while True:
            self.event({"choices": [], "prompt_progress": {"total": len(words), "processed": at}})
            if at == len(words):
                break
            step = min(server.batch, len(words) - at)
            time.sleep(step / server.speed)
            at += step
            server.cache = words[:at]
            # It has nothing more to say: what can be read is the end of its connection.
            if select.select([self.connection], [], [], 0)[0]:
                return False
        milliseconds = (len(words) - cached) / server.speed * 1000
        self.event({"choices": [], "timings": {"cache_n": cached, "prompt_ms": milliseconds, "predicted_ms": 0}})
        return True

    def event(self, event: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in its base class
        sys.stderr.write(f"{format % args}\n")


if __name__ == "__main__":
    serve(start)
