"""Which run is meant by what a user types."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.errors import RunError
from coordinator.runs.folders import begun, existing_folder, list_runs, new_folder
from coordinator.types import RunId

FIRST, SECOND, LATER = "20261121-235959-00aa", "20261122-031502-7f3a", "20261122-031502-7f4b"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for run in (FIRST, SECOND, LATER):
        (tmp_path / run).mkdir()
    return tmp_path


@pytest.mark.parametrize(("typed", "meant"), [("last", LATER), ("20261121", FIRST), (SECOND[:-1], SECOND), (FIRST, FIRST)])
def test_a_beginning_or_last_is_enough(runs: Path, typed: str, meant: str) -> None:
    """As long as no other run begins so."""
    assert existing_folder(runs, typed).name == meant


def test_a_beginning_of_several_names_them(runs: Path) -> None:
    """The newest first, and none is chosen."""
    with pytest.raises(RunError, match=f"2 runs begin with 20261122. Did you mean {LATER} or {SECOND}"):
        existing_folder(runs, "20261122")


@pytest.mark.parametrize("typed", ["last", "20261121"])
def test_what_cannot_be_undone_wants_the_whole_id(runs: Path, typed: str) -> None:
    """An abbreviation deletes nothing, and the sentence has the id to type."""
    with pytest.raises(RunError, match=r"Give the whole id.* Did you mean 2026112"):
        existing_folder(runs, typed, whole=True)


def test_a_beginning_of_none_is_told(runs: Path) -> None:
    """With the runs that there are."""
    with pytest.raises(RunError, match="There is no run 2025"):
        existing_folder(runs, "2025")


def test_an_id_tells_when() -> None:
    """To the second in UTC; a folder that somebody named so is no error."""
    assert begun(RunId(SECOND)) == datetime(2026, 11, 22, 3, 15, 2, tzinfo=UTC)
    assert begun(RunId("99999999-999999-ffff")).year == 1970


def test_the_run_begun_last_is_the_last_though_the_clock_went_back(tmp_path: Path) -> None:
    """An id of the future, and many of the same second: each new one sorts after all others."""
    (tmp_path / "29991231-235958-ffff").mkdir()
    made = [new_folder(tmp_path) for _ in range(20)]
    assert list_runs(tmp_path)[1:] == tuple(made)
    assert existing_folder(tmp_path, "last").name == made[-1]
