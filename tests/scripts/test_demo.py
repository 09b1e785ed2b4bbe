"""The demo ends cleanly, however it ends. The whole of it, to the answer, is `make demo`."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PATIENCE = 300.0
"""Seconds for what takes some, on a machine that is busy with other tests."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the repository to the demo, which keeps all its data there."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".demo" / "data" / "models").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def demo(checkout: Path, real_model: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, started as the leader of a process group, as a shell would, with the model that it would pull."""
    (checkout / ".demo" / "data" / "models" / real_model.name).symlink_to(real_model)
    command = [sys.executable, checkout / "scripts" / "demo.py"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", start_new_session=True
    ) as process:
        yield process
        process.terminate()


def processes() -> dict[int, tuple[int, str]]:
    """All processes of the machine: parent and command line by id."""
    if shutil.which("ps") is None:
        pytest.skip("There is no ps to look for processes with.")
    listing = subprocess.run(["ps", "-Aww", "-o", "pid=,ppid=,args="], check=True, capture_output=True, text=True, timeout=PATIENCE)
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    return {int(row[0]): (int(row[1]), row[-1]) for row in rows}


def family(root: int) -> dict[int, str]:
    """The command lines of all that `root` started, directly or not, by process id."""
    known = processes()
    found: dict[int, str] = {}
    while new := {pid: args for pid, (parent, args) in known.items() if pid not in found and parent in {root, *found}}:
        found |= new
    return found


def none_left(started: dict[int, str]) -> bool:
    """Whether all of these processes end. On a busy machine the last of them may do so a moment after what started them."""
    deadline = time.monotonic() + PATIENCE
    while any(started.get(pid) == args for pid, (_, args) in processes().items()):
        if time.monotonic() > deadline:
            return False
    return True


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the demo printed up to the line that holds `text`."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"The demo never said {text!r}, but:\n{seen}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process(demo: subprocess.Popen[str], number: signal.Signals) -> None:
    """Ctrl-C (to the whole group) or SIGTERM (to the demo alone) while nodes read ends the demo, its nodes and their engines."""
    read_until(demo, "steps done")
    started = family(demo.pid)
    assert len(started) >= 6, "three nodes, and an engine each"
    os.killpg(demo.pid, number) if number == signal.SIGINT else demo.send_signal(number)
    demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 128 + number
    assert none_left(started)


def test_a_node_that_cannot_start_is_named(checkout: Path) -> None:
    """When a node fails, the demo says which and why, stops the others and fails."""
    (checkout / ".demo" / "data" / "models" / "broken.gguf").write_bytes(b"GGUF")
    ended = run_demo(checkout)
    assert ended.returncode == 1
    # All three have the same model, and any may be the first to end.
    assert re.search(r"The demo failed: the node (kitchen|study|hall) ended with exit status 1", ended.stdout)
    assert "broken.gguf" in ended.stdout.split("The demo failed")[1]
    assert "Traceback" not in ended.stdout
    assert not [args for _, args in processes().values() if str(checkout) in args]


def test_a_second_demo_says_so(checkout: Path) -> None:
    """While one demo runs, another in the same checkout does nothing but say why."""
    with filelock.FileLock(checkout / ".demo" / "lock"):
        ended = run_demo(checkout)
    assert ended.returncode == 1
    assert ended.stdout.startswith("Another demo is running in this checkout.")
    assert not (checkout / ".demo" / "handbook.pdf").exists()


def run_demo(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, checkout / "scripts" / "demo.py"]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=PATIENCE)
