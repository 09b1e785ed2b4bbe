"""The journal: what a run keeps survives, is for its owner alone, and fails with sentences."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import RunError
from coordinator.runs.database import FILE, forget
from coordinator.runs.folders import list_runs
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestState
from coordinator.types import Abstained, Answered, Failed, LedgerRequest, Place, Rejected, Retrieved
from edgenode.types import FailureReason, NodeId

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "data" / "runs"


@pytest.fixture
def journal(runs: Path) -> Iterator[Journal]:
    with Journal.create(runs) as journal:
        yield journal


@posix
def test_only_the_owner_can_read_a_run(journal: Journal) -> None:
    """The folder is 0700 and every file in it, side files included, 0600."""
    journal.begin_request("https://host/v1", "m", b"{}", "sending")
    folder = journal.path.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert {file.name for file in files} >= {FILE, FILE + "-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_values_and_ledger_survive_closing(runs: Path) -> None:
    """What was set, found and sent is there again when the run is opened."""
    with Journal.create(runs) as journal:
        journal.set_value("question", "退去はいつまで?")
        journal.set_value("question", "When?")
        first = journal.begin_request("https://host/v1/chat/completions", "m", b'{"a":1}', "sending")
        journal.end_request(first, 200, b"{}", 10, 2, 0.5)
        second = journal.begin_request("https://host/v1/chat/completions", "m", b"{}", "dry_run")
    with Journal.open(runs, journal.run) as journal:
        assert journal.value("question") == "When?"
        assert journal.value("nothing", 3) == 3
        ended, dry = journal.requests()
        assert (ended.id, ended.state, ended.status, ended.body, ended.reply) == (first, RequestState.ENDED, 200, b'{"a":1}', b"{}")
        assert ended.ended is not None
        assert ended.started <= ended.ended
        assert (dry.id, dry.state, dry.ended, dry.reply) == (second, RequestState.DRY_RUN, None, None)
        assert journal.ledger() == (LedgerRequest("m", 7, 10, 2, 0.5),)
        assert journal.ledger(dry_run=True) == (LedgerRequest("m", 2, 0, 0, None),)


texts = st.text(st.characters(), max_size=40)  # lone surrogates and NUL too: an extracted text may hold them
numbers = st.integers(0, 2**40)
ids = st.builds(NodeId, texts)
places = st.builds(Place, document=texts, page=st.none() | numbers, start=numbers, end=numbers)
findings = st.one_of(
    st.builds(Answered, task=numbers, chunk=numbers, place=places, quote=texts, answer=texts, node=ids),
    st.builds(Retrieved, task=numbers, chunk=numbers, place=places, quote=texts, score=st.floats(allow_nan=False)),
    st.builds(Abstained, task=numbers, chunk=numbers, node=ids),
    st.builds(Rejected, task=numbers, chunk=numbers, quote=texts, node=ids),
    st.builds(
        Failed,
        task=numbers,
        chunk=numbers,
        reason=st.sampled_from(FailureReason),
        message=texts,
        nodes=st.lists(ids, max_size=3).map(tuple),
    ),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(findings, max_size=6))
def test_findings_come_back_as_they_were(kept: list[Answered | Retrieved | Abstained | Rejected | Failed]) -> None:
    """Every kind of finding survives the file without loss, in order."""
    with tempfile.TemporaryDirectory() as folder, Journal.create(Path(folder)) as journal:
        for finding in kept:
            journal.add_finding(finding)
        assert journal.findings() == tuple(kept)
        assert [type(finding) for finding in journal.findings()] == [type(finding) for finding in kept]


def test_a_killed_coordinator_leaves_a_run_that_opens(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After SIGKILL in mid-request the lock is free, findings are there, and the request is marked as lost and logged."""
    script = f"""
import os, pathlib, signal
from coordinator.runs.journal import Journal
from coordinator.types import Abstained
journal = Journal.create(pathlib.Path({str(runs)!r}))
journal.add_finding(Abstained(0, 1, "n"))
journal.begin_request("https://host/v1", "m", b"{{}}", "sending")
print(journal.run, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    with Journal.open(runs, child.stdout.strip()) as journal:
        assert journal.findings() == (Abstained(0, 1, NodeId("n")),)
        (record,) = journal.requests()
        assert record.state is RequestState.LOST
        assert "charged" in (record.error or "")
    assert "may have been charged" in caplog.text


def test_a_run_belongs_to_one_coordinator_at_a_time(journal: Journal, runs: Path) -> None:
    """Opening or forgetting a run that is open elsewhere is refused with a sentence."""
    with pytest.raises(RunError, match="in use by another coordinator"):
        Journal.open(runs, journal.run)
    with pytest.raises(RunError, match="in use by another coordinator"):
        forget(runs, journal.run)
    journal.set_value("still", "works")


def test_an_unknown_run_is_answered_with_the_kept_ones(journal: Journal, runs: Path) -> None:
    """A mistyped id names the run that was probably meant; nonsense is told what ids look like."""
    mistyped = journal.run[:-1] + ("0" if journal.run[-1] != "0" else "1")
    with pytest.raises(RunError, match=f"no run {mistyped}.*Did you mean {journal.run}"):
        Journal.open(runs, mistyped)
    with pytest.raises(RunError, match=r"not the id of a run.*look like"):
        Journal.open(runs, "latest")
    with pytest.raises(RunError, match="No runs are kept"):
        Journal.open(runs / "empty", "20261122-031502-7f3a")


@pytest.mark.parametrize("run", ["..", ".", "", "/etc", "../../x", "20261122-031502-7f3a/..", "20261122-031502-7f3a\n"])
def test_an_id_is_never_a_path(runs: Path, run: str) -> None:
    """Neither opening nor forgetting follows what is not the id of a run."""
    (runs / "20261122-031502-7f3a").mkdir(parents=True)
    for act in (Journal.open, forget):
        with pytest.raises(RunError, match="not the id of a run"):
            act(runs, run)
    assert runs.is_dir()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"not a database at all" * 100), id="foreign"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), id="truncated"),
        pytest.param(lambda path: _execute(path, "PRAGMA application_id=1"), id="another program's"),
    ],
)
def test_a_damaged_run_is_told_and_left_alone(runs: Path, damage: object) -> None:
    """A file that is not a sound run is refused with a sentence and not changed; it can still be forgotten."""
    with Journal.create(runs) as journal:
        for number in range(200):
            journal.set_value(str(number), "x" * 100)
    assert callable(damage)
    damage(journal.path)
    before = journal.path.read_bytes()
    with pytest.raises(RunError, match=rf"damaged.*coordinator forget {journal.run}"):
        Journal.open(runs, journal.run)
    assert journal.path.read_bytes() == before
    forget(runs, journal.run)
    assert list_runs(runs) == ()


def test_a_damaged_finding_is_told(runs: Path) -> None:
    """A row that was not written by the journal is a sentence and no traceback of the decoder."""
    with Journal.create(runs) as journal:
        pass
    _execute(journal.path, "INSERT INTO finding (kind, value) VALUES ('answered', '{\"place\": 3}')")
    with Journal.open(runs, journal.run) as journal, pytest.raises(RunError, match="damaged"):
        journal.findings()


def test_a_newer_run_is_not_touched(runs: Path) -> None:
    """A file with a later schema version asks for an update of the program."""
    with Journal.create(runs) as journal:
        pass
    _execute(journal.path, "PRAGMA user_version=99")
    with pytest.raises(RunError, match="newer edgenode"):
        Journal.open(runs, journal.run)


def test_a_full_disk_is_a_sentence(journal: Journal) -> None:
    """When SQLite can get no more pages, the error tells the file and what to look at."""
    journal._connection.execute("PRAGMA max_page_count=1")
    with pytest.raises(RunError, match=r"full.*free space"):
        journal.begin_request("https://host/v1", "m", b"x" * 100_000, "sending")
    assert journal.requests() == ()


def test_a_file_that_cannot_be_written_is_a_sentence(journal: Journal) -> None:
    """A read-only database is told as such."""
    journal._connection.execute("PRAGMA query_only=1")
    with pytest.raises(RunError, match="readonly"):
        journal.add_finding(Abstained(0, 0, NodeId("n")))


def test_a_place_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """A file where the runs' folder should be is told with the path."""
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match=r"cannot be kept in .*runs"):
        Journal.create(tmp_path / "runs")


