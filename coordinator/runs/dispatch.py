"""The one schedule of a pool, carried out on its real nodes for all the runs that share them."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from typing import Final, Self

from coordinator.errors import RunError
from coordinator.events import Cancelled, Event, Lost, Retried
from coordinator.nodes.news import Down, Heard, News, Up
from coordinator.nodes.roster import Roster
from coordinator.runs.held import Held, but_requeue, probe
from coordinator.runs.participants import Part, Participant, Participants
from coordinator.runs.presence import Presence
from coordinator.scheduling.decisions import (
    PROBE_SUBTASK,
    Decision,
    Finish,
    GiveUp,
    Grant,
    Need,
    Probe,
    Requeue,
    Withdraw,
    Work,
)
from coordinator.scheduling.estimate import Estimate
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.speed import PredictionError, SpeedModel
from edgenode.types import (
    Cancel,
    Completion,
    Failure,
    FailureReason,
    Lease,
    LeaseId,
    NodeId,
    Outcome,
    Progress,
    Refusal,
    SubtaskId,
)

# Between two looks at the clock the nodes are listened to, however often the schedule would have it.
MIN_TICK_SECONDS: Final = 0.002
# After a mistake in the program nothing is done for so long: what made it may come again at once.
REST_SECONDS: Final = 1.0

_CLOSED: Final = "The pool was closed before the run came to its end. What it found until then is kept."
_MISTAKE: Final = (
    "A mistake in the program ({}) ended all that the pool was reading. What was found until then is kept, and the run can be "
    "resumed. Please report this."
)
_OVER: Final = Failure(FailureReason.CANCELLED, "The run is over.")

REFUSALS: Final = 2
"""One may be due to what was asked."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Shares the nodes of a roster among runs. An async context manager, within the roster's: all that it lent ends with it.

    A node is believed only about leases that it holds, and heard once about each subtask of them.
    """

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self._schedule = _new_schedule()
        self._runs = Participants(self._left)
        self._presence = Presence(self._schedule, self._runs, self._apply, self._take_back, self._mistakes_end_runs)
        self._held: dict[LeaseId, Held] = {}
        self._refused: dict[NodeId, int] = {}
        """How often a node's engine refused for good since it last did anything."""
        self._news: asyncio.Queue[News | None] = asyncio.Queue()
        self._decisions: deque[Decision] = deque()
        self._deciding = False
        self._learnt = asyncio.Event()
        """Set whenever a node has done something, which may tell how fast it is."""
        self._stack = AsyncExitStack()
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._stack.enter_context(self.roster.listening(self._news.put_nowait))
        self._serving = asyncio.create_task(self._serve(), name="dispatch")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for part in self._runs:
            self._runs.end(part, RunError(_CLOSED))
        for id, held in self._held.items():
            self.roster.send(held.node, Cancel(id))
        await self._stack.aclose()
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    @property
    def error(self) -> PredictionError:
        """How far off the predictions of subtasks were, those of all runs."""
        return self._schedule.error

    def speed(self, node: NodeId) -> SpeedModel | None:
        """What has been learnt of a node that is there."""
        return self._schedule.speed(node)

    def foresee(self, work: Sequence[Work], need: Need, *, interactive: bool = True) -> Estimate:
        """How long a run would take that began now."""
        return self._schedule.foresee(work, need, interactive=interactive)

    async def speed_known(self, need: Need, within: float) -> None:
        """Waits until it is known how fast one of the nodes is that may read, for `within` seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._schedule.foresee((), need).seconds is None:
                    self._learnt.clear()
                    await self._learnt.wait()

    def left(self, id: str) -> Estimate | None:
        """How long the run will still take; None when it is over."""
        return self._schedule.left(id, time.monotonic())

    def expect(self) -> None:
        """A run is about to come: nodes of which nothing is known read a little text of ours meanwhile, to learn how fast they
        are."""
        with self._mistakes_end_runs():
            self._apply(self._schedule.expect(time.monotonic()))
        self._wake()

    async def carry_out(
        self, id: str, work: Sequence[Work], need: Need, participant: Participant, *, interactive: bool = True
    ) -> None:
        """Returns when every subtask of `work` has ended. Its ids must differ from those of all other runs, as `id` from theirs;
        `interactive` runs go before others. Leaving early (cancellation) withdraws what is on nodes.

        Raises what `participant` raised, and `RunError` when the dispatcher ends before.
        """
        assert self._serving is not None, "used within its context"
        if not work:
            return
        part = Part(id, need, frozenset(subtask for bundle in work for subtask in bundle.subtasks), participant)
        self._runs.enter(part)
        try:
            self._presence.introduce(part)
            if not part.is_over:
                with self._mistakes_end_runs():
                    self._apply(self._schedule.add(id, work, time.monotonic(), interactive=interactive, need=need))
            self._wake()
            await asyncio.wait((part.ended, self._serving), return_when=asyncio.FIRST_COMPLETED)
            if not part.is_over:
                mistake = None if self._serving.cancelled() else self._serving.exception()
                raise RunError(_CLOSED if mistake is None else _MISTAKE.format(type(mistake).__name__))
            if (error := part.ended.result()) is not None:
                raise error
        finally:
            self._runs.end(part)

    def kept_free(self, node: NodeId) -> AbstractContextManager[None]:
        """Inside, the node gets no new leases, so that it comes to what it is asked beside the schedule."""
        return self._presence.kept_free(node)

    # What goes on, in a task of its own.

    async def _serve(self) -> None:
        while True:
            with self._mistakes_end_runs():
                await self._serve_on()
            await asyncio.sleep(REST_SECONDS)

    async def _serve_on(self) -> None:
        ticked = time.monotonic()
        while True:
            due = max(self._schedule.wakes_at, ticked + MIN_TICK_SECONDS) if self._runs or self._held else None
            news = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    news = await self._news.get()
            self._hear(news)
            # By the clock and not only in silence: nodes at work are never silent.
            if due is not None and time.monotonic() >= due:
                ticked = time.monotonic()
                self._apply(self._schedule.tick(ticked))

    @contextmanager
    def _mistakes_end_runs(self) -> Iterator[None]:
        """What is raised inside is nobody's fault but the program's. Nothing that the schedule holds can be relied on then, so all
        runs end, and those that come get a new one."""
        try:
            yield
        except Exception as error:
            log.exception("A mistake in the program ended all runs of the pool.")
            for id, held in self._held.items():
                self.roster.send(held.node, Cancel(id))
            self._held.clear()
            self._decisions.clear()
            self._schedule = _new_schedule()
            for part in self._runs:
                self._runs.end(part, RunError(_MISTAKE.format(type(error).__name__)))
            while not self._presence.move(self._schedule, time.monotonic()):
                self._schedule = _new_schedule()

    def _wake(self) -> None:
        """There may be something to wait for that was not there before."""
        self._news.put_nowait(None)

    def _hear(self, news: News | None) -> None:
        match news:
            case Up(node):
                self._presence.up(node, time.monotonic())
            case Down(node, why):
                self._presence.down(node.id, why, time.monotonic())
            case Heard(id, Refusal() | Progress() | Outcome() as frame):
                held = self._held.get(frame.lease)
                if held is not None and held.node == id:
                    self._hear_of_lease(held, frame, time.monotonic())

    # Leases.

    def _hear_of_lease(self, held: Held, frame: Refusal | Progress | Outcome, now: float) -> None:
        match frame:
            case Refusal(lease, reason, message):
                del self._held[lease]
                if reason is not FailureReason.QUEUE_FULL:
                    self._tell(held, Retried(held.node, message))
                self._apply(but_requeue(lease, self._schedule.refused(lease, reason, message, now)))
            case Progress(lease, subtask, prompt_tokens, read_tokens, completion_tokens) if subtask in held.awaited:
                self._apply(self._schedule.progress(lease, subtask, prompt_tokens, read_tokens, completion_tokens, now))
                if held.grant is not None and held.part is not None and not held.part.is_over:
                    with self._runs.at_the_cost_of(held.part):
                        held.part.participant.progressed(held.grant, frame)
            case Outcome(lease, subtask, result) if subtask in held.awaited:
                held.awaited.discard(subtask)
                if not held.awaited:
                    del self._held[lease]
                failure = result if isinstance(result, Failure) else self._judge(held, subtask, result)
                if isinstance(result, Completion) and failure is None:
                    self._refused.pop(held.node, None)
                    self._apply(self._schedule.settled(lease, subtask, now, result.usage) or [])
                    self._learnt.set()
                elif failure is not None:
                    if failure.reason is not FailureReason.CANCELLED:
                        self._tell(held, Retried(held.node, failure.message))
                    self._apply(but_requeue(lease, self._schedule.failed(lease, subtask, failure.reason, failure.message, now)))
                    if failure.reason is FailureReason.ENGINE_REFUSED:
                        self._refuses(held.node, failure.message, now)

    def _refuses(self, node: NodeId, why: str, now: float) -> None:
        """A node whose engine refuses for good is as good as gone: it takes part again when something about it changes."""
        self._refused[node] = self._refused.get(node, 0) + 1
        if self._refused[node] >= REFUSALS:
            del self._refused[node]
            self._presence.down(node, why, now)

    def _judge(self, held: Held, subtask: SubtaskId, completion: Completion) -> Failure | None:
        """What the run makes of it, if it takes part still."""
        if held.grant is None or held.part is None or held.part.is_over:
            return None
        with self._runs.at_the_cost_of(held.part):
            return held.part.participant.completed(held.grant, subtask, completion, wanted=self._schedule.is_open(subtask))
        return _OVER

    def _tell(self, held: Held, event: Event) -> None:
        if held.part is not None:
            self._runs.tell(held.part, event)

    # Decisions.

    def _apply(self, decisions: Iterable[Decision]) -> None:
        """Carries out decisions, in the order in which they were made."""
        self._decisions.extend(decisions)
        if not self._deciding:
            self._deciding = True
            try:
                while self._decisions:
                    self._carry_out(self._decisions.popleft())
            finally:
                self._deciding = False

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Grant():
                self._grant(decision)
            case Probe(node, lease, model):
                self._lend(Held(node, {PROBE_SUBTASK}), probe(lease, model))
            case Withdraw(node, lease, subtasks, why):
                if held := self._held.get(lease):
                    self._tell(held, Cancelled(node, lease, len(subtasks), why))
                self.roster.send(node, Cancel(lease, subtasks))
            case Requeue(node, lease, subtasks, why):
                if held := self._held.get(lease):
                    self._tell(held, Lost(node, lease, len(subtasks), why))
            case GiveUp(subtask):
                for part in self._runs:
                    if subtask in part.subtasks:
                        with self._runs.at_the_cost_of(part):
                            part.participant.given_up(decision)
            case Finish(run):
                if (finished := self._runs.get(run)) is not None:
                    self._runs.end(finished)

    def _grant(self, grant: Grant) -> None:
        part = self._runs.get(grant.run)
        if part is not None:
            with self._runs.at_the_cost_of(part):
                self._lend(Held(grant.node, set(grant.subtasks), grant, part), part.participant.lease(grant))
                return
        # The run ended between the decision and now: nobody was asked.
        for subtask in grant.subtasks:
            self._apply(self._schedule.failed(grant.lease, subtask, _OVER.reason, _OVER.message, time.monotonic()))

    def _lend(self, held: Held, lease: Lease) -> None:
        self._held[lease.id] = held
        self.roster.send(held.node, lease)

    def _take_back(self, node: NodeId) -> None:
        for id in [id for id, held in self._held.items() if held.node == node]:
            self.roster.send(node, Cancel(id))
            del self._held[id]

    def _left(self, run: str) -> None:
        with self._mistakes_end_runs():
            self._apply(self._schedule.withdraw_run(run, time.monotonic()))
        self._wake()


def _new_schedule() -> Schedule:
    # Leases are told apart from those of earlier schedules and coordinators, of which a node may still send word.
    return Schedule(prefix=f"{secrets.token_hex(4)}-", now=time.monotonic())
