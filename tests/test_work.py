"""The queue of leases: in order, bounded, fair, one outcome for each subtask, nothing goes on for a coordinator that is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from edgenode.engines.engine import Request
from edgenode.errors import EngineCrashed
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
    Usage,
)
from edgenode.work import TOTAL_WAITING_LIMIT, TURN_SECONDS, WAITING_LIMIT, WorkQueue, WorkSession
from tests.scripted_engine import ScriptedEngine

ANNA, BERT = AuthorityId("a" * 32), AuthorityId("b" * 32)

# With one slot.
LEASE_LIMIT, TOTAL_LIMIT = 1 + WAITING_LIMIT, 1 + TOTAL_WAITING_LIMIT

Report = Refusal | Progress | Outcome


def lease(id: str, *subtasks: str, model: str = "scripted-model") -> Lease:
    return Lease(
        LeaseId(id),
        model,
        "system",
        f"chunk {id}. ",
        tuple(Subtask(SubtaskId(each), f"task {each}", "{}", 10) for each in subtasks),
    )


@asynccontextmanager
async def serving(engine: ScriptedEngine) -> AsyncIterator[tuple[WorkQueue, WorkSession, asyncio.Queue[Report]]]:
    reports: asyncio.Queue[Report] = asyncio.Queue()
    async with WorkQueue(engine) as queue:
        yield queue, queue.open_session(ANNA, reports.put_nowait), reports


async def outcome(reports: asyncio.Queue[Report]) -> Outcome:
    async with asyncio.timeout(120):  # for whatever a busy machine does meanwhile
        while True:
            report = await reports.get()
            if isinstance(report, Outcome):
                return report


async def test_subtasks_run_in_order_behind_their_chunk() -> None:
    """The shared text stands first in every prompt, and nothing comes between the subtasks of a lease."""
    engine = ScriptedEngine()
    async with serving(engine) as (_, session, reports):
        session.offer(lease("a", "1", "2"))
        session.offer(lease("b", "1"))
        ends = [await outcome(reports) for _ in range(3)]
    assert [(end.lease, end.subtask) for end in ends] == [("a", "1"), ("a", "2"), ("b", "1")]
    assert [request.user for request in engine.seen] == ["chunk a. task 1", "chunk a. task 2", "chunk b. task 1"]


async def test_each_subtask_is_said_to_have_begun_when_it_has() -> None:
    """Before its engine tells anything, if it ever does, and not while it waits for its turn."""
    gate = asyncio.Event()
    engine = ScriptedEngine(lambda _: gate)
    async with serving(engine) as (_, session, reports), asyncio.timeout(120):
        session.offer(lease("a", "1", "2"))
        session.offer(lease("b", "1"))
        await engine.started.wait()
        first = Progress(LeaseId("a"), SubtaskId("1"), 0, 0, 0)
        assert [reports.get_nowait() for _ in range(reports.qsize())] == [first, replace(first, prompt_tokens=10, read_tokens=5)]
        gate.set()
        then = [await reports.get() for _ in range(7)]
    begun = [(at, report) for at, report in enumerate(then) if isinstance(report, Progress) and not report.prompt_tokens]
    assert begun == [(1, replace(first, subtask=SubtaskId("2"))), (4, replace(first, lease=LeaseId("b")))]


async def test_a_crash_fails_the_subtask_in_work_and_no_other() -> None:
    """The engine's death is a typed outcome; the rest of the lease goes on."""
    engine = ScriptedEngine(
        lambda request: EngineCrashed("The engine was ended by SIGSEGV.") if "task 1" in request.user else Completion("{}", Usage())
    )
    async with serving(engine) as (_, session, reports):
        session.offer(lease("a", "1", "2"))
        first, second = await outcome(reports), await outcome(reports)
    assert first.result == Failure(FailureReason.ENGINE_CRASHED, "The engine was ended by SIGSEGV.")
    assert isinstance(second.result, Completion)


