"""Where things are kept: this user's data folder, and a node's home folder with its lock."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import platformdirs

from edgenode.errors import HomeError

LOCK: Final = "lock"
# A change takes milliseconds: whoever holds a folder for longer is frozen or stopped.
CHANGE_SECONDS: Final = 5.0


def data_dir() -> Path:
    """The user's data folder for all of edgenode: `EDGENODE_DATA` if set, else the platform's place for such things. Raises
    `HomeError`."""
    return user_path("EDGENODE_DATA", lambda: platformdirs.user_data_path("edgenode", appauthor=False))


def user_path(variable: str, usual: Callable[[], Path], environment: Mapping[str, str] = os.environ) -> Path:
    """The absolute path that an environment variable names, else the `usual` one. Raises `HomeError` where there is none."""
    told = environment.get(variable)
    try:
        return Path(told).expanduser().absolute() if told else usual().absolute()
    except (RuntimeError, OSError, KeyError) as error:
        if told:
            raise HomeError(f"{variable} names {told}, which is no place on this device. Give it an absolute path.") from error
        raise HomeError(
            f"Nobody knows where this user's files belong: HOME is not set, and the user has no entry in the system. Set HOME, or "
            f"name a place with {variable}."
        ) from error


def shown(place: Callable[[], Path]) -> str:
    """A place as the help of a command shows it, which is there in any case."""
    try:
        return str(place())
    except HomeError:
        return "not known, as HOME is not set"


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
    import filelock  # here, since it loads asyncio, which a command that only looks does without

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
    import filelock

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
