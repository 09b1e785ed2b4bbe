"""Where things are kept: this user's data folder, and a node's home folder with its lock."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import filelock
import platformdirs

from edgenode.errors import HomeError

LOCK: Final = "lock"
# A change takes milliseconds: whoever holds a folder for longer is frozen or stopped.
CHANGE_SECONDS: Final = 5.0


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
def open_home(home: Path) -> Iterator[None]:
    """Makes `home` if need be and locks it for as long as the context lasts. The node's identity is the key that is kept in it
    (`edgenode.trust.store`).

    Raises `HomeError` when another node runs on it or when it cannot be written. The lock dies with the process.
    """
    try:
        make_private_folder(home)
    except HomeError as error:
        raise HomeError(f"{error} Name another with --home DIR.") from error
    lock = filelock.FileLock(home / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise HomeError(f"Another node is running on {home}. Stop it, or give this one its own folder with --home DIR.") from None
    except OSError as error:
        raise HomeError(f"The home folder {home} cannot be written: {error.strerror}. Name another with --home DIR.") from error
    try:
        yield
    finally:
        lock.release()


def make_private_folder(folder: Path) -> None:
    """Makes a folder that only its owner can enter, and those above it; one that is there stays as it is."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise HomeError(f"The folder {folder} cannot be made: {error.strerror}.") from error


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Makes `folder` if need be and keeps other processes from changing what is in it, for a change that depends on what is there.
    Raises `HomeError`."""
    make_private_folder(folder)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=CHANGE_SECONDS)
    except filelock.Timeout:
        raise HomeError(f"Another process holds {folder / LOCK} and does not let go. End it and try again.") from None
    except OSError as error:
        raise HomeError(f"The folder {folder} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all. Raises `HomeError`."""
    half = None
    try:
        # A name of its own, so that two who write at once cannot mix; made for this user alone (mkstemp).
        descriptor, half = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".new")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(half).replace(path)
    except OSError as error:
        if half is not None:
            Path(half).unlink(missing_ok=True)
        raise HomeError(f"{path} cannot be written: {error.strerror}.") from error