def test_forget_deletes_the_run_and_nothing_else(runs: Path) -> None:
    """Only the run named goes; a second time it is not there."""
    with Journal.create(runs) as kept, Journal.create(runs) as gone:
        pass
    assert list_runs(runs) == tuple(sorted((kept.run, gone.run)))
    forget(runs, gone.run)
    assert list_runs(runs) == (kept.run,)
    with pytest.raises(RunError, match="There is no run"):
        forget(runs, gone.run)


def test_forget_deletes_only_what_is_a_run(runs: Path, tmp_path: Path) -> None:
    """A folder with a run's name but something else in it, and a link to elsewhere, are left alone; an empty one goes."""
    other = runs / "20261122-031502-0001"
    other.mkdir(parents=True)
    (other / "holiday.jpg").write_text("")
    link = runs / "20261122-031502-0002"
    with Journal.create(tmp_path / "elsewhere") as elsewhere:
        pass
    link.symlink_to(elsewhere.path.parent, target_is_directory=True)
    for folder in (other, link):
        with pytest.raises(RunError, match="nothing was deleted"):
            forget(runs, folder.name)
    assert (other / "holiday.jpg").exists()
    assert elsewhere.path.exists()
    empty = runs / "20261122-031502-0003"
    empty.mkdir()
    with pytest.raises(RunError, match="before anything was kept"):
        Journal.open(runs, empty.name)
    forget(runs, empty.name)
    assert not empty.exists()


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute(statement)
        connection.commit()
    finally:
        connection.close()
