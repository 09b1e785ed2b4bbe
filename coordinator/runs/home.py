"""The aggregation at home: one call of the best model in the pool, beside the schedule."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

from coordinator.documents.chunks import estimate_tokens
from coordinator.errors import NoNodes
from coordinator.events import Aggregating, Event, NodeInfo, NodeState
from coordinator.minions import aggregation
from coordinator.nodes.news import Down, Heard, News
from coordinator.nodes.roster import Roster
from coordinator.runs.dispatch import Dispatcher
from coordinator.runs.journal import Journal
from coordinator.runs.participants import fitting
from coordinator.scheduling.decisions import Candidate, Need
from coordinator.scheduling.limits import PATIENCE_SECONDS
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
    Refusal,
    Subtask,
    SubtaskId,
)

# Nodes asked in vain before it is given up, and calls at most, with those whose node went away.
TRIES: Final = 3
CALLS: Final = 12
# Long, since a Pi may write it, but not for ever. Engines that do not tell how far they have read are silent until they write.
CALL_SECONDS: Final = 900.0
CALL_SILENCE_SECONDS: Final = 600.0


async def aggregate_at_home(
    dispatcher: Dispatcher, journal: Journal, request: AggregationRequest, findings: int, emit: Callable[[Event], None]
) -> Aggregate:
    """What the best models of the pool make of so many findings, asked one after another until one gives a usable reply; what that
    took is added to what its node did. A node that goes away meanwhile is waited for if no other is there. Raises `NoNodes`."""
    needed = estimate_tokens(request.system + request.user) + aggregation.HOME_REPLY_TOKENS
    await dispatcher.roster.settle()
    vain: set[NodeId] = set()
    trouble = "no node is there whose model could take it."
    for number in range(CALLS):
        found = await _find(dispatcher.roster, needed, vain) if len(vain) < TRIES else None
        if found is None:
            break
        node, model = found
        emit(Aggregating("home", model.name, findings, request))
        lease = LeaseId(f"{journal.run}-{journal.sitting}-home-{number}")
        try:
            reply = await _call(dispatcher, node, model, lease, request)
        except NodeLost as error:
            trouble = str(error)
            continue
        vain.add(node.id)
        if isinstance(reply, Failure):
            trouble = reply.message
            continue
        try:
            aggregate = aggregation.parse(reply.text, findings)
        except ValueError as error:
            trouble = f"the reply of {node.name} {error}."
            continue
        _account(journal, node, model, reply)
        return aggregate
    raise NoNodes(
        f"The findings could not be put together at home: {trouble} They are kept; try again with: coordinator resume {journal.run}"
    )


async def _find(roster: Roster, needed: int, vain: Collection[NodeId]) -> tuple[NodeInfo, Candidate] | None:
    """Of the nodes that were not asked in vain the one with the most weights that could take it, with its model. Where all of them
    have gone away, one is waited for, for as long as a run waits for nodes."""
    news: asyncio.Queue[News] = asyncio.Queue()
    with roster.listening(news.put_nowait), contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                known = roster.nodes()
                there = [node for node in known if node.state is NodeState.JOINED]
                need = Need(needed, test_engine=not _able(there, Need(needed)))
                if able := _able((node for node in there if node.id not in vain), need):
                    return max(able, key=lambda pair: pair[1].parameters)
                if not _able((node for node in known if node.id not in vain), need):
                    return None
                await news.get()
    return None


def _able(nodes: Iterable[NodeInfo], need: Need) -> list[tuple[NodeInfo, Candidate]]:
    return [(node, model) for node in nodes if (model := fitting(node, need)) is not None]


async def _call(
    dispatcher: Dispatcher, node: NodeInfo, model: Candidate, lease: LeaseId, request: AggregationRequest
) -> Completion | Failure:
    """One model call on one node. While the node's queue is full of what other runs have there, it is sent again whenever the node
    has done some of that. Raises `NodeLost` when the node goes away meanwhile."""
    roster = dispatcher.roster
    subtask = Subtask(SubtaskId("call"), request.user, request.schema, aggregation.HOME_REPLY_TOKENS)
    call = Lease(lease, model.name, request.system, "", (subtask,))
    news: asyncio.Queue[News] = asyncio.Queue()
    with roster.listening(news.put_nowait), dispatcher.kept_free(node.id):
        roster.send(node.id, call)
        waits = False
        try:
            async with asyncio.timeout(CALL_SECONDS):
                silence = asyncio.get_running_loop().time() + CALL_SILENCE_SECONDS
                while True:
                    async with asyncio.timeout_at(silence):
                        item = await news.get()
                    match item:
                        case Down(down, why) if down.id == node.id:
                            raise NodeLost(why)
                        case Heard(id, frame) if id == node.id:
                            silence = asyncio.get_running_loop().time() + CALL_SILENCE_SECONDS
                            match frame:
                                case Refusal(of, FailureReason.QUEUE_FULL) if of == lease:
                                    waits = True
                                case Refusal(of, reason, message) if of == lease:
                                    return Failure(reason, message)
                                case Outcome(of, _, result) if of == lease:
                                    return result
                                case Outcome() if waits:
                                    waits = False
                                    roster.send(node.id, call)
        except TimeoutError:
            return Failure(FailureReason.ENGINE_TIMEOUT, f"{node.name} did not answer in time.")
        finally:
            roster.send(node.id, Cancel(lease))


def _account(journal: Journal, node: NodeInfo, model: Candidate, reply: Completion) -> None:
    before = journal.work().get(node.id) or NodeWork(node.id, node.name, model.name, node.engine)
    after = replace(
        before,
        prompt_tokens=before.prompt_tokens + reply.usage.prompt_tokens,
        cached_tokens=before.cached_tokens + reply.usage.cached_tokens,
        completion_tokens=before.completion_tokens + reply.usage.completion_tokens,
        seconds=before.seconds + reply.usage.seconds,
    )
    journal.set_work(after)
