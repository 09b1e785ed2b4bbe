"""A process that freezes, as a phone does that falls asleep, and one that is killed: seen from the coordinator and in a run."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.config import Config
from coordinator.events import Ended, Event, NodeChanged, NodeInfo, NodeState
from coordinator.events import Reading as ReadingEvent
from coordinator.pool import Pool
from coordinator.types import Status
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.node import Node, NodeConfig
from tests.end_to_end.pools import PATIENCE, QUESTION, RunningNode

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be frozen here")


async def until(pool: Pool, wanted: Callable[[NodeInfo], bool]) -> NodeInfo:
    async with asyncio.timeout(PATIENCE):
        async for nodes in pool.watch():
            for node in nodes:
                if wanted(node):
                    return node
    raise AssertionError("watched for ever")


async def test_a_frozen_node_is_in_doubt_and_back_when_it_thaws(start_node: Callable[..., RunningNode]) -> None:
    """In doubt while its stream is open, gone if it stays frozen, joined again as soon as it goes on; killed, it is gone."""
    node = await asyncio.to_thread(start_node)
    async with Pool.discover(nodes=[node.name], config=Config()) as pool:
        await until(pool, lambda each: each.state is NodeState.JOINED)
        os.kill(node.process.pid, signal.SIGSTOP)
        try:
            doubted = await until(pool, lambda each: each.state is NodeState.SUSPECT)
            assert doubted.why == "It has been silent for seconds."
        finally:
            os.kill(node.process.pid, signal.SIGCONT)
        await until(pool, lambda each: each.state is NodeState.JOINED)
        node.process.kill()
        gone = await until(pool, lambda each: each.state is NodeState.GONE)
        assert gone.why


async def test_a_run_goes_on_without_a_node_that_freezes(
    start_node: Callable[..., RunningNode], tmp_path: Path, lease: Path
) -> None:
    """What the sleeper held is read by the other; the doubt is told as an event."""
    slow = ("--engine", "deterministic", "--speed", "400:200")
    sleeper = await asyncio.to_thread(start_node, engine=slow)
    # Slow enough for the doubt to come before the end.
    engine = DeterministicEngine(read_tokens_per_second=1_200, write_tokens_per_second=2_000)
    name = f"{sleeper.name}-awake"
    events: list[Event] = []
    async with (
        Node(NodeConfig(home=tmp_path / name, name=name), engine),
        Pool.discover(nodes=[sleeper.name, name], config=Config()) as pool,
    ):
        await until(pool, lambda each: each.name == name and each.state is NodeState.JOINED)
        asleep = (await until(pool, lambda each: each.name == sleeper.name and each.state is NodeState.JOINED)).id
        try:
            async with asyncio.timeout(PATIENCE):
                async for event in pool.stream(QUESTION, lease, read="all"):
                    if isinstance(event, ReadingEvent) and event.node == asleep:
                        os.kill(sleeper.process.pid, signal.SIGSTOP)
                    events.append(event)
        finally:
            os.kill(sleeper.process.pid, signal.SIGCONT)
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.answer.status is Status.ANSWERED
    assert ended.answer.findings.failed == 0
    doubts = [event.node for event in events if isinstance(event, NodeChanged)]
    assert [(node.id, node.state) for node in doubts[:1]] == [(asleep, NodeState.SUSPECT)]
