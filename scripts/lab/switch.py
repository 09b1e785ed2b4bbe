"""The lab's switch: frames between the hosts' TAP devices, with delay, jitter and loss that the kernel may have no module for.

Run by `Lab` as a process of its own, so that a busy test does not slow the network:

    python switch.py SEED FD...

Each FD is an open TAP device, the first that of port 0. A line on stdin is a JSON object of commands (`_Process.obey`), answered by
a line on stdout. It ends when stdin does.
"""

import asyncio
import json
import os
import random
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

QUEUE_FRAMES = 1_000
"""What waits for one host at most; more is dropped, as by any switch."""

FRAMES_A_TURN = 64
"""Read from one port before the others get their turn."""

TUNSETCARRIER = 0x400454E2


@dataclass(frozen=True, slots=True)
class Line:
    """How good the line between a host and the switch is. Shares are 0 to 1, times are seconds and for frames to the host."""

    lost_to_host: float = 0.0
    lost_from_host: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    """Added to the delay, at random from 0. Frames still arrive in order."""


@dataclass(slots=True)
class _Port:
    line: Line = field(default_factory=Line)
    plugged: bool = True
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    """Frames to the host and when each is due, in order."""


class Fabric:
    """A learning switch without a clock of its own: `take` frames, then deliver those `due`. Times are seconds on any one clock."""

    def __init__(self, ports: int, seed: int) -> None:
        self.multicast = True
        """Whether multicast passes. Broadcast (ARP) and what IPv6 needs to find neighbours always do."""
        self._ports = [_Port() for _ in range(ports)]
        self._chance = random.Random(seed)
        self._learnt: dict[bytes, int] = {}

    def set_line(self, port: int, line: Line) -> None:
        """What waits for the host already is delivered all the same."""
        self._ports[port].line = line

    def set_plugged(self, port: int, plugged: bool) -> None:
        """With its cable out nothing goes through a port, whatever the line."""
        self._ports[port].plugged = plugged
        self._ports[port].waiting.clear()

    def take(self, source: int, frame: bytes, now: float) -> None:
        """A frame sent by the host at port `source`."""
        if not self._ports[source].plugged or self._lost(self._ports[source].line.lost_from_host):
            return
        target, sender = frame[:6], frame[6:12]
        if not _is_group(sender):
            self._learnt[sender] = source
        if _is_group(target):
            if self.multicast or _must_pass(target):
                self._flood(source, frame, now)
        elif (known := self._learnt.get(target)) is None:
            self._flood(source, frame, now)
        elif known != source:
            self._queue(self._ports[known], frame, now)

    def due(self, now: float) -> Iterator[tuple[int, bytes]]:
        """Takes out the frames whose time has come, with the port of each."""
        for index, port in enumerate(self._ports):
            while port.waiting and port.waiting[0][0] <= now:
                yield index, port.waiting.popleft()[1]

    def next_due(self) -> float | None:
        """When the next frame is due, None while nothing waits."""
        return min((port.waiting[0][0] for port in self._ports if port.waiting), default=None)

    def _flood(self, source: int, frame: bytes, now: float) -> None:
        for index, port in enumerate(self._ports):
            if index != source:
                self._queue(port, frame, now)

    def _queue(self, port: _Port, frame: bytes, now: float) -> None:
        if not port.plugged or len(port.waiting) >= QUEUE_FRAMES or self._lost(port.line.lost_to_host):
            return
        due = now + port.line.delay + self._chance.uniform(0.0, port.line.jitter)
        latest = port.waiting[-1][0] if port.waiting else due
        port.waiting.append((max(due, latest), frame))

    def _lost(self, share: float) -> bool:
        return share > 0.0 and self._chance.random() < share


def _is_group(address: bytes) -> bool:
    return bool(address[0] & 1)


def _must_pass(target: bytes) -> bool:
    """Broadcast, and the groups of neighbour and router discovery and of multicast listeners: all nodes, all routers, MLDv2
    routers, solicited nodes. Without them no unicast gets through either."""
    neighbours = (b"\x33\x33\x00\x00\x00\x01", b"\x33\x33\x00\x00\x00\x02", b"\x33\x33\x00\x00\x00\x16")
    return target == b"\xff" * 6 or target in neighbours or target.startswith(b"\x33\x33\xff")


class _Process:
    """The fabric between real devices."""

    def __init__(self, seed: int, devices: Sequence[int]) -> None:
        self._devices = devices
        self._fabric = Fabric(len(devices), seed)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        for port, device in enumerate(devices):
            os.set_blocking(device, False)
            self._loop.add_reader(device, self._read, port)
            self._plug(port, True)

    def obey(self, order: dict[str, object]) -> None:
        """`{"port": N, "line": {...}}` sets a line, `{"port": N, "carrier": BOOL}` plugs the host's cable in or out,
        `{"multicast": BOOL}` lets multicast pass or not. What was sent before the order goes by what held until then."""
        for sender in range(len(self._devices)):
            self._read(sender, QUEUE_FRAMES)
        match order:
            case {"port": int(port), "line": dict(line)}:
                self._fabric.set_line(port, Line(**line))
            case {"port": int(port), "carrier": bool(carrier)}:
                self._plug(port, carrier)
            case {"multicast": bool(multicast)}:
                self._fabric.multicast = multicast
            case _:
                raise ValueError(f"no such order: {order}")

    def _plug(self, port: int, plugged: bool) -> None:
        import fcntl  # not on Windows, where the fabric can be tested all the same

        # The kernel tells the host's programs, up to a second later; until then it goes on sending.
        fcntl.ioctl(self._devices[port], TUNSETCARRIER, struct.pack("i", plugged))
        self._fabric.set_plugged(port, plugged)

    def _read(self, port: int, frames: int = FRAMES_A_TURN) -> None:
        now = time.monotonic()
        for _ in range(frames):
            try:
                frame = os.read(self._devices[port], 65_535)
            except OSError:  # nothing more to read, or the host's end is down
                break
            self._fabric.take(port, frame, now)
        self._deliver()

    def _deliver(self) -> None:
        for port, frame in self._fabric.due(time.monotonic()):
            try:
                os.write(self._devices[port], frame)
            except OSError:
                continue  # the host's end is down or full: the frame is lost, as on any network
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self._fabric.next_due()) is not None:
            self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._deliver)


async def _serve(seed: int, devices: Sequence[int]) -> None:
    process = _Process(seed, devices)
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        process.obey(json.loads(line))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), [int(device) for device in sys.argv[2:]]))
