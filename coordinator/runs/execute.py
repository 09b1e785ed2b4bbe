"""Carries out the schedule's decisions on real nodes: plan in, findings out."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from coordinator.documents.chunks import estimate_tokens
from coordinator.events import (
    Cancelled,
    Event,
    Found,
    Leased,
    Lost,
    NodeChanged,
    NodeGone,
    NodeInfo,
    NodeJoined,
    NodeState,
    Reading,
    Retried,
)
from coordinator.minions import prompts
from coordinator.minions.echo import Echo
from coordinator.minions.findings import MalformedReply, check_reply
from coordinator.minions.plan import Plan
from coordinator.nodes.news import Down, Heard, News, Up
from coordinator.nodes.roster import Roster
from coordinator.scheduling.decisions import Candidate, Decision, GiveUp, Grant, Need, Requeue, Withdraw, Work
from coordinator.scheduling.schedule import Schedule
from coordinator.types import Answered, Chunk, Document, Failed, Finding, NodeWork, Rejected, Task
from edgenode.engines.deterministic import NAME as DETERMINISTIC
from edgenode.net.client import NodeLost
from edgenode.types import (
    Cancel,
    Completion,
    EngineState,
    Failure,
    FailureReason,
    Lease,
    LeaseId,
    Model,
    NodeId,
    Outcome,
    Progress,
    Refusal,
    Subtask,
    SubtaskId,
)

TICK_SECONDS: Final = 0.25
MIN_TICK_SECONDS: Final = 0.002
# One model call outside the schedule (the aggregation at home): long, since a Pi may write it, but not for ever. Engines that do
# not tell how far they have read are silent until they write.
CALL_SECONDS: Final = 900.0
CALL_SILENCE_SECONDS: Final = 600.0


def usable_model(models: Iterable[Model], context_tokens: int) -> Model | None:
    """The first of a node's models, in the node's own order, whose context is large enough."""
    return next((model for model in models if model.context_tokens >= context_tokens), None)


class Execution:
    """One plan being read by the nodes of a roster.

    `emit` gets the events; `record` gets each finding before its event, so that nothing is told that is not kept, and `close` the
    task and chunk of a subtask that ends with the rejected quotations it has. Of the plan's subtasks those in `done`, as (task,
    chunk), are left out; `work` is what the nodes did before. `prefix` sets this sitting's leases apart from those of others.
    Nodes with the deterministic engine, which reads nothing, are left out unless `test_engine`.
    """

    def __init__(
        self,
        prefix: str,
        plan: Plan,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        roster: Roster,
        echo: Echo,
        context_tokens: int,
        test_engine: bool,
        emit: Callable[[Event], None],
        record: Callable[[Finding], None],
        close: Callable[[int, int], None],
        done: Collection[tuple[int, int]] = (),
        work: Mapping[NodeId, NodeWork] | None = None,
    ) -> None:
        self._plan = plan
        self._chunks = chunks
        self._documents = documents
        self._roster = roster
        self._echo = echo
        self._context_tokens = context_tokens
        self._test_engine = test_engine
        self._emit = emit
        self._record = record
        self._close = close
        self._subtasks: dict[SubtaskId, tuple[Task, Chunk]] = {
            SubtaskId(f"{task}.{bundle.chunk}"): (plan.tasks[task], chunks[bundle.chunk])
            for bundle in plan.bundles
            for task in bundle.tasks
            if (task, bundle.chunk) not in done
        }
        bundles = (
            Work(
                bundle.chunk,
                tuple(id for task in bundle.tasks if (id := SubtaskId(f"{task}.{bundle.chunk}")) in self._subtasks),
                shared_tokens=estimate_tokens(prompts.SYSTEM + chunks[bundle.chunk].text),
                own_tokens=estimate_tokens(prompts.instruction(plan.tasks[bundle.tasks[0]], plan.overview)),
            )
            for bundle in plan.bundles
        )
        now = time.monotonic()
        self._schedule = Schedule(prefix, now)
        # There is no node yet, so nothing follows.
        self._schedule.add("", bundles, now, need=Need(context_tokens, test_engine))
        self._nodes: dict[NodeId, NodeInfo] = {}
        self._granted: dict[LeaseId, Grant] = {}
        self._awaited: dict[LeaseId, set[SubtaskId]] = {}
        self._rejected: set[SubtaskId] = set()
        self.work: dict[NodeId, NodeWork] = dict(work or {})
        """What each node did, kept up to date."""

    async def run(self) -> None:
        """Returns when every subtask has its finding. Leaving early (cancellation) withdraws what is still on nodes."""
        news: asyncio.Queue[News] = asyncio.Queue()
        next_tick = time.monotonic() + TICK_SECONDS
        with self._roster.listening(news.put_nowait):
            try:
                while not self._schedule.finished:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.0, next_tick - time.monotonic())):
                            self._hear(await news.get())
                    # By the clock and not only in silence: nodes at work are never silent.
                    if time.monotonic() >= next_tick:
                        self._apply(self._schedule.tick(time.monotonic()))
                        next_tick = time.monotonic() + TICK_SECONDS
                    next_tick = min(next_tick, max(self._schedule.wakes_at, time.monotonic() + MIN_TICK_SECONDS))
            finally:
                for grant in self._granted.values():
                    self._roster.send(grant.node, Cancel(grant.lease))

    def _hear(self, news: News) -> None:
        now = time.monotonic()
        match news:
            case Up(node):
                self._up(node, now)
            case Down(node, why):
                if self._nodes.pop(node.id, None) is not None:
                    self._gone(node, why, now)
            case Heard(id, frame):
                # A node is believed only about leases that it holds.
                if (
                    isinstance(frame, Refusal | Progress | Outcome)
                    and (grant := self._granted.get(frame.lease))
                    and grant.node == id
                ):
                    self._hear_of_lease(grant, frame, now)

    def _up(self, node: NodeInfo, now: float) -> None:
        if node.engine == DETERMINISTIC and not self._test_engine:
            return
        model = usable_model(node.models, self._context_tokens)
        if model is None:
            if self._nodes.pop(node.id, None) is not None:
                self._gone(node, "It no longer serves a model that could take the work.", now)
            return
        # A node that is in doubt or drains keeps what it holds and gets nothing new.
        ready = node.state is NodeState.JOINED and not node.draining and node.engine_state is EngineState.READY
        before = self._nodes.get(node.id)
        if before is None:
            if node.state is not NodeState.JOINED:
                return
            self.work.setdefault(node.id, NodeWork(node.id, node.name, model.name, node.engine))
            self._emit(NodeJoined(node))
            self._nodes[node.id] = node
            candidate = Candidate(model.name, model.context_tokens, model.parameters, node.engine == DETERMINISTIC)
            self._apply(self._schedule.node_joined(node.id, now, ready=ready, models=[candidate]))
            return
        self._nodes[node.id] = node
        if (before.state, before.draining) != (node.state, node.draining):
            self._emit(NodeChanged(node))
        if node.state is NodeState.SUSPECT:
            self._apply(self._schedule.node_suspect(node.id, now))
        else:
            self._apply(self._schedule.node_ready(node.id, ready, now))

    def _gone(self, node: NodeInfo, why: str, now: float) -> None:
        self._emit(NodeGone(node.id, node.name, why))
        for lease in [id for id, grant in self._granted.items() if grant.node == node.id]:
            self._roster.send(node.id, Cancel(lease))
            self._forget(lease)
        self._apply(self._schedule.node_gone(node.id, why, now))

    def _forget(self, lease: LeaseId) -> None:
        del self._granted[lease], self._awaited[lease]

    def _hear_of_lease(self, grant: Grant, frame: Refusal | Progress | Outcome, now: float) -> None:
        match frame:
            case Refusal(lease, reason, message):
                self._forget(lease)
                if reason is not FailureReason.QUEUE_FULL:
                    self._emit(Retried(grant.node, message))
                self._apply(self._told(self._schedule.refused(lease, reason, message, now)))
            case Progress(lease, subtask, prompt_tokens, read_tokens, completion_tokens):
                if subtask in self._awaited[lease]:
                    self._apply(self._schedule.progress(lease, subtask, prompt_tokens, read_tokens, completion_tokens, now))
                    chunk = self._chunks[grant.chunk]
                    page = self._documents[chunk.document].page_at(chunk.start)
                    self._emit(Reading(grant.node, chunk.document, page, read_tokens, prompt_tokens, completion_tokens))
            case Outcome(lease, subtask, result):
                # Once for each subtask of a lease: a node that repeats itself is not heard again.
                if subtask in self._awaited[lease]:
                    self._awaited[lease].discard(subtask)
                    if not self._awaited[lease]:
                        self._forget(lease)
                    if isinstance(result, Completion):
                        self._completed(grant, subtask, result, now)
                    else:
                        self._failed(grant, subtask, result, now)

    def _completed(self, grant: Grant, subtask: SubtaskId, completion: Completion, now: float) -> None:
        task, chunk = self._subtasks[subtask]
        self._account(grant.node, completion)
        if not self._schedule.is_open(subtask):
            # A copy that came second. The schedule still has to know that its lease is done with it.
            self._apply(self._schedule.settled(grant.lease, subtask, now, completion.usage) or [])
            return
        try:
            finding = check_reply(completion.text, task, chunk, self._documents[chunk.document], grant.node)
        except MalformedReply as error:
            self._failed(grant, subtask, Failure(FailureReason.BAD_REPLY, f"The reply is not what was asked for: {error}"), now)
            return
        if isinstance(finding, Rejected):
            # Counted, and asked of another node: a lying device must not cost an answer.
            self._rejected.add(subtask)
            self._keep(finding)
            self._failed(grant, subtask, Failure(FailureReason.BAD_REPLY, "The quotation is not in the text."), now)
            return
        if isinstance(finding, Answered) and self._echo.copies(finding.answer, finding.quote):
            finding = replace(finding, answer="")
        decisions = self._schedule.settled(grant.lease, subtask, now, completion.usage)
        if decisions is not None:
            self.work[grant.node] = replace(self.work[grant.node], subtasks=self.work[grant.node].subtasks + 1)
            self._keep(finding)
            self._apply(decisions)

    def _failed(self, grant: Grant, subtask: SubtaskId, failure: Failure, now: float) -> None:
        if failure.reason is not FailureReason.CANCELLED:
            self._emit(Retried(grant.node, failure.message))
        self._apply(self._told(self._schedule.failed(grant.lease, subtask, failure.reason, failure.message, now)))

    @staticmethod
    def _told(decisions: list[Decision]) -> list[Decision]:
        """Without what goes back because of a failure, which has been told already."""
        return [decision for decision in decisions if not isinstance(decision, Requeue)]

    def _account(self, node: NodeId, completion: Completion) -> None:
        done, usage = self.work[node], completion.usage
        self.work[node] = replace(
            done,
            prompt_tokens=done.prompt_tokens + usage.prompt_tokens,
            cached_tokens=done.cached_tokens + usage.cached_tokens,
            completion_tokens=done.completion_tokens + usage.completion_tokens,
            seconds=done.seconds + usage.seconds,
        )

    def _apply(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Grant():
                    self._emit(self._leased(decision))
                    self._granted[decision.lease] = decision
                    self._awaited[decision.lease] = set(decision.subtasks)
                    self._roster.send(decision.node, self._lease(decision))
                case Withdraw(node, lease, subtasks, why):
                    self._emit(Cancelled(node, lease, len(subtasks), why))
                    self._roster.send(node, Cancel(lease, subtasks))
                case Requeue(node, lease, subtasks, why):
                    self._emit(Lost(node, lease, len(subtasks), why))
                case GiveUp(subtask, reason, message, nodes):
                    task, chunk = self._subtasks[subtask]
                    if subtask in self._rejected:
                        self._close(task.index, chunk.index)
                    else:
                        self._keep(Failed(task.index, chunk.index, reason, message, nodes))

    def _keep(self, finding: Finding) -> None:
        self._record(finding)
        self._emit(Found(finding))

    def _leased(self, grant: Grant) -> Leased:
        chunk = self._chunks[grant.chunk]
        page = self._documents[chunk.document].page_at(chunk.start)
        return Leased(grant.node, grant.lease, chunk.document, page, len(grant.subtasks), grant.hedge)

    def _lease(self, grant: Grant) -> Lease:
        model = usable_model(self._nodes[grant.node].models, self._context_tokens)
        assert model is not None, "checked when the node joined"
        chunk = self._chunks[grant.chunk]
        schema = prompts.reply_schema(chunk)
        return Lease(
            id=grant.lease,
            model=model.name,
            system=prompts.SYSTEM,
            shared=prompts.shared_text(chunk),
            subtasks=tuple(
                Subtask(
                    id=id,
                    instruction=prompts.instruction(self._subtasks[id][0], self._plan.overview),
                    reply_schema=schema,
                    max_reply_tokens=prompts.reply_tokens(chunk),
                )
                for id in grant.subtasks
            ),
        )


async def ask_node(
    roster: Roster, node: NodeInfo, model: Model, lease: LeaseId, system: str, user: str, schema: str, max_reply_tokens: int
) -> Completion | Failure:
    """One model call on one node, outside any schedule. Raises `NodeLost` when the node goes away meanwhile."""
    subtask = SubtaskId("call")
    news: asyncio.Queue[News] = asyncio.Queue()
    with roster.listening(news.put_nowait):
        roster.send(node.id, Lease(lease, model.name, system, "", (Subtask(subtask, user, schema, max_reply_tokens),)))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                silence = asyncio.get_running_loop().time() + CALL_SILENCE_SECONDS
                while True:
                    async with asyncio.timeout_at(silence):
                        item = await news.get()
                    match item:
                        case Heard(id, Progress(of)) if id == node.id and of == lease:
                            silence = asyncio.get_running_loop().time() + CALL_SILENCE_SECONDS
                        case Down(down, why) if down.id == node.id:
                            raise NodeLost(why)
                        case Heard(id, Refusal(of, reason, message)) if id == node.id and of == lease:
                            return Failure(reason, message)
                        case Heard(id, Outcome(of, _, result)) if id == node.id and of == lease:
                            return result
        except TimeoutError:
            return Failure(FailureReason.ENGINE_TIMEOUT, f"{node.name} did not answer in time.")
        finally:
            roster.send(node.id, Cancel(lease))
