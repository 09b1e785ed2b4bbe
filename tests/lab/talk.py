"""Datagrams between hosts of the lab, for its own tests. Run within a host:

talk.py hear                  prints "ready", then each datagram that comes, by IPv4 or IPv6, to it or to the group GROUP
talk.py say ADDRESS TEXT...   sends each there, once
talk.py ask ADDRESS           sends a word and prints what comes back; again where the answer is late, and fails after a minute
"""

import contextlib
import socket
import struct
import sys
from typing import Any

PORT = 7077
GROUP = "224.0.0.251"
TRIES = 120
TRY_SECONDS = 0.5


def _socket(address: str) -> tuple[socket.socket, Any]:
    family, kind, protocol, _, target = socket.getaddrinfo(address, PORT, type=socket.SOCK_DGRAM)[0]
    return socket.socket(family, kind, protocol), target


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def hear() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ear:
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        ear.bind(("::", PORT))
        membership = struct.pack("4s4si", socket.inet_aton(GROUP), b"\0" * 4, socket.if_nametoindex("eth0"))
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        _print("ready")
        while True:
            text, sender = ear.recvfrom(1_000)
            _print(text.decode())
            # Who asked twice may have gone, and his address or ours with him.
            with contextlib.suppress(OSError):
                ear.sendto(text, sender)


def say(address: str, *texts: str) -> None:
    mouth, target = _socket(address)
    with mouth:
        for text in texts:
            mouth.sendto(text.encode(), target)


def ask(address: str) -> int:
    mouth, target = _socket(address)
    with mouth:
        mouth.settimeout(TRY_SECONDS)
        for _ in range(TRIES):
            try:
                mouth.sendto(b"asked", target)
                _print(mouth.recv(1_000).decode())
            except TimeoutError:
                continue
            return 0
    return 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["hear"]:
            hear()
        case ["say", address, *texts]:
            say(address, *texts)
        case ["ask", address]:
            sys.exit(ask(address))
