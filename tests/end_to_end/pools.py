"""What the end-to-end tests share: a document, pools of nodes in this process, and the commands as a user types them."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.config import Config, SupervisorConfig, agree
from coordinator.events import NodeState
from coordinator.minions import prompts
from coordinator.pool import Pool
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import Engine, Request
from edgenode.node import Node, NodeConfig
from tests.supervisor_server import SupervisorServer

FACT = "The deposit of the flat is paid back within six weeks after the keys are returned."
QUESTION = "When is the deposit of the flat paid back?"
PATIENCE = 300.0
"""Seconds for what a user has in one or two, on a machine that is busy with other tests."""


def lease_text(sections: int = 30) -> str:
    """A lease of many sections, each about something else, with `FACT` in the middle."""
    topics = (
        "heating",
        "garden",
        "bicycle cellar",
        "laundry room",
        "stairwell",
        "parking space",
        "roof",
        "intercom",
        "windows",
        "mailbox",
    )
    parts = []
    for number in range(sections):
        topic = topics[number % len(topics)]
        parts.append(f"Section {number + 1}: {topic}.")
        parts.extend(
            f"Rule {number + 1}.{line}: the {topic} is looked after by tenant {number * 7 + line} in week {line * 3 + number}."
            for line in range(1, 13)
        )
        if number == sections // 2:
            parts.append(FACT)
        parts.append("")
    return "\n".join(parts)


def agreed(supervisor: SupervisorServer) -> dict[str, str]:
    """An environment that names the supervisor, which the user has agreed to before."""
    agree(SupervisorConfig(base_url=supervisor.url))
    return {"OPENAI_BASE_URL": supervisor.url}


@asynccontextmanager
async def pool_of(home: Path, *engines: Engine, supervisor: str | None = None) -> AsyncIterator[Pool]:
    """A pool of nodes in this process, one for each engine, found by real mDNS; `supervisor` is a base URL."""
    config = Config(SupervisorConfig(base_url=supervisor, api_key="test-key") if supervisor else None)
    async with AsyncExitStack() as stack:
        names = [f"node-{secrets.token_hex(4)}" for _ in engines]
        for name, engine in zip(names, engines, strict=True):
            await stack.enter_async_context(Node(NodeConfig(home=home / name, name=name), engine))
        pool = await stack.enter_async_context(Pool.discover(nodes=names or ["nobody"], config=config))
        await all_joined(pool, len(engines))
        yield pool


async def all_joined(pool: Pool, count: int) -> None:
    """Until so many nodes can be given work, which on a busy machine may take longer than a user would wait."""
    async with asyncio.timeout(PATIENCE):
        while sum(node.state is NodeState.JOINED for node in await pool.nodes()) < count:  # noqa: ASYNC110 - a pool has no event
            await asyncio.sleep(0.05)


def is_probe(request: Request) -> bool:
    """Whether it is what nodes read before a run, to learn how fast they are."""
    return request.user.startswith(prompts.PROBE_TEXT)


def readers(count: int) -> tuple[DeterministicEngine, ...]:
    return tuple(DeterministicEngine() for _ in range(count))


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(name: str, *arguments: str | Path) -> list[str]:
    return [str(Path(sys.executable).parent / name), *map(str, arguments)]


def run(name: str, *arguments: str | Path, timeout: float = PATIENCE, **environment: str) -> Ran:
    """Runs `edgenode` or `coordinator` as a user would, without a terminal."""
    done = subprocess.run(
        command(name, *arguments),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def seen(
    *looking: str | Path, key: str, ids: Collection[str], wanted: Callable[[dict[str, Any]], object] = bool
) -> dict[str, dict[str, Any]]:
    """What a command that lists what it sees (as JSON, under `key`) tells of the nodes `ids`, once it tells of all of them and each
    is as `wanted`: on a machine that is busy with other tests mDNS and connecting may take longer than a user would wait."""
    for _ in range(10):
        listed = run(*map(str, looking), "--json")
        assert listed.status == 0, listed.err
        found = {each["id"]: each for each in listed.json[key] if each["id"] in ids}
        if found.keys() == set(ids) and all(map(wanted, found.values())):
            return found
    raise AssertionError(f"they were never all seen so: {found}")


@dataclass
class RunningNode:
    """`edgenode start` in a process of its own, ready to serve."""

    name: str
    process: subprocess.Popen[str]
    told: dict[str, Any]
