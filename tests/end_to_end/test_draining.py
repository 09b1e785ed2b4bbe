"""A device that spares itself, seen from the coordinator: it says so, gets nothing new, and takes part again when it can."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console

from coordinator.config import Config
from coordinator.events import Ended, NodeInfo, NodeState
from coordinator.nodes_view import watch_nodes
from coordinator.pool import Pool
from coordinator.types import Status
from edgenode.device.status import Reading
from edgenode.device.watch import DeviceWatch
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.node import Node, NodeConfig
from edgenode.types import DeviceStatus
from tests.end_to_end.pools import PATIENCE, QUESTION

LOW = Reading(DeviceStatus(battery_percent=14, charging=False))
REASON = "on battery at 14 %: takes no work until it charges or reaches 30 %"


@asynccontextmanager
async def node(home: Path, name: str, reading: Reading) -> AsyncIterator[Node]:
    """A node with the deterministic engine on a device that reads as told."""
    made = Node(NodeConfig(home=home / name, name=name), DeterministicEngine())
    made._device = DeviceWatch(lambda _: None, made._drain, sources=[lambda: reading])
    async with made:
        yield made


async def until(pool: Pool, name: str, wanted: Callable[[NodeInfo], bool]) -> NodeInfo:
    """The node of that name as soon as it is as wanted."""
    async with asyncio.timeout(PATIENCE):
        async for nodes in pool.watch():
            for each in nodes:
                if each.name == name and wanted(each):
                    return each
    raise AssertionError("a watch has no end")


async def test_a_draining_device_says_so_and_gets_no_work(tmp_path: Path, lease: Path) -> None:
    """Its status and its reason reach the coordinator; the run is done by the other."""
    async with node(tmp_path, "phone", LOW), node(tmp_path, "desk", Reading()), Pool.discover(config=Config(None)) as pool:
        phone = await until(pool, "phone", lambda each: bool(each.draining and each.status))
        assert (phone.state, phone.draining) == (NodeState.JOINED, REASON)
        assert phone.status is not None
        assert (phone.status.battery_percent, phone.status.charging) == (14, False)
        await until(pool, "desk", lambda each: each.state is NodeState.JOINED)
        answers = [event.answer async for event in pool.stream(QUESTION, [lease]) if isinstance(event, Ended)]
        assert answers[0].status is not Status.FAILED
        assert {each.name for each in answers[0].nodes if each.subtasks} == {"desk"}


async def test_the_watch_shows_it_live(tmp_path: Path) -> None:
    """`coordinator nodes --watch` in a pipe tells of a real node that joins and drains."""
    stream = io.StringIO()

    async def until_it_drains(pool: Pool) -> AsyncIterator[tuple[NodeInfo, ...]]:
        async with asyncio.timeout(PATIENCE):
            async for nodes in pool.watch():
                yield nodes
                if any(each.draining for each in nodes):
                    return

    async with node(tmp_path, "phone", LOW), Pool.discover() as pool:
        await watch_nodes(Console(file=stream, width=200), until_it_drains(pool))
    assert f"O{REASON[1:]}." in stream.getvalue()
