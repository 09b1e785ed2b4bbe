"""The file a run is kept in: SQLite, for its owner alone, held by one process at a time, and errors as sentences.

Whoever carries a run on holds a lock beside the file; others may look into it meanwhile. The lock dies with its process.
"""

import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coordinator import remedies
from coordinator.errors import RunBusy, RunError
from coordinator.runs.folders import LAST, begun, existing_folder, list_runs, new_folder, no_runs
from coordinator.types import RunId

if TYPE_CHECKING:
    import filelock

log = logging.getLogger(__name__)

FILE: Final = "run.sqlite3"
LOCK: Final = "lock"
SCHEMA_VERSION: Final = 2
# Marks the file as ours ("edge" in ASCII), so that some other program's database is not taken for a run.
APPLICATION_ID: Final = 0x65646765
# Whoever lists the runs holds a lock for a moment, and whoever copies the file its own for a little longer.
LOCK_SECONDS: Final = 0.5
BUSY_SECONDS: Final = 2.0

_BEGUN = """
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE finding (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE request (
  id INTEGER PRIMARY KEY, url TEXT NOT NULL, model TEXT NOT NULL, body BLOB NOT NULL, state TEXT NOT NULL, started REAL NOT NULL,
  ended REAL, status INTEGER, reply BLOB, prompt_tokens INTEGER, completion_tokens INTEGER, usd REAL, error TEXT
);
"""
# Since version 2: which subtask a finding is the end of (one each, the index sees to it), what each node did, the sittings in
# which the run was worked on, and what happened.
_SINCE_2 = """
ALTER TABLE finding ADD COLUMN subtask TEXT;
ALTER TABLE finding ADD COLUMN ends INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX outcome ON finding (subtask) WHERE ends;
CREATE TABLE work (node TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sitting (id INTEGER PRIMARY KEY, began REAL NOT NULL, seconds REAL NOT NULL);
CREATE TABLE event (id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE passed_over (kind TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
"""


