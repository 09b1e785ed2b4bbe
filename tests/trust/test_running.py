import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgenode.errors import HomeError
from edgenode.trust.running import RunningNode, announced_running, running_folder, running_nodes
from edgenode.types import NodeId
from tests.logged import ours
from tests.trust.faults import full_disk

ID = "0123456789abcdef" * 2


def running(id: str = ID, name: str = "kitchen-pi", pid: int | None = None) -> RunningNode:
    return RunningNode(NodeId(id), name, "127.0.0.1:7433", b"s" * 32, os.getpid() if pid is None else pid)


def test_a_running_node_is_found_and_then_not(tmp_path: Path) -> None:
    """As long as it runs, with all that it said, by whoever has the same data folder."""
    assert running_nodes() == ()
    one, other = running(name="台所のパイ"), replace(running("f" * 32), dials=("laptop.local:7435", "10.0.0.2:7435"))
    with announced_running(one), announced_running(other):
        assert running_nodes() == (one, other)
    assert running_nodes() == ()
    assert list(running_folder().iterdir()) == []


def test_only_its_owner_reads_the_secret() -> None:
    """The file and its folder are closed to others, whatever the umask says."""
    before = os.umask(0)
    try:
        with announced_running(running()):
            (path,) = running_folder().iterdir()
            assert path.stat().st_mode & 0o777 == 0o600
            assert running_folder().stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
    assert "sss" not in repr(running())


def test_the_dead_are_skipped_and_replaced() -> None:
    """A killed node leaves its file; it is not found, and at its next start it takes its place."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(timeout=300)
    stale = announced_running(running(pid=child.pid))
    stale.__enter__()
    assert running_nodes() == ()
    with announced_running(running()):
        assert running_nodes() == (running(),)


def test_a_file_that_others_can_read_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    """Its secret is none; that is said once."""
    with announced_running(running()), announced_running(running("f" * 32)):
        (running_folder() / f"{ID}.json").chmod(0o640)
        for _ in range(3):
            assert running_nodes() == (running("f" * 32),)
    assert [line.levelname for line in ours(caplog)] == ["WARNING"]
    assert "other users" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger could else offer a node of his as one of this user's."""
    with announced_running(running()):
        os.chown(running_folder() / f"{ID}.json", 12_345, -1)
        assert running_nodes() == ()
    assert "another user" in caplog.text


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    """Nor waited for."""
    with announced_running(running()):
        path = running_folder() / f"{ID}.json"
        path.rename(tmp_path / "elsewhere.json")
        path.symlink_to(tmp_path / "elsewhere.json")
        os.mkfifo(running_folder() / f"{'e' * 32}.json", 0o600)
        (running_folder() / f"{'d' * 32}.json").mkdir()
        assert running_nodes() == ()


def test_damaged_files_are_skipped() -> None:
    """Cut, oversized, of another version, of a wrong type: no node, and no error."""
    with announced_running(running()):
        path = running_folder() / f"{ID}.json"
        whole = path.read_text(encoding="utf-8")
        values = json.loads(whole)
        changes = (
            {"version": 2},
            {"secret": "00"},
            {"secret": "no hex"},
            {"pid": "1"},
            {"pid": -1},
            {"pid": 2**80},
            {"name": 1},
            {"dials": 1},
            {"dials": [1]},
        )
        texts = ["", whole[:40], "[]", "[" * 4_000, " " * 5_000, *(json.dumps({**values, **change}) for change in changes)]
        for text in texts:
            path.write_text(text, encoding="utf-8")
            assert running_nodes() == ()
        path.write_text(whole, encoding="utf-8")
        path.rename(running_folder() / "someone.json")
        assert running_nodes() == ()


def test_a_name_from_a_file_is_cleaned() -> None:
    """It goes to the terminal."""
    with announced_running(running(name="a\x1b[2J\u202eb" * 100)):
        (node,) = running_nodes()
    assert node.name.isprintable()
    assert len(node.name) == 60


def test_a_full_disk_is_a_sentence() -> None:
    """And leaves nothing."""
    with full_disk(), pytest.raises(HomeError, match="cannot be written: "), announced_running(running()):
        pass
    assert list(running_folder().iterdir()) == []


def test_a_data_folder_that_is_a_file_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For who announces; who looks finds nobody."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGENODE_DATA", str(tmp_path / "file"))
    assert running_nodes() == ()
    with pytest.raises(HomeError, match="cannot be made"), announced_running(running()):
        pass
