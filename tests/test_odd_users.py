"""Commands of users whose environment is odd: no home, a home that is a file, a user whom the system does not know."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgenode.errors import HomeError
from edgenode.home import data_dir, shown
from edgenode.text import names_a_file, typed_path

COMMANDS = [
    *("coordinator --help", "coordinator ask --help", "coordinator runs", "coordinator show last", "coordinator nodes"),
    *("coordinator invite", "coordinator text {here}", "edgenode start --help", "edgenode models", "edgenode trusted"),
    *("edgenode rm x", "edgenode doctor", "edgenode start --engine deterministic --listen nonsense"),
]
# All of them in one process, so that they take little time: what each ends with, and what it said on standard error.
PROGRAM = """
import contextlib, io, json, sys
from coordinator import cli as coordinator
from edgenode import cli as edgenode

ends = []
for program, *arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.redirect_stderr(said):
        try:
            status = (edgenode if program == "edgenode" else coordinator).main(arguments)
        except SystemExit as end:
            status = end.code or 0
    ends.append((status, said.getvalue()))
print(json.dumps(ends))
"""
# What is set, and what is not set, in each environment; {file} is a file, {long} a name that no file system takes.
PLACES: dict[str, dict[str, str | None]] = {
    "a home that is a file": {"HOME": "{file}"},
    "a home that cannot be": {"HOME": "/{long}"},
    "a percent sign": {"HOME": "{folder}/100%(x)s"},
    "data of nobody": {"EDGENODE_DATA": "~nouser/x"},
    "data in a file": {"EDGENODE_DATA": "{file}/x"},
    "settings of nobody": {"EDGENODE_CONFIG": "~nouser/x", "EDGENODE_DATA": "{folder}/data"},
    "settings in a file": {"EDGENODE_CONFIG": "{file}/x", "EDGENODE_DATA": "{folder}/data"},
}
AS_NOBODY = ("unshare", "--user", "--map-user=54321")


def can_be_nobody() -> bool:
    """Whether this machine lets a process be a user that has no entry in the system."""
    return shutil.which("unshare") is not None and subprocess.run([*AS_NOBODY, "true"], capture_output=True).returncode == 0


def run(place: dict[str, str | None], commands: list[str], tmp_path: Path, before: tuple[str, ...] = ()) -> list[tuple[int, str]]:
    """How each command ended there, and what it said on standard error."""
    file = tmp_path / "file"
    file.write_text("The rent is 900 euros.")
    marks = {"{file}": str(file), "{here}": str(file), "{folder}": str(tmp_path), "{long}": "x" * 300}

    def meant(text: str) -> str:
        return functools.reduce(lambda text, mark: text.replace(mark, marks[mark]), marks, text)

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "EDGENODE_"))}
    environment = {name: value for name, value in environment.items() if name not in place}
    environment |= {name: meant(value) for name, value in place.items() if value is not None}
    typed = json.dumps([meant(command).split() for command in commands])
    call = [*before, sys.executable, "-c", PROGRAM, typed]
    done = subprocess.run(
        call, capture_output=True, text=True, env=environment | {"EDGENODE_INTERFACE": "127.0.0.1"}, cwd=tmp_path, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [(status, said) for status, said in json.loads(done.stdout)]


def assert_told(ends: list[tuple[int, str]]) -> None:
    """Each did what it should, or says in a line why not; help is there in any case."""
    for command, (status, said) in zip(COMMANDS, ends, strict=True):
        assert status in {0, 1, 2}, (command, said)
        if "--help" in command:
            assert status == 0, (command, said)
        elif status and "doctor" not in command:
            assert len(said.splitlines()) == 1, (command, said)


@pytest.mark.parametrize("place", PLACES)
def test_an_odd_place_is_no_traceback(place: str, tmp_path: Path) -> None:
    """Whatever is set and not set."""
    assert_told(run(PLACES[place], COMMANDS, tmp_path))


@pytest.mark.skipif(not can_be_nobody(), reason="no process may have another user's number here")
@pytest.mark.parametrize("home", [None, "{folder}"])
def test_a_user_whom_the_system_does_not_know_is_no_traceback(home: str | None, tmp_path: Path) -> None:
    """With a home of its own such a user does as any other; without one a sentence says what to set."""
    ends = run({"HOME": home, "USER": None, "LOGNAME": None}, COMMANDS, tmp_path, AS_NOBODY)
    assert_told(ends)
    for command, (status, said) in zip(COMMANDS, ends, strict=True):
        if command in {"coordinator invite", "coordinator runs", "edgenode models"}:
            assert (status, "HOME" in said) == ((1, True) if home is None else (0, False)), said


def test_a_place_that_nobody_knows_is_an_error_and_help_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the variable."""
    monkeypatch.setenv("EDGENODE_DATA", "~nouser/x")
    with pytest.raises(HomeError, match="EDGENODE_DATA"):
        data_dir()
    assert shown(data_dir)


def test_a_typed_path_is_as_a_shell_would_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tilde of a user who is not known stays as it is, and names no file."""
    monkeypatch.setenv("HOME", "/somewhere")
    assert typed_path("~/x") == Path("/somewhere/x")
    assert typed_path("~nouser/x") == Path("~nouser/x")
    assert not names_a_file("~nouser/x")


@pytest.mark.parametrize("typed", ["edgenode trusted --home {long}", "edgenode start --engine deterministic --home {long}/x"])
def test_a_home_that_cannot_be_looked_at_is_named(typed: str, tmp_path: Path) -> None:
    """The sentence has the folder in it, and does not speak of output."""
    ((status, said),) = run({"EDGENODE_DATA": "{folder}/data"}, [typed], tmp_path)
    assert (status, len(said.splitlines())) == (1, 1)
    assert "x" * 300 in said
    assert "output" not in said
