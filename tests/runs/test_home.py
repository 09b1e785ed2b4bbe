"""The aggregation at home beside what other runs have on the nodes."""

import asyncio
import json
import secrets
from pathlib import Path

import pytest

from coordinator.errors import NoNodes
from coordinator.events import Aggregating, Event, NodeState, Warned
from coordinator.nodes.news import Heard, News
from coordinator.nodes.pairing import Trust
from coordinator.nodes.roster import Roster
from coordinator.runs.home import aggregate_at_home
from coordinator.runs.journal import Journal
from coordinator.types import AggregationRequest
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import Request
from edgenode.net.interfaces import scope
from edgenode.node import Node, NodeConfig
from edgenode.types import Completion, FailureReason, Lease, LeaseId, Model, Refusal, Subtask, SubtaskId, Usage
from tests.runs.test_dispatch import DONE, PATIENCE, Run, dispatching, until
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
        with Journal.create(tmp_path / "runs") as journal, pytest.raises(NoNodes, match=r"the reply of .*"):
            await aggregate_at_home(dispatcher, journal, REQUEST, 1, events.append)
    assert [event.model for event in events if isinstance(event, Aggregating)] == ["large", "middle", "small"]
    assert engines[2].seen == []


async def test_the_test_engine_never_stands_in_for_a_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run was read by a real model that is away for a moment: it is waited for, although the test engine is there."""
    monkeypatch.setattr("coordinator.runs.home.PATIENCE_SECONDS", PATIENCE)
    name = f"real-{secrets.token_hex(4)}"
    config = NodeConfig(home=tmp_path / "real", name=name)
    engine = ScriptedEngine(lambda _: ANSWER)
    events: list[Event] = []
    async with dispatching(tmp_path, DeterministicEngine()) as (dispatcher, _), asyncio.timeout(PATIENCE):
        roster = dispatcher.roster

        def is_there() -> bool:
            return any(node.name == name and node.state is NodeState.JOINED for node in roster.nodes())

        roster.only |= {name}
        async with Node(config, engine):
            await until(is_there)
        await until(lambda: not is_there())
        roster.only -= {name}  # or discovery would wait for it
        with Journal.create(tmp_path / "runs") as journal:
            journal.set_plan({"test_engine": False}, [])
            asking = asyncio.create_task(aggregate_at_home(dispatcher, journal, REQUEST, 1, events.append))
            async with Node(config, engine):
                answer = await asking
    assert answer.answer == "In May."
    assert [event.model for event in events if isinstance(event, Aggregating)] == [engine.models[0].name]


async def test_a_draining_node_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would refuse: the other is asked though its model is smaller. Where it is alone it is waited for, and that is said."""
    monkeypatch.setattr("coordinator.runs.home.PATIENCE_SECONDS", PATIENCE)
    name = f"large-{secrets.token_hex(4)}"
    large, small = (ScriptedEngine(lambda _: ANSWER, model=Model(f"of-{n}", context_tokens=9_000, parameters=n)) for n in (9, 1))
    events: list[Event] = []
    async with (
        Node(NodeConfig(home=tmp_path / "large", name=name), large) as drained,
        dispatching(tmp_path, small) as (dispatcher, _),
        asyncio.timeout(PATIENCE),
    ):
        roster = dispatcher.roster
        roster.only |= {name}
        drained._drain("on battery")
        await until(lambda: any(node.draining for node in roster.nodes()))
        with Journal.create(tmp_path / "runs") as journal:
            await aggregate_at_home(dispatcher, journal, REQUEST, 1, events.append)
            assert large.seen == []
            small.models = (Model("narrow", context_tokens=100),)
            small.become(small.state)
            await until(lambda: any(node.models == small.models for node in roster.nodes()))
            asking = asyncio.create_task(aggregate_at_home(dispatcher, journal, REQUEST, 1, events.append))
            await until(lambda: any(isinstance(event, Warned) for event in events))
            drained._drain("")
            await asking
    assert [event.message for event in events if isinstance(event, Warned)] == [
        f"No node is there to write the answer. Waiting up to {PATIENCE:.0f} s for one."
    ]
    assert [event.model for event in events if isinstance(event, Aggregating)] == ["of-1", "of-9"]


