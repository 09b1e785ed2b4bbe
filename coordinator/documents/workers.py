"""Processes that read files, several side by side: a crash, a bomb or an endless file costs that file and nothing else."""

import contextlib
import functools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from coordinator.documents.extract import Extract, Part
from coordinator.documents.worker_main import read_frame, write_frame
from coordinator.errors import DocumentError
from coordinator.types import Cell, Gap, GapKind, Recognised, Row, Section, SectionKind
from edgenode.scratch import ScratchFolder

MAX_WORKERS: Final = 4
"""Each may take gigabytes for a large file."""
SECONDS: Final = 120.0
SECONDS_PER_MEGABYTE: Final = 10.0
"""For the largest file on a small and busy board. Here a dense page takes some milliseconds. Where pages are read by OCR, which
takes seconds here and half a minute on a small board, each sign of progress begins the time again."""
MAX_SIGNS: Final = 100_000
"""Of progress from one file. One of `ocr.MAX_PAGES` gives a sign for each page, and others while it waits for its turn."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file, or with `data` a document inside one, to be read by the reader for its `ending` (see `kinds`)."""

    ending: str
    path: Path
    data: bytes | None = None


class Workers:
    """A pool of reading processes, started as they are needed. A context manager: leaving it ends them, whatever they do."""

    def __init__(self, most: int | None = None, seconds: float = SECONDS) -> None:
        self._most = most or min(MAX_WORKERS, os.cpu_count() or 1)
        self._folder = ScratchFolder()
        self._seconds = seconds
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Extract]]] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._waiting = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for worker in self._workers:
            worker.close()
        self._folder.close()

    def submit(self, job: Job) -> "Future[Extract]":
        """Has a file read. The future's exception is a `DocumentError` with the reason, whatever is wrong with the file."""
        future: Future[Extract] = Future()
        with self._lock:
            self._waiting += 1
            if self._waiting > len(self._workers) and len(self._workers) < self._most:
                worker = _Worker(self._seconds, self._folder.path / "ocr.lock")
                self._workers.append(worker)
                threading.Thread(target=self._work, args=(worker,), name="read-files", daemon=True).start()
        self._jobs.put((job, future))
        return future

    def _work(self, worker: "_Worker") -> None:
        while True:
            job, future = self._jobs.get()
            try:
                future.set_result(worker.read(job))
            except DocumentError as error:
                future.set_exception(error)
            except BaseException as error:  # a mistake of ours belongs to whoever waits for the file
                future.set_exception(error)
            with self._lock:
                self._waiting -= 1


class _Worker:
    """One process, used by one thread, and started again after it has ended. `close` may be called from another thread."""

    def __init__(self, seconds: float, lock: Path) -> None:
        self._seconds = seconds
        self._turns = lock
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._late = False
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._end()

    def read(self, job: Job) -> Extract:
        seconds = self._seconds + SECONDS_PER_MEGABYTE * _megabytes(job)
        process = self._started()
        self._late = False
        deadline = _Deadline(seconds, functools.partial(self._too_late, process))
        try:
            return _exchange(process, job, deadline.begin)
        except (EOFError, OSError) as error:
            self._end()
            if self._late:
                raise DocumentError(
                    f"reading it takes too long ({seconds:.0f} s did not suffice); split it and try again"
                ) from error
            raise DocumentError("it is damaged: the program that reads files of this kind crashed over it") from error
        finally:
            deadline.cancel()

    def _started(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._closed:
                raise DocumentError("reading was stopped")
            if self._process is None or self._process.poll() is not None:
                try:
                    self._process = subprocess.Popen(
                        [sys.executable, "-P", "-m", "coordinator.documents.worker_main", os.fspath(self._turns)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,  # Ctrl-C reaches the coordinator alone, which ends its workers
                    )
                except OSError as error:
                    raise DocumentError(f"the program that reads files cannot be started ({error.strerror})") from error
            return self._process

    def _too_late(self, process: "subprocess.Popen[bytes]") -> None:
        self._late = True
        process.kill()

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None, "both are pipes"
                    pipe.close()


class _Deadline:
    """Calls `late` in a thread once `seconds` have gone by since the last `begin`."""

    def __init__(self, seconds: float, late: Callable[[], None]) -> None:
        self._seconds, self._late = seconds, late
        self._timer: threading.Timer | None = None
        self.begin()

    def begin(self) -> None:
        self.cancel()
        self._timer = threading.Timer(self._seconds, self._late)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _exchange(process: "subprocess.Popen[bytes]", job: Job, progress: Callable[[], None]) -> Extract:
    assert process.stdin is not None, "it is a pipe"
    assert process.stdout is not None, "it is a pipe"
    request = {"ending": job.ending, "path": None if job.data is not None else os.fspath(job.path)}
    write_frame(process.stdin, json.dumps(request).encode())
    if job.data is not None:
        write_frame(process.stdin, job.data)
    process.stdin.flush()
    reply: dict[str, Any] = json.loads(read_frame(process.stdout))
    signs = 0
    while "progress" in reply:
        signs += 1
        if signs > MAX_SIGNS:
            raise EOFError
        progress()
        reply = json.loads(read_frame(process.stdout))
    if "error" in reply:
        raise DocumentError(reply["error"])
    parts = tuple(Part(name, read_frame(process.stdout)) for name in reply["parts"])
    return Extract(
        reply["text"],
        tuple(Section(SectionKind(each.pop("kind")), **each) for each in reply["sections"]),
        tuple(Row(**{**each, "cells": tuple(Cell(**cell) for cell in each["cells"])}) for each in reply["rows"]),
        tuple(Gap(GapKind(each["kind"]), each["reason"], tuple(each["pages"])) for each in reply["gaps"]),
        parts,
        tuple(Recognised(**each) for each in reply["recognised"]),
    )


def _megabytes(job: Job) -> float:
    try:
        size = len(job.data) if job.data is not None else job.path.stat().st_size
    except OSError:
        size = 0
    return size / 1_000_000
