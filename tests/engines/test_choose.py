"""Which engine a node uses, and what is said when it cannot have it."""

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgenode.engines import choose
from edgenode.engines.child import ChildEngine
from edgenode.engines.choose import EngineSettings, choose_engine, running_ollama
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.known import default_threads
from edgenode.engines.served import ServedEngine
from edgenode.errors import EngineError, UsageError
from edgenode.types import Model
from tests.engines.engine_server import EngineServer, Exchange
from tests.engines.requests import PATIENCE

SETTINGS = EngineSettings(log=Path("engine.log"), path=Path("model.gguf"), known=Model("m", context_tokens=2048))


def only(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    """Makes it look as if only these of the engines' libraries were installed."""
    find = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> Any:
        if name in ("xllamacpp", "llama_cpp"):
            return find("json") if name in libraries else None
        return find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", found)


@pytest.mark.parametrize(
    ("libraries", "told", "name"),
    [
        (("xllamacpp", "llama_cpp"), None, "xllamacpp"),
        (("llama_cpp",), None, "llama-cpp-python"),
        (("xllamacpp", "llama_cpp"), "llama-cpp-python", "llama-cpp-python"),
    ],
)
def test_library(monkeypatch: pytest.MonkeyPatch, libraries: tuple[str, ...], told: str | None, name: str) -> None:
    """xllamacpp is preferred, llama-cpp-python is the second choice, and what was told is used."""
    only(monkeypatch, *libraries)
    engine = choose_engine(replace(SETTINGS, engine=told))
    assert isinstance(engine, ChildEngine)
    assert engine.name == name


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, r"No engine is installed.*'edgenode\[engine\]'"),
        ("xllamacpp", r"xllamacpp is not installed.*'edgenode\[engine\]'"),
        ("llama-cpp-python", r"llama-cpp-python is not installed.*'edgenode\[llama-cpp-python\]'"),
    ],
)
def test_nothing_installed(monkeypatch: pytest.MonkeyPatch, told: str | None, words: str) -> None:
    """A missing engine comes with the command that installs it."""
    only(monkeypatch)
    with pytest.raises(EngineError, match=words):
        choose_engine(replace(SETTINGS, engine=told))


def test_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without a model says how to get one."""
    only(monkeypatch, "xllamacpp")
    with pytest.raises(EngineError, match="edgenode pull"):
        choose_engine(replace(SETTINGS, path=None))


@pytest.mark.parametrize(
    ("trained", "told", "given"), [(2048, None, 2048), (131072, None, 4096), (131072, 9000, 9000), (0, None, 4096)]
)
def test_context(monkeypatch: pytest.MonkeyPatch, trained: int, told: int | None, given: int) -> None:
    """A model gets a modest context unless more is asked for, and never more than it was trained for."""
    only(monkeypatch, "xllamacpp")
    engine = choose_engine(replace(SETTINGS, known=Model("m", context_tokens=trained), context_tokens=told))
    assert engine.models[0].context_tokens == given


def test_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """One, unless more are asked for; each has the whole context. An engine that has one slot says so and what has more."""
    only(monkeypatch, "xllamacpp", "llama_cpp")
    assert choose_engine(SETTINGS).slots == 1
    several = choose_engine(replace(SETTINGS, slots=4))
    assert (several.slots, several.models[0].context_tokens) == (4, 2048)
    assert choose_engine(replace(SETTINGS, engine="deterministic", slots=3)).slots == 3
    assert choose_engine(replace(SETTINGS, engine="llama-cpp-python", slots=1)).slots == 1
    with pytest.raises(UsageError, match=r"one request at a time.*xllamacpp"):
        choose_engine(replace(SETTINGS, engine="llama-cpp-python", slots=2))


def test_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL and the test engine need no library and no model file."""
    only(monkeypatch)
    assert isinstance(choose_engine(replace(SETTINGS, engine_url="http://127.0.0.1:1")), ServedEngine)
    engine = choose_engine(replace(SETTINGS, engine="deterministic", model="tiny", context_tokens=500))
    assert isinstance(engine, DeterministicEngine)
    assert (engine.models[0].name, engine.models[0].context_tokens) == ("tiny", 500)


def test_threads() -> None:
    """One core is left to others, and an engine always has one."""
    assert 1 <= default_threads() <= max(1, (os.cpu_count() or 1) - 1)


def test_importing_is_light() -> None:
    """Choosing an engine loads neither its library nor the HTTP client."""
    code = "import sys, edgenode.engines.choose as c; c.installed('xllamacpp'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout.split()
    assert not {"xllamacpp", "llama_cpp", "httpx2", "numpy", "openai"} & set(loaded)


async def test_ollama_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Ollama is found where OLLAMA_HOST says; another server there, or none, is not taken for one."""
    monkeypatch.setattr(choose, "_OLLAMA_SECONDS", PATIENCE)

    async def version(exchange: Exchange) -> None:
        await exchange.reply({"version": "0.9"})

    async with EngineServer() as server:
        host = server.url.removeprefix("http://")
        assert await running_ollama({"OLLAMA_HOST": host}) is None
        server.handlers["/api/version"] = version
        for told in (host, server.url, server.url + "/", host.replace("127.0.0.1", "0.0.0.0")):
            assert await running_ollama({"OLLAMA_HOST": told}) == server.url
    assert await running_ollama({"OLLAMA_HOST": "127.0.0.1:1"}) is None


async def test_ollama_is_found_by_a_slow_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time it takes to load the HTTP client is not taken from the time that the server has to answer."""
    loop = asyncio.get_running_loop()
    ahead = 0.0

    class Slow:
        """Finds no module. When it looks for the client, more time goes by than a server has."""

        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            nonlocal ahead
            ahead += PATIENCE + 1 if name == "httpx2" else 0.0

    async def version(exchange: Exchange) -> None:
        await exchange.reply({"version": "0.9"})

    monkeypatch.setattr(choose, "_OLLAMA_SECONDS", PATIENCE)
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() + ahead)
    monkeypatch.delitem(sys.modules, "httpx2", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Slow(), *sys.meta_path])
    async with EngineServer() as server:
        server.handlers["/api/version"] = version
        assert await running_ollama({"OLLAMA_HOST": server.url}) == server.url
    assert ahead > PATIENCE
