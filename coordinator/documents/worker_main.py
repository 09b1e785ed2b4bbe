"""The process that reads files: a request on standard input, an extract on standard output, until its input ends. Before the
extract may come signs of progress: `{"progress": true}`.

A frame is its length as 8 bytes, then JSON; the bytes of a document that is no file, and those of parts, follow in frames of their
own. JSON and not pickle: a library that a hostile file has taken over must not take over the coordinator with what it answers.
"""

import contextlib
import json
import os
import queue
import stat
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final

from coordinator.documents.extract import Extract
from coordinator.documents.kinds import kind_inside, reader_of
from coordinator.documents.limits import MEMORY_BYTES, limit_memory
from coordinator.documents.progress import listen
from coordinator.errors import DocumentError

MAX_FILE_BYTES: Final = 200_000_000
"""A scanned book with its pictures is smaller; memory on a small machine is not much larger."""
MAX_FRAME_BYTES: Final = 2**30
_LENGTH_BYTES: Final = 8
_NETWORK: Final = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}
)


def write_frame(file: IO[bytes], data: bytes) -> None:
    file.write(len(data).to_bytes(_LENGTH_BYTES, "big"))
    file.write(data)


def read_frame(file: IO[bytes]) -> bytes:
    """Raises `EOFError` where the other side has ended, or sends what is no frame."""
    length = int.from_bytes(file.read(_LENGTH_BYTES).rjust(_LENGTH_BYTES, b"\xff"), "big")
    if length > MAX_FRAME_BYTES:
        raise EOFError
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data


def file_bytes(path: Path) -> bytes:
    """What a file holds. Raises `DocumentError` where it cannot be opened, or is larger than `MAX_FILE_BYTES`."""
    try:
        # Only regular files: opening a pipe would wait for somebody to write to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise DocumentError("it is no regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"it cannot be opened ({error.strerror or type(error).__name__})") from error
    if len(data) > MAX_FILE_BYTES:
        raise DocumentError(f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it and try again")
    return data


def main() -> None:
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Libraries print what they think of a file.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    limit_memory()
    sys.addaudithook(_refuse_network)
    listen(lambda: _write(replies, {"progress": True}), Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    while True:
        _answer(requests.get(), replies)


def _receive(requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """In a thread, so that the process ends with the one that started it, in the middle of a file, too."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            request: dict[str, Any] = json.loads(read_frame(sys.stdin.buffer))
            if request["path"] is None:
                request["data"] = read_frame(sys.stdin.buffer)
            requests.put(request)
    os._exit(0)


def _answer(request: dict[str, Any], replies: IO[bytes]) -> None:
    reply, parts = _read(request)
    _write(replies, reply, *parts)


def _write(replies: IO[bytes], reply: dict[str, Any], *parts: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody waits any more
        write_frame(replies, json.dumps(reply).encode())
        for part in parts:
            write_frame(replies, part)
        replies.flush()


def _refuse_network(event: str, _: tuple[object, ...]) -> None:
    """What reads documents has nobody to talk to, whatever a library or a file wants."""
    if event in _NETWORK:
        raise PermissionError("a process that reads files has no network")


def _read(request: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    try:
        data = file_bytes(Path(request["path"])) if request["path"] is not None else request["data"]
        if not data:
            raise DocumentError("it is empty (0 bytes)")
        extract: Extract = reader_of(kind_inside(request["ending"], data))(data)
    except DocumentError as error:
        return {"error": str(error)}, []
    except MemoryError:
        return {"error": f"reading it takes more than {MEMORY_BYTES // 2**30} GB of memory; split it and try again"}, []
    except ImportError as error:
        missing = f"what reads files of this kind is not installed ({error.name})"
        return {"error": f"{missing}; install edgenode with its coordinator extra"}, []
    except Exception:  # a damaged file can make a library raise anything
        return {"error": "it is damaged: what reads files of this kind gave up"}, []
    told = asdict(extract)
    told["parts"] = [part.name for part in extract.parts]
    return told, [part.data for part in extract.parts]


if __name__ == "__main__":
    main()
