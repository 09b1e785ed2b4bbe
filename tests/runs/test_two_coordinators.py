"""Two coordinators on the same real nodes: neither is made to pay for the turns of the other."""

import asyncio
import copy
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from coordinator.events import Cancelled, Lost, NodeState
from coordinator.nodes.pairing import Trust
from coordinator.nodes.roster import Roster
from coordinator.runs.dispatch import Dispatcher
from coordinator.scheduling.decisions import Withdraw
from edgenode.engines.engine import Engine, EngineProgress, Request
from edgenode.net.interfaces import scope
from edgenode.node import Node, NodeConfig
from edgenode.types import Completion
from tests.runs.test_dispatch import DONE, Run, of, until
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired

LONG_SECONDS = 600.0
"""More than any turn takes, and less than a lease may wait for one."""


@asynccontextmanager
async def two_on(home: Path, *engines: Engine) -> AsyncIterator[tuple[Dispatcher, Dispatcher]]:
    """Dispatchers of two coordinators on the same nodes, one for each engine, which have joined both."""
    async with AsyncExitStack() as stack:
        names = [f"node-{secrets.token_hex(4)}" for _ in engines]
        trusts = Trust.load(home / "anna"), Trust.load(home / "bert")
        for name, engine in zip(names, engines, strict=True):
            for trust in trusts:
                paired(home / name, trust.authority, trust.paired, name)
            await stack.enter_async_context(Node(NodeConfig(home=home / name, name=name), engine))
        rosters = [await stack.enter_async_context(Roster(scope(None), trust, names)) for trust in trusts]
        anna, bert = [await stack.enter_async_context(Dispatcher(roster)) for roster in rosters]
        for roster in rosters:
            await until(lambda roster=roster: sum(n.state is NodeState.JOINED for n in roster.nodes()) == len(engines))
        yield anna, bert


async def test_no_node_is_blamed_while_it_works_for_another_coordinator(tmp_path: Path) -> None:
    """Both nodes are at one subtask of a long text, and a letter waits for its turn: however long it takes, nothing goes back."""
    gate = asyncio.Event()
    engines = [ScriptedEngine(lambda request: gate if of("text", request) else DONE) for _ in range(2)]
    async with two_on(tmp_path, *engines) as (anna, bert):
        text, before, letter = Run("text", 4), Run("before", 6), Run("letter", 6)
        await before.on(bert)  # so that it is known how quick they are
        tasks = [asyncio.create_task(text.on(anna))]
        await until(lambda: all(any(of("text", request) for request in engine.seen) for engine in engines))
        tasks.append(asyncio.create_task(letter.on(bert)))
        await until(lambda: len({grant.node for grant in letter.grants}) == 2)
        later = copy.deepcopy(bert._schedule).tick(time.monotonic() + LONG_SECONDS)
        assert not any(isinstance(each, Withdraw) for each in later)
        assert not any("no progress" in event.why for event in letter.events if isinstance(event, Lost | Cancelled))
        gate.set()
        await asyncio.gather(*tasks)
    assert text.is_whole
    assert letter.is_whole


class Steady(ScriptedEngine):
    """Takes the same time for whatever it is asked."""

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        self.seen.append(request)
        await asyncio.sleep(0.01)
        return DONE


async def test_both_get_their_share_while_both_have_work(tmp_path: Path) -> None:
    """By what the node did for each from the first subtask of the second one's run to the last."""
    engine = Steady()
    async with two_on(tmp_path, engine) as (anna, bert):
        first, second = Run("first", 400), Run("second", 60)
        task = asyncio.create_task(first.on(anna))
        await until(lambda: engine.seen)
        await second.on(bert)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    seconds = [at for at, request in enumerate(engine.seen) if of("second", request)]
    meanwhile = sum(of("first", request) for request in engine.seen[seconds[0] : seconds[-1]])
    assert second.is_whole
    assert len(seconds) / 3 < meanwhile < len(seconds) * 3
