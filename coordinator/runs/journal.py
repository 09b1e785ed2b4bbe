"""What a run keeps: one SQLite file in a folder of its own that only its owner can read. It outlives the coordinator's death.

It holds settings, findings, what happened, and the ledger (`ledger`). Of the documents it holds where they are, the digests of
their texts and the findings' quotations, and nothing else.
"""

import json
import sqlite3
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

from coordinator.errors import RunError
from coordinator.runs.database import Database
from coordinator.runs.ledger import RequestLedger
from coordinator.runs.records import KeptEvent, decode_finding, encode_finding
from coordinator.types import Finding, NodeWork, Retrieved
from edgenode.types import NodeId

# Rows of one kind of event that are kept; further ones are counted. A run of a thousand chunks stays below it.
MAX_EVENTS: Final = 2_000


class Journal:
    """A run's file, held by this process alone until closed. Use it as a context manager.

    Methods are synchronous: a row takes well under a millisecond, a row of the ledger as long as the disk takes to confirm (about
    4 ms). All raise `RunError` when the file cannot be read or written; what was kept before stays as it was.
    """

    def __init__(self, database: Database, before: float = 0.0) -> None:
        self.run = database.run
        self.path = database.path
        self.running = database.running
        self.ledger = RequestLedger(database)
        self._database = database
        self._connection = database.connection
        self._began = time.monotonic() - before
        self._sitting: int | None = None
        self._events: dict[str, int] = {}

    @classmethod
    def create(cls, runs: Path, before: float = 0.0) -> "Journal":
        """A new run below `runs`, which is made if need be. `before` are seconds that were spent on it until now."""
        journal = cls(Database.create(runs), before)
        journal._sit()
        return journal

    @classmethod
    def open(cls, runs: Path, run: str) -> "Journal":
        """The journal of an earlier run. Requests that were being sent when its coordinator died become LOST."""
        journal = cls(Database.open(runs, run))
        try:
            journal.ledger.take_over()
            journal._sit()
        except RunError:
            journal.close()
            raise
        return journal

    @classmethod
    def look(cls, runs: Path, run: str) -> "Journal":
        """The journal of an earlier run, to read only: it is left as it is. Another process may be carrying it on (`running`)."""
        return cls(Database.look(runs, run))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def sound(self) -> AbstractContextManager[None]:
        """Inside, what was kept is made sense of: what makes none raises `RunError`."""
        return self._database.sound()

    def set_value(self, key: str, value: Any) -> None:
        """Keeps a JSON-able value under `key`, over any earlier one."""
        with self._database.sentences():
            self._set(key, value)

    def value(self, key: str, default: Any = None) -> Any:
        """What was kept under `key`, as JSON gives it back (tuples are lists), or `default`."""
        with self._database.sentences():
            row = self._connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        with self._database.sound():
            return default if row is None else json.loads(row[0])

    def set_plan(self, plan: Any, retrieved: Iterable[Retrieved]) -> None:
        """Keeps what the plan was made with, and what retrieval found: both or neither."""
        with self._database.sentences(), self._database.at_once():
            self._set("plan", plan)
            for finding in retrieved:
                self._insert(finding, None, ends=False)

    def add_finding(self, finding: Finding, subtask: str | None = None, *, ends: bool = True, work: NodeWork | None = None) -> None:
        """Keeps a finding, which ends `subtask` unless not `ends` (a rejected quotation is asked of another node), and what its
        node has done by now. A subtask ends once: another end of it is a mistake of the program, and an `AssertionError`, but
        for one that failed: an end takes the failure's place."""
        with self._database.sentences():
            try:
                with self._database.at_once():
                    self._insert(finding, subtask, ends=ends and subtask is not None)
                    if work is not None:
                        self._set_work(work)
                    self._tick()
            except sqlite3.IntegrityError as error:
                raise AssertionError(f"the subtask {subtask} ended twice") from error

    def end_subtask(self, subtask: str) -> None:
        """The last finding of the subtask, which did not end it, ends it after all."""
        with self._database.sentences(), self._database.at_once():
            self._forget_failure(subtask)
            self._connection.execute(
                "UPDATE finding SET ends = 1 WHERE id = (SELECT max(id) FROM finding WHERE subtask = ?)", (subtask,)
            )

    def ended_subtasks(self) -> frozenset[str]:
        with self._database.sentences():
            return frozenset(row[0] for row in self._connection.execute("SELECT subtask FROM finding WHERE ends"))

    def failed_subtasks(self) -> frozenset[str]:
        """Of those that ended the ones that failed. They may be tried again."""
        with self._database.sentences():
            rows = self._connection.execute("SELECT subtask FROM finding WHERE ends AND kind = 'failed'")
            return frozenset(row[0] for row in rows)

    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order they were added."""
        with self._database.sentences():
            rows = self._connection.execute("SELECT kind, value FROM finding ORDER BY id").fetchall()
        with self._database.sound():
            return tuple(decode_finding(kind, value) for kind, value in rows)

    def set_work(self, work: NodeWork) -> None:
        """Keeps what a node has done in this run by now."""
        with self._database.sentences():
            self._set_work(work)

    def work(self) -> dict[NodeId, NodeWork]:
        """What each node did in this run."""
        with self._database.sentences():
            rows = self._connection.execute("SELECT value FROM work").fetchall()
        with self._database.sound():
            every = (NodeWork(**json.loads(row[0])) for row in rows)
            return {each.id: each for each in every}

    def add_event(self, kind: str, value: Any) -> None:
        """Keeps something that happened; of a kind that happened too often only that it did."""
        with self._database.sentences(), self._database.at_once():
            if kind not in self._events:
                row = self._connection.execute("SELECT count(*) FROM event WHERE kind = ?", (kind,)).fetchone()
                self._events[kind] = row[0]
            if self._events[kind] < MAX_EVENTS:
                self._connection.execute(
                    "INSERT INTO event (at, kind, value) VALUES (?, ?, ?)", (time.time(), kind, json.dumps(value))
                )
            else:
                self._connection.execute(
                    "INSERT INTO passed_over VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (kind,)
                )
            self._tick()
        self._events[kind] += 1

    def events(self) -> tuple[KeptEvent, ...]:
        """What happened, in order."""
        with self._database.sentences():
            rows = self._connection.execute("SELECT at, kind, value FROM event ORDER BY id").fetchall()
        with self._database.sound():
            return tuple(KeptEvent(at, kind, json.loads(value)) for at, kind, value in rows)

    def passed_over(self) -> dict[str, int]:
        """Of each kind of event how many were not kept, since there were too many."""
        with self._database.sentences():
            return dict(self._connection.execute("SELECT kind, count FROM passed_over ORDER BY kind").fetchall())

    @property
    def sitting(self) -> int:
        """How often the run has been worked on, this time included: 1 when it is new."""
        with self._database.sentences():
            return int(self._connection.execute("SELECT count(*) FROM sitting").fetchone()[0])

    def seconds(self) -> float:
        """Time spent on the run, in all its sittings: in earlier ones as far as it was written down."""
        with self._database.sentences():
            total = self._connection.execute("SELECT coalesce(sum(seconds), 0) FROM sitting WHERE id IS NOT ?", (self._sitting,))
            return float(total.fetchone()[0]) + (0.0 if self._sitting is None else time.monotonic() - self._began)

    def _sit(self) -> None:
        with self._database.sentences():
            self._sitting = self._connection.execute("INSERT INTO sitting (began, seconds) VALUES (?, 0)", (time.time(),)).lastrowid

    def _tick(self) -> None:
        spent = time.monotonic() - self._began
        self._connection.execute("UPDATE sitting SET seconds = ? WHERE id = ?", (spent, self._sitting))

    def _set(self, key: str, value: Any) -> None:
        self._connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, json.dumps(value)))

    def _set_work(self, work: NodeWork) -> None:
        self._connection.execute("INSERT OR REPLACE INTO work VALUES (?, ?)", (work.id, json.dumps(asdict(work))))

    def _forget_failure(self, subtask: str) -> None:
        """The events still tell of it."""
        self._connection.execute("DELETE FROM finding WHERE subtask = ? AND kind = 'failed'", (subtask,))

    def _insert(self, finding: Finding, subtask: str | None, *, ends: bool) -> None:
        if ends and subtask is not None:
            self._forget_failure(subtask)
        self._connection.execute(
            "INSERT INTO finding (kind, value, subtask, ends) VALUES (?, ?, ?, ?)", (*encode_finding(finding), subtask, ends)
        )
