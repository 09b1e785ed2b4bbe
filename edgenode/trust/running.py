"""The nodes of this user that run on this machine now. Each leaves a file that only this user can read: whoever can read it is that
user, so it both finds the node and stands in for the code on its screen."""

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgenode.errors import TrustError
from edgenode.home import data_dir, make_private_folder, write_private
from edgenode.text import clean_line
from edgenode.trust.private import read_private
from edgenode.trust.records import text_of
from edgenode.types import NodeId

VERSION: Final = 1
SECRET_BYTES: Final = 32
MAX_FILE_BYTES: Final = 4_096
MAX_FILES: Final = 256
NAME_CHARACTERS: Final = 60
ADDRESS_CHARACTERS: Final = 260
MAX_DIALS: Final = 8
PATH_CHARACTERS: Final = 4_096

_log = logging.getLogger(__name__)
_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class RunningNode:
    id: NodeId
    name: str
    address: str
    """HOST:PORT of its work port, as it can be reached from this machine."""
    secret: bytes = field(repr=False)
    """`SECRET_BYTES` random bytes, new at each start."""
    pid: int
    dials: tuple[str, ...] = ()
    """HOST:PORT of the coordinators that it dials, the first `MAX_DIALS`."""
    model_file: Path | None = None
    """The file of the model that it serves, where that is a file."""


def running_folder() -> Path:
    """The same for all nodes of a user, whatever their homes are."""
    return data_dir() / "running"


@contextmanager
def announced_running(node: RunningNode) -> Iterator[None]:
    """Keeps the node's file there for as long as the context lasts. Raises `HomeError` when it cannot be written.

    To be entered while the node holds its home's lock: a file left there by an earlier, killed process of it is replaced.
    """
    make_private_folder(running_folder())
    path = running_folder() / f"{node.id}.json"
    values = {
        "version": VERSION,
        "name": node.name,
        "address": node.address,
        "secret": node.secret.hex(),
        "pid": node.pid,
        "dials": node.dials[:MAX_DIALS],
        "model_file": None if node.model_file is None else str(node.model_file),
    }
    write_private(path, json.dumps(values, ensure_ascii=False) + "\n")
    try:
        yield
    finally:
        # Left behind it does no harm: its process is gone.
        with suppress(OSError):
            path.unlink()


def running_nodes() -> tuple[RunningNode, ...]:
    """Ordered by id. Files of processes that are gone are skipped; so are files that are damaged, of another owner or readable by
    others, with a warning, once for each."""
    try:
        paths = sorted(path for path in running_folder().iterdir() if path.suffix == ".json")[:MAX_FILES]
    except OSError:
        return ()
    found = []
    for path in paths:
        try:
            node = _read(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, RecursionError, TrustError) as error:
            if str(path) not in _warned:
                _warned.add(str(path))
                _log.warning("%s was skipped (%s). Delete it and start that node again.", path, clean_line(str(error)))
            continue
        if _is_alive(node.pid):
            found.append(node)
    return tuple(found)


def _read(path: Path) -> RunningNode:
    data = read_private(path, MAX_FILE_BYTES)
    values = json.loads(data)
    if not isinstance(values, dict) or values.get("version") != VERSION:
        raise ValueError("it was not written by this version of edgenode")
    secret, pid = bytes.fromhex(text_of(values, "secret")), values["pid"]
    if not re.fullmatch(r"[0-9a-f]{32}", path.stem) or len(secret) != SECRET_BYTES or not isinstance(pid, int) or pid <= 0:
        raise ValueError("it makes no sense")
    name, address = text_of(values, "name", NAME_CHARACTERS), text_of(values, "address", ADDRESS_CHARACTERS)
    dials = values.get("dials", [])
    if not isinstance(dials, list):
        raise ValueError("it makes no sense")
    dialled = tuple(text_of({"dials": each}, "dials", ADDRESS_CHARACTERS) for each in dials[:MAX_DIALS])
    # Earlier versions tell none.
    file = values.get("model_file")
    model_file = Path(file) if isinstance(file, str) and len(file) <= PATH_CHARACTERS else None
    return RunningNode(NodeId(path.stem), name, address, secret, pid, dialled, model_file)


def _is_alive(pid: int) -> bool:
    if os.name != "posix":
        # Elsewhere signal 0 is no question but a signal. A node that is gone does not answer, that is all.
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