async def test_it_is_sent_again_to_a_node_that_is_full_of_what_others_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No outcome of theirs reaches this coordinator, so it asks again after a while, and then a longer while."""
    monkeypatch.setattr("coordinator.runs.home.AGAIN_SECONDS", 0.01)
    gate = asyncio.Event()
    engine = ScriptedEngine(lambda request: ANSWER if request.system == REQUEST.system else gate)
    heard: list[News] = []
    async with (
        dispatching(tmp_path, engine) as (dispatcher, (node,)),
        Roster(scope(None), Trust.load(), [node]) as other,
        asyncio.timeout(PATIENCE),
    ):
        await until(lambda: any(each.state is NodeState.JOINED for each in other.nodes()))
        for number in range(2):
            other.send(node, Lease(LeaseId(f"o-{number}"), "scripted-model", "", "", (Subtask(SubtaskId("x"), "?", "{}", 8),)))
        await until(lambda: engine.seen)
        with Journal.create(tmp_path / "runs") as journal, dispatcher.roster.listening(heard.append):
            asking = asyncio.create_task(aggregate_at_home(dispatcher, journal, REQUEST, 1, lambda _: None))
            await until(lambda: sum(isinstance(each, Heard) and isinstance(each.frame, Refusal) for each in heard) >= 3)
            gate.set()
            assert (await asking).answer == "In May."


@pytest.mark.parametrize("begins", [False, True])
async def test_a_call_may_wait_for_its_turn_for_longer_than_it_may_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: bool
) -> None:
    """Here it may not hang at all. A node that is at what others sent has not begun with it, and is waited for."""
    monkeypatch.setattr("coordinator.runs.home.SILENCE_SECONDS", (0.0, 600.0))
    monkeypatch.setattr("coordinator.runs.home.OVERDUE", 0.0)
    gate = asyncio.Event()

    def script(request: Request) -> Completion | asyncio.Event:
        if request.system == "others'" or (begins and request.system == REQUEST.system):
            return gate
        return ANSWER if request.system == REQUEST.system else DONE

    engine = ScriptedEngine(script)
    async with (
        dispatching(tmp_path, engine) as (dispatcher, (node,)),
        Roster(scope(None), Trust.load(), [node]) as other,
        asyncio.timeout(PATIENCE),
    ):
        await until(lambda: any(each.state is NodeState.JOINED for each in other.nodes()))
        await Run("run", 2).on(dispatcher)
        speed = dispatcher.speed(node)
        assert speed is not None
        assert speed.known
        if not begins:
            other.send(node, Lease(LeaseId("o"), "scripted-model", "others'", "", (Subtask(SubtaskId("x"), "?", "{}", 8),)))
            await until(lambda: engine.seen[-1].system == "others'")
        with Journal.create(tmp_path / "runs") as journal:
            asking = asyncio.create_task(aggregate_at_home(dispatcher, journal, REQUEST, 1, lambda _: None))
            if begins:
                with pytest.raises(NoNodes, match="did not answer in time"):
                    await asking
            else:
                await until(lambda: dispatcher._presence._aside[node])
                monkeypatch.setattr("coordinator.runs.home.SILENCE_SECONDS", (600.0, 600.0))
                gate.set()
                assert (await asking).answer == "In May."


async def test_a_node_that_does_not_begin_is_passed_over_for_one_that_may_be_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is told; where no other is left it is waited for."""
    monkeypatch.setattr("coordinator.runs.home.BEGIN_SECONDS", 0.0)
    gate = asyncio.Event()

    def engine(name: str, parameters: int) -> ScriptedEngine:
        model = Model(name, context_tokens=9_000, parameters=parameters)
        return ScriptedEngine(lambda request: ANSWER if request.system == REQUEST.system else gate, model=model)

    engines = engine("large", 9), engine("small", 1)
    events: list[Event] = []
    async with (
        dispatching(tmp_path, *engines) as (dispatcher, nodes),
        Roster(scope(None), Trust.load(), list(nodes)) as other,
        asyncio.timeout(PATIENCE),
    ):
        await until(lambda: sum(each.state is NodeState.JOINED for each in other.nodes()) == 2)
        for node, each in zip(nodes, engines, strict=True):
            other.send(node, Lease(LeaseId("o"), each.models[0].name, "", "", (Subtask(SubtaskId("x"), "?", "{}", 8),)))
        await until(lambda: all(each.seen for each in engines))
        with Journal.create(tmp_path / "runs") as journal:
            asking = asyncio.create_task(aggregate_at_home(dispatcher, journal, REQUEST, 1, events.append))
            await until(lambda: sum(isinstance(event, Warned) for event in events) == 2)
            gate.set()
            assert (await asking).answer == "In May."
    assert [event.model for event in events if isinstance(event, Aggregating)] == ["large", "small"]
    told = [event.message for event in events if isinstance(event, Warned)]
    assert all("has not begun to write the answer; it may be working for others." in each for each in told)
