"""The bounded queue of leases, and the worker that runs them on the engine one after another, fairly between coordinators.

One at a time on purpose: the subtasks of a lease share a chunk that is read once only if nothing else comes between them, and
on a processor parallel slots buy about a tenth (24 subtasks on 2 cores: 58 s with one slot, 53 s with two, 56 s with four).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from edgenode.engines.engine import Engine, EngineProgress, Request
from edgenode.errors import EngineError
from edgenode.shares import FairShares
from edgenode.text import clean_line
from edgenode.types import (
    AuthorityId,
    Completion,
    Failure,
    FailureReason,
    Lease,
    LeaseId,
    Outcome,
    Progress,
    Refusal,
    Subtask,
    SubtaskId,
)

# For each coordinator: one in work, one waiting so that the node never idles between two.
LEASE_LIMIT: Final = 2
# For all together: a lease may hold megabytes.
TOTAL_LIMIT: Final = 16
# A lease is put back between two subtasks after so long when somebody else waits, although its chunk will be read again: one
# coordinator's lease of an hour must not keep the other out for an hour.
TURN_SECONDS: Final = 60.0
# An engine stops at a cancellation within a second or two.
STOP_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)

Report = Callable[[Refusal | Progress | Outcome], None]


@dataclass(slots=True, eq=False)
class _Job:
    authority: AuthorityId
    lease: Lease
    report: Report
    waiting: dict[SubtaskId, Subtask] = field(default_factory=dict)
    running: tuple[SubtaskId, asyncio.Task[Completion]] | None = None


class WorkQueue:
    """Runs leases one after another: the next is of the coordinator for whom the engine has worked least lately, and of its leases
    the oldest. An async context manager; leaving it fails what is left as `STOPPING`."""

    def __init__(
        self, engine: Engine, limit: int = LEASE_LIMIT, total: int = TOTAL_LIMIT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._limit = limit
        self._total = total
        self._clock = clock
        self._jobs: list[_Job] = []
        self._shares = FairShares()
        self._draining = ""
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopping = False
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._worker = asyncio.create_task(self._run(), name="work-queue")
        return self

    async def stop(self) -> None:
        """Takes no more leases, fails what is held as `STOPPING` and returns when each of its subtasks has been reported."""
        self._stopping = True
        for job in tuple(self._jobs):
            self._drop(job, FailureReason.STOPPING, "The node is shutting down.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._idle.wait()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    @property
    def limit(self) -> int:
        """How many leases it holds for one coordinator, the one in work included."""
        return self._limit

    @property
    def draining(self) -> str:
        """Why it takes no more leases for now; empty while it does."""
        return self._draining

    def drain(self, reason: str) -> None:
        """Takes no more leases until `undrain`; those it holds it still does. `reason` is the rest of a sentence that begins with
        the device, such as "too hot"."""
        self._draining = reason

    def undrain(self) -> None:
        self._draining = ""

    def open_session(self, authority: AuthorityId, report: Report) -> "WorkSession":
        """The leases of one work stream of a coordinator. `report` is called on the event loop and must not block."""
        return WorkSession(self, authority, report)

    def _offer(self, authority: AuthorityId, lease: Lease, report: Report) -> _Job | Refusal:
        known = {model.name for model in self._engine.models}
        ids = [subtask.id for subtask in lease.subtasks]
        if self._stopping:
            return Refusal(lease.id, FailureReason.STOPPING, "The node is shutting down.")
        if self._draining:
            return Refusal(lease.id, FailureReason.DRAINING, f"The node takes no work for now: {self._draining}.")
        if not ids or len(set(ids)) != len(ids):
            return Refusal(lease.id, FailureReason.INVALID, "A lease needs at least one subtask, each with an id of its own.")
        if lease.model not in known:
            there = ", ".join(sorted(known)) or "none"
            return Refusal(
                lease.id, FailureReason.UNKNOWN_MODEL, f"No model {clean_line(lease.model, 80)} on this node; there are: {there}."
            )
        if sum(job.authority == authority for job in self._jobs) >= self._limit:
            return Refusal(lease.id, FailureReason.QUEUE_FULL, f"The node already holds {self._limit} of your leases.")
        if len(self._jobs) >= self._total:
            return Refusal(lease.id, FailureReason.QUEUE_FULL, "The node already holds leases of many coordinators.")
        job = _Job(authority, lease, report, {subtask.id: subtask for subtask in lease.subtasks})
        self._jobs.append(job)
        self._idle.clear()
        self._arrived.set()
        return job

    def _cancel(self, job: _Job, subtasks: tuple[SubtaskId, ...]) -> None:
        for id in subtasks or tuple(job.waiting):
            if job.waiting.pop(id, None) is not None:
                job.report(Outcome(job.lease.id, id, Failure(FailureReason.CANCELLED, "Cancelled before it began.")))
        if job.running is None:
            # Its place in the queue is free again, unless something of it is left.
            if not job.waiting and job in self._jobs:
                self._jobs.remove(job)
        elif not subtasks or job.running[0] in subtasks:
            job.running[1].cancel()

    def _drop(self, job: _Job, reason: FailureReason, message: str) -> None:
        for id in tuple(job.waiting):
            job.report(Outcome(job.lease.id, id, Failure(reason, message)))
        job.waiting.clear()
        if job.running is not None:
            job.running[1].cancel()

    async def _run(self) -> None:
        while True:
            while not self._jobs:
                self._shares.clear()
                self._arrived.clear()
                self._idle.set()
                await self._arrived.wait()
            authority = self._shares.next(job.authority for job in self._jobs)
            await self._take_turn(next(job for job in self._jobs if job.authority == authority))

    async def _take_turn(self, job: _Job) -> None:
        """Works on a lease until it is done, or for a while when another coordinator waits."""
        spent = 0.0
        while job.waiting and not (spent >= TURN_SECONDS and any(other.authority != job.authority for other in self._jobs)):
            subtask = job.waiting.pop(next(iter(job.waiting)))
            began = self._clock()
            result = await self._run_one(job, subtask)
            seconds = self._clock() - began
            spent += seconds
            self._shares.charge(job.authority, seconds)
            job.report(Outcome(job.lease.id, subtask.id, result))
        if not job.waiting:
            self._jobs.remove(job)

    async def _run_one(self, job: _Job, subtask: Subtask) -> Completion | Failure:
        def on_progress(at: EngineProgress) -> None:
            job.report(Progress(job.lease.id, subtask.id, at.prompt_tokens, at.read_tokens, at.completion_tokens))

        request = Request(
            model=job.lease.model,
            system=job.lease.system,
            user=job.lease.shared + subtask.instruction,
            reply_schema=subtask.reply_schema,
            max_reply_tokens=subtask.max_reply_tokens,
        )
        call = asyncio.create_task(self._engine.complete(request, on_progress), name=f"subtask-{subtask.id}")
        job.running = (subtask.id, call)
        try:
            await asyncio.wait([call])
        finally:
            job.running = None
            if not call.done():
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
        if call.cancelled():
            reason = FailureReason.STOPPING if self._stopping else FailureReason.CANCELLED
            return Failure(reason, "Stopped while it was in work.")
        match call.exception():
            case None:
                return call.result()
            case EngineError() as error:
                return Failure(error.reason, str(error))
            case error:
                # A defect of an engine's adapter must cost one subtask, not the node.
                logger.error("The engine %s raised an unexpected error.", self._engine.name, exc_info=error)
                return Failure(FailureReason.ENGINE_ERROR, f"Unexpected error in the engine's adapter: {type(error).__name__}.")


class WorkSession:
    """The leases of one work stream. Lease ids are its own: two streams may use the same."""

    def __init__(self, queue: WorkQueue, authority: AuthorityId, report: Report) -> None:
        self._queue = queue
        self._authority = authority
        self._report = report
        self._mine: dict[LeaseId, _Job] = {}

    def offer(self, lease: Lease) -> None:
        """Queues the lease, or reports its refusal."""
        self._forget_finished()
        if lease.id in self._mine:
            self._report(Refusal(lease.id, FailureReason.INVALID, "The node already holds a lease with this id."))
            return
        answer = self._queue._offer(self._authority, lease, self._report)  # noqa: SLF001 - the session is the queue's other half
        if isinstance(answer, Refusal):
            self._report(answer)
        else:
            self._mine[lease.id] = answer

    def cancel(self, lease: LeaseId, subtasks: tuple[SubtaskId, ...] = ()) -> None:
        """Stops the lease or the subtasks named; each unfinished one is reported as `CANCELLED`. Unknown ones are ignored."""
        job = self._mine.get(lease)
        if job is not None:
            self._queue._cancel(job, subtasks)  # noqa: SLF001 - as above

    def close(self) -> None:
        """The coordinator is gone: whatever it asked for stops."""
        for lease in tuple(self._mine):
            self.cancel(lease)
        self._mine.clear()

    def _forget_finished(self) -> None:
        self._mine = {id: job for id, job in self._mine.items() if job.waiting or job.running is not None}
