"""A real HTTP server on loopback that serves files the way good, plain and broken servers do."""

import contextlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What is served at one path. `cuts` lists, for each request in turn, after how many bytes of body the connection is cut."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = ""
    last_modified: str = ""
    ranges: bool = True
    length: bool = True
    endless: bool = False
    """After the body come zeros, until the client leaves."""
    cuts: list[int] = field(default_factory=list)
    busy: list[dict[str, str]] = field(default_factory=list)
    """For each of the first requests, the headers of a 503."""


@dataclass
class Seen:
    path: str
    range: str
    if_range: str
    sent: int = 0
    """Bytes of body that were on their way."""


class FileServer:
    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.seen: list[Seen] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.serve(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        seen = Seen(request.path, request.headers.get("Range", ""), request.headers.get("If-Range", ""))
        self.seen.append(seen)
        request.close_connection = True
        page = self.pages.get(request.path, Page(b"no such file", status=404))
        if page.busy:
            request.send_response(503)
            for name, value in page.busy.pop(0).items():
                request.send_header(name, value)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body, status = page.body, page.status
        start = re.fullmatch(r"bytes=(\d+)-", seen.range)
        validator = page.etag or page.last_modified
        if start and page.ranges and status == 200 and (not seen.if_range or seen.if_range == validator):
            first = int(start[1])
            status = 206 if first < len(body) else 416
        request.send_response(status)
        for name, value in page.headers.items():
            request.send_header(name, value)
        if page.etag:
            request.send_header("ETag", page.etag)
        if page.last_modified:
            request.send_header("Last-Modified", page.last_modified)
        if status == 206:
            request.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            body = body[first:]
        elif status == 416:
            body = b""
        if page.length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if page.cuts:
            body = body[: page.cuts.pop(0)]
        # Before it is sent: whoever has the last byte may look at once.
        seen.sent = len(body)
        with contextlib.suppress(ConnectionError):  # a client may leave in the middle
            request.wfile.write(body)
            while page.endless:
                seen.sent += request.wfile.write(bytes(1 << 16))

    @contextmanager
    def running(self) -> "Iterator[FileServer]":
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            thread.join()
            self._http.server_close()