async def test_a_full_queue_refuses_and_says_so() -> None:
    """More leases than the node takes are refused at once; those it has are not disturbed."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with serving(engine) as (_, session, reports):
        for number in range(LEASE_LIMIT + 1):
            session.offer(lease(f"l{number}", "1"))
        refusal = reports.get_nowait()
        assert isinstance(refusal, Refusal)
        assert (refusal.lease, refusal.reason) == (f"l{LEASE_LIMIT}", FailureReason.QUEUE_FULL)


async def test_nonsense_is_refused() -> None:
    """An unknown model, no subtasks, an id twice: refused with the reason, nothing done."""
    engine = ScriptedEngine()
    async with serving(engine) as (_, session, reports):
        session.offer(lease("a", "1", model="other"))
        session.offer(lease("b"))
        session.offer(lease("c", "1", "1"))
        reasons = [reports.get_nowait() for _ in range(3)]
    assert [report.reason for report in reasons if isinstance(report, Refusal)] == [
        FailureReason.UNKNOWN_MODEL,
        FailureReason.INVALID,
        FailureReason.INVALID,
    ]
    assert not engine.seen


async def test_cancelling_stops_the_engine_and_what_waits() -> None:
    """A cancelled lease ends at once, the subtask in work included, each with its outcome."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with serving(engine) as (_, session, reports):
        session.offer(lease("a", "1", "2"))
        await engine.started.wait()
        session.cancel(LeaseId("a"))
        ends = [await outcome(reports), await outcome(reports)]
    assert {end.subtask for end in ends} == {"1", "2"}
    assert all(isinstance(end.result, Failure) and end.result.reason is FailureReason.CANCELLED for end in ends)
    assert len(engine.cancelled) == 1


async def test_cancelling_one_subtask_leaves_the_others() -> None:
    """What is withdrawn is named; the rest of the lease is done."""
    gate = asyncio.Event()
    engine = ScriptedEngine(lambda _: gate)
    async with serving(engine) as (_, session, reports):
        session.offer(lease("a", "1", "2", "3"))
        await engine.started.wait()
        session.cancel(LeaseId("a"), (SubtaskId("2"),))
        gate.set()
        ends = [await outcome(reports) for _ in range(3)]
    assert {end.subtask: isinstance(end.result, Completion) for end in ends} == {"1": True, "2": False, "3": True}


async def test_work_of_a_lost_coordinator_stops_and_others_go_on() -> None:
    """Generation for nobody is stopped; another coordinator's lease takes its turn."""
    answers = iter([asyncio.Event()])
    engine = ScriptedEngine(lambda _: next(answers, Completion("{}", Usage())))
    async with serving(engine) as (queue, session, _):
        others: asyncio.Queue[Report] = asyncio.Queue()
        other = queue.open_session(BERT, others.put_nowait)
        session.offer(lease("a", "1", "2"))
        other.offer(lease("a", "1"))
        other.offer(lease("b", "1"))
        await engine.started.wait()
        session.close()
        first = await outcome(others)
        second = await outcome(others)
    # Lease ids are each coordinator's own: the other's lease "a" is not the one that was cancelled.
    assert [first.lease, second.lease] == ["a", "b"]
    assert engine.cancelled


async def test_an_unexpected_error_costs_one_subtask() -> None:
    """A defect of an adapter is a failed subtask, not a dead node."""
    engine = ScriptedEngine(lambda _: ZeroDivisionError("oops"))
    async with serving(engine) as (_, session, reports):
        session.offer(lease("a", "1"))
        end = await outcome(reports)
    assert isinstance(end.result, Failure)
    assert end.result.reason is FailureReason.ENGINE_ERROR
    assert "oops" not in end.result.message


async def test_a_cancelled_lease_gives_its_place_back() -> None:
    """What was cancelled while it waited does not fill the queue."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with serving(engine) as (_, session, reports):
        for number in range(LEASE_LIMIT):
            session.offer(lease(f"l{number}", "1"))
        await engine.started.wait()
        for number in range(1, LEASE_LIMIT):
            session.cancel(LeaseId(f"l{number}"))
        session.offer(lease("new", "1"))
        assert not [report for report in _drained(reports) if isinstance(report, Refusal)]


async def test_two_streams_of_one_coordinator_share_its_leases() -> None:
    """A second connection does not make a second coordinator."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with serving(engine) as (queue, session, reports):
        second = queue.open_session(ANNA, reports.put_nowait)
        for number in range(LEASE_LIMIT):
            (session, second)[number % 2].offer(lease(f"l{number}", "1"))
        second.offer(lease("more", "1"))
        refusal = reports.get_nowait()
        queue.open_session(BERT, reports.put_nowait).offer(lease("other", "1"))
        assert isinstance(refusal, Refusal)
        assert (refusal.lease, refusal.reason) == ("more", FailureReason.QUEUE_FULL)
        assert not [report for report in _drained(reports) if isinstance(report, Refusal)]


