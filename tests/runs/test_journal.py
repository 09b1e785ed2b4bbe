"""The journal: what a run keeps survives, is for its owner alone, and fails with sentences."""

import os
import shutil
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
from coordinator.runs.run import resumable
from coordinator.types import Abstained, Answered, Failed, LedgerRequest, NodeWork, Place, Rejected, Retrieved, RunId
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
    journal.ledger.begin("https://host/v1", "m", b"{}", "sending")
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
        first = journal.ledger.begin("https://host/v1/chat/completions", "m", b'{"a":1}', "sending")
        journal.ledger.end(first, 200, b"{}", 10, 2, 0.5)
        second = journal.ledger.begin("https://host/v1/chat/completions", "m", b"{}", "dry_run")
    with Journal.open(runs, journal.run) as journal:
        assert journal.value("question") == "When?"
        assert journal.value("nothing", 3) == 3
        ended, dry = journal.ledger.records()
        assert (ended.id, ended.state, ended.status, ended.body, ended.reply) == (first, RequestState.ENDED, 200, b'{"a":1}', b"{}")
        assert ended.ended is not None
        assert ended.started <= ended.ended
        assert (dry.id, dry.state, dry.ended, dry.reply) == (second, RequestState.DRY_RUN, None, None)
        assert journal.ledger.used() == (LedgerRequest("m", 7, 10, 2, 0.5),)
        assert journal.ledger.used(dry_run=True) == (LedgerRequest("m", 2, None, None, None),)


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
journal.ledger.begin("https://host/v1", "m", b"{{}}", "sending")
print(journal.run, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    with Journal.open(runs, child.stdout.strip()) as journal:
        assert journal.findings() == (Abstained(0, 1, NodeId("n")),)
        (record,) = journal.ledger.records()
        assert record.state is RequestState.LOST
        assert "charged" in (record.error or "")
    assert "may have been charged" in caplog.text


@pytest.mark.parametrize("moment", ["sqlite3.connect", "sqlite3.connect/handle", "os.rename"])
def test_a_run_that_was_killed_as_it_began_is_not_called_damaged(runs: Path, moment: str) -> None:
    """Whenever SIGKILL comes while the file is made, the run can be told from a damaged one, and forgotten."""
    script = f"""
import os, pathlib, signal, sys
from coordinator.runs.journal import Journal
sys.addaudithook(lambda event, _: os.kill(os.getpid(), signal.SIGKILL) if event == {moment!r} else None)
Journal.create(pathlib.Path({str(runs)!r}))
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    (folder,) = runs.iterdir()
    assert list(folder.glob("run.sqlite3*"))
    with pytest.raises(RunError, match="before anything was kept"):
        Journal.open(runs, folder.name)
    forget(runs, folder.name)
    assert not folder.exists()


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
    with pytest.raises(RunError, match=r"no run 20261122-031502-7f3a.*listed by: coordinator runs"):
        Journal.open(runs, "20261122-031502-7f3a")
    with pytest.raises(RunError, match="There are no runs yet"):
        Journal.open(runs / "empty", "last")


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
    before = journal.path.read_bytes()
    for act in (Journal.open, Journal.look):
        with pytest.raises(RunError, match=r"newer edgenode.*left as it is"):
            act(runs, journal.run)
    assert journal.path.read_bytes() == before


def test_a_full_disk_is_a_sentence(journal: Journal) -> None:
    """When SQLite can get no more pages, the error tells the file and what to look at."""
    journal._connection.execute("PRAGMA max_page_count=1")
    with pytest.raises(RunError, match=r"full.*free space"):
        journal.ledger.begin("https://host/v1", "m", b"x" * 100_000, "sending")
    assert journal.ledger.records() == ()


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


def test_a_subtask_ends_once(journal: Journal) -> None:
    """The file itself refuses a second end, but to what failed; a rejected quotation is none, until it is said to be."""
    node = NodeId("n")
    journal.add_finding(Rejected(0, 1, "no", node), "a", ends=False)
    assert journal.ended_subtasks() == frozenset()
    journal.add_finding(Abstained(0, 1, node), "a", work=NodeWork(node, "pi", "m", "e", subtasks=1))
    with pytest.raises(AssertionError, match="twice"):
        journal.add_finding(Abstained(0, 1, node), "a", work=NodeWork(node, "pi", "m", "e", subtasks=2))
    assert journal.work()[node].subtasks == 1
    journal.add_finding(Rejected(0, 2, "no", node), "b", ends=False)
    journal.end_subtask("b")
    journal.add_finding(Failed(0, 3, FailureReason.ENGINE_ERROR, "no", ()), "c")
    assert journal.ended_subtasks() == {"a", "b", "c"}
    assert journal.failed_subtasks() == {"c"}
    journal.add_finding(Rejected(0, 3, "no", node), "c", ends=False)
    assert journal.failed_subtasks() == {"c"}
    journal.end_subtask("c")
    assert (journal.ended_subtasks(), journal.failed_subtasks()) == ({"a", "b", "c"}, frozenset())


def test_a_plan_and_what_retrieval_found_are_kept_together(journal: Journal) -> None:
    """A disk that fills up between them leaves neither."""
    found = Retrieved(0, 0, Place("D1", None, 0, 1), "x" * 5_000, 1.0)
    journal._connection.execute("PRAGMA max_page_count=20")
    with pytest.raises(RunError, match="full"):
        journal.set_plan({"chunks": 1}, [found] * 100)
    assert (journal.value("plan"), journal.findings()) == (None, ())
    journal.set_plan({"chunks": 1}, [found])
    assert (journal.value("plan"), journal.findings()) == ({"chunks": 1}, (found,))


def test_events_are_bounded(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind so many are kept and the others counted, also in the next sitting; other kinds are not crowded out."""
    monkeypatch.setattr("coordinator.runs.journal.MAX_EVENTS", 3)
    for number in range(5):
        journal.add_event("leased", {"number": number})
    journal.add_event("gone", {"why": "x"})
    journal.close()
    with Journal.open(journal.path.parent.parent, journal.run) as again:
        again.add_event("leased", {"number": 5})
        assert [event.value.get("number") for event in again.events()] == [0, 1, 2, None]
        assert again.passed_over() == {"leased": 3}


def test_time_is_summed_over_sittings(runs: Path) -> None:
    """What was spent before is added to what this sitting has taken by now, and a killed sitting counts until its last row."""
    with Journal.create(runs, before=100.0) as journal:
        journal.add_event("joined", {})
    with Journal.open(runs, journal.run) as again:
        assert 100 < again.seconds() < 200
        assert again.sitting == 2
    with Journal.look(runs, journal.run) as looked:
        assert 100 < looked.seconds() < 200


def test_looking_changes_nothing_and_disturbs_nobody(journal: Journal, runs: Path) -> None:
    """Another reader sees what was kept while the run is at work, and that it is; a request in flight stays in flight."""
    journal.ledger.begin("https://host/v1", "m", b"{}", "sending")
    with Journal.look(runs, "last") as looked:
        assert looked.running
        assert looked.ledger.records()[0].state is RequestState.SENDING
        journal.set_value("still", "works")
        assert looked.value("still") == "works"
    journal.close()
    with Journal.look(runs, journal.run) as looked:
        assert not looked.running
        assert looked.ledger.records()[0].state is RequestState.SENDING
        assert looked.ledger.unsure() is not None


@pytest.mark.parametrize("killed", [False, True])
def test_a_file_system_that_cannot_be_written_is_looked_into(runs: Path, killed: bool) -> None:
    """A copy of the data folder, mounted read-only: what was kept is there, also what a killed coordinator left in side files."""
    journal = Journal.create(runs)
    journal.set_value("kept", {"question": "When?"})
    copy = runs.with_name("copy")
    if killed:
        shutil.copytree(runs, copy)
    journal.close()
    if not killed:
        shutil.copytree(runs, copy)
    assert (copy / journal.run / "run.sqlite3-wal").exists() == killed
    script = f"""
from pathlib import Path
from coordinator.story import list_stories
print([(each.question, each.why) for each in list_stories(Path({str(copy)!r}))])
"""
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    where = ["unshare", "--mount", "--map-root-user", "sh", "-c", mounted, str(copy)]
    if subprocess.run([*where, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    looked = subprocess.run([*where, sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert looked.stdout == "[('When?', '')]\n"


def test_another_program_that_locks_the_file_is_told(journal: Journal) -> None:
    """A process that holds SQLite's own lock stops the run with a sentence; what was kept is there when it lets go."""
    script = f"""
import sqlite3, sys
connection = sqlite3.connect({str(journal.path)!r}, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""
    journal.add_finding(Abstained(0, 1, NodeId("n")), "a")
    journal._connection.execute("PRAGMA busy_timeout=50")
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        with pytest.raises(RunError, match=f"locked by another program.*resume {journal.run}"):
            journal.add_finding(Abstained(0, 2, NodeId("n")), "b")
        other.stdin.close()
    journal.add_finding(Abstained(0, 2, NodeId("n")), "b")
    assert journal.ended_subtasks() == {"a", "b"}


FIRST_VERSION = """
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE finding (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE request (
  id INTEGER PRIMARY KEY, url TEXT NOT NULL, model TEXT NOT NULL, body BLOB NOT NULL, state TEXT NOT NULL, started REAL NOT NULL,
  ended REAL, status INTEGER, reply BLOB, prompt_tokens INTEGER, completion_tokens INTEGER, usd REAL, error TEXT
);
INSERT INTO setting VALUES ('read', 'true');
INSERT INTO setting VALUES ('kept', '{"question": "When?", "names": {"D1": "lease.pdf"}, "document_characters": 10,
  "whole_document_tokens": 3, "show_names": false, "max_egress": null, "seconds": 12.5,
  "nodes": [{"id": "n", "name": "pi", "model": "m", "engine": "e", "subtasks": 4, "prompt_tokens": 9, "cached_tokens": 1,
  "completion_tokens": 2, "seconds": 3.0}]}');
INSERT INTO finding (kind, value) VALUES ('abstained', '{"task": 0, "chunk": 1, "node": "n"}');
PRAGMA application_id=0x65646765;
PRAGMA user_version=1;
"""


def test_a_run_of_the_first_version_is_brought_up_when_it_is_resumed(runs: Path) -> None:
    """With all it had, and only then: looking into it leaves it as it is."""
    run = RunId("20251122-031502-7f3a")
    (runs / run).mkdir(parents=True)
    connection = sqlite3.connect(runs / run / FILE)
    connection.executescript(FIRST_VERSION)
    connection.close()
    before = (runs / run / FILE).read_bytes()
    with Journal.look(runs, run) as looked:
        assert looked.seconds() == 12.5
        assert looked.work()[NodeId("n")].subtasks == 4
    assert (runs / run / FILE).read_bytes() == before
    with Journal.open(runs, run) as journal:
        assert journal.findings() == (Abstained(0, 1, NodeId("n")),)
        assert resumable(journal).question == "When?"
    with Journal.open(runs, run) as journal:
        assert journal.seconds() > 12.5


def test_a_reply_has_room_kept_for_it(runs: Path) -> None:
    """Where the disk cannot take a reply nothing is sent: the kernel's limit on files stands in for the disk."""
    script = f"""
import pathlib, resource
from coordinator.errors import RunError
from coordinator.runs.journal import Journal
with Journal.create(pathlib.Path({str(runs)!r})) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    try:
        journal.ledger.begin("https://host/v1", "m", b"{{}}", "sending")
    except RunError as error:
        print(error, journal.ledger.records(), [path.name for path in journal.path.parent.iterdir() if path.name == "reserve"])
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True).stdout
    assert "nothing was sent" in said
    assert said.endswith("() []\n")


def test_a_disk_that_fills_up_meanwhile_costs_no_reply(tmp_path: Path) -> None:
    """On a real small disk: the reply is written into the room that was kept for it, and the reserve is gone."""
    script = f"""
import pathlib
from coordinator.runs.journal import Journal
disk = pathlib.Path({str(tmp_path)!r})
with Journal.create(disk / "runs") as journal:
    entry = journal.ledger.begin("https://host/v1", "m", b"{{}}", "sending")
    try:
        with (disk / "others").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        pass
    journal.ledger.end(entry, 200, b"x" * 300_000)
with Journal.look(disk / "runs", "last") as journal:
    print(len(journal.ledger.records()[0].reply), sorted(path.name for path in journal.path.parent.iterdir()))
"""
    mount = f'mount -t tmpfs -o size=4m none "{tmp_path}" || exit 77; exec "$@"'
    command = ["unshare", "--mount", "--user", "--map-root-user", "sh", "-c", mount, "sh", sys.executable, "-c", script]
    if shutil.which("unshare") is None:
        pytest.skip("a disk of one's own wants unshare")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode in {1, 77} and "Traceback" not in done.stderr:
        pytest.skip(f"this kernel mounts nothing for its users: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("300000 ")
    assert "reserve" not in done.stdout


def test_what_cannot_be_begun_leaves_nothing_behind(tmp_path: Path) -> None:
    """A run for which there is no room is not in the list of runs."""
    script = f"""
import pathlib, resource
from coordinator.errors import RunError
from coordinator.runs.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    Journal.create(pathlib.Path({str(tmp_path)!r}) / "runs")
except RunError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True).stdout
    assert "cannot be kept" in said
    assert "EDGENODE_DATA" in said
    assert list_runs(tmp_path / "runs") == ()


def test_a_file_that_cannot_be_opened_leaves_nothing_behind(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left, so SQLite opens nothing: a sentence, no run in the list, and no lock held."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path / "not there", **options))
    with pytest.raises(RunError, match=r"cannot be kept.*EDGENODE_DATA"):
        Journal.create(runs)
    assert list_runs(runs) == ()


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