class Database:
    """A run's open file. `connection` commits each statement by itself, in WAL mode."""

    def __init__(self, run: RunId, path: Path) -> None:
        self.run = run
        self.path = path
        self._lock: filelock.BaseFileLock | None = None
        self._connection: sqlite3.Connection | None = None
        self.running = False
        """Whether another process was carrying the run on when the file was opened to look into it."""
        self._begun = False

    @property
    def connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "opened until closed"
        return self._connection

    @classmethod
    def create(cls, runs: Path) -> "Database":
        """A new run's file below `runs`, held."""
        try:
            runs.mkdir(parents=True, exist_ok=True, mode=0o700)
            run = new_folder(runs)
        except OSError as error:
            raise RunError(f"A run cannot be kept in {runs}: {error.strerror}. Name another place with EDGENODE_DATA.") from error
        made = cls(run, runs / run / FILE)
        try:
            made.hold()
            made._make()
            made._connect()
            with made.sentences():
                made.connection.execute("PRAGMA synchronous=NORMAL")
        except (RunError, OSError) as error:
            made.close()
            # Nothing is in it yet: an empty run in the list would only puzzle.
            shutil.rmtree(made.path.parent, ignore_errors=True)
            why = str(error) if isinstance(error, RunError) else f"{error.strerror}."
            raise RunError(f"A run cannot be kept in {runs}: {why} Name another place with EDGENODE_DATA.") from error
        made._begun = True
        return made

    def _make(self) -> None:
        """The file, whole when it is there under its name: whoever looks, or comes after a kill, finds no half of one."""
        path = self.path.with_name(f"{FILE}.new")
        # SQLite gives its side files the mode of the main file, so that one decides for all.
        path.touch(mode=0o600, exist_ok=False)
        with self.sentences(), closing(sqlite3.connect(path, isolation_level=None)) as made:
            made.executescript(
                f"BEGIN; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; "
                f"{_BEGUN} {_SINCE_2} COMMIT; PRAGMA journal_mode=WAL;"
            )
        path.replace(self.path)

    @classmethod
    def open(cls, runs: Path, run: str) -> "Database":
        """An earlier run's file, held; one of an earlier version is brought up to this one."""
        found = cls(*_find(runs, run))
        try:
            found.hold()
            found._connect()
            version = found._check()
            with found.sentences():
                if version < SCHEMA_VERSION:
                    found._upgrade()
                found.connection.execute("PRAGMA synchronous=NORMAL")
        except RunError:
            found.close()
            raise
        found._begun = True
        return found

    @classmethod
    def look(cls, runs: Path, run: str) -> "Database":
        """An earlier run's file, to be read and left as it is, also while another process holds it."""
        found = cls(*_find(runs, run))
        try:
            found.running = found._held_elsewhere()
            found._connect(found._how_to_look())
            if found._check() < SCHEMA_VERSION:
                # In memory: looking changes nothing.
                with found.sentences():
                    copy = sqlite3.connect(":memory:", isolation_level=None)
                    found.connection.backup(copy)
                    found.connection.close()
                    found._connection = copy
                    found._upgrade()
        except RunError:
            found.close()
            raise
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextmanager
    def on_disk(self) -> Iterator[None]:
        """What is committed inside is on the disk when it ends, and with it all that was written before."""
        self.connection.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            self.connection.execute("PRAGMA synchronous=NORMAL")

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is written inside is kept all or not at all."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled it back already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    @contextmanager
    def sentences(self) -> Iterator[None]:
        """Errors of SQLite become `RunError`s."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise RunBusy(
                    f"The run's file {self.path} is locked by another program. End that one; the run is kept: "
                    f"{remedies.resume(self.run)}"
                ) from error
            kept = f" What was kept until then is whole; go on with: {remedies.resume(self.run)}" if self._begun else ""
            raise RunError(
                f"The run's file {self.path} cannot be used: {error}. Look at the disk's free space and the file's permissions."
                f"{kept}"
            ) from error
        except sqlite3.ProgrammingError:
            raise  # our own mistake, and no state of the file
        except sqlite3.DatabaseError as error:
            raise RunError(self._damaged()) from error

    @contextmanager
    def sound(self) -> Iterator[None]:
        """Inside, what was read is decoded; what cannot be was not written by us."""
        try:
            yield
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise RunError(self._damaged()) from error

    def _damaged(self) -> str:
        return f"The run's file {self.path} is damaged. It is left as it is; remove it with: {remedies.forget(self.run)}"

    def hold(self) -> None:
        """Takes the lock that whoever carries the run on has. Raises `RunError` when it is taken."""
        import filelock  # here, since it loads asyncio, which `coordinator runs` and `show` do without

        lock = filelock.FileLock(self.path.parent / LOCK, mode=0o600)
        try:
            lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.05)
        except filelock.Timeout:
            raise RunBusy(f"The run {self.run} is in use by another coordinator. Wait until that one ends.") from None
        except OSError as error:
            raise RunError(
                f"The run's folder {self.path.parent} cannot be written: {error.strerror}. Look at the disk and its permissions."
            ) from error
        self._lock = lock

    def _held_elsewhere(self) -> bool:
        if not self.path.with_name(f"{FILE}-wal").exists():
            return False  # SQLite keeps this file while anybody has the run's open, and after a kill
        import filelock

        try:
            if not (self.path.parent / LOCK).exists():
                return False
            with filelock.FileLock(self.path.parent / LOCK, mode=0o600).acquire(timeout=0):
                return False
        except filelock.Timeout:
            return True
        except OSError:
            return False  # not ours to write to: nobody of this user is at it

    def _how_to_look(self) -> str:
        """SQLite makes its side files for a moment where the folder can be written. Where it cannot, it reads those that are there,
        or is told that nobody changes the file."""
        if os.access(self.path.parent, os.W_OK):
            return "mode=rw"
        return "mode=ro" if self.path.with_name(f"{FILE}-wal").exists() else "mode=ro&immutable=1"

    def _connect(self, how: str = "mode=rw") -> None:
        try:
            # Neither mode makes a file of a run. isolation_level=None: every statement is its own transaction.
            self._connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?{how}", uri=True, isolation_level=None, timeout=BUSY_SECONDS
            )
        except sqlite3.Error as error:
            raise RunError(f"The run's file {self.path} cannot be opened: {error}.") from error

    def _check(self) -> int:
        """The file's version. Raises `RunError` unless it is a sound run of a version that is known."""
        with self.sentences():
            ours = self.connection.execute("PRAGMA application_id").fetchone()[0]
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
            if ours == APPLICATION_ID and version > SCHEMA_VERSION:
                raise RunError(f"The run {self.run} was kept by a newer edgenode. Update edgenode to open it; it is left as it is.")
            sound = self.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if ours != APPLICATION_ID or version < 1 or sound != "ok":
            raise RunError(self._damaged())
        return int(version)

    def _upgrade(self) -> None:
        """From version 1, which kept what the nodes did and how long it took among the settings."""
        with self.at_once(), self.sound():
            for statement in _SINCE_2.split(";"):
                self.connection.execute(statement)
            row = self.connection.execute("SELECT value FROM setting WHERE key = 'kept'").fetchone()
            if row is not None:
                kept = json.loads(row[0])
                for node in kept.pop("nodes"):
                    self.connection.execute("INSERT INTO work VALUES (?, ?)", (node["id"], json.dumps(node)))
                self.connection.execute("INSERT INTO sitting (began, seconds) VALUES (0, ?)", (kept.pop("seconds"),))
                self.connection.execute("UPDATE setting SET value = ? WHERE key = 'kept'", (json.dumps(kept),))
            self.connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def forget(runs: Path, run: str) -> None:
    """Deletes all that a run kept, damaged or not. Raises `RunError` when there is no such run or when it is in use."""
    folder = existing_folder(runs, run, whole=True)
    database = Database(RunId(folder.name), folder / FILE)
    try:
        unfinished = all(entry.name == LOCK or entry.name.startswith(f"{FILE}.new") for entry in folder.iterdir())
        if folder.is_symlink() or not (database.path.is_file() or unfinished):
            raise RunError(f"The folder {folder} does not hold a run, so nothing was deleted.")
        database.hold()
        try:
            shutil.rmtree(folder)
        finally:
            database.close()
    except OSError as error:
        raise RunError(f"The run {run} cannot be deleted whole: {error.strerror or error}. Remove {folder} yourself.") from error


