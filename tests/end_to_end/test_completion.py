"""Completion as a shell asks for it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from coordinator.config import runs_dir
from coordinator.runs.journal import Journal
from edgenode.home import models_dir
from tests.end_to_end.pools import PATIENCE, command, run
from tests.models.gguf_files import write_gguf


def test_a_shell_is_told_what_can_follow() -> None:
    """Commands, options, runs, models; nothing where it should offer files, and nothing after a command that is none."""
    with Journal.create(runs_dir()) as journal:
        pass
    models_dir().mkdir(parents=True)
    write_gguf(models_dir() / "smol.gguf")
    asked = {
        ("coordinator", "led"): ["ledger"],
        ("coordinator", "forget", "--o"): ["--older-than"],
        ("coordinator", "show", ""): [journal.run, "last"],
        ("coordinator", "show", "--json", "la"): ["last"],
        ("coordinator", "ask", "lea"): [],
        ("coordinator", "nonsense", ""): [],
        ("edgenode", "rm", "s"): ["smol"],
        ("edgenode", "start", "--model", ""): ["smol"],
        ("edgenode", "start", "--engine", "det"): ["deterministic"],
    }
    for (name, *words), expected in asked.items():
        done = run(name, "completion", "words", *words)
        assert (done.status, done.out.splitlines()) == (0, expected), words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_one_that_its_shell_reads(shell: str) -> None:
    """bash carries it out, too; the others parse it where they are installed."""
    script = run("coordinator", "completion", shell).out
    assert "coordinator completion words" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=PATIENCE)
    if shell == "bash":
        typed = 'COMP_WORDS=(coordinator unp); COMP_CWORD=1; _coordinator; echo "${COMPREPLY[@]}"'
        path = f"PATH={Path(command('coordinator')[0]).parent}:$PATH\n"
        done = subprocess.run([shell], input=path + script + typed, capture_output=True, text=True, check=True, timeout=PATIENCE)
        assert done.stdout == "unpair\n"
