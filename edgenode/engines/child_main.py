"""What every engine's child process does around the library it runs: take its orders, say where it serves, end with its node.

Protocol: the node writes one JSON line (`Orders`) to standard input and keeps that open; the child writes one JSON line,
`{"port": N}`, to standard output when it serves on 127.0.0.1. When standard input ends, the child ends at once.
"""

import ctypes
import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Orders:
    """What a child is to serve. The key is in here, and not among the arguments, because those can be read by every user."""

    model: str
    """Path of the GGUF file."""
    alias: str
    """Name to serve it under."""
    key: str
    context_tokens: int
    """What each slot has."""
    threads: int
    batch_tokens: int
    """How many tokens of a prompt are read between two looks at whether the caller is still there."""
    slots: int = 1


def encode_orders(orders: Orders) -> bytes:
    return json.dumps(dataclasses.asdict(orders)).encode() + b"\n"


def serve(start: Callable[[Orders], int]) -> None:
    """The main function of a child: calls `start`, which returns the port once threads of its own serve there, announces it and
    waits for the node's end.

    Whatever the library prints goes to standard error, which is the engine's log.
    """
    if sys.platform == "linux":
        # While xllamacpp loads a model it holds the interpreter's lock and the thread below cannot run: here the kernel sees to it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    announcements = os.dup(1)
    os.dup2(2, 1)
    commands = os.fdopen(os.dup(0), "rb", buffering=0)
    orders = Orders(**json.loads(_line(commands.read)))
    threading.Thread(target=_end_with_node, args=(commands.read,), name="end-with-node", daemon=True).start()
    port = start(orders)
    os.write(announcements, json.dumps({"port": port}).encode() + b"\n")
    os.close(announcements)
    threading.Event().wait()


def _line(read: Callable[[int], bytes | None]) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = read(1)
        if not byte:
            sys.exit(0)
        line += byte
    return bytes(line)


def _end_with_node(read: Callable[[int], bytes | None]) -> None:
    while read(4096):
        pass
    # Not sys.exit: native threads may be busy for minutes, and nothing here is worth saving.
    os._exit(0)
