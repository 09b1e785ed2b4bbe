"""What a run sent to the supervisor and what came back, to the byte: on the disk before it goes, and before it counts."""

import logging
import os
import time
from dataclasses import fields
from typing import Any, Final, Literal

from coordinator.errors import RunError
from coordinator.remedies import resume
from coordinator.runs.database import Database
from coordinator.runs.records import RequestRecord, RequestState
from coordinator.types import LedgerRequest

log = logging.getLogger(__name__)

# Taken on the disk before a paid request goes, and given back for its reply: a reply that was paid for must find room. A reply of
# the longest completion that is asked for has about a tenth of it.
RESERVE: Final = "reserve"
RESERVE_BYTES: Final = 1_048_576


class RequestLedger:
    """The requests in a run's file. Each row takes as long as the disk does to confirm it (about 4 ms). All methods raise
    `RunError` when the file cannot be read or written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, url: str, model: str, body: bytes, state: Literal["sending", "dry_run"]) -> int:
        """Writes a request down and returns its id once the disk has it and room for its reply: then it may be sent."""
        if state == "sending":
            self._make_reserve()
        try:
            with self._database.sentences(), self._database.on_disk():
                cursor = self._database.connection.execute(
                    "INSERT INTO request (url, model, body, state, started) VALUES (?, ?, ?, ?, ?)",
                    (url, model, body, state, time.time()),
                )
        except RunError:
            self._remove_reserve()
            raise
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def end(
        self,
        request: int,
        status: int | None,
        body: bytes | None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        usd: float | None = None,
        error: str | None = None,
        *,
        lost: bool = False,
    ) -> None:
        """Writes what came of a request: its reply, or in `error` why there is none. Without a reply nothing was sent, unless it is
        `lost`: then it may have been answered and paid for."""
        state = RequestState.LOST if lost else RequestState.ENDED
        row = (state, time.time(), status, body, prompt_tokens, completion_tokens, usd, error, request)
        try:
            self._end(row)
        except RunError:
            self._remove_reserve()
            self._end(row)
        self._remove_reserve()

    def records(self) -> tuple[RequestRecord, ...]:
        """All there are, oldest first."""
        columns = [field.name for field in fields(RequestRecord)]
        with self._database.sentences():
            rows = self._database.connection.execute(f"SELECT {', '.join(columns)} FROM request ORDER BY id").fetchall()  # noqa: S608 (our own names)
        with self._database.sound():
            records = [dict(zip(columns, row, strict=True)) for row in rows]
            return tuple(RequestRecord(**record | {"state": _state(record["state"], record["status"])}) for record in records)

    def used(self, *, dry_run: bool = False) -> tuple[LedgerRequest, ...]:
        """What was sent, as a result shows it, or with `dry_run` what would have been."""
        return tuple(
            LedgerRequest(record.model, len(record.body), record.prompt_tokens, record.completion_tokens, record.usd)
            for record in self.records()
            if (record.state is RequestState.DRY_RUN if dry_run else record.was_sent)
        )

    def unsure(self) -> RequestRecord | None:
        """The request that was sent last, if nobody knows whether it was answered and paid for."""
        sent = [record for record in self.records() if record.was_sent]
        return sent[-1] if sent and sent[-1].state in {RequestState.LOST, RequestState.SENDING} else None

    def take_over(self) -> None:
        """For a run that is gone on with: what was being sent when its coordinator died becomes LOST."""
        with self._database.sentences(), self._database.on_disk():
            cursor = self._database.connection.execute(
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
                self._database.run,
                cursor.rowcount,
            )
        self._remove_reserve()

    def _end(self, row: tuple[Any, ...]) -> None:
        with self._database.sentences(), self._database.on_disk():
            self._database.connection.execute(
                "UPDATE request SET state = ?, ended = ?, status = ?, reply = ?, prompt_tokens = ?, completion_tokens = ?,"
                " usd = ?, error = ? WHERE id = ?",
                row,
            )

    def _make_reserve(self) -> None:
        path = self._database.path.parent / RESERVE
        try:
            path.touch(mode=0o600)
            with path.open("wb") as file:
                # Random, because a file system that compresses would keep no room for zeros.
                file.write(os.urandom(RESERVE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            path.unlink(missing_ok=True)
            raise RunError(
                f"There is no room for the supervisor's reply in {path.parent} ({error.strerror}), so nothing was sent. "
                f"Make room and go on with: {resume(self._database.run)}"
            ) from error

    def _remove_reserve(self) -> None:
        (self._database.path.parent / RESERVE).unlink(missing_ok=True)


def _state(kept: str, status: int | None) -> RequestState:
    state = RequestState(kept)
    return RequestState.NOT_SENT if state is RequestState.ENDED and status is None else state
