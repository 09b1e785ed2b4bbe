"""The queue of leases with several slots: properties over any order of offers, ends and cancellations."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

from hypothesis import given
from hypothesis import strategies as st

from coordinator.trust.authority import Authority
from edgenode.engines.engine import EngineProgress, Request
from edgenode.errors import EngineCrashed
from edgenode.node import Node, NodeConfig
from edgenode.types import (
    AuthorityId,
    Completion,
    EngineState,
    Failure,
    FailureReason,
    Lease,
    LeaseId,
    Model,
    Outcome,
    Progress,
    Refusal,
    Subtask,
    SubtaskId,
    Usage,
)
from edgenode.work import WorkQueue, WorkSession
from tests.trusted import connection, paired

COORDINATORS = tuple(AuthorityId(letter * 32) for letter in "abc")
# No call of the queue, and no end of a request, is passed on by more turns of the loop than these.
LOOP_TURNS = 20


def lease(id: str, subtasks: int, at_once: int, chunk: str = "") -> Lease:
    several = tuple(Subtask(SubtaskId(str(number)), f"#{number}", "{}", 10) for number in range(subtasks))
    return Lease(LeaseId(id), "model", "system", chunk or id, several, at_once)


class HandEngine:
    """Its requests last until the test ends them. `working` holds what is on each slot; two on one slot are an error."""

    def __init__(self, slots: int) -> None:
        self.name = "hand"
        self.unchecked = ""
        self.models = (Model("model"),)
        self.slots = slots
        self.state = EngineState.READY
        self.working: dict[int, tuple[Request, asyncio.Future[Completion]]] = {}
        self.begun: list[Request] = []
        self._news = asyncio.Condition()

    async def has_begun(self, count: int) -> None:
        """Returns once so many requests have been begun."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.begun) >= count)

    def watch(self, changed: Callable[[], None]) -> None:
        """Nothing changes."""

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        assert 0 <= request.slot < self.slots
        assert request.slot not in self.working
        self.begun.append(request)
        end: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self.working[request.slot] = (request, end)
        async with self._news:
            self._news.notify_all()
        try:
            return await end
        finally:
            del self.working[request.slot]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Nothing was started."""


class Bench:
    """A queue with coordinators whose leases have ids of their own, and what was reported of them."""

    def __init__(self, slots: int) -> None:
        self.now = 0.0
        self.engine = HandEngine(slots)
        self.queue = WorkQueue(self.engine, clock=lambda: self.now)
        self.sessions: dict[AuthorityId, WorkSession] = {}
        self.leases: dict[str, tuple[AuthorityId, Lease]] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.failures: Counter[FailureReason] = Counter()
        self.refused: set[str] = set()

    def report(self, told: Refusal | Progress | Outcome) -> None:
        if isinstance(told, Refusal):
            self.refused.add(told.lease)
        elif isinstance(told, Outcome):
            self.outcomes[told.lease, told.subtask] += 1
            if isinstance(told.result, Failure):
                self.failures[told.result.reason] += 1

    def offer(self, authority: AuthorityId, subtasks: int, at_once: int, chunk: str = "") -> str:
        if authority not in self.sessions:
            self.sessions[authority] = self.queue.open_session(authority, self.report)
        id = f"l{len(self.leases)}."
        self.leases[id] = (authority, lease(id, subtasks, at_once, chunk))
        self.sessions[authority].offer(self.leases[id][1])
        return id

    def close(self, authority: AuthorityId) -> None:
        if authority in self.sessions:
            self.sessions.pop(authority).close()

    def in_work(self) -> list[tuple[AuthorityId, Lease]]:
        return [self.leases[request.user.partition("#")[0]] for request, _ in self.engine.working.values()]

    def end(self, which: int, error: bool = False) -> None:
        """Ends one of the requests in work."""
        ends = [end for _, end in self.engine.working.values()]
        if ends and not (end := ends[which % len(ends)]).done():
            if error:
                end.set_exception(EngineCrashed("The engine was ended by SIGSEGV."))
            else:
                end.set_result(Completion("{}", Usage()))

    async def settle(self) -> None:
        for _ in range(LOOP_TURNS):
            await asyncio.sleep(0)

    def check(self) -> None:
        """What is true whenever everything has been passed on."""
        in_work = self.in_work()
        assert len({lent.id for _, lent in in_work}) == len(in_work)
        for authority in COORDINATORS:
            allowed = [lent.at_once for owner, lent in in_work if owner == authority]
            assert len(allowed) <= max(allowed, default=0)
        # No slot is left idle while a coordinator has something left and nothing in work.
        open_leases = {id for id, (_, lent) in self.leases.items() if self.left(id, lent)}
        busy = {owner for owner, _ in in_work}
        idle = {self.leases[id][0] for id in open_leases} - busy
        assert not idle or len(in_work) == self.engine.slots

    def left(self, id: str, lent: Lease) -> int:
        return 0 if id in self.refused else len(lent.subtasks) - sum(self.outcomes[id, subtask.id] for subtask in lent.subtasks)


coordinators = st.sampled_from(COORDINATORS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), coordinators, st.integers(1, 4), st.integers(1, 2)),
        st.tuples(st.just("offer"), coordinators, st.integers(1, 4), st.integers(1, 4)),
        st.tuples(st.just("end"), st.integers(0, 5), st.booleans(), st.floats(0, 50)),
        st.tuples(st.just("end"), st.integers(0, 5), st.booleans(), st.floats(0, 50)),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.integers(0, 4), st.none()),
        st.tuples(st.just("close"), coordinators, st.none(), st.none()),
    ),
    min_size=10,
    max_size=40,
)


@given(st.integers(1, 4), steps, st.booleans())
def test_every_subtask_ends_once_and_no_slot_is_taken_twice(slots: int, script: list[tuple[object, ...]], stops: bool) -> None:
    """Whatever is offered, ended and cancelled in whatever order: never more in work than there are slots, nor of one coordinator
    than it allows; nothing waits beside a free slot; and each subtask of a lease that was taken has one outcome, also when the
    node stops in the middle."""

    async def run() -> None:
        bench = Bench(slots)
        async with bench.queue:
            for step in script:
                match step:
                    case ("offer", str(authority), int(subtasks), int(at_once)):
                        bench.offer(AuthorityId(authority), subtasks, at_once)
                    case ("end", int(which), bool(error), float(seconds)):
                        bench.now += seconds
                        bench.end(which, error)
                    case ("cancel", int(which), int(subtask), None) if bench.leases:
                        id = list(bench.leases)[which % len(bench.leases)]
                        owner, lent = bench.leases[id]
                        some = tuple(each.id for each in lent.subtasks[subtask : subtask + 1])
                        if owner in bench.sessions:
                            bench.sessions[owner].cancel(LeaseId(id), some)
                    case ("close", str(authority), None, None):
                        bench.close(AuthorityId(authority))
                await bench.settle()
                bench.check()
            while not stops and bench.engine.working:
                bench.now += 1.0
                bench.end(0)
                await bench.settle()
                bench.check()
        taken = {(id, each.id) for id, (_, lent) in bench.leases.items() if id not in bench.refused for each in lent.subtasks}
        assert bench.outcomes == Counter(dict.fromkeys(taken, 1))
        assert stops or not bench.failures[FailureReason.STOPPING]
        assert not bench.engine.working

    asyncio.run(run())


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(1, 3), st.integers(1, 10)), min_size=30, max_size=80))
def test_coordinators_get_the_same_time(slots: int, work: list[tuple[int, int]]) -> None:
    """However long their leases are and whoever is allowed several at once: of those who always wait, nobody is ever ahead of
    another by more than a lease on each slot, and one that was going on."""
    costliest = max(subtasks * seconds for subtasks, seconds in work)

    async def run() -> None:
        bench = Bench(slots)
        given = dict.fromkeys(COORDINATORS, 0.0)
        seconds_of: dict[str, int] = {}
        waiting = dict.fromkeys(COORDINATORS, 0)
        ends: dict[int, tuple[float, Request]] = {}

        def offer(authority: AuthorityId, subtasks: int, seconds: int) -> None:
            seconds_of[bench.offer(authority, subtasks, slots)] = seconds
            waiting[authority] += 1

        async with bench.queue:
            jobs = iter(work)
            for authority in COORDINATORS:
                for _ in range(bench.queue.limit):
                    offer(authority, *next(jobs, (1, 1)))
            for subtasks, seconds in jobs:
                await bench.settle()
                for slot, (request, _) in bench.engine.working.items():
                    if slot not in ends:
                        ends[slot] = (bench.now + seconds_of[request.user.partition("#")[0]], request)
                assert len(ends) == slots
                slot = min(ends, key=lambda each: ends[each][0])
                until, request = ends.pop(slot)
                for authority, _ in bench.in_work():
                    given[authority] += until - bench.now
                bench.now = until
                bench.engine.working[slot][1].set_result(Completion("{}", Usage()))
                await bench.settle()
                assert max(given.values()) - min(given.values()) <= costliest * (slots + 1)
                id = request.user.partition("#")[0]
                owner, lent = bench.leases[id]
                if not bench.left(id, lent):
                    offer(owner, subtasks, seconds)

    asyncio.run(run())


async def test_a_chunk_goes_back_to_the_slot_that_has_it() -> None:
    """A second lease on a chunk finds it in that slot's cache; one on a new chunk takes the slot that was not used for longest."""
    bench = Bench(3)
    async with bench.queue:
        for chunk in ("one#", "two#", "two#", "one#", "three#", "four#"):
            bench.offer(COORDINATORS[0], 1, 3, chunk)
            await bench.settle()
            next(iter(bench.engine.working.values()))[1].set_result(Completion("{}", Usage()))
            await bench.settle()
    slots = [request.slot for request in bench.engine.begun]
    assert slots == [0, 1, 1, 0, 2, 1]


