"""A supervisor on loopback for tests: a real HTTP server that records the exact bytes it gets and answers by a script."""

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

DEFAULT_REPLY = {"found": True, "answer": "The deposit is returned within six weeks.", "citations": [1]}


@dataclass(frozen=True)
class Recorded:
    """A request as it came in: its head to the byte, and its body to the byte."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def user(self) -> str:
        """The text of its user message."""
        return str(json.loads(self.body)["messages"][1]["content"])


@dataclass(frozen=True)
class Reply:
    """What to answer. `hang` says nothing until the server is closed, `drip` sends a byte now and then until the client goes
    away; `cut` closes the connection instead of answering."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    drip: bool = False
    cut: bool = False


def completion(
    content: str | Mapping[str, Any] = DEFAULT_REPLY, *, finish_reason: str = "stop", refusal: str | None = None
) -> Reply:
    """A chat completion that says `content` and counts 1,000 prompt tokens (400 of them cached) and 100 completion tokens."""
    text = content if isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return json_reply(
        200,
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "gpt-5-mini-2026",
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 100,
                "total_tokens": 1100,
                "prompt_tokens_details": {"cached_tokens": 400},
            },
        },
    )


def failure(status: int, message: str = "no", code: str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """An error in the form that OpenAI gave it."""
    return json_reply(status, {"error": {"message": message, "type": "error", "code": code}}, headers)


def json_reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


class SupervisorServer:
    """Answers each request with the next of `script`, and with `completion()` when that is used up. A context manager.

    `url` is the base URL for clients, `requests` what came in so far, in order.
    """

    def __init__(self, *script: Reply) -> None:
        self.requests: list[Recorded] = []
        self._script: Sequence[Reply] = script
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._arrived = threading.Condition(self._lock)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def wait_for_requests(self, count: int, timeout: float = 120) -> None:
        """Blocks until `count` requests have come in."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, timeout), (
                f"only {len(self.requests)} requests came in"
            )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _reply_to(self, request: Recorded) -> Reply:
        with self._arrived:
            number = len(self.requests)
            self.requests.append(request)
            self._arrived.notify_all()
        return self._script[number] if number < len(self._script) else completion()


def _handler(owner: SupervisorServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = owner._reply_to(Recorded(self.command, self.path, headers, body))
            if reply.hang:
                owner._closing.wait()
            if reply.hang or reply.cut:
                self.close_connection = True
                return
            if reply.drip:
                self._drip()
                return
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def _drip(self) -> None:
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            with contextlib.suppress(OSError):
                while not owner._closing.wait(0.01):
                    self.wfile.write(b" ")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
            """Says nothing: what came in is in `requests`."""

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    return Handler
