"""Errors tell what to do in the words of what the user has: the command line or the SDK."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import coordinator
from coordinator import remedies
from coordinator.cli import main
from coordinator.errors import RunError
from coordinator.pool import Pool

ROOT = Path(coordinator.__file__).parent
# What only commands use.
FRONT = ("commands", "cli.py", "story.py", "account.py", "remedies.py")
# Those that have a method in the SDK. Devices are set up by the `edgenode` command alone.
COMMAND = re.compile(r"(?<!this )\bcoordinator (ask|resume|forget|runs|show|ledger|nodes|pair)\b|(?<!\w)--[a-z]{3,}")
OF_DEVICES = re.compile(r"edgenode start( --(context N|name NAME|join HOST:PORT))+")


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """All literals but docstrings and the two wordings of a remedy."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.Call) and getattr(child.func, "id", "") == "either":
            continue
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child
        yield from texts(child)


def test_only_commands_speak_of_commands() -> None:
    """Nothing that the SDK can raise or tell names a command of the coordinator or one of its options."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in FRONT:
            continue
        literals = texts(ast.parse(path.read_text(encoding="utf-8")))
        told = [each for each in literals if COMMAND.search(OF_DEVICES.sub("", str(each.value)))]
        found += [f"{path.relative_to(ROOT)}:{each.lineno} {each.value}" for each in told]
    assert not found


def test_the_same_trouble_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that is not there: the SDK names its method, the command its command, and afterwards the SDK its method again."""
    monkeypatch.setenv("EDGENODE_DATA", str(tmp_path))
    for _ in range(2):
        with pytest.raises(RunError) as caught:
            Pool.discover().forget("last")
        assert "pool.ask(" in str(caught.value)
        assert "coordinator ask" not in str(caught.value)
        assert main(["show", "last"]) == 1
        told = capsys.readouterr().err
        assert "coordinator ask" in told
        assert "pool." not in told


@pytest.mark.parametrize("again", [True, False])
def test_python_is_python(again: bool) -> None:
    """What the SDK is told to write can be parsed."""
    for text in (remedies.resume("1-2", again=again, max_egress=again), remedies.forget("1-2"), remedies.pair("pi's", "ab")):
        ast.parse(text)