async def test_the_oldest_lease_is_not_overtaken() -> None:
    """What may not be begun beside others waits for their end, and what came after it does not go first."""
    bench = Bench(3)
    async with bench.queue:
        first, second, alone, later = (bench.offer(COORDINATORS[0], 1, at_once) for at_once in (3, 3, 1, 3))
        await bench.settle()
        assert [lent.id for _, lent in bench.in_work()] == [first, second]
        bench.end(0)
        await bench.settle()
        assert [lent.id for _, lent in bench.in_work()] == [second]
        bench.end(0)
        await bench.settle()
        assert [lent.id for _, lent in bench.in_work()] == [alone, later]


async def test_what_stood_behind_a_cancelled_lease_begins() -> None:
    """A lease that waits for others to end holds its coordinator's later ones up; once it is cancelled, no longer."""
    bench = Bench(3)
    async with bench.queue:
        first, alone, later = (bench.offer(COORDINATORS[0], 1, at_once) for at_once in (3, 1, 3))
        await bench.settle()
        assert [lent.id for _, lent in bench.in_work()] == [first]
        bench.sessions[COORDINATORS[0]].cancel(LeaseId(alone))
        await bench.settle()
        assert [lent.id for _, lent in bench.in_work()] == [first, later]


async def test_time_is_charged_while_it_is_used() -> None:
    """A coordinator with one long lease in work gets no second slot before one whose short leases took less."""
    bench = Bench(2)
    anna, bert = COORDINATORS[:2]
    async with bench.queue:
        bench.offer(anna, 1, 2)
        await bench.settle()
        bench.now += 3.0
        for authority in (bert, anna, bert):
            bench.offer(authority, 1, 2)
        await bench.settle()
        bench.now += 2.0
        bench.engine.working[1][1].set_result(Completion("{}", Usage()))
        await bench.settle()
        assert [owner for owner, _ in bench.in_work()] == [anna, bert]


async def test_a_node_works_on_its_slots_over_the_wire(tmp_path: Path) -> None:
    """It says how many it has and how many leases it takes, and begins as many at once as a lease allows."""
    authority = Authority(tmp_path / "anna", "anna@laptop")
    paired(tmp_path / "node", authority)
    engine = HandEngine(3)
    async with (
        Node(NodeConfig(home=tmp_path / "node", name=f"node-{secrets.token_hex(4)}"), engine) as node,
        connection(node, authority) as stream,
        asyncio.timeout(120),
    ):
        assert (stream.description.slots, stream.description.lease_limit) == (3, 4)
        for id in ("one", "two", "three"):
            stream.send(lease(id, 1, 2))
        await engine.has_begun(2)
        engine.working[0][1].set_result(Completion("{}", Usage()))
        async for frame in stream.frames():
            if isinstance(frame, Outcome):
                break
        await engine.has_begun(3)
        assert {request.user for request, _ in engine.working.values()} == {"two#0", "three#0"}
