"""Whose devices read: pairing, inviting and shutting out, as people type it."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgenode.home import make_private_folder
from edgenode.trust.store import NodeTrust
from tests.end_to_end.pools import PATIENCE, QUESTION, Ran, RunningNode, command, run, seen

Start = Callable[..., RunningNode]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The data folder of another user."""
    return tmp_path / "theirs"


def home(node: RunningNode, tmp_path: Path) -> tuple[str, Path]:
    return "--home", tmp_path / node.name


def listed(node: RunningNode, state: str, why: str = "") -> dict[str, Any]:
    """The node as `coordinator nodes` shows it, once it is in that state there for a reason that holds `why`."""
    id = node.told["id"]
    told = seen("coordinator", "nodes", key="nodes", ids={id}, wanted=lambda each: each["state"] == state and why in each["why"])
    return told[id]


def pair(node: RunningNode, code: str | None = None) -> Ran:
    return run("coordinator", "pair", node.name, "--code", code or node.told["code"])


def test_a_code_pairs_a_device(start_node: Start, theirs: Path, tmp_path: Path, lease: Path) -> None:
    """Unpaired it is listed and asked nothing; a wrong code is refused, the right one is enough, and pairing lasts."""
    node = start_node(data=theirs)
    assert re.fullmatch(r"[0-9]{8}", node.told["code"])
    before = listed(node, "unpaired")
    assert before["trust"] == "unpaired"
    assert f"coordinator pair {node.name}" in before["why"]
    assert run("coordinator", "ask", lease, QUESTION).status == 1
    wrong = f"{(int(node.told['code']) + 1) % 10**8:08d}"
    refused = pair(node, wrong)
    assert (refused.status, refused.out) == (1, "")
    assert "code" in refused.err
    done = pair(node, f"{node.told['code'][:4]} {node.told['code'][4:]}")
    assert (done.status, done.out) == (0, f"Paired with {node.name}.\n")
    listed(node, "joined")
    trusted = run("edgenode", "trusted", *home(node, tmp_path), "--json", EDGENODE_DATA=str(theirs)).json["trusted"]
    assert [each["via"] for each in trusted] == ["code"]
    again = pair(node)
    assert (again.status, "already" in again.out) == (0, True)


def test_empty_lists_are_lists_for_scripts(tmp_path: Path) -> None:
    """No model, no coordinator, no run: JSON is an empty list, and for a person standard error has the next step."""
    make_private_folder(tmp_path / "home")
    NodeTrust(tmp_path / "home").id  # noqa: B018 - makes the key, as a first start does
    told = {
        "models": ("edgenode", "models"),
        "trusted": ("edgenode", "trusted", "--home", tmp_path / "home"),
        "runs": ("coordinator", "runs"),
    }
    for key, arguments in told.items():
        assert run(*map(str, arguments), "--json").json[key] == []
        lines = run(*map(str, arguments))
        assert (lines.status, lines.out, len(lines.err.splitlines())) == (0, "", 1)
        assert re.search(r"(edgenode|coordinator) [a-z]+", lines.err)


TAKES_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize(
    ("keys", "status", "told"),
    [(b"\x04", 2, "No code was typed"), (b"12\x03", 130, "Interrupted."), (b"123 4567\n\x04", 2, "No code was typed")],
)
def test_whoever_types_no_code_gets_the_terminal_back(start_node: Start, theirs: Path, keys: bytes, status: int, told: str) -> None:
    """Ctrl-D and Ctrl-C at the prompt, also after a mistyped code: a sentence on a line of its own, nothing paired, echo on."""
    node = start_node(data=theirs)
    ours, terminal = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-c", TAKES_TERMINAL, *command("coordinator", "pair", node.name)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    said = b""
    try:
        # What cannot be a code is asked for again.
        for number, key in enumerate(keys.splitlines(keepends=True), 1):
            while said.count(b"shows: ") < number:
                assert select.select([ours], [], [], PATIENCE)[0], said
                said += os.read(ours, 65_536)
            os.write(ours, key)
        assert asking.wait(timeout=PATIENCE) == status
        while select.select([ours], [], [], 0)[0]:
            said += os.read(ours, 65_536)
        assert termios.tcgetattr(terminal)[3] & termios.ECHO
    finally:
        asking.kill()
        asking.wait()
        os.close(ours)
        os.close(terminal)
    assert f"\r\n{told}" in said.decode()
    assert b"Traceback" not in said
    assert listed(node, "unpaired")["trust"] == "unpaired"


def test_the_link_of_the_qr_code_pairs(start_node: Start, theirs: Path, tmp_path: Path) -> None:
    """What a phone reads off the screen can be pasted as it is; half of it is a sentence."""
    node = start_node(data=theirs)
    assert run("coordinator", "pair", f"edgenode:pair?id={node.told['id']}").status == 2
    opened = run("edgenode", "pair", *home(node, tmp_path), "--json", EDGENODE_DATA=str(theirs)).json
    assert opened["code"] != node.told["code"]
    done = run("coordinator", "pair", f"edgenode:pair?id={node.told['id']}&code={opened['code']}&name=x")
    assert (done.status, done.out) == (0, f"Paired with {node.name}.\n"), done.err


