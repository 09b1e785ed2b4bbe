"""Several questions to one pool at once: real nodes found by real mDNS, real gRPC, the deterministic test engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from coordinator.errors import RunError
from coordinator.events import Ended, Event, Leased, Planned
from coordinator.minions import prompts
from coordinator.types import Answer
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import EngineProgress, Request
from edgenode.types import Completion
from tests.end_to_end.pools import PATIENCE, QUESTION, is_probe, lease_text, pool_of

OTHER = "Who looks after the garden in week 30?"


class Heard(DeterministicEngine):
    """Keeps what it is asked."""

    def __init__(self, seen: list[Request]) -> None:
        super().__init__(read_tokens_per_second=8_000, write_tokens_per_second=1_000)
        self._seen = seen

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        self._seen.append(request)
        return await super().complete(request, progress)


class Held(Heard):
    """Reads while an event is set."""

    def __init__(self, reads: asyncio.Event) -> None:
        super().__init__([])
        self._reads = reads

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        await self._reads.wait()
        return await super().complete(request, progress)


async def answer_of(stream: AsyncIterator[Event], ended: list[Answer], planned: asyncio.Event | None = None) -> None:
    async for event in stream:
        if isinstance(event, Planned) and planned is not None:
            planned.set()
        if isinstance(event, Ended):
            ended.append(event.answer)


async def leased(stream: AsyncIterator[Event]) -> None:
    """Goes on until something of the run is on a node."""
    async for event in stream:
        if isinstance(event, Leased):
            return


async def test_what_is_asked_in_the_background_lets_others_go_first(tmp_path: Path, lease: Path) -> None:
    """A question asked later, of the same nodes, is answered first, also where the nodes put the answer together; both answers are
    those that each has alone."""
    long = tmp_path / "long.txt"
    long.write_text(lease_text(60), encoding="utf-8")
    both_are_known = asyncio.Event()
    both_are_known.set()
    async with pool_of(tmp_path, Held(both_are_known), Held(both_are_known)) as pool:
        alone = [await pool.ask(OTHER, long, read="all"), await pool.ask(QUESTION, lease, read="all")]
        both_are_known.clear()
        ended: list[Answer] = []
        background = pool.stream(OTHER, long, read="all", background=True)
        await leased(background)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(answer_of(background, ended))
            later = pool.stream(QUESTION, lease, read="all")
            tasks.create_task(answer_of(later, ended, planned=both_are_known))
    assert [answer.citations for answer in ended] == [answer.citations for answer in reversed(alone)]
    for together, before in zip(ended, reversed(alone), strict=True):
        assert (together.status, together.text, together.findings) == (before.status, before.text, before.findings)
        assert together.ledger == before.ledger


async def test_a_question_that_is_left_leaves_the_other_alone(tmp_path: Path, lease: Path) -> None:
    """Its iterator closed in the middle of the reading, the other one has the answer it has alone."""
    async with pool_of(tmp_path, Heard([])) as pool:
        alone = await pool.ask(QUESTION, lease, read="all")
        left = pool.stream(OTHER, lease, read="all")
        await leased(left)
        ended: list[Answer] = []
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(answer_of(pool.stream(QUESTION, lease, read="all"), ended))
            await left.aclose()  # type: ignore[attr-defined]
    assert (ended[0].citations, ended[0].findings) == (alone.citations, alone.findings)


async def test_probes_hold_nothing_of_the_user_and_are_in_no_account(tmp_path: Path, lease: Path) -> None:
    """Who only looks who is there asks nobody anything. Before a question nodes read our text and no other, and what they did in
    the run is without that."""
    seen: list[Request] = []
    async with pool_of(tmp_path, Heard(seen)) as pool:
        await pool.nodes()
        assert seen == []
        answer = await pool.ask(QUESTION, lease)
    probes = [request for request in seen if is_probe(request)]
    assert {(probe.system, probe.user) for probe in probes} <= {
        (prompts.SYSTEM, prompts.PROBE_TEXT + prompts.PROBE_INSTRUCTION),
    }
    assert len(probes) <= 1
    (node,) = answer.nodes
    assert node.subtasks == sum(request.system == prompts.SYSTEM for request in seen) - len(probes)


async def test_a_pool_that_is_left_says_so_to_the_run(tmp_path: Path, lease: Path) -> None:
    """A run that goes on beyond its pool ends with a sentence and can be resumed."""
    async with pool_of(tmp_path, DeterministicEngine(read_tokens_per_second=100, write_tokens_per_second=10)) as pool:
        stream = pool.stream(QUESTION, lease, read="all")
        await leased(stream)
    with pytest.raises(RunError, match="pool was closed"):
        await answer_of(stream, [])
