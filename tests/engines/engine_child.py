"""A child process that speaks the protocol of engines and does what it is told, for tests of crashes, restarts and orphans.

The "model" in its orders is a JSON file: {"starts": [what to do at the first start, at the second, ...]}, the last entry for all
later ones. "serve" serves; anything else is done instead of serving. Next to that file it notes its pid in `pids`. When it serves,
the first word of a request's text says what happens: `crash SIGSEGV`, `hang` (no event ever), `key` (replies the key it was given);
anything else gets a short reply.
"""

import json
import os
import signal
import sys
import threading
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
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    key = ""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {self.server.key}":
            self.send_error(401)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
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

    def event(self, event: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in its base class
        sys.stderr.write(f"{format % args}\n")


if __name__ == "__main__":
    serve(start)