def test_without_a_terminal_the_code_must_be_given(start_node: Start, theirs: Path) -> None:
    """Nobody can be asked in a pipe."""
    done = run("coordinator", "pair", start_node(data=theirs).name)
    assert done.status == 2
    assert "--code" in done.err


def test_an_invited_device_needs_no_code(start_node: Start, theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token made where one sits, given to the device at its start (in its environment: other users see arguments), pairs it at
    the next command; a second one stays out."""
    token = run("coordinator", "invite").out.strip()
    with monkeypatch.context() as environment:
        environment.setenv("EDGENODE_INVITE", token)
        first = start_node(data=theirs)
    listed(first, "joined")
    second = start_node("--invite", token, data=theirs)
    listed(second, "unpaired")


def test_a_device_that_was_unpaired_stays_out_until_it_is_paired_again(start_node: Start, lease: Path) -> None:
    """Also one of the same user on the same machine, which would pair by itself."""
    node = start_node()
    listed(node, "joined")
    assert run("coordinator", "unpair", node.name).status == 0
    listed(node, "unpaired")
    assert run("coordinator", "ask", lease, QUESTION).status == 1
    again = run("coordinator", "pair", node.name)
    assert (again.status, again.out) == (0, f"Paired with {node.name}.\n"), again.err
    listed(node, "joined")


def test_a_coordinator_that_is_not_trusted_any_more_is_told_why(start_node: Start, theirs: Path, tmp_path: Path) -> None:
    """`edgenode untrust` needs no restart, and the other side gets a sentence with what to do."""
    node = start_node(data=theirs)
    assert pair(node).status == 0
    (trusted,) = run("edgenode", "trusted", *home(node, tmp_path), "--json", EDGENODE_DATA=str(theirs)).json["trusted"]
    done = run("edgenode", "untrust", trusted["name"], *home(node, tmp_path), EDGENODE_DATA=str(theirs))
    assert (done.status, done.err) == (0, "")
    listed(node, "suspect", why="does not trust")


def test_unknown_names_are_sentences(tmp_path: Path, start_node: Start) -> None:
    """The typo, the folder without a node, the node that does not run."""
    assert run("coordinator", "unpair", "nobody").status == 2
    unknown = "f" * 32
    told = run("coordinator", "unpair", unknown)
    assert (told.out, told.err) == (f"Nothing is known of {unknown}. It is shut out from now on.\n", "")
    invited = run("coordinator", "invite")
    assert f"EDGENODE_INVITE={invited.out.strip()} edgenode start" in invited.err
    assert run("edgenode", "trusted", "--home", tmp_path / "empty").status == 1
    assert not (tmp_path / "empty").exists()
    node = start_node()
    assert run("edgenode", "untrust", "nobody", *home(node, tmp_path)).status == 2
    told = run("edgenode", "untrust", unknown, *home(node, tmp_path))
    assert (told.out, told.err) == (
        f"This device knows of no coordinator {unknown} that it works for. It is shut out from now on.\n",
        "",
    )
    node.process.terminate()
    node.process.wait(timeout=PATIENCE)
    assert "does not run" in run("edgenode", "pair", *home(node, tmp_path)).err


def test_devices_see_each_other(start_node: Start, tmp_path: Path) -> None:
    """`edgenode peers` on a device lists the others and not itself."""
    first, second = start_node(), start_node()
    peers = ("edgenode", "peers", *home(first, tmp_path))
    assert seen(*peers, key="peers", ids={second.told["id"]})[second.told["id"]]["name"] == second.name
    assert first.told["id"] not in [each["id"] for each in run(*peers, "--json").json["peers"]]


def test_the_doctors_find_a_healthy_node_healthy(start_node: Start, tmp_path: Path) -> None:
    """On one machine, with a node that is paired, neither sees a problem; a host that is not there is one."""
    node = start_node()
    listed(node, "joined")
    for doctor in (("coordinator", "doctor", node.name), ("edgenode", "doctor", *home(node, tmp_path))):
        # What is not answered within a few seconds is a problem, and on a busy machine that happens.
        for _ in range(10):
            told = run(*map(str, doctor), "--json")
            problems = [each for each in told.json["findings"] if each["severity"] == "problem"]
            assert told.status == bool(problems)
            if not problems:
                break
        assert problems == []
    missing = run("coordinator", "doctor", "127.0.0.1:1")
    assert missing.status == 1
    assert missing.out


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process on Windows.")
def test_a_pool_that_is_watched_shows_who_comes(start_node: Start) -> None:
    """`coordinator nodes --watch --json` prints an object for each change until Ctrl-C."""
    with subprocess.Popen(
        command("coordinator", "nodes", "--watch", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as watch:
        assert watch.stdout is not None
        node = start_node()
        for line in watch.stdout:
            told = json.loads(line)["node"]
            if told["id"] == node.told["id"] and told["state"] == "joined":
                break
        watch.send_signal(signal.SIGINT)
        _, complaint = watch.communicate(timeout=PATIENCE)
    assert "Traceback" not in complaint
    assert watch.returncode == 130