def forget_all(runs: Path, before: datetime | None = None) -> tuple[tuple[RunId, ...], dict[RunId, RunError]]:
    """Deletes what all runs kept, or those that were begun before a date: those that were deleted, and why others were not. A run
    that another process carries on is left alone: `RunBusy`."""
    forgotten, kept = [], {}
    for run in list_runs(runs):
        if before is None or begun(run) < before:
            try:
                forget(runs, run)
                forgotten.append(run)
            except RunError as error:
                kept[run] = error
    return tuple(forgotten), kept


def last_run(runs: Path) -> RunId:
    """The run that was begun last, of those that can be understood; each one that is passed over is logged. Raises `RunError` when
    there is none."""
    kept = list_runs(runs)
    for run in reversed(kept):
        try:
            Database.look(runs, run).close()
        except RunBusy:
            pass  # by another process, which will have understood it
        except RunError as error:
            log.warning("The run %s is passed over: %s", run, error)
            continue
        return run
    raise RunError(f"None of the runs in {runs} can be read." if kept else no_runs())


def _find(runs: Path, run: str) -> tuple[RunId, Path]:
    folder = existing_folder(runs, last_run(runs) if run == LAST else run)
    path = folder / FILE
    try:
        there = path.is_file()
    except OSError as error:
        raise RunError(f"The run's folder {folder} cannot be entered: {error.strerror}. Look at its permissions.") from error
    if not there and path.exists():
        raise RunError(f"{path} is no file, so it holds no run. It is left as it is; remove {folder} yourself.")
    if not there:
        raise RunError(
            f"The run {folder.name} was interrupted before anything was kept. Remove it with: {remedies.forget(folder.name)}"
        )
    return RunId(folder.name), path
