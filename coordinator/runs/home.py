"""The aggregation at home: one call of the best model in the pool, beside the schedule."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from coordinator.documents.chunks import estimate_tokens
from coordinator.errors import NotPutTogether
from coordinator.events import Aggregating, Event, NodeInfo, NodeState, Warned
from coordinator.minions import aggregation
from coordinator.nodes.news import Down, Heard, News
from coordinator.nodes.roster import Roster
from coordinator.remedies import resume
from coordinator.runs.dispatch import Dispatcher
from coordinator.runs.journal import Journal
from coordinator.runs.participants import fitting
from coordinator.scheduling.decisions import Candidate, Need
from coordinator.scheduling.limits import OVERDUE, PATIENCE_SECONDS
from coordinator.scheduling.size import believed_parameters
from coordinator.scheduling.speed import reading
from coordinator.types import Aggregate, AggregationRequest, NodeWork
from edgenode.net.client import NodeLost
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
    Subtask,
    SubtaskId,
)

# Nodes asked in vain before it is given up, and calls at most, with those whose node went away.
TRIES: Final = 3
CALLS: Final = 12
# A call ends after so long, or after a silence of four times what the node is expected to take, between these bounds. Long, since
# a Pi may write it, and engines that do not tell how far they have read are silent until they write; but not for ever. Until the
# node has begun with it the longer one holds: it may wait for other coordinators' turns.
CALL_SECONDS: Final = 900.0
SILENCE_SECONDS: Final = (60.0, 600.0)
# A node that has not begun after so long is passed over for one that may be free.
BEGIN_SECONDS: Final = 30.0
# A call is sent again to a node whose queue was full after so long, doubled each time: what is there may be other coordinators'.
AGAIN_SECONDS: Final = 2.0
MAX_AGAIN_SECONDS: Final = 32.0


async def aggregate_at_home(
    dispatcher: Dispatcher, journal: Journal, request: AggregationRequest, findings: int, emit: Callable[[Event], None]
) -> Aggregate:
    """What the best models of the pool make of so many findings, asked one after another until one gives a usable reply; what that
    took is added to what its node did. The test engine is asked only for a run that was begun with it. A node that goes away
    meanwhile, or drains, is waited for if no other is there; so is one that does not begin. Raises `NoNodes`."""
    needed = estimate_tokens(request.system + request.user) + aggregation.HOME_REPLY_TOKENS
    need = Need(needed, test_engine=journal.value("plan", {}).get("test_engine", False))
    await dispatcher.roster.settle()
    vain: set[NodeId] = set()
    busy: set[NodeId] = set()
    trouble = "no node is there whose model could take it."
    for number in range(CALLS):
        found = await _find(dispatcher, need, vain, busy, emit) if len(vain) < TRIES else None
        if found is None:
            trouble = trouble if vain else _why_none(dispatcher.roster) or trouble
            break
        node, model = found
        emit(Aggregating("home", model.name, findings, request))
        lease = LeaseId(f"{journal.run}-{journal.sitting}-home-{number}")

        def is_passed_over(node: NodeInfo = node) -> bool:
            busy.add(node.id)
            emit(Warned(f"{node.name} has not begun to write the answer; it may be working for others."))
            best = _best(dispatcher, _fitting(dispatcher.roster, need, vain), busy)
            return best is not None and best[0].id not in busy

        try:
            reply = await _call(dispatcher, node, model, lease, request, is_passed_over)
        except _PassedOver:
            continue
        except NodeLost as error:
            trouble = str(error)
            continue
        vain.add(node.id)
        if isinstance(reply, Failure):
            trouble = reply.message
            continue
        try:
            aggregate = aggregation.parse(reply.text, findings, aggregation.HOME_ANSWER_CHARACTERS)
        except ValueError as error:
            trouble = f"the reply of {node.name} {error}."
            continue
        _account(journal, node, model, reply)
        return aggregate
    raise NotPutTogether(
        f"No local model could write an answer: {trouble} What was found is kept; try again with: {resume(journal.run, again=True)}"
    )


class _PassedOver(Exception):
    """The node has not begun, and another one may be free."""


def _fitting(roster: Roster, need: Need, vain: Collection[NodeId]) -> list[tuple[NodeInfo, Candidate]]:
    """The nodes that were not asked in vain, each with its model that could take it."""
    return [(node, model) for node in roster.nodes() if node.id not in vain and (model := fitting(node, need)) is not None]


def _best(
    dispatcher: Dispatcher, known: list[tuple[NodeInfo, Candidate]], busy: Collection[NodeId]
) -> tuple[NodeInfo, Candidate] | None:
    """Of those that take work now, and of these rather one that is not busy and that was seen to work, the one with the most
    weights that are to be believed: it sees the strongest findings of all others."""

    def worth(pair: tuple[NodeInfo, Candidate]) -> tuple[bool, bool, bool, int]:
        node, candidate = pair
        model = next(each for each in node.models if each.name == candidate.name)
        speed = dispatcher.speed(node.id)
        seen = speed is not None and speed.known
        measured = speed.read_speed if speed is not None and seen else None
        weights = believed_parameters(model.parameters, model.size_bytes, model.digest, measured)
        return not candidate.test_engine, node.id not in busy, seen, weights

    able = [(node, model) for node, model in known if node.state is NodeState.JOINED and not node.draining]
    return max(able, key=worth, default=None)


async def _find(
    dispatcher: Dispatcher, need: Need, vain: Collection[NodeId], busy: Collection[NodeId], emit: Callable[[Event], None]
) -> tuple[NodeInfo, Candidate] | None:
    """The best node that was not asked in vain, with its model. Where all of them have gone away or drain, one is waited for, for
    as long as a run waits for nodes, and that is told once."""
    waits, roster = False, dispatcher.roster
    news: asyncio.Queue[News] = asyncio.Queue()
    with roster.listening(news.put_nowait), contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                known = _fitting(roster, need, vain)
                if (best := _best(dispatcher, known, busy)) is not None:
                    return best
                if not known:
                    return None
                if not waits:
                    waits = True
                    emit(Warned(f"No node is there to write the answer. Waiting up to {PATIENCE_SECONDS:.0f} s for one."))
                await news.get()
    return None


def _why_none(roster: Roster) -> str:
    """What the nodes that take no work now say of it; empty where there are none."""
    return " ".join(f"{node.name}: {node.draining}." for node in roster.nodes() if node.draining)


async def _call(
    dispatcher: Dispatcher,
    node: NodeInfo,
    model: Candidate,
    lease: LeaseId,
    request: AggregationRequest,
    is_passed_over: Callable[[], bool],
) -> Completion | Failure:
    """One model call on one node. While the node's queue is full of what others have there, it is sent again whenever the node has
    done some of what is ours, and now and then. Raises `NodeLost` when the node goes away meanwhile, and `_PassedOver` when it has
    not begun for a while and `is_passed_over`, which is asked once."""
    roster, clock = dispatcher.roster, asyncio.get_running_loop().time
    subtask = Subtask(SubtaskId("call"), request.user, request.schema, aggregation.HOME_REPLY_TOKENS)
    call = Lease(lease, model.name, request.system, "", (subtask,))
    silence = SILENCE_SECONDS[1]
    pause = AGAIN_SECONDS
    news: asyncio.Queue[News] = asyncio.Queue()
    with roster.listening(news.put_nowait), dispatcher.kept_free(node.id):
        roster.send(node.id, call)
        again: float | None = None
        overdue, end, begin = clock() + silence, clock() + CALL_SECONDS, clock() + BEGIN_SECONDS
        try:
            while clock() < min(overdue, end):
                item: News | None = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(overdue, end, begin, again or end)):
                        item = await news.get()
                match item:
                    case Down(down, why) if down.id == node.id:
                        raise NodeLost(why)
                    case Heard(id, frame) if id == node.id:
                        if isinstance(frame, Progress) and frame.lease == lease:
                            silence, begin = _silence(dispatcher, node, request), math.inf
                        overdue = clock() + silence
                        match frame:
                            case Refusal(of, FailureReason.QUEUE_FULL) if of == lease:
                                again = clock() + pause
                                overdue = again + silence
                                pause = min(2 * pause, MAX_AGAIN_SECONDS)
                            case Refusal(of, reason, message) if of == lease:
                                return Failure(reason, message)
                            case Outcome(of, _, result) if of == lease:
                                return result
                            case Outcome() if again is not None:
                                again = clock()
                if clock() >= begin:
                    begin = math.inf
                    if is_passed_over():
                        raise _PassedOver
                if again is not None and clock() >= again:
                    again = None
                    roster.send(node.id, call)
            return Failure(FailureReason.ENGINE_TIMEOUT, f"{node.name} did not answer in time.")
        finally:
            roster.send(node.id, Cancel(lease))


def _silence(dispatcher: Dispatcher, node: NodeInfo, request: AggregationRequest) -> float:
    """Seconds without a sign of the node, once it is at work, after which it is taken to hang."""
    least, most = SILENCE_SECONDS
    speed = dispatcher.speed(node.id)
    if speed is None or not speed.known or len(node.models) > 1:  # of several models, it may be known by another
        return most
    tokens = estimate_tokens(request.system + request.user)
    expected = speed.seconds(reading(0, tokens, calls=1, written=aggregation.HOME_REPLY_TOKENS))
    return min(most, max(least, OVERDUE * expected))


def _account(journal: Journal, node: NodeInfo, model: Candidate, reply: Completion) -> None:
    before = journal.work().get(node.id) or NodeWork(node.id, node.name, model.name, node.engine, unchecked=node.unchecked)
    after = replace(
        before,
        prompt_tokens=before.prompt_tokens + reply.usage.prompt_tokens,
        cached_tokens=before.cached_tokens + reply.usage.cached_tokens,
        completion_tokens=before.completion_tokens + reply.usage.completion_tokens,
        seconds=before.seconds + reply.usage.seconds,
        aggregations=before.aggregations + 1,
    )
    journal.set_work(after)
