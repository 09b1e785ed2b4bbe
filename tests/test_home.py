import threading
from pathlib import Path

import pytest

from edgenode.errors import HomeError
from edgenode.home import data_dir, make_private_folder, open_home, write_private
from tests.trust.faults import full_disk


def test_a_home_serves_one_node(tmp_path: Path) -> None:
    """The second is told so, and may come when the first has gone; the folder is closed to others."""
    home = tmp_path / "some" / "home"
    with open_home(home):
        assert home.stat().st_mode & 0o777 == 0o700
        with pytest.raises(HomeError, match="Another node is running"), open_home(home):
            pass
    with open_home(home):
        pass


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """It names the way out."""
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(HomeError, match="--home"), open_home(home):
            pass


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """On a full disk the old one stays, and no half is left beside it."""
    path = tmp_path / "file"
    write_private(path, "first")
    with full_disk(), pytest.raises(HomeError, match="cannot be written: "):
        write_private(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    """What it points to is somebody else's."""
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_private(tmp_path / "link", "ours")
    assert (tmp_path / "target").read_text() == "theirs"
    assert not (tmp_path / "link").is_symlink()


def test_writers_do_not_mix(tmp_path: Path) -> None:
    """Of many at once one is the last, whole; its file is for its owner alone."""
    path = tmp_path / "file"
    texts = [letter * 50_000 for letter in "abcdef"]
    threads = [threading.Thread(target=write_private, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """A user may have his reasons for its permissions."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    make_private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o755


def test_the_data_folder_can_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the environment; a relative one is made absolute."""
    monkeypatch.setenv("EDGENODE_DATA", str(tmp_path / "here"))
    assert data_dir() == tmp_path / "here"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGENODE_DATA", "there")
    assert data_dir() == tmp_path / "there"
