"""Fetching over HTTP from a real server on loopback that is cut, changed, busy, plain or lying."""

import hashlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgenode.errors import ModelFileError, PullError
from edgenode.models.download import Patience
from edgenode.models.progress import PullProgress
from edgenode.models.pull import MARGIN_BYTES, pull
from edgenode.models.store import Store, StoredModel
from tests.models.file_server import FileServer, Page
from tests.models.gguf_files import tiny_gguf

DATA = tiny_gguf(weights=32 * 20_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(attempts=3, first_pause=0.001, longest_pause=0.002)
PLENTY = 1 << 50


def fetch(source: str, store: Store, report: list[PullProgress] | None = None, patience: Patience = QUICK) -> StoredModel:
    seen = [] if report is None else report
    return pull(source, store, seen.append, free=lambda folder: PLENTY, patience=patience)


def leftovers(store: Store) -> list[str]:
    return sorted(path.suffix for path in store.state().iterdir() if path.suffix in {".part", ".copy", ".new"})


def test_a_file_is_fetched_checked_and_shown(store: Store, server: FileServer) -> None:
    """A whole download ends in the store under the address's name, with its digest, and progress counted up to the end."""
    server.pages["/some/Tiny-1B.Q4_1.gguf"] = Page(DATA, etag='"v1"')
    seen: list[PullProgress] = []
    model = fetch(f"{server.url}/some/Tiny-1B.Q4_1.gguf#sha256={DIGEST.upper()}", store, seen)
    assert (model.name, model.model.digest) == ("Tiny-1B.Q4_1", DIGEST)
    assert model.path.read_bytes() == DATA
    downloading = [progress for progress in seen if progress.what == "Downloading Tiny-1B.Q4_1.gguf"]
    assert downloading[0] == PullProgress(0, len(DATA), "Downloading Tiny-1B.Q4_1.gguf")
    assert downloading[-1].done_bytes == len(DATA)
    assert len(downloading) > 4
    assert seen[-1] == PullProgress(len(DATA), len(DATA), "Checking Tiny-1B.Q4_1")
    assert not leftovers(store)


def test_a_cut_connection_is_resumed_where_it_broke(store: Store, server: FileServer) -> None:
    """After each cut only the rest is asked for, tied to the same version of the file."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v1"', cuts=[150_000, 100_000])
    model = fetch(f"{server.url}/m.gguf", store)
    assert model.path.read_bytes() == DATA
    assert [(seen.range != "", seen.if_range) for seen in server.seen] == [(False, ""), (True, '"v1"'), (True, '"v1"')]
    assert server.seen[-1].sent < len(DATA) - 150_000


def test_a_server_that_keeps_breaking_is_given_up_and_the_next_call_resumes(store: Store, server: FileServer) -> None:
    """When no attempt brings much, the error says that calling again goes on, and it does."""
    server.pages["/m.gguf"] = page = Page(DATA, etag='"v1"', cuts=[70_000, 70_000, 70_000])
    with pytest.raises(PullError, match=r"could not be fetched: the connection broke\. Call again to go on where it stopped\."):
        fetch(f"{server.url}/m.gguf", store)
    assert len(server.seen) == 3
    assert leftovers(store) == [".part"]
    assert not list(store.folder.glob("*.gguf"))
    assert not page.cuts
    assert fetch(f"{server.url}/m.gguf", Store(store.folder)).model.digest == DIGEST
    assert server.seen[-1].range.startswith("bytes=")
    assert not leftovers(store)


def test_an_interruption_leaves_only_what_can_be_resumed(store: Store, server: FileServer) -> None:
    """Ctrl-C in the middle leaves no file under its final name; the next call fetches the rest."""
    server.pages["/m.gguf"] = Page(DATA, last_modified="Sun, 22 Nov 2026 02:52:00 GMT")

    def interrupt(progress: PullProgress) -> None:
        if progress.done_bytes > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(f"{server.url}/m.gguf", store, interrupt, patience=QUICK)
    assert leftovers(store) == [".part"]
    assert not store.listing().models
    assert fetch(f"{server.url}/m.gguf", store).model.digest == DIGEST
    assert server.seen[-1].if_range == "Sun, 22 Nov 2026 02:52:00 GMT"


def test_an_interrupted_check_does_not_fetch_again(store: Store, server: FileServer) -> None:
    """A whole part file costs one byte and not another download."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v1"')

    def interrupt(progress: PullProgress) -> None:
        if progress.what.startswith("Checking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(f"{server.url}/m.gguf", store, interrupt, patience=QUICK)
    assert fetch(f"{server.url}/m.gguf", store).model.digest == DIGEST
    assert server.seen[-1].sent == 1


@pytest.mark.parametrize(
    "page", [Page(DATA, etag='"v1"', ranges=False), Page(DATA), Page(DATA, etag='W/"weak"'), Page(DATA, etag='"\xe9"')]
)
def test_what_cannot_be_resumed_starts_again(store: Store, server: FileServer, page: Page) -> None:
    """Without ranges, or without a trustworthy validator, the file is fetched from its beginning and comes out right."""
    page.cuts = [150_000]
    server.pages["/m.gguf"] = page
    assert fetch(f"{server.url}/m.gguf", store).model.digest == DIGEST
    assert server.seen[-1].sent == len(DATA)


def test_a_file_that_changed_meanwhile_is_not_mixed(store: Store, server: FileServer) -> None:
    """A new version on the server replaces the half of the old one."""
    server.pages["/m.gguf"] = Page(tiny_gguf(weights=32 * 20_000, seed=9), etag='"old"', cuts=[70_000] * 3)
    with pytest.raises(PullError, match="Call again"):
        fetch(f"{server.url}/m.gguf", store)
    server.pages["/m.gguf"] = Page(DATA, etag='"new"')
    assert fetch(f"{server.url}/m.gguf", store).model.digest == DIGEST
    assert server.seen[-1].if_range == '"old"'
    assert server.seen[-1].sent == len(DATA)


def test_a_file_that_became_shorter_is_fetched_anew(store: Store, server: FileServer) -> None:
    """A range behind the end of the file (416) is answered by starting over."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v"', cuts=[70_000] * 3)
    with pytest.raises(PullError, match="Call again"):
        fetch(f"{server.url}/m.gguf", store)
    short = tiny_gguf(weights=64)
    server.pages["/m.gguf"] = Page(short, etag='"v"')
    assert fetch(f"{server.url}/m.gguf", store).path.read_bytes() == short


def test_an_unchanged_file_is_not_fetched_again(store: Store, server: FileServer) -> None:
    """A second pull of the same address sees by the validator that the model is here, and a known digest asks nobody."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v1"')
    first = fetch(f"{server.url}/m.gguf", store)
    requests = len(server.seen)
    seen: list[PullProgress] = []
    assert fetch(f"{server.url}/m.gguf", store, seen) == first
    assert not seen
    assert fetch(f"{server.url}/other.gguf#sha256={DIGEST}", store) == first
    assert len(server.seen) == requests + 1


def test_a_wrong_digest_keeps_nothing(store: Store, server: FileServer) -> None:
    """A file other than the one asked for is deleted and both digests are told."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v1"')
    with pytest.raises(PullError, match=f"SHA-256 is {DIGEST}, not {'0' * 64}"):
        fetch(f"{server.url}/m.gguf#sha256={'0' * 64}", store)
    assert not leftovers(store)
    assert not store.listing().models


@pytest.mark.parametrize(
    ("page", "word"),
    [
        (Page(b"gone", status=404), r"no file at http://127\.0\.0\.1:\d+/m\.gguf \(HTTP 404\)"),
        (Page(b"gated", status=403), "accept a licence"),
        (Page(b"teapot", status=418), "HTTP 418"),
        (Page(b"<!doctype html><title>Log in</title>"), "is a web page, not a model file"),
        (Page(b""), "is an empty file"),
        (Page(b"PK\x03\x04" + bytes(5000)), "is a zip archive"),
        (Page(status=302, headers={"Location": "http://192.0.2.1/m.gguf"}), "not https"),
        (Page(status=302, headers={"Location": "https://[broken"}), "not https"),
        (Page(status=302, headers={"Location": "/m.gguf"}), "without end"),
    ],
)
def test_what_is_no_model_is_refused_at_once(store: Store, server: FileServer, page: Page, word: str) -> None:
    """Error pages, web pages and bad redirects end in one sentence, and leave nothing under the model's name."""
    server.pages["/m.gguf"] = page
    with pytest.raises(PullError, match=word) as caught:
        fetch(f"{server.url}/m.gguf", store)
    assert "\n" not in str(caught.value)
    assert not list(store.folder.glob("*.gguf"))


def test_a_file_truncated_on_the_server_is_refused(store: Store, server: FileServer) -> None:
    """What the server calls complete is not believed: the header says how long the model is."""
    server.pages["/m.gguf"] = Page(DATA[:-100], etag='"v1"')
    with pytest.raises(ModelFileError, match=r"^m\.gguf is cut short"):
        fetch(f"{server.url}/m.gguf", store)
    assert not leftovers(store)


def test_redirects_are_followed(store: Store, server: FileServer) -> None:
    """A relative redirect leads to the file, which keeps the name of the first address."""
    server.pages["/m.gguf"] = Page(status=307, headers={"Location": "/cdn/0123?signature=x"})
    server.pages["/cdn/0123?signature=x"] = Page(DATA)
    assert fetch(f"{server.url}/m.gguf", store).name == "m"


def test_an_address_without_a_file_name_takes_the_models_own(store: Store, server: FileServer) -> None:
    """A download link that names no file gives a model named after itself."""
    server.pages["/get?id=7"] = Page(tiny_gguf(name="Tiny: Test"))
    assert fetch(f"{server.url}/get?id=7", store).name == "Tiny- Test.Q4_1"


def test_a_busy_server_is_asked_again(store: Store, server: FileServer) -> None:
    """503 is not the end, with or without Retry-After; too many of them are."""
    server.pages["/m.gguf"] = Page(DATA, busy=[{}, {"Retry-After": "0"}])
    assert fetch(f"{server.url}/m.gguf", store).model.digest == DIGEST
    server.pages["/n.gguf"] = Page(DATA, busy=[{}, {}, {}])
    with pytest.raises(PullError, match="busy or broken"):
        fetch(f"{server.url}/n.gguf", store)


def test_nobody_there_is_a_sentence(store: Store) -> None:
    """A refused connection is tried a few times and then told."""
    with pytest.raises(PullError, match="cannot be reached"):
        fetch("http://127.0.0.1:9/m.gguf", store)


def test_silence_has_an_end(store: Store) -> None:
    """A server that accepts and says nothing is given up."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        patience = Patience(attempts=1, silence_seconds=0.05)
        with pytest.raises(PullError, match=r"silent for 0\.05 seconds"):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/m.gguf", store, patience=patience)


def test_the_disk_is_looked_at_before(store: Store, server: FileServer) -> None:
    """What does not fit is not begun, and the sentence says how much room is missing."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v1"')
    with pytest.raises(PullError, match=r"too small: .* must be free, 1\.0 MB are missing"):
        pull(f"{server.url}/m.gguf", store, free=lambda folder: len(DATA) + MARGIN_BYTES - 1_000_000, patience=QUICK)
    assert not leftovers(store)


def test_a_disk_that_becomes_full_keeps_what_can_be_resumed(store: Store, server: FileServer) -> None:
    """A write that fails in the middle is a sentence; with room again, the rest is fetched."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v1"')
    with _file_size_limit(120_000), pytest.raises(PullError, match=r"cannot take the whole file .*goes on where it stopped"):
        fetch(f"{server.url}/m.gguf", store)
    assert leftovers(store) == [".part"]
    assert fetch(f"{server.url}/m.gguf", store).model.digest == DIGEST
    assert server.seen[-1].sent < len(DATA)


@contextmanager
def _file_size_limit(limit: int) -> "Iterator[None]":
    """No file may grow beyond `limit` bytes: the kernel refuses the write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_hugging_face_tells_the_digest(store: Store, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest in the hub's redirect is checked, and one that is here already is not fetched."""
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    path = "/some-org/tiny/resolve/main/q4/tiny%20one.gguf"
    server.pages[path] = Page(status=302, headers={"Location": "/cdn", "X-Linked-ETag": f'"{DIGEST}"'})
    server.pages["/cdn"] = Page(DATA, etag=f'"{"f" * 64}"')
    model = fetch("hf:some-org/tiny/q4/tiny one.gguf", store)
    assert (model.name, model.model.digest) == ("tiny one", DIGEST)
    seen: list[PullProgress] = []
    assert fetch("hf:some-org/tiny/q4/tiny one.gguf", store, seen) == model
    assert not seen
    store.remove("tiny one")
    server.pages["/cdn"] = Page(tiny_gguf(weights=32 * 20_000, seed=3))
    with pytest.raises(PullError, match="is not the file it should be"):
        fetch("hf:some-org/tiny/q4/tiny one.gguf", store)
    with pytest.raises(PullError, match="There is no file at"):
        fetch("hf:some-org/tiny/other.gguf", store)


def test_two_processes_that_fetch_the_same_share_one_download(store: Store, server: FileServer) -> None:
    """Four processes at once end with one intact file, and only one of them fetched it."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v1"')
    program = (
        "import sys; from pathlib import Path; from edgenode.models.pull import pull; from edgenode.models.store import Store;"
        "print(pull(sys.argv[1], Store(Path(sys.argv[2]))).model.digest)"
    )
    command = [sys.executable, "-c", program, f"{server.url}/m.gguf", str(store.folder)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        out, err = child.communicate(timeout=300)
        assert (out.strip(), err) == (DIGEST, "")
    assert [model.name for model in store.listing().models] == ["m"]
    assert store.find("m").path.read_bytes() == DATA
    assert not leftovers(store)


def test_whoever_waits_for_another_shows_it(store: Store, server: FileServer) -> None:
    """The second of two pulls reports that it waits, and then returns what the first fetched."""
    server.pages["/m.gguf"] = Page(DATA, etag='"v1"')
    begun, waiting = threading.Event(), threading.Event()

    def slow(progress: PullProgress) -> None:
        if progress.done_bytes:
            begun.set()
            assert waiting.wait(120)

    first = threading.Thread(target=pull, args=(f"{server.url}/m.gguf", store, slow), kwargs={"patience": QUICK})
    first.start()
    assert begun.wait(120)
    seen: list[str] = []

    def report(progress: PullProgress) -> None:
        seen.append(progress.what)
        waiting.set()

    model = pull(f"{server.url}/m.gguf", Store(store.folder), report, patience=QUICK)
    first.join()
    assert set(seen) == {"Waiting for another edgenode that fetches the same"}
    assert model.model.digest == DIGEST


def test_forgotten_halves_are_swept(store: Store, server: FileServer) -> None:
    """A half download of last month goes when something else is fetched; yesterday's stays."""
    server.pages["/m.gguf"] = Page(DATA)
    old, new = store.state() / "old.part", store.state() / "new.part"
    for path in (old, new):
        path.write_bytes(b"GGUF")
    os.utime(old, (0, 0))
    fetch(f"{server.url}/m.gguf", store)
    assert (old.exists(), new.exists()) == (False, True)


def test_importing_the_models_loads_no_client() -> None:
    """A node that only serves carries neither the HTTP client nor the bar."""
    program = "import sys, edgenode.models.pull; print([name for name in ('httpx2', 'tqdm', 'ssl') if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300).stdout
    assert out.strip() == "[]"
