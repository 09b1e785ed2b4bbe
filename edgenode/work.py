"""The bounded queue of leases, and their turns on the engine's slots, fair between coordinators.

A lease has a slot to itself while it is in work, and its subtasks run one after another: so the chunk that they share is read once.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Self

from edgenode.activity import Activity, Turn
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

# Leases of one coordinator beside those in work, so that no slot idles between two.
WAITING_LIMIT: Final = 1
# And of all together: a lease may hold half a megabyte.
TOTAL_WAITING_LIMIT: Final = 15
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
    at: EngineProgress = field(default_factory=lambda: EngineProgress(0, 0, 0))
    """How far the subtask in work has come."""
    charged: float = 0.0
    """Until when its coordinator has been charged for the turn that it is having."""


class WorkQueue:
    """Works on as many leases at once as the engine has slots. The next is of the coordinator for whom the engine has worked least
    lately, and of its leases the oldest; that one waits while `at_once` or more of its coordinator's are in work. An async context
    manager; leaving it fails what is left as `STOPPING`."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._jobs: list[_Job] = []
        self._turns: dict[int, tuple[_Job, asyncio.Task[None]]] = {}
        """The leases in work, by their slots."""
        self._read: dict[int, int] = {}
        """A hash of the chunk that each slot read last, and so may have in its cache; the slot used last stands last."""
        self._shares = FairShares()
        self._done = Activity()
        self._draining = ""
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False

    async def __aenter__(self) -> Self:
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
        turns = [turn for _, turn in self._turns.values()]
        for turn in turns:
            turn.cancel()
        await asyncio.gather(*turns, return_exceptions=True)

    @property
    def limit(self) -> int:
        """How many leases it holds for one coordinator, those in work included."""
        return self._engine.slots + WAITING_LIMIT

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

    def activity(self, name: Callable[[AuthorityId], str]) -> Activity:
        """What it does now and has done; `name` tells coordinators as a person knows them."""
        turns = [job for job, _ in self._turns.values()]
        return replace(
            self._done,
            turns=tuple(
                Turn(name(job.authority), job.at.prompt_tokens, job.at.read_tokens, job.at.completion_tokens) for job in turns
            ),
            waiting=len(self._jobs) - len(turns),
            seconds=round(self._done.seconds, 3),
        )

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
        if sum(job.authority == authority for job in self._jobs) >= self.limit:
            return Refusal(lease.id, FailureReason.QUEUE_FULL, f"The node already holds {self.limit} of your leases.")
        if len(self._jobs) >= self._engine.slots + TOTAL_WAITING_LIMIT:
            return Refusal(lease.id, FailureReason.QUEUE_FULL, "The node already holds leases of many coordinators.")
        job = _Job(authority, lease, report, {subtask.id: subtask for subtask in lease.subtasks})
        self._jobs.append(job)
        self._idle.clear()
        self._begin_turns()
        return job

    def _cancel(self, job: _Job, subtasks: tuple[SubtaskId, ...]) -> None:
        for id in subtasks or tuple(job.waiting):
            if job.waiting.pop(id, None) is not None:
                job.report(Outcome(job.lease.id, id, Failure(FailureReason.CANCELLED, "Cancelled before it began.")))
        if job.running is not None and (not subtasks or job.running[0] in subtasks):
            job.running[1].cancel()
        self._leave(job)
        # Another of its coordinator may have stood behind it.
        self._begin_turns()

    def _drop(self, job: _Job, reason: FailureReason, message: str) -> None:
        for id in tuple(job.waiting):
            job.report(Outcome(job.lease.id, id, Failure(reason, message)))
        job.waiting.clear()
        if job.running is not None:
            job.running[1].cancel()
        self._leave(job)

    def _leave(self, job: _Job) -> None:
        """Its place in the queue is free again, unless something of it is left or in work."""
        if not job.waiting and job in self._jobs and not self._is_in_work(job):
            self._jobs.remove(job)
        if not self._jobs:
            self._shares.clear()
            self._idle.set()

    def _is_in_work(self, job: _Job) -> bool:
        return any(each is job for each, _ in self._turns.values())

    def _count(self, authority: AuthorityId) -> int:
        """How many leases of a coordinator are in work."""
        return sum(each.authority == authority for each, _ in self._turns.values())

    def _ready(self) -> dict[AuthorityId, _Job]:
        """The leases that may begin as soon as there is a slot: the oldest that waits of each coordinator, which none of its later
        ones overtakes, if no more are in work than it allows."""
        oldest: dict[AuthorityId, _Job] = {}
        for job in self._jobs:
            if not self._is_in_work(job):
                oldest.setdefault(job.authority, job)
        return {authority: job for authority, job in oldest.items() if self._count(authority) < job.lease.at_once}

    def _begin_turns(self) -> None:
        """Gives what is ready to the slots that are free."""
        while len(self._turns) < self._engine.slots and (ready := self._ready()):
            for job, _ in self._turns.values():
                self._charge(job)
            job = ready[self._shares.next(ready)]
            slot = self._slot_for(job.lease)
            job.charged = self._clock()
            self._turns[slot] = (job, asyncio.create_task(self._take_turn(job, slot), name=f"turn-{slot}"))

    def _slot_for(self, lease: Lease) -> int:
        """A free slot: one that has read the chunk, else the one that was not used for the longest."""
        chunk = hash((lease.model, lease.system, lease.shared))
        unused = [slot for slot in range(self._engine.slots) if slot not in self._read]
        free = [slot for slot in (*unused, *self._read) if slot not in self._turns]
        slot = next((slot for slot in free if self._read.get(slot) == chunk), free[0])
        self._read.pop(slot, None)
        self._read[slot] = chunk
        return slot

    def _charge(self, job: _Job) -> None:
        now = self._clock()
        self._shares.charge(job.authority, now - job.charged)
        job.charged = now

    async def _take_turn(self, job: _Job, slot: int) -> None:
        """Works on a lease until it is done, or for a while when another coordinator waits."""
        began = self._clock()
        try:
            while job.waiting and not (self._clock() - began >= TURN_SECONDS and self._ready().keys() - {job.authority}):
                subtask = job.waiting.pop(next(iter(job.waiting)))
                result = await self._run_one(job, subtask, slot)
                self._charge(job)
                job.report(Outcome(job.lease.id, subtask.id, result))
        finally:
            del self._turns[slot]
            self._leave(job)
            self._begin_turns()

    async def _run_one(self, job: _Job, subtask: Subtask, slot: int) -> Completion | Failure:
        def on_progress(at: EngineProgress) -> None:
            job.at = at
            job.report(Progress(job.lease.id, subtask.id, at.prompt_tokens, at.read_tokens, at.completion_tokens))

        request = Request(
            model=job.lease.model,
            system=job.lease.system,
            user=job.lease.shared + subtask.instruction,
            reply_schema=subtask.reply_schema,
            max_reply_tokens=subtask.max_reply_tokens,
            slot=slot,
        )
        # It may have waited for the turns of others, and not every engine tells progress.
        on_progress(EngineProgress(0, 0, 0))
        began = self._clock()
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
                self._count_done(call.result(), self._clock() - began)
                return call.result()
            case EngineError() as error:
                return Failure(error.reason, str(error))
            case error:
                # A defect of an engine's adapter must cost one subtask, not the node.
                logger.error("The engine %s raised an unexpected error.", self._engine.name, exc_info=error)
                return Failure(FailureReason.ENGINE_ERROR, f"Unexpected error in the engine's adapter: {type(error).__name__}.")

    def _count_done(self, completion: Completion, seconds: float) -> None:
        usage, done = completion.usage, self._done
        self._done = replace(
            done,
            subtasks=done.subtasks + 1,
            read_tokens=done.read_tokens + usage.prompt_tokens - usage.cached_tokens,
            written_tokens=done.written_tokens + usage.completion_tokens,
            seconds=done.seconds + seconds,
        )


class WorkSession:
    """The leases of one work stream. Lease ids are its own: two streams may use the same."""

    def __init__(self, queue: WorkQueue, authority: AuthorityId, report: Report) -> None:
        self._queue = queue
        self._authority = authority
        self._report = report
        self._mine: dict[LeaseId, _Job] = {}
        self._closed = False

    def offer(self, lease: Lease) -> None:
        """Queues the lease, or reports its refusal. Does nothing once the session is closed."""
        if self._closed:
            return
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
        """The coordinator is gone: whatever it asked for stops, and nothing more is taken."""
        self._closed = True
        for lease in tuple(self._mine):
            self.cancel(lease)
        self._mine.clear()

    def _forget_finished(self) -> None:
        self._mine = {id: job for id, job in self._mine.items() if job.waiting or job.running is not None}
