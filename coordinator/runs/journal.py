"""What a run keeps: one SQLite file in a folder of its own that only its owner can read. It outlives the coordinator's death.

It holds settings, findings and the ledger. Of the documents it holds the findings' quotations and nothing else.
"""

import json
import logging
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Self

from coordinator.errors import RunError
from coordinator.runs.folders import existing_folder, new_folder
from coordinator.runs.records import RequestRecord, RequestState, decode_finding, encode_finding
from coordinator.types import Finding, LedgerRequest, RunId

log = logging.getLogger(__name__)

FILE = "run.sqlite3"
SCHEMA_VERSION = 1
# Marks the file as ours ("edge" in ASCII), so that some other program's database is not taken for a run.
APPLICATION_ID = 0x65646765

_SCHEMA = """
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE finding (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE request (
  id INTEGER PRIMARY KEY, url TEXT NOT NULL, model TEXT NOT NULL, body BLOB NOT NULL, state TEXT NOT NULL, started REAL NOT NULL,
  ended REAL, status INTEGER, reply BLOB, prompt_tokens INTEGER, completion_tokens INTEGER, usd REAL, error TEXT
);
"""


class Journal:
    """A run's file, held by this process alone until closed. Use it as a context manager.

    Methods are synchronous: a row takes well under a millisecond, a row of the ledger as long as the disk takes to confirm (about
    4 ms). All raise `RunError` when the file cannot be read or written.
    """

    def __init__(self, run: RunId, path: Path, connection: sqlite3.Connection) -> None:
        self.run = run
        self.path = path
        self._connection = connection

    @classmethod
    def create(cls, runs: Path) -> "Journal":
        """A new run below `runs`, which is made if need be."""
        try:
            runs.mkdir(parents=True, exist_ok=True, mode=0o700)
            run = new_folder(runs)
            path = runs / run / FILE
            # SQLite gives its side files the mode of the main file, so that one decides for all.
            path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise RunError(f"A run cannot be kept in {runs}: {error.strerror}. Name another place with EDGENODE_DATA.") from error
        journal = cls(run, path, _connect(path))
        try:
            with journal._sentences():
                journal._hold()
                journal._connection.execute("PRAGMA journal_mode=WAL")
                journal._connection.executescript(
                    f"BEGIN; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; {_SCHEMA} COMMIT;"
                )
        except RunError:
            journal.close()
            raise
        return journal

    @classmethod
    def open(cls, runs: Path, run: str) -> "Journal":
        """The journal of an earlier run. Requests that were being sent when its coordinator died become LOST."""
        path = existing_folder(runs, run) / FILE
        if not path.is_file():
            raise RunError(f"The run {run} was interrupted before anything was kept. Remove it with: coordinator forget {run}")
        journal = cls(RunId(run), path, _connect(path))
        try:
            # Looked at before it is held, because holding an empty file writes to it.
            journal._check()
            with journal._sentences():
                journal._hold()
            journal._mark_lost()
        except RunError:
            journal.close()
            raise
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def set_value(self, key: str, value: Any) -> None:
        """Keeps a JSON-able value under `key`, over any earlier one."""
        text = json.dumps(value)
        with self._sentences():
            self._connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, text))

    def value(self, key: str, default: Any = None) -> Any:
        """What was kept under `key`, as JSON gives it back (tuples are lists), or `default`."""
        with self._sentences():
            row = self._connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        with self._sound():
            return default if row is None else json.loads(row[0])

    def add_finding(self, finding: Finding) -> None:
        row = encode_finding(finding)
        with self._sentences():
            self._connection.execute("INSERT INTO finding (kind, value) VALUES (?, ?)", row)

    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order they were added."""
        with self._sentences():
            rows = self._connection.execute("SELECT kind, value FROM finding ORDER BY id").fetchall()
        with self._sound():
            return tuple(decode_finding(kind, value) for kind, value in rows)

    def begin_request(self, url: str, model: str, body: bytes, state: Literal["sending", "dry_run"]) -> int:
        """Writes a request to the ledger and returns its id once the disk has it: only then may it be sent."""
        with self._sentences(), self._on_disk():
            cursor = self._connection.execute(
                "INSERT INTO request (url, model, body, state, started) VALUES (?, ?, ?, ?, ?)",
                (url, model, body, state, time.time()),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def end_request(
        self,
        request: int,
        status: int | None,
        body: bytes | None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        usd: float | None = None,
        error: str | None = None,
    ) -> None:
        """Writes what came of a request: its reply, or in `error` why there is none."""
        with self._sentences(), self._on_disk():
            self._connection.execute(
                "UPDATE request SET state = ?, ended = ?, status = ?, reply = ?, prompt_tokens = ?, completion_tokens = ?,"
                " usd = ?, error = ? WHERE id = ?",
                (RequestState.ENDED, time.time(), status, body, prompt_tokens, completion_tokens, usd, error, request),
            )

    def requests(self) -> tuple[RequestRecord, ...]:
        """The ledger, oldest first."""
        columns = [field.name for field in fields(RequestRecord)]
        with self._sentences():
            rows = self._connection.execute(f"SELECT {', '.join(columns)} FROM request ORDER BY id").fetchall()  # noqa: S608 (our own names)
        with self._sound():
            records = [dict(zip(columns, row, strict=True)) for row in rows]
            return tuple(RequestRecord(**record | {"state": RequestState(record["state"])}) for record in records)

    def ledger(self, *, dry_run: bool = False) -> tuple[LedgerRequest, ...]:
        """What was sent, as a result shows it, or with `dry_run` what would have been. Tokens that were not told count as 0."""
        return tuple(
            LedgerRequest(record.model, len(record.body), record.prompt_tokens or 0, record.completion_tokens or 0, record.usd)
            for record in self.requests()
            if (record.state is RequestState.DRY_RUN) == dry_run
        )

    def _hold(self) -> None:
        # The file is this process's alone, so that two coordinators do not pay for the same run; the lock dies with the process.
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("COMMIT")
        self._connection.execute("PRAGMA synchronous=NORMAL")

    def _check(self) -> None:
        with self._sentences():
            ours = self._connection.execute("PRAGMA application_id").fetchone()[0]
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            sound = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if ours == APPLICATION_ID and version > SCHEMA_VERSION:
            raise RunError(f"The run {self.run} was kept by a newer edgenode. Update edgenode to open it.")
        if ours != APPLICATION_ID or version != SCHEMA_VERSION or sound != "ok":
            raise RunError(self._damaged())

    def _mark_lost(self) -> None:
        with self._sentences(), self._on_disk():
            cursor = self._connection.execute(
                "UPDATE request SET state = ?, error = ? WHERE state = ?",
                (
                    RequestState.LOST,
                    "The coordinator stopped while this was being sent. It may have been answered and charged.",
                    RequestState.SENDING,
                ),
            )
        if cursor.rowcount:
            log.warning(
                "Run %s: %d request(s) to the supervisor were cut off when the coordinator stopped; they may have been charged.",
                self.run,
                cursor.rowcount,
            )

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        """What is committed inside is on the disk when it ends, and with it all that was written before."""
        self._connection.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous=NORMAL")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise RunError(f"The run {self.run} is in use by another coordinator. Wait until that one ends.") from error
            raise RunError(
                f"The run's file {self.path} cannot be used: {error}. Look at the disk's free space and the file's permissions."
            ) from error
        except sqlite3.ProgrammingError:
            raise  # our own mistake, and no state of the file
        except sqlite3.DatabaseError as error:
            raise RunError(self._damaged()) from error

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """Inside, what was read is decoded; what cannot be was not written by us."""
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(self._damaged()) from error

    def _damaged(self) -> str:
        return f"The run's file {self.path} is damaged. It is left as it is; remove it with: coordinator forget {self.run}"


def forget(runs: Path, run: str) -> None:
    """Deletes all that a run kept, damaged or not. Raises `RunError` when there is no such run or when it is in use."""
    folder = existing_folder(runs, run)
    try:
        if folder.is_symlink() or not ((folder / FILE).is_file() or not any(folder.iterdir())):
            raise RunError(f"The folder {folder} does not hold a run, so nothing was deleted.")
        _refuse_if_in_use(folder, run)
        shutil.rmtree(folder)
    except OSError as error:
        raise RunError(f"The run {run} cannot be deleted whole: {error.strerror or error}. Remove {folder} yourself.") from error


def _refuse_if_in_use(folder: Path, run: str) -> None:
    if not (folder / FILE).is_file():
        return
    connection = _connect(folder / FILE)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise RunError(f"The run {run} is in use by another coordinator. Wait until that one ends.") from error
    except sqlite3.DatabaseError:
        pass  # damaged: nobody can be using it
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # mode=rw: never makes a file. isolation_level=None: every statement is its own transaction. timeout=0: waiting would block
        # the event loop, and the holder of a run holds it for minutes.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0)
    except sqlite3.Error as error:
        raise RunError(f"The run's file {path} cannot be opened: {error}.") from error
    # Set before the first access in WAL mode, exclusive locking also saves the -shm file.
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    return connection
