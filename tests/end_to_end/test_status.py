"""What a node tells its owner of what it does: by a command, and on its own screen."""

import os
import pty
import select
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.end_to_end.pools import PATIENCE, QUESTION, RunningNode, command, run

Start = Callable[..., RunningNode]


def status(node: RunningNode) -> dict[str, Any]:
    return next(each for each in run("edgenode", "status", "--json").json["nodes"] if each["id"] == node.told["id"])


def test_status_tells_who_asks_what_is_read_and_what_was_done(start_node: Start, lease: Path) -> None:
    """While it reads there is a turn for a coordinator of a name; afterwards there are subtasks and a speed."""
    node = start_node("--speed", "200:20")
    assert status(node)["turns"] == []
    asking = subprocess.Popen(
        command("coordinator", "ask", "--node", node.name, "--read", "all", lease, QUESTION),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (told := status(node))["turns"] or not told["subtasks"]:
            assert asking.poll() is None
        assert told["turns"][0]["coordinator"] in told["coordinators"]
        assert told["tokens_per_second"] > 0
        assert told["read_tokens"] > 0
        assert told["draining"] == ""
        lines = run("edgenode", "status").out
        assert all(word in lines for word in (node.name, told["model"], told["coordinators"][0]))
    finally:
        asking.kill()
        asking.wait()


def test_status_without_a_node_is_a_sentence_and_exit_1(tmp_path: Path) -> None:
    """With the next step; JSON is an empty list."""
    done = run("edgenode", "status", EDGENODE_DATA=str(tmp_path / "nobody"))
    assert (done.status, done.out) == (1, "")
    assert "edgenode start" in done.err
    assert run("edgenode", "status", "--json", EDGENODE_DATA=str(tmp_path / "nobody")).json == {"nodes": []}


def test_a_terminal_shows_what_the_node_does(tmp_path: Path) -> None:
    """On one line that is drawn over."""
    ours, terminal = pty.openpty()
    node = subprocess.Popen(
        command("edgenode", "start", "--engine", "deterministic", "--home", tmp_path / "home"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    said = b""
    try:
        while b"\x1b[Kidle" not in said:
            assert select.select([ours], [], [], PATIENCE)[0], said
            said += os.read(ours, 65_536)
    finally:
        node.kill()
        node.wait()
        os.close(ours)
        os.close(terminal)
