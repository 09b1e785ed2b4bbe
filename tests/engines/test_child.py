"""Engines in child processes: real processes that crash, hang, fail to start and must not be left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgenode.engines import process as process_module
from edgenode.engines.backoff import Backoff
from edgenode.engines.child import ChildEngine
from edgenode.engines.child_main import Orders
from edgenode.engines.http import Flavour
from edgenode.errors import EngineCrashed, EngineError, EngineTimeout, EngineUnavailable
from edgenode.types import EngineState, Model
from tests.engines.requests import PATIENCE, ignore, request

CHILD = Path(__file__).with_name("engine_child.py")
COMMAND = (sys.executable, str(CHILD))
PARENT = """
import asyncio, sys
from pathlib import Path
from tests.engines.test_child import engine_in
async def main():
    async with engine_in(Path(sys.argv[1])):
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def engine_in(folder: Path, *starts: str, **options: Any) -> ChildEngine:
    """An engine whose child does what `starts` says, or what the script in `folder` already says."""
    script = folder / "script.json"
    if starts:
        script.write_text(json.dumps({"starts": starts}), encoding="utf-8")
    orders = Orders(str(script), "model", "", 2048, 1, 128)
    options.setdefault("backoff", Backoff(first_seconds=0.01, limit_seconds=0.02))
    return ChildEngine("child", COMMAND, orders, Model("model"), folder / "logs" / "engine.log", Flavour.LLAMA_CPP, **options)


def pids(folder: Path) -> list[int]:
    """Ids of the children that came as far as noting theirs, in order."""
    noted = folder / "pids"
    return [int(line) for line in noted.read_text(encoding="ascii").split()] if noted.exists() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # Where nobody reaps orphans they stay as zombies, which do not run any more.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


async def until(condition: Callable[[], bool]) -> None:
    """Looks until it holds: what other people's processes do cannot be awaited."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


async def all_gone(folder: Path) -> None:
    await until(lambda: not any(map(alive, pids(folder))))


class Watcher:
    """Notes an engine's states as it announces them."""

    def __init__(self, engine: ChildEngine) -> None:
        self.states: list[EngineState] = []
        self._engine = engine
        self._more = asyncio.Event()
        engine.watch(self._changed)

    def _changed(self) -> None:
        self.states.append(self._engine.state)
        self._more.set()

    async def until(self, *states: EngineState) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.states[-len(states) :] != list(states):
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Starts a process that runs an engine, as a node does; it is killed at the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(start: str) -> "subprocess.Popen[bytes]":
        (tmp_path / "script.json").write_text(json.dumps({"starts": [start]}), encoding="utf-8")
        root = Path(__file__).parents[2]
        child = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], cwd=root, stdout=subprocess.PIPE)
        started.append(child)
        return child

    yield run
    for child in started:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


async def test_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A child serves with a key of its own, which a second start does not share; when the engine is left it is gone."""
    keys = []
    for _ in range(2):
        async with engine_in(tmp_path, "serve") as engine:
            assert engine.state is EngineState.READY
            assert (await engine.complete(request(), ignore)).text == "done"
            keys.append((await engine.complete(request("key"), ignore)).text)
    assert len(set(keys)) == 2
    assert min(map(len, keys)) >= 32
    await all_gone(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what a process shows of itself from /proc")
async def test_key_is_nowhere_to_be_read(tmp_path: Path) -> None:
    """The key is neither in the arguments nor in the environment nor in the log; the log is its owner's alone."""
    async with engine_in(tmp_path, "serve") as engine:
        key = (await engine.complete(request("key"), ignore)).text.encode()
        proc = Path(f"/proc/{pids(tmp_path)[0]}")
        log = tmp_path / "logs" / "engine.log"
        assert all(key not in path.read_bytes() for path in (proc / "cmdline", proc / "environ", log))
        assert b"noise of a native library" in log.read_bytes()
        assert log.stat().st_mode & 0o077 == 0


async def test_ctrl_c_reaches_the_node_alone(tmp_path: Path) -> None:
    """The child is in another session: the terminal's signals do not reach it before the node has said goodbye."""
    async with engine_in(tmp_path, "serve"):
        assert os.getsid(pids(tmp_path)[0]) != os.getsid(0)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("crash SIGSEGV", "was ended by SIGSEGV"),
        ("crash SIGKILL", "perhaps for lack of memory"),
        ("crash SIGABRT", "was ended by SIGABRT"),
        ("exit 3", "ended with status 3"),
    ],
)
async def test_crash_fails_the_work_and_restarts(tmp_path: Path, fault: str, words: str) -> None:
    """Work in flight fails with what happened; the next request waits for the restart and is served."""
    async with engine_in(tmp_path, "serve") as engine:
        watcher = Watcher(engine)
        with pytest.raises(EngineCrashed, match=words.replace("(", r"\(")):
            await engine.complete(request(fault), ignore)
        await watcher.until(EngineState.RESTARTING, EngineState.READY)
        assert (await engine.complete(request(), ignore)).text == "done"
        first, second = pids(tmp_path)
        assert first != second


async def test_killed_from_outside_while_idle(tmp_path: Path) -> None:
    """A child that dies while nobody asks anything of it is started again as well."""
    async with engine_in(tmp_path, "serve") as engine:
        watcher = Watcher(engine)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        await watcher.until(EngineState.RESTARTING, EngineState.READY)
        assert (await engine.complete(request(), ignore)).text == "done"


