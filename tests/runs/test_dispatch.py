"""Several runs on the nodes of one pool: real nodes over loopback, and participants that do as a test says."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.documents.chunks import estimate_tokens
from coordinator.errors import RunError
from coordinator.events import Cancelled, Event, Lost, NodeGone, NodeJoined, NodeState, Retried
from coordinator.minions import prompts
from coordinator.nodes.news import Heard, Up
from coordinator.nodes.pairing import Trust
from coordinator.nodes.roster import Roster
from coordinator.runs.dispatch import Dispatcher
from coordinator.scheduling.decisions import PROBE_PROMPT_TOKENS, GiveUp, Grant, Need, Work
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import Engine, EngineProgress, Request
from edgenode.errors import EngineError
from edgenode.net.interfaces import scope
from edgenode.node import Node, NodeConfig
from edgenode.types import (
    Completion,
    EngineState,
    Failure,
    FailureReason,
    Frame,
    Lease,
    Model,
    NodeId,
    Outcome,
    Progress,
    Subtask,
    SubtaskId,
    Usage,
)
from tests.end_to_end.pools import is_probe
from tests.scripted_engine import ScriptedEngine

PATIENCE = 180.0
DONE = Completion('{"quote": null, "answer": ""}', Usage(10, 0, 3, 0.01))


class Run:
    """A participant with `count` subtasks, a chunk for each, that keeps what it hears. `fail_at` raises in the method so called."""

    def __init__(self, id: str, count: int, fail_at: str = "") -> None:
        self.id = id
        self.work = [Work(chunk, (SubtaskId(f"{id}.{chunk}"),)) for chunk in range(count)]
        self.grants: list[Grant] = []
        self.ended: list[SubtaskId] = []
        self.failed: list[GiveUp] = []
        self.events: list[Event] = []
        self.progress = 0
        self._fail_at = fail_at

    async def on(self, dispatcher: Dispatcher, need: Need = Need(test_engine=True)) -> None:  # noqa: B008 (frozen)
        async with asyncio.timeout(PATIENCE):
            await dispatcher.carry_out(self.id, self.work, need, self)

    def lease(self, grant: Grant) -> Lease:
        self._raise("lease")
        self.grants.append(grant)
        subtasks = tuple(Subtask(id, f"What of {id}?", prompts.PROBE_SCHEMA, 16) for id in grant.subtasks)
        return Lease(grant.lease, grant.model, f"run {self.id}", "Text:\n", subtasks)

    def progressed(self, grant: Grant, progress: Progress) -> None:
        assert grant in self.grants
        self.progress += 1

    def completed(self, grant: Grant, subtask: SubtaskId, completion: Completion, *, wanted: bool) -> Failure | None:
        self._raise("completed")
        assert grant in self.grants
        if wanted:
            self.ended.append(subtask)
        return None

    def given_up(self, decision: GiveUp) -> None:
        self.failed.append(decision)

    def tell(self, event: Event) -> None:
        self._raise("tell")
        self.events.append(event)

    @property
    def presence(self) -> list[tuple[type[Event], NodeId]]:
        """Which nodes came and went, without what else befell them: on a busy machine one may be in doubt for a moment."""
        events = [event for event in self.events if isinstance(event, NodeJoined | NodeGone)]
        return [(type(event), event.node.id if isinstance(event, NodeJoined) else event.id) for event in events]

    def _raise(self, where: str) -> None:
        if where == self._fail_at:
            raise RunError("The disk is full.")

    @property
    def is_whole(self) -> bool:
        """Each subtask ended, and none twice."""
        return sorted(self.ended) == sorted(id for bundle in self.work for id in bundle.subtasks)


def of(run: str, request: Request) -> bool:
    return request.system == f"run {run}"


async def until(condition: Callable[[], object]) -> None:
    """Lets the others on until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - engines and schedules have no event for it
            await asyncio.sleep(0.005)


@asynccontextmanager
async def dispatching(home: Path, *engines: Engine) -> AsyncIterator[tuple[Dispatcher, list[NodeId]]]:
    """A dispatcher on nodes that have joined, one for each engine, with their ids."""
    async with AsyncExitStack() as stack:
        names = [f"node-{secrets.token_hex(4)}" for _ in engines]
        nodes = [
            await stack.enter_async_context(Node(NodeConfig(home=home / name, name=name), engine))
            for name, engine in zip(names, engines, strict=True)
        ]
        roster = await stack.enter_async_context(Roster(scope(None), Trust.load(), names))
        dispatcher = await stack.enter_async_context(Dispatcher(roster))
        await until(lambda: sum(node.state is NodeState.JOINED for node in roster.nodes()) == len(engines))
        yield dispatcher, [node.trust.id for node in nodes]


