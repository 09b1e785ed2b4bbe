"""Where runs are kept: a folder each, named by the run's id, which is checked before it becomes a path."""

import difflib
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from coordinator.errors import RunError
from coordinator.types import RunId

_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}", re.ASCII)


def list_runs(runs: Path) -> tuple[RunId, ...]:
    """The ids of the runs kept below `runs`, oldest first."""
    try:
        return tuple(RunId(entry.name) for entry in sorted(runs.iterdir()) if _RUN.fullmatch(entry.name) and entry.is_dir())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RunError(f"The runs in {runs} cannot be listed: {error.strerror}.") from error


def new_folder(runs: Path) -> RunId:
    """Makes the folder of a new run, for its owner alone. Ids sort by the time (UTC) they were made at. Raises `OSError`."""
    while True:
        run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        try:
            (runs / run).mkdir(mode=0o700)
        except FileExistsError:
            continue
        return RunId(run)


def existing_folder(runs: Path, run: str) -> Path:
    """The folder of `run`, which may be anything a user typed. Raises `RunError`, which suggests runs, when there is none."""
    if not _RUN.fullmatch(run):
        raise RunError(f"{run[:80]!r} is not the id of a run; ids look like 20261122-031502-7f3a.{_suggestion(runs, run)}")
    folder = runs / run
    if not folder.is_dir():
        raise RunError(f"There is no run {run} in {runs}.{_suggestion(runs, run)}")
    return folder


def _suggestion(runs: Path, run: str) -> str:
    kept = list_runs(runs)
    near = difflib.get_close_matches(run[:80], kept, n=3, cutoff=0.8) or list(reversed(kept[-3:]))
    return f" Did you mean {' or '.join(near)}?" if near else " No runs are kept."