async def test_restart_that_fails_is_tried_again(tmp_path: Path) -> None:
    """A child that does not come up the first times is started until it does; who waits meanwhile is served then."""
    async with engine_in(tmp_path, "serve", "fail", "crash SIGSEGV", "serve") as engine:
        watcher = Watcher(engine)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        await watcher.until(EngineState.RESTARTING)
        assert (await engine.complete(request(), ignore)).text == "done"
        assert len(pids(tmp_path)) == 4


async def test_patience_is_bounded(tmp_path: Path) -> None:
    """Work that comes while the engine cannot be started is refused after a while, with the log's place."""
    async with engine_in(tmp_path, "serve", "fail", patience_seconds=0.1, backoff=Backoff(30, 30)) as engine:
        watcher = Watcher(engine)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        await watcher.until(EngineState.RESTARTING)
        with pytest.raises(EngineUnavailable, match=r"engine\.log"):
            await engine.complete(request(), ignore)


async def test_silent_engine_is_killed(tmp_path: Path) -> None:
    """An engine that hangs costs its request a time-out, and is killed and started again."""
    async with engine_in(tmp_path, "serve", silence_seconds=0.2) as engine:
        watcher = Watcher(engine)
        with pytest.raises(EngineTimeout):
            await engine.complete(request("hang"), ignore)
        await watcher.until(EngineState.RESTARTING, EngineState.READY)


async def test_stopped_with_work_in_flight(tmp_path: Path) -> None:
    """Leaving the engine while it works ends the work with a typed error."""
    reading = asyncio.Event()
    async with engine_in(tmp_path, "serve") as engine:
        call = asyncio.create_task(engine.complete(request("hang"), lambda _: reading.set()))
        await reading.wait()
    with pytest.raises(EngineCrashed):
        await call


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("fail", "error loading model: data is not within the file bounds"),
        ("crash SIGSEGV", "was ended by SIGSEGV before it served: it said nothing"),
    ],
)
async def test_start_that_fails(tmp_path: Path, start: str, words: str) -> None:
    """An engine that does not come up raises one sentence with the cause and the log's place."""
    with pytest.raises(EngineError, match=words) as caught:
        await engine_in(tmp_path, start).__aenter__()
    assert "engine.log" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_start_that_takes_too_long(tmp_path: Path) -> None:
    """Nobody waits for ever for a model to load, and what loads it is ended."""
    with pytest.raises(EngineError, match="did not load its model within 2 seconds"):
        await engine_in(tmp_path, "hang", start_seconds=2).__aenter__()
    await all_gone(tmp_path)


async def test_start_that_is_cancelled(tmp_path: Path) -> None:
    """Ctrl-C while the model loads leaves no child behind."""
    starting = asyncio.create_task(engine_in(tmp_path, "hang").__aenter__())
    await until(lambda: bool(pids(tmp_path)))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await all_gone(tmp_path)


@pytest.mark.parametrize("said", ["garbage", '{"port": 0}', "[" * 5000, "x" * 100_000])
async def test_start_that_says_nonsense(tmp_path: Path, said: str) -> None:
    """A process that does not say where it serves is an engine that cannot start."""
    (tmp_path / "said").write_text(said + "\n", encoding="utf-8")
    code = "import sys, pathlib; print(pathlib.Path(sys.argv[1]).read_text(), flush=True); sys.stdin.read()"
    command = (sys.executable, "-c", code, str(tmp_path / "said"))
    orders = Orders("x", "x", "", 1, 1, 1)
    with pytest.raises(EngineError, match="did not say where it serves"):
        await process_module.EngineProcess.start(command, orders, tmp_path / "log")


async def test_command_that_is_not_there(tmp_path: Path) -> None:
    """A missing program is a sentence too."""
    with pytest.raises(EngineError, match="cannot be started"):
        await process_module.EngineProcess.start([str(tmp_path / "none")], Orders("x", "x", "", 1, 1, 1), tmp_path / "log")


async def test_stubborn_child_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that hears neither the end of its input nor SIGTERM is killed."""
    monkeypatch.setattr(process_module, "STOP_SECONDS", 0.2)
    async with engine_in(tmp_path, "serve"):
        (pid,) = pids(tmp_path)
        os.kill(pid, signal.SIGSTOP)
    await all_gone(tmp_path)


async def test_log_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that has grown is emptied, and the child goes on writing at its beginning."""
    monkeypatch.setattr(process_module, "LOG_BYTES", 200)
    async with engine_in(tmp_path, "serve") as engine:
        for _ in range(10):
            await engine.complete(request(), ignore)
        log = (tmp_path / "logs" / "engine.log").read_bytes()
        assert len(log) <= 300
        assert b"\0" not in log


@pytest.mark.parametrize("start", ["serve", "hang"])
async def test_node_killed(tmp_path: Path, parent: Callable[[str], "subprocess.Popen[bytes]"], start: str) -> None:
    """A node ended by SIGKILL takes its engine along, whether that serves or still loads."""
    node = parent(start)
    await until(lambda: bool(pids(tmp_path)))
    if start == "serve":
        assert node.stdout is not None
        assert await asyncio.to_thread(node.stdout.readline) == b"ready\n"
    node.kill()
    await all_gone(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the child is noticed orphaned only when the library lets go")
async def test_node_killed_while_the_library_holds_the_interpreter(
    tmp_path: Path, parent: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    """Even a child none of whose threads can run goes with its node."""
    node = parent("hold")
    await until(lambda: bool(pids(tmp_path)))
    node.kill()
    await all_gone(tmp_path)
