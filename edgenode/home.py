"""Where things are kept: this user's data folder, and a node's home folder with its identity and its lock."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs

from edgenode.errors import HomeError
from edgenode.types import NodeId

IDENTITY = "node-id"
LOCK = "lock"


def data_dir() -> Path:
    """The user's data folder for all of edgenode: `EDGENODE_DATA` if set, else the platform's place for such things."""
    told = os.environ.get("EDGENODE_DATA")
    return Path(told).expanduser().absolute() if told else platformdirs.user_data_path("edgenode", appauthor=False)


def models_dir() -> Path:
    """The model store, shared by all nodes of this user."""
    return data_dir() / "models"


def default_home() -> Path:
    return data_dir() / "node"


@contextmanager
def open_home(home: Path) -> Iterator[NodeId]:
    """Makes `home` if need be, locks it for as long as the context lasts and yields the identity kept in it.

    Raises `HomeError` when another node runs on it or when it cannot be written. The lock dies with the process.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise HomeError(f"The home folder {home} cannot be made: {error.strerror}. Name another with --home DIR.") from error
    lock = filelock.FileLock(home / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise HomeError(f"Another node is running on {home}. Stop it, or give this one its own folder with --home DIR.") from None
    except OSError as error:
        raise HomeError(f"The home folder {home} cannot be written: {error.strerror}. Name another with --home DIR.") from error
    try:
        yield _identity(home / IDENTITY)
    finally:
        lock.release()


def _identity(path: Path) -> NodeId:
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = uuid.uuid4().hex
        write_private(path, text + "\n")
        return NodeId(text)
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"The identity in {path} cannot be read ({error}). Delete the file to get a new one.") from error
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise HomeError(f"The identity in {path} is damaged. Delete the file to get a new one.")
    return NodeId(text)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    half = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except OSError as error:
        raise HomeError(f"{path} cannot be written: {error.strerror}.") from error
