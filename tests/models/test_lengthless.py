"""Downloads whose length no server tells: the model's own header does, and nothing stays behind of one that fails."""

import hashlib
import resource
import struct
from pathlib import Path

import pytest

from edgenode.errors import ModelError, PullError
from edgenode.models import download
from edgenode.models.download import Patience
from edgenode.models.gguf import MAX_ALIGNMENT, read_beginning
from edgenode.models.progress import PullProgress
from edgenode.models.pull import MARGIN_BYTES, pull
from edgenode.models.store import Store
from tests.models.file_server import FileServer, Page
from tests.models.gguf_files import ARRAY, STRING, assemble, entries, entry, tensor, tiny_gguf

DATA = tiny_gguf(weights=32 * 20_000)
QUICK = Patience(attempts=2, first_pause=0.001, longest_pause=0.002)
PLENTY = 1 << 50
VALIDATORS = ["", '"v1"']


def leftovers(store: Store) -> list[str]:
    return sorted(path.name for path in store.state().iterdir() if path.suffix in {".part", ".json", ".new"})


def fetch(server: FileServer, store: Store, page: Page, room: int = PLENTY, seen: list[PullProgress] | None = None) -> str:
    server.pages["/m.gguf"] = page
    report = [] if seen is None else seen
    return pull(f"{server.url}/m.gguf", store, report.append, free=lambda folder: room, patience=QUICK).model.digest


@pytest.mark.parametrize("validator", VALIDATORS)
def test_it_is_fetched_and_its_length_shown(store: Store, server: FileServer, validator: str) -> None:
    """Progress counts up to the length that the header announces."""
    seen: list[PullProgress] = []
    assert fetch(server, store, Page(DATA, length=False, etag=validator), seen=seen) == hashlib.sha256(DATA).hexdigest()
    assert len(DATA) in {each.total_bytes for each in seen if each.what.startswith("Downloading")}


@pytest.mark.parametrize("size", [len(DATA), 40_000])
def test_an_endless_stream_ends_at_what_the_header_announces(store: Store, server: FileServer, size: int) -> None:
    """Also where the model is so small that all of it comes with the first block."""
    data = DATA if size == len(DATA) else tiny_gguf(weights=32 * 1_000)
    with pytest.raises(PullError):
        fetch(server, store, Page(data, length=False, endless=True, etag='"v1"'))
    assert leftovers(store) == []
    # What is in the buffers of both sides is on its way, too.
    assert server.seen[-1].sent < len(data) + MAX_ALIGNMENT + (32 << 20)


@pytest.mark.parametrize("validator", VALIDATORS)
def test_a_connection_that_ends_early_is_no_whole_model(store: Store, server: FileServer, validator: str) -> None:
    """Where no length was told the end looks like any other, and the header says that it is none; the next attempt may do."""
    server.pages["/m.gguf"] = Page(DATA, length=False, ranges=False, etag=validator, cuts=[150_000])
    assert fetch(server, store, server.pages["/m.gguf"]) == hashlib.sha256(DATA).hexdigest()
    for cut in (20, 150_000):
        store.remove("m") if store.listing().models else None
        with pytest.raises(PullError):
            fetch(server, store, Page(DATA, length=False, ranges=False, etag=validator, cuts=[cut] * 9))
        assert leftovers(store) == []


def test_a_header_that_announces_more_than_the_disk_has_is_refused(store: Store, server: FileServer) -> None:
    """It is found when the header is there, and not when the disk is full."""
    lying = assemble(entries(), [tensor("a", (1 << 40,), 0, 0)], b"")
    with pytest.raises(PullError):
        fetch(server, store, Page(lying, length=False, endless=True, etag='"v1"'), room=MARGIN_BYTES + (1 << 30))
    assert leftovers(store) == []
    assert server.seen[-1].sent < 32 << 20


def test_a_header_without_end_is_refused(store: Store, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocabulary that goes on and on is none."""
    monkeypatch.setattr(download, "MAX_HEADER_BYTES", 1 << 20)
    endless = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + entry("tokenizer.ggml.tokens", ARRAY, (STRING, ["a"]))
    endless = endless[:-17] + struct.pack("<Q", 4_000_000)
    with pytest.raises(PullError):
        fetch(server, store, Page(endless, length=False, endless=True))
    assert leftovers(store) == []


def test_what_is_no_model_is_seen_by_its_header(store: Store, server: FileServer) -> None:
    """One part of a split model is not fetched to its end."""
    part = assemble([*entries(), entry("split.count", 2, 3)], [tensor("a", (1 << 20,), 0, 0)], b"")
    with pytest.raises(ModelError):
        fetch(server, store, Page(part, length=False, endless=True, etag='"v1"'))
    assert leftovers(store) == []


@pytest.mark.parametrize("validator", VALIDATORS)
def test_ctrl_c_leaves_nothing_behind(store: Store, server: FileServer, validator: str) -> None:
    """Nobody could say later whether what is there is all."""
    server.pages["/m.gguf"] = Page(DATA, length=False, etag=validator)

    def interrupt(progress: PullProgress) -> None:
        if progress.done_bytes > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(f"{server.url}/m.gguf", store, interrupt, patience=QUICK)
    assert leftovers(store) == []


@pytest.mark.parametrize("validator", VALIDATORS)
def test_a_full_disk_leaves_nothing_behind(store: Store, server: FileServer, validator: str) -> None:
    """The write fails in the middle, and its room is given back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, hard))
    try:
        with pytest.raises(PullError):
            fetch(server, store, Page(DATA, length=False, etag=validator))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert leftovers(store) == []


def test_a_beginning_tells_the_length_as_soon_as_the_header_is_whole(tmp_path: Path) -> None:
    """At every length of the beginning it is either not known yet or right; a tensor of an unknown type widens what is allowed."""
    whole = tiny_gguf()
    path = tmp_path / "part"
    told = []
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        if length >= 4:
            told.append(read_beginning(path, "part"))
    known = [each for each in told if each]
    assert told[-1] is not None
    assert set(known) == {told[-1]}
    assert told[-len(known) :] == known
    assert told[-1].least_bytes <= len(whole) <= told[-1].most_bytes
    path.write_bytes(assemble(entries(), [tensor("a", (1 << 20,), 200, 0)], b""))
    unknown = read_beginning(path, "part")
    assert unknown is not None
    assert unknown.most_bytes - unknown.least_bytes >= 1 << 20
