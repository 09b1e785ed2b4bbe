"""Checks the frames that a client of HTTP/2 sends (RFC 9113), before gRPC sees them. Pure: bytes and the time come in.

gRPC answers or keeps whatever is sent, and bounds neither the rate of frames that carry nothing nor the CONTINUATION frames of a
block of headers. So each connection has budgets here, far above what gRPC's own clients need, and is given up beyond them.
"""

from dataclasses import dataclass
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES: Final = 9
MAX_FRAME_BYTES: Final = 16 * 1024
"""What HTTP/2 allows where nobody has asked for more, and this project's servers do not."""
MAX_HEADER_BLOCK_BYTES: Final = 4 * 1024
HEADER_BYTES_OF_A_FRAME: Final = 128
"""So many bytes of headers cost as much as a frame: one byte of them may stand for four thousand (HPACK's table)."""
MAX_CONTINUATIONS: Final = 8

DATA, HEADERS, PUSH_PROMISE, WINDOW_UPDATE, CONTINUATION = 0x0, 0x1, 0x5, 0x8, 0x9
END_HEADERS: Final = 0x4


class FrameError(Exception):
    """The client sends what no client of ours does. The text says what."""


@dataclass(frozen=True, slots=True)
class Budget:
    """So many frames at once, and so many a second."""

    burst: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Budgets:
    """`data` is for DATA frames that carry something, `updates` for WINDOW_UPDATE, `control` for everything else."""

    data: Budget
    updates: Budget
    control: Budget


class FrameCheck:
    """The frames of one connection, in whatever pieces they arrive. Keeps no payload."""

    def __init__(self, budgets: Budgets, now: float) -> None:
        self._preface = PREFACE
        self._header = b""
        self._payload = 0
        self._block: tuple[int, int, int] | None = None
        """Stream, bytes and frames of the block of headers that is not complete."""
        self._data = _Bucket(budgets.data, now)
        self._updates = _Bucket(budgets.updates, now)
        self._control = _Bucket(budgets.control, now)

    def feed(self, data: bytes, now: float) -> None:
        """Raises `FrameError`; nothing of `data` should be passed on then."""
        at = 0
        if self._preface:
            at = min(len(self._preface), len(data))
            if data[:at] != self._preface[:at]:
                raise FrameError("It does not speak HTTP/2.")
            self._preface = self._preface[at:]
        while at < len(data):
            if self._payload:
                step = min(self._payload, len(data) - at)
                self._payload -= step
                at += step
                continue
            step = FRAME_HEADER_BYTES - len(self._header)
            self._header += data[at : at + step]
            at += step
            if len(self._header) == FRAME_HEADER_BYTES:
                self._payload = int.from_bytes(self._header[:3], "big")
                self._check(self._header, self._payload, now)
                self._header = b""

    def _check(self, header: bytes, length: int, now: float) -> None:
        kind, flags, stream = header[3], header[4], int.from_bytes(header[5:], "big") & 0x7FFF_FFFF
        if length > MAX_FRAME_BYTES:
            raise FrameError("It sends a frame that is too large.")
        if (kind == CONTINUATION) != (self._block is not None):
            raise FrameError("Its headers are not in one block.")
        if kind == DATA and length:
            bucket = self._data
        elif kind == WINDOW_UPDATE:
            bucket = self._updates
        else:
            bucket = self._control
        cost = 1.0 + (length // HEADER_BYTES_OF_A_FRAME if kind in {HEADERS, CONTINUATION} else 0)
        if not bucket.take(now, cost):
            raise FrameError("It sends more frames than are answered.")
        if kind == PUSH_PROMISE:
            raise FrameError("It promises streams, which only a server may.")
        if kind in {HEADERS, CONTINUATION}:
            of, size, frames = self._block or (stream, 0, -1)
            size, frames = size + length, frames + 1
            if of != stream or size > MAX_HEADER_BLOCK_BYTES or frames > MAX_CONTINUATIONS:
                raise FrameError("Its headers are too long.")
            self._block = None if flags & END_HEADERS else (of, size, frames)


class _Bucket:
    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, budget: Budget, now: float) -> None:
        self._burst, self._rate = budget.burst, budget.per_second
        self._left, self._since = budget.burst, now

    def take(self, now: float, cost: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < cost:
            return False
        self._left -= cost
        return True
