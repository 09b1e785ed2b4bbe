"""The aggregation at home beside what other runs have on the nodes."""

import asyncio
import json
from pathlib import Path

import pytest

from coordinator.errors import NoNodes
from coordinator.events import Aggregating, Event
from coordinator.nodes.news import Heard, News
from coordinator.runs.home import aggregate_at_home
from coordinator.runs.journal import Journal
from coordinator.types import AggregationRequest
from edgenode.types import Completion, FailureReason, Lease, LeaseId, Model, Refusal, Subtask, SubtaskId, Usage
from tests.runs.test_dispatch import PATIENCE, dispatching, until
from tests.scripted_engine import ScriptedEngine

REQUEST = AggregationRequest("Answer from the findings.", "Question: When?\n[1] In May.", "{}")
ANSWER = Completion(json.dumps({"found": True, "answer": "In May.", "citations": [1]}), Usage(30, 10, 5, 0.1))


async def test_it_comes_to_its_turn_on_a_node_whose_queue_is_full(tmp_path: Path) -> None:
    """The node refuses it while it has what other runs sent. It is sent again when some of that is done, nothing new is put before
    it, and what it took is in the account."""
    gate = asyncio.Event()
    engine = ScriptedEngine(lambda request: ANSWER if request.system == REQUEST.system else gate)
    heard: list[News] = []
    async with dispatching(tmp_path, engine) as (dispatcher, (node,)), asyncio.timeout(PATIENCE):
        roster = dispatcher.roster
        with Journal.create(tmp_path / "runs") as journal, roster.listening(heard.append):
            for number in range(2):
                lease = LeaseId(f"other-{number}")
                roster.send(node, Lease(lease, engine.models[0].name, "", "", (Subtask(SubtaskId("x"), "What?", "{}", 8),)))
            await until(lambda: engine.seen)
            asking = asyncio.create_task(aggregate_at_home(dispatcher, journal, REQUEST, 1, lambda _: None))
            await until(lambda: [each for each in heard if isinstance(each, Heard) and isinstance(each.frame, Refusal)])
            assert not asking.done()
            gate.set()
            answer = await asking
            (done,) = journal.work().values()
    refusals = [each.frame for each in heard if isinstance(each, Heard) and isinstance(each.frame, Refusal)]
    assert {refusal.reason for refusal in refusals} == {FailureReason.QUEUE_FULL}
    assert (answer.found, answer.answer, answer.citations) == (True, "In May.", (0,))
    assert (done.id, done.subtasks, done.prompt_tokens, done.completion_tokens) == (node, 0, 30, 5)


async def test_the_largest_models_are_asked_one_after_another(tmp_path: Path) -> None:
    """Those whose context is too small are not; where none gives a usable reply, the last reason is told."""

    def scripted(name: str, parameters: int, context: int = 9_000) -> ScriptedEngine:
        model = Model(name, context_tokens=context, parameters=parameters)
        return ScriptedEngine(lambda _: Completion("I am happy to help!", Usage()), model=model)

    engines = [scripted("small", 1), scripted("large", 9), scripted("narrow", 99, context=100), scripted("middle", 5)]
    events: list[Event] = []
    async with dispatching(tmp_path, *engines) as (dispatcher, _):
        with Journal.create(tmp_path / "runs") as journal, pytest.raises(NoNodes, match=r"put together at home: the reply of .*"):
            await aggregate_at_home(dispatcher, journal, REQUEST, 1, events.append)
    assert [event.model for event in events if isinstance(event, Aggregating)] == ["large", "middle", "small"]
    assert engines[2].seen == []
