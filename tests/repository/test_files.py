"""What the repository's files may not hold, and what its documents promise."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Nothing here works on one machine only, or tells about it.
FOREIGN = re.compile(
    r"(?<![\w.~/$}])/(work|root|opt|Users)/\w|\bshared/(design|data|tools)\b|pypi\.org|pythonhosted\.org|extra[-]index[-]url"
)


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("This is not a git checkout.")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_tells_of_a_machine() -> None:
    """No file names a folder of somebody's machine, the host of a package index, or material that is not in the repository."""
    told = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        told += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert told == []


def test_no_file_is_large_or_made() -> None:
    """Models, environments, caches and runs are not committed."""
    for path in tracked():
        assert path.stat().st_size < 500_000, path
        assert path.suffix not in {".gguf", ".pyc", ".whl", ".sqlite", ".log"}, path


def test_the_documents_name_real_targets() -> None:
    """Every `make TARGET` in the documents exists."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in ROOT.glob("*.md"):
        for target in re.findall(r"(?:`|^|\n)\s*make ([a-z]+)", path.read_text(encoding="utf-8")):
            assert target in targets, f"{path.name} says `make {target}`"


def test_ci_runs_what_people_run() -> None:
    """`.ci/run` is executable, and runs `make check` and `make test` and nothing that a person could not."""
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert re.search(r"^make .*\bcheck test\b", script.read_text(encoding="utf-8"), re.MULTILINE)
