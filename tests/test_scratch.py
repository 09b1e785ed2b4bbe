"""Temporary folders: private, gone when their process is, however it ended."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgenode import scratch
from edgenode.errors import HomeError
from edgenode.scratch import PREFIX, ScratchFolder

CHILD = """
import sys
from edgenode.scratch import ScratchFolder
folder = ScratchFolder()
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_what_a_killed_process_left_is_removed_by_the_next(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else is: not the folder of a process that lives, not one that only has such a name, not one that is new."""
    monkeypatch.setattr(scratch, "YOUNG_SECONDS", -1.0)
    others = place / f"{PREFIX}of-a-user"
    others.mkdir()
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        left = Path(child.stdout.readline().strip())
        ScratchFolder().close()
        assert left.is_dir()
        child.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    monkeypatch.setattr(scratch, "YOUNG_SECONDS", 3_600.0)
    ScratchFolder().close()
    assert left.is_dir()
    monkeypatch.setattr(scratch, "YOUNG_SECONDS", -1.0)
    ScratchFolder().close()
    assert list(place.iterdir()) == [others]


def test_nowhere_to_put_it_is_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder for temporary files is missing the error says what to set."""
    monkeypatch.setattr(tempfile, "tempdir", str(place / "missing"))
    with pytest.raises(HomeError, match="TMPDIR"):
        ScratchFolder()


@pytest.mark.skipif(os.name != "posix", reason="unix sockets")
@pytest.mark.parametrize("name", ["x" * 90, "50%20off", "a b", "ü"])
def test_folders_for_sockets_have_paths_that_sockets_can_have(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long or odd the path of the folder for temporary files is."""
    odd = place / name
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    folder = ScratchFolder(for_sockets=True)
    assert len(os.fsencode(folder.path)) <= 100
    assert odd not in folder.path.parents
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert not folder.path.exists()
