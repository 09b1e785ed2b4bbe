"""What `edgenode start` shows while it starts, and that the model it serves stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgenode.cli import _parser
from edgenode.errors import ModelError
from edgenode.home import data_dir
from edgenode.models.store import Store
from edgenode.trust.running import SECRET_BYTES, RunningNode, announced_running, running_nodes
from edgenode.types import NodeId
from tests.engines.test_child import engine_in
from tests.models.gguf_files import tiny_gguf

if sys.platform == "win32":
    pytest.skip("there are no pseudo terminals", allow_module_level=True)
START = [sys.executable, "-m", "edgenode", "start", "--engine", "xllamacpp"]


def test_on_a_terminal_it_says_what_it_does() -> None:
    """The first line is there before anything that takes long, here before it is seen that there is no model."""
    terminal, end = os.openpty()
    with subprocess.Popen(START, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end) as node:
        os.close(end)
        said = b""
        try:
            while part := os.read(terminal, 4_096):
                said += part
        except OSError:
            pass  # the other end is closed
        os.close(terminal)
        node.communicate(timeout=120)
    lines = said.decode().splitlines()
    assert len(lines) >= 3
    assert all(line.endswith("...") for line in lines[:2])
    assert "edgenode pull" in lines[-1]


def test_in_a_pipe_there_is_only_what_counts() -> None:
    """The error, in a line of its own."""
    done = subprocess.run(START, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


async def test_an_engine_says_what_it_does_before_it_is_ready(tmp_path: Path) -> None:
    """Loading the model comes before measuring the device."""
    said: list[str] = []
    async with engine_in(tmp_path, "serve", fit_batch=True, report=said.append):
        assert len(said) == 2
        assert "model" in said[0]


def remove(name: str) -> int:
    options = _parser().parse_args(["rm", name])
    return int(options.act(options))


def test_a_model_in_use_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the node that uses it. Another model goes, and so does this one when the node has stopped."""
    folder = data_dir() / "models"
    folder.mkdir(parents=True)
    for number, name in enumerate(("used", "other")):
        (folder / f"{name}.gguf").write_bytes(tiny_gguf(seed=number))
    used = Store().find("used")
    node = RunningNode(
        NodeId("0" * 32), "attic", "127.0.0.1:7433", bytes(SECRET_BYTES), os.getpid(), model_file=folder / "x" / ".." / "used.gguf"
    )
    with announced_running(node):
        assert running_nodes() == (node,)
        for text in ("used", used.model.digest[:12]):
            with pytest.raises(ModelError, match="attic"):
                remove(text)
        assert remove("other") == 0
    assert [each.name for each in Store().listing().models] == ["used"]
    assert remove("used") == 0
    assert "used" in capsys.readouterr().out
    assert Store().listing().models == ()
