"""Where runs are kept: a folder each, named by the run's id, which is checked before it becomes a path."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from coordinator.errors import RunError
from coordinator.remedies import either
from coordinator.types import RunId

LAST: Final = "last"
"""What stands for the run that was begun last."""
RUN_HELP: Final = "the run's id, a beginning of it that no other has, or: last"
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}", re.ASCII)
_BEGINNING = re.compile(r"[0-9][0-9a-f-]{0,19}", re.ASCII)
_NAMED: Final = 3
# Runs whose ids have this beginning in common were begun in the same minute: one was probably meant for the other.
_NEAR: Final = len("20261122-0315")
_LATEST: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)


def no_runs() -> str:
    how = either("coordinator ask DOCUMENT... QUESTION", "pool.ask(documents, question)")
    return f"There are no runs yet. One is made by: {how}"


def list_runs(runs: Path) -> tuple[RunId, ...]:
    """The ids of the runs kept below `runs`, oldest first."""
    try:
        return tuple(RunId(entry.name) for entry in sorted(runs.iterdir()) if _RUN.fullmatch(entry.name) and entry.is_dir())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RunError(f"The runs in {runs} cannot be listed: {error.strerror}.") from error


def new_folder(runs: Path) -> RunId:
    """Makes the folder of a new run, for its owner alone. Its id sorts after those of all runs that are kept: it tells the time
    (UTC) it was made at, or the second after the last one's where two are made in a second or the clock went back in between.
    Raises `OSError`, and `RunError` when `runs` cannot be listed."""
    while True:
        kept = list_runs(runs)
        last = begun(kept[-1]) if kept else datetime.min.replace(tzinfo=UTC)
        after = min(last, _LATEST) + timedelta(seconds=1)
        run = f"{max(datetime.now(UTC), after):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        try:
            (runs / run).mkdir(mode=0o700)
        except FileExistsError:
            continue
        return RunId(run)


def begun(run: RunId) -> datetime:
    """When a run was begun, to the second (UTC), as its id tells."""
    try:
        return datetime.strptime(run[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)  # a folder that somebody named so


def existing_folder(runs: Path, run: str, *, whole: bool = False) -> Path:
    """The folder of `run`: its id, the beginning of it that no other has, or "last"; with `whole` the id alone. `run` may be
    anything a user typed: raises `RunError`, which suggests runs of that beginning, when there is no one such."""
    if _RUN.fullmatch(run):
        folder = runs / run
        if not folder.is_dir():
            raise RunError(f"There is no run {run} in {runs}.{_suggestion(runs, run)}")
        return folder
    if run != LAST and not _BEGINNING.fullmatch(run):
        raise RunError(f"{run[:80]!r} is not the id of a run; ids look like 20261122-031502-7f3a.{_suggestion(runs, run)}")
    kept = list_runs(runs)
    if not kept:
        raise RunError(no_runs())
    meant = kept[-1:] if run == LAST else tuple(each for each in kept if each.startswith(run))
    if not meant:
        raise RunError(f"There is no run {run} in {runs}.{_suggestion(runs, run)}")
    if whole:
        raise RunError(f"Give the whole id, since this cannot be undone. Did you mean {_list(meant)}?")
    if len(meant) > 1:
        raise RunError(f"{len(meant)} runs begin with {run}. Did you mean {_list(meant)}?")
    return runs / meant[0]


def _suggestion(runs: Path, run: str) -> str:
    kept = list_runs(runs)
    if not kept:
        return " No runs are kept."
    near = tuple(each for each in kept if each[:_NEAR] == run[:_NEAR])
    return (
        f" Did you mean {_list(near)}?"
        if near
        else f" Those that are kept are listed by: {either('coordinator runs', 'pool.runs()')}"
    )


def _list(runs: tuple[RunId, ...]) -> str:
    return " or ".join(reversed(runs[-_NAMED:]))