def quick() -> ScriptedEngine:
    return ScriptedEngine(lambda _: DONE)


async def test_runs_share_the_nodes_and_hear_of_their_own(tmp_path: Path) -> None:
    """Both come to their end at once; leases, progress and outcomes reach the run they belong to, and both hear of both nodes."""
    async with dispatching(tmp_path, quick(), quick()) as (dispatcher, nodes):
        runs = [Run("a", 12), Run("b", 7)]
        await asyncio.gather(*(run.on(dispatcher) for run in runs))
    for run in runs:
        assert run.is_whole
        assert run.progress > 0
        assert {grant.run for grant in run.grants} == {run.id}
        assert {event.node.id for event in run.events if isinstance(event, NodeJoined)} == set(nodes)
    assert not {grant.lease for grant in runs[0].grants} & {grant.lease for grant in runs[1].grants}


async def test_leaving_early_takes_back_that_run_alone(tmp_path: Path) -> None:
    """Cancelled in the middle: what it has on any node is stopped there, and the other run goes on to its end."""
    gate = asyncio.Event()
    engines = [ScriptedEngine(lambda request: gate if of("left", request) else DONE) for _ in range(2)]
    async with dispatching(tmp_path, *engines) as (dispatcher, _):
        left, other = Run("left", 6), Run("other", 6)
        leaving = asyncio.create_task(left.on(dispatcher))
        await until(lambda: all(any(of("left", request) for request in engine.seen) for engine in engines))
        going_on = asyncio.create_task(other.on(dispatcher))
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        told = len(left.events)
        await going_on
        await until(lambda: all(engine.cancelled for engine in engines))
        assert other.is_whole
        assert all(of("left", request) for engine in engines for request in engine.cancelled)
        assert (left.ended, left.failed, len(left.events)) == ([], [], told)


@pytest.mark.parametrize("where", ["lease", "completed", "tell"])
async def test_what_goes_wrong_in_a_run_ends_that_run_alone(tmp_path: Path, where: str) -> None:
    """A full disk in one run's journal is the end of that run with its sentence; the other reads on, on the same node."""
    async with dispatching(tmp_path, quick()) as (dispatcher, _):
        broken, other = Run("broken", 9, fail_at=where), Run("other", 9)
        outcomes = await asyncio.gather(*(run.on(dispatcher) for run in (broken, other)), return_exceptions=True)
        assert isinstance(outcomes[0], RunError)
        assert outcomes[1] is None
        assert other.is_whole
        assert broken.ended == []
        again = Run("again", 3)
        await again.on(dispatcher)
        assert again.is_whole


async def test_a_run_that_is_resumed_hears_nothing_of_its_last_sitting(tmp_path: Path) -> None:
    """What the node still says of a lease of the run that was left belongs to nobody."""
    gate, ready = asyncio.Event(), asyncio.Event()

    class Deaf(ScriptedEngine):
        """Does not hear that it is to stop, as servers do."""

        async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
            if of("run-1", request):
                ready.set()
                await asyncio.shield(asyncio.ensure_future(gate.wait()))
            return DONE

    async with dispatching(tmp_path, Deaf()) as (dispatcher, _):
        first, second = Run("run-1", 2), Run("run-2", 2)
        leaving = asyncio.create_task(first.on(dispatcher))
        async with asyncio.timeout(PATIENCE):
            await ready.wait()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        going_on = asyncio.create_task(second.on(dispatcher))
        gate.set()
        await going_on
        assert first.ended == []
        assert second.is_whole


async def test_a_node_is_believed_about_its_own_leases_and_once(tmp_path: Path) -> None:
    """Outcomes of another node's lease, of subtasks that are not in the lease, and second ones count for nothing."""
    gate = asyncio.Event()
    engines = [ScriptedEngine(lambda _: gate), ScriptedEngine(lambda _: gate)]
    async with dispatching(tmp_path, *engines) as (dispatcher, nodes):
        run = Run("run", 4)
        reading = asyncio.create_task(run.on(dispatcher))
        await until(lambda: {grant.node for grant in run.grants} == set(nodes))
        grant = run.grants[0]
        (liar,) = set(nodes) - {grant.node}
        honest = Outcome(grant.lease, grant.subtasks[0], DONE)
        for node, frame in (
            (liar, honest),
            (grant.node, Outcome(grant.lease, SubtaskId("run.99"), DONE)),
            (grant.node, honest),
            (grant.node, honest),
            (grant.node, Outcome(grant.lease, grant.subtasks[0], Failure(FailureReason.ENGINE_ERROR, "no"))),
        ):
            dispatcher.roster._tell(Heard(node, frame))
        await until(lambda: run.ended)
        assert run.ended == [grant.subtasks[0]]
        gate.set()
        await reading
        assert run.is_whole
        assert not any(isinstance(event, Retried) for event in run.events)


