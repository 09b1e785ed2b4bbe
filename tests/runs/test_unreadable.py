"""Folders of runs that cannot be understood, between sound ones: they hide no other run, and none is taken for the last."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.commands.runs import add_to
from coordinator.config import runs_dir
from coordinator.errors import RunBusy, RunError
from coordinator.runs.database import FILE, LOCK, Database, last_run
from coordinator.runs.folders import list_runs, new_folder
from coordinator.runs.journal import Journal
from coordinator.story import list_stories, story_of
from coordinator.types import RunId
from edgenode.console import Parser

ODD = RunId("29990101-000000-0000")


def sql(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as file:
        file.execute(statement)


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Puts something else in the file's place."""

    def damage(folder: Path) -> None:
        (folder / FILE).unlink()
        make(folder / FILE)

    return damage


DAMAGE: dict[str, Callable[[Path], object]] = {
    "text": instead(lambda path: path.write_text("not a database " * 1000)),
    "empty": instead(lambda path: path.touch()),
    "truncated": lambda folder: os.truncate(folder / FILE, 5_000),
    "a later version": lambda folder: sql(folder, "PRAGMA user_version=99"),
    "another program's": lambda folder: sql(folder, "PRAGMA application_id=5"),
    "a folder": instead(lambda path: path.mkdir()),
    "a pipe": instead(os.mkfifo),
    "a link to itself": instead(lambda path: path.symlink_to(path)),
    "missing": instead(lambda path: None),
    "unreadable": lambda folder: folder.chmod(0),
}
# Databases in which something else is written than what a run keeps.
NONSENSE = {
    "a list": "UPDATE setting SET value = '[1]' WHERE key = 'kept'",
    "no JSON": "UPDATE setting SET value = '{' WHERE key = 'kept'",
    "no text": "UPDATE setting SET value = x'ff00' WHERE key = 'kept'",
    "a number for an end": "INSERT INTO setting VALUES ('end', '7')",
    "a word for a plan": "INSERT INTO setting VALUES ('plan', '\"x\"')",
    "a node that is a list": "INSERT INTO work VALUES ('x', '[]')",
    "an event that is a number": "INSERT INTO event (at, kind, value) VALUES (1, 'lost', '5')",
    "a request in no state": "INSERT INTO request (url, model, body, state, started) VALUES ('u', 'm', x'', 'odd', 1)",
    "no table": "DROP TABLE finding",
}


@pytest.fixture
def sound() -> RunId:
    """The one run that is as it should be."""
    with Journal.create(runs_dir()) as journal:
        journal.set_value("kept", {"question": "When?"})
        return journal.run


def add_odd(sound: RunId, damage: Callable[[Path], object]) -> None:
    shutil.copytree(runs_dir() / sound, runs_dir() / ODD)
    damage(runs_dir() / ODD)


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_last_run_is_the_last_that_can_be_understood(
    sound: RunId, kind: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """`runs` lists both, one with the reason; `show last` and `ledger last` take the sound one and name the other."""
    if kind == "unreadable" and os.geteuid() == 0:
        pytest.skip("root can read everything")
    add_odd(sound, DAMAGE[kind])
    first, second = list_stories(runs_dir())
    assert (first.run, first.status) == (sound, "interrupted")
    assert (second.run, second.status) == (ODD, "unreadable")
    assert ODD in second.why
    with pytest.raises(RunError):
        Journal.look(runs_dir(), ODD)
    assert last_run(runs_dir()) == sound
    assert ODD in caplog.text
    parser = Parser(prog="coordinator")
    add_to(parser.add_subparsers(parser_class=Parser))
    for command in ("runs", "show", "ledger"):
        options = parser.parse_args([command] if command == "runs" else [command, "last"])
        assert options.act(options) == 0
        assert capsys.readouterr().out
    with Journal.open(runs_dir(), "last") as journal:
        assert journal.run == sound
    (runs_dir() / ODD).chmod(0o700)


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_in_a_sound_file_is_told(sound: RunId, kind: str) -> None:
    """The list goes on, and looking at that run is a sentence and no traceback."""
    add_odd(sound, lambda folder: sql(folder, NONSENSE[kind]))
    assert [each.run for each in list_stories(runs_dir())] == [sound, ODD]
    with Journal.look(runs_dir(), ODD) as journal, pytest.raises(RunError):
        story_of(journal)


def test_without_a_run_that_can_be_understood_there_is_no_last(sound: RunId) -> None:
    """It is an error that says so."""
    (runs_dir() / sound / FILE).write_text("x" * 5_000)
    with pytest.raises(RunError, match=str(runs_dir())):
        last_run(runs_dir())


def test_a_run_in_use_is_the_last_all_the_same(sound: RunId) -> None:
    """It is told to be in use; no earlier one is resumed in its place."""
    with Journal.create(runs_dir()) as journal:
        assert last_run(runs_dir()) == journal.run != sound
        assert (journal.path.parent / LOCK).exists()
        with pytest.raises(RunBusy):
            Database.open(runs_dir(), "last")


def test_a_file_among_the_runs_and_a_run_of_the_last_day(sound: RunId) -> None:
    """Neither keeps the list or the next run from being made."""
    (runs_dir() / "20260101-000000-aaaa").write_text("a file")
    assert list_runs(runs_dir()) == (sound,)
    (runs_dir() / "99991231-235959-ffff").mkdir()
    assert new_folder(runs_dir()) in list_runs(runs_dir())