async def test_many_coordinators_cannot_fill_the_memory() -> None:
    """The bound holds for all together as well."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with serving(engine) as (queue, _, reports):
        for number in range(TOTAL_LIMIT + 1):
            queue.open_session(AuthorityId(f"{number:032x}"), reports.put_nowait).offer(lease("l", "1"))
        refused = [report for report in _drained(reports) if isinstance(report, Refusal)]
    assert [refusal.reason for refusal in refused] == [FailureReason.QUEUE_FULL]


async def test_a_node_is_shared_by_turns() -> None:
    """Whoever offered everything first does not keep the other waiting until all of it is done."""
    time = 0.0
    gate = asyncio.Event()

    def script(request: Request) -> Completion | asyncio.Event:
        nonlocal time
        time += 10
        return Completion("{}", Usage()) if gate.is_set() else gate

    engine = ScriptedEngine(script)
    reports: asyncio.Queue[Report] = asyncio.Queue()
    async with WorkQueue(engine, clock=lambda: time) as queue:
        anna, bert = (queue.open_session(each, reports.put_nowait) for each in (ANNA, BERT))
        anna.offer(lease("anna1", "1", "2", "3"))
        anna.offer(lease("anna2", "1"))
        await engine.started.wait()
        bert.offer(lease("bert1", "1"))
        bert.offer(lease("bert2", "1"))
        gate.set()
        ends = [await outcome(reports) for _ in range(6)]
    assert [end.lease for end in ends] == ["anna1"] * 3 + ["bert1", "bert2", "anna2"]


async def test_a_lease_without_end_lets_others_in() -> None:
    """After a while the turn goes to whoever waits, and what is left of the lease is done afterwards."""
    time = 0.0
    gate = asyncio.Event()

    def script(request: Request) -> Completion | asyncio.Event:
        nonlocal time
        time += TURN_SECONDS
        return Completion("{}", Usage()) if gate.is_set() else gate

    engine = ScriptedEngine(script)
    reports: asyncio.Queue[Report] = asyncio.Queue()
    async with WorkQueue(engine, clock=lambda: time) as queue:
        anna, bert = (queue.open_session(each, reports.put_nowait) for each in (ANNA, BERT))
        anna.offer(lease("long", "1", "2", "3"))
        await engine.started.wait()
        bert.offer(lease("short", "1"))
        gate.set()
        ends = [await outcome(reports) for _ in range(4)]
    assert [(end.lease, end.subtask) for end in ends] == [("long", "1"), ("short", "1"), ("long", "2"), ("long", "3")]


async def test_a_draining_node_finishes_what_it_holds_and_takes_no_more() -> None:
    """The reason goes with the refusal; afterwards work is taken again."""
    gate = asyncio.Event()
    engine = ScriptedEngine(lambda _: gate)
    async with serving(engine) as (queue, session, reports):
        session.offer(lease("held", "1"))
        await engine.started.wait()
        queue.drain("too hot")
        session.offer(lease("late", "1"))
        (refusal,) = (report for report in _drained(reports) if isinstance(report, Refusal))
        gate.set()
        held = await outcome(reports)
        queue.undrain()
        session.offer(lease("again", "1"))
        again = await outcome(reports)
    assert (refusal.lease, refusal.reason, refusal.message) == (
        "late",
        FailureReason.DRAINING,
        "The node takes no work for now: too hot.",
    )
    assert (held.lease, again.lease) == ("held", "again")


async def test_stopping_fails_what_is_left_with_its_reason() -> None:
    """A node that shuts down says so of every subtask it still held."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with serving(engine) as (_, session, reports):
        session.offer(lease("a", "1", "2"))
        session.offer(lease("b", "1"))
        await engine.started.wait()
    failures = {
        (end.lease, end.subtask): end.result.reason
        for end in _drained(reports)
        if isinstance(end, Outcome) and isinstance(end.result, Failure)
    }
    assert failures == dict.fromkeys([("a", "1"), ("a", "2"), ("b", "1")], FailureReason.STOPPING)


def _drained(reports: asyncio.Queue[Report]) -> list[Report]:
    return [reports.get_nowait() for _ in range(reports.qsize())]


async def test_a_session_that_is_closed_takes_nothing() -> None:
    """Frames that were read just before the end of a stream are late."""
    engine = ScriptedEngine()
    async with serving(engine) as (_, session, reports):
        session.close()
        session.offer(lease("a", "1"))
        session.offer(lease("b", "1", model="no such model"))
    assert engine.seen == []
    assert reports.empty()