async def test_a_run_hears_of_nodes_that_may_read_for_it(tmp_path: Path) -> None:
    """A node whose context is too small is none of its business; when its models change it has joined, and then it is gone."""
    small, large = Model("small", context_tokens=1_000), Model("large", context_tokens=9_000)
    gate = asyncio.Event()
    engine = ScriptedEngine(lambda _: gate, model=small)
    async with dispatching(tmp_path, ScriptedEngine(lambda _: gate, model=large), engine) as (dispatcher, (reader, changing)):
        run, undemanding = Run("run", 3), Run("undemanding", 3)
        tasks = [asyncio.create_task(run.on(dispatcher, Need(5_000))), asyncio.create_task(undemanding.on(dispatcher, Need(500)))]
        await until(lambda: run.presence and len(undemanding.presence) == 2)
        expected: list[tuple[type[Event], NodeId]] = [(NodeJoined, reader)]
        assert run.presence == expected
        for models, then in (((small, large), NodeJoined), ((small,), NodeGone)):
            engine.models = models
            engine.become(engine.state)
            expected.append((then, changing))
            await until(lambda: len(run.presence) == len(expected))
        assert run.presence == expected
        assert len(undemanding.presence) == 2
        gate.set()
        await asyncio.gather(*tasks)
        assert {grant.model for grant in run.grants} == {"large"}
        assert run.is_whole
        assert undemanding.is_whole


async def test_another_number_of_slots_takes_nothing_back(tmp_path: Path) -> None:
    """A node's server was started anew with fewer: it works on, and nobody is told that it has gone."""
    gate = asyncio.Event()
    engine = ScriptedEngine(lambda _: gate, slots=4)
    async with dispatching(tmp_path, engine) as (dispatcher, (node,)):
        run = Run("run", 3)
        task = asyncio.create_task(run.on(dispatcher))
        await until(lambda: engine.seen)
        engine.slots = 2
        engine.become(engine.state)
        await until(lambda: dispatcher._schedule._book.nodes[node].width.slots == 2)
        gate.set()
        await task
    assert run.presence == [(NodeJoined, node)]
    assert not any(isinstance(event, Lost | Cancelled) for event in run.events)
    assert run.is_whole


async def test_a_pool_that_is_closed_ends_its_runs(tmp_path: Path) -> None:
    """With a sentence, at once, and what the nodes were at is stopped."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with dispatching(tmp_path, engine) as (dispatcher, _):
        run = Run("run", 2)
        reading = asyncio.create_task(run.on(dispatcher))
        await until(lambda: engine.seen)
    with pytest.raises(RunError, match="pool was closed"):
        await reading
    assert engine.cancelled == engine.seen


async def test_a_mistake_in_the_program_ends_the_runs_and_not_the_pool(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the schedule stumbles over is told in a sentence and written to the log; the node is told to stop, the next run is read,
    and leaving the pool raises nothing."""
    gate = asyncio.Event()
    engine = ScriptedEngine(lambda request: DONE if of("next", request) else gate)
    async with dispatching(tmp_path, engine) as (dispatcher, (node,)):
        run = Run("run", 2)
        reading = asyncio.create_task(run.on(dispatcher))
        await until(lambda: engine.seen)
        # No wire lets this through: it stands for a case that nobody thought of.
        unthought: int = "many"  # type: ignore[assignment]
        lease = run.grants[0]
        dispatcher.roster._tell(Heard(node, Progress(lease.lease, lease.subtasks[0], unthought, unthought, unthought)))
        with pytest.raises(RunError, match=r"mistake in the program \(TypeError\).*resumed"):
            await reading
        await until(lambda: engine.cancelled)
        following = Run("next", 3)
        await following.on(dispatcher)
        assert following.is_whole
    assert "Traceback" in caplog.text


async def test_a_node_over_which_every_schedule_stumbles_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The new schedule is told of those that are there, stumbles over the same one, and goes on with the others."""
    async with dispatching(tmp_path, quick()) as (dispatcher, _):
        unthought: int = "many"  # type: ignore[assignment]
        odd = replace(dispatcher.roster.nodes()[0], id=NodeId("odd"), slots=unthought)
        dispatcher.roster._tell(Up(odd))
        await until(lambda: f"leaves the node {odd.name} out" in caplog.text)
        run = Run("run", 3)
        await run.on(dispatcher)
        assert run.is_whole


async def test_a_mistake_in_the_handling_of_a_mistake_is_not_told_as_a_closed_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that read and runs that come later end with what is true, and leaving the pool raises nothing."""
    engine = ScriptedEngine(lambda _: asyncio.Event())
    async with dispatching(tmp_path, engine) as (dispatcher, (node,)):
        run = Run("run", 2)
        reading = asyncio.create_task(run.on(dispatcher))
        await until(lambda: engine.seen)

        def stumble(node: NodeId, frame: Frame) -> None:
            monkeypatch.undo()
            raise TypeError

        monkeypatch.setattr(dispatcher.roster, "send", stumble)
        unthought: int = "many"  # type: ignore[assignment]
        lease = run.grants[0]
        dispatcher.roster._tell(Heard(node, Progress(lease.lease, lease.subtasks[0], unthought, unthought, unthought)))
        for each in (reading, Run("next", 1).on(dispatcher)):
            with pytest.raises(RunError, match=r"mistake in the program \(TypeError\)"):
                await each


async def test_a_mistake_as_a_node_is_kept_free_keeps_it_no_longer(tmp_path: Path) -> None:
    """What is asked beside the schedule goes on, the new schedule knows that the node is kept free, and afterwards it reads."""
    async with dispatching(tmp_path, quick()) as (dispatcher, (node,)):
        del dispatcher._schedule._placement
        run = Run("run", 2)
        with dispatcher.kept_free(node):
            reading = asyncio.create_task(run.on(dispatcher))
            await until(lambda: run.events)
            assert run.grants == []
        await reading
        assert run.is_whole


async def test_a_run_waits_for_a_node_that_is_kept_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as that takes, while one whose only node's engine does not come back is given up."""
    broken = ScriptedEngine(model=Model("large", context_tokens=9_000))
    broken.become(EngineState.RESTARTING)
    async with dispatching(tmp_path, quick(), broken) as (dispatcher, (node, _)):
        waiting, stuck = Run("waiting", 2), Run("stuck", 2)
        with dispatcher.kept_free(node):
            reading = asyncio.create_task(waiting.on(dispatcher))
            with monkeypatch.context() as impatient:
                for limit in ("attempts.STUCK_SECONDS", "attempts.PATIENCE_SECONDS", "backlog.PATIENCE_SECONDS"):
                    impatient.setattr(f"coordinator.scheduling.{limit}", 1.0)
                await stuck.on(dispatcher, Need(9_000))
            assert (len(stuck.failed), waiting.failed, waiting.grants) == (2, [], [])
        await reading
        assert waiting.is_whole


async def test_probes_tell_how_fast_a_node_is_before_it_gets_work(tmp_path: Path) -> None:
    """Each node reads a text of ours, about as long as it is estimated, behind the system text of all leases; the schedule then
    knows its speed. Without a run to come nobody is asked."""
    seen: list[Request] = []

    class Watched(DeterministicEngine):
        async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
            seen.append(request)
            return await super().complete(request, progress)

    engines = [Watched(read_tokens_per_second=speed, write_tokens_per_second=speed / 4) for speed in (2_000, 200)]
    async with dispatching(tmp_path, *engines) as (dispatcher, nodes):
        assert not any(_known(dispatcher, nodes))
        assert seen == []
        dispatcher.expect()
        await until(lambda: all(_known(dispatcher, nodes)))
        assert len(seen) == 2
        for request in seen:
            assert is_probe(request)
            assert request.system == prompts.SYSTEM
            assert json.loads(request.reply_schema)
        dispatcher.expect()
        run = Run("run", 2)
        await run.on(dispatcher)
        assert run.is_whole
        assert sum(map(is_probe, seen)) == 2
    estimate = estimate_tokens(prompts.SYSTEM + prompts.PROBE_TEXT + prompts.PROBE_INSTRUCTION)
    assert estimate == pytest.approx(PROBE_PROMPT_TOKENS, rel=0.1)


async def test_work_does_not_wait_for_probes(tmp_path: Path) -> None:
    """A probe that hangs, or fails, is in nobody's way: it is stopped when a run comes, which hears nothing of it."""
    hanging = ScriptedEngine(lambda request: asyncio.Event() if is_probe(request) else DONE)
    failing = ScriptedEngine(lambda request: EngineError("no") if is_probe(request) else DONE)
    async with dispatching(tmp_path, hanging, failing) as (dispatcher, _):
        dispatcher.expect()
        await until(lambda: hanging.seen and failing.seen)
        run = Run("run", 8)
        await run.on(dispatcher)
        assert run.is_whole
        # On a busy machine a part of the run's own work may have been done twice.
        told = [event for event in run.events if not isinstance(event, NodeJoined)]
        assert all(isinstance(event, Cancelled) and event.lease in {grant.lease for grant in run.grants} for event in told)
        await until(lambda: hanging.cancelled)


def _known(dispatcher: Dispatcher, nodes: Sequence[NodeId]) -> list[bool]:
    speeds = [dispatcher.speed(node) for node in nodes]
    return [speed is not None and speed.known for speed in speeds]
