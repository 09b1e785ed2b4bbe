"""How long reading will take, told before it begins; and the choice not to have it, where somebody is there to choose."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coordinator.events import Ended, Estimated, Event, Found, Leased, Planned
from coordinator.pool import Pool
from coordinator.types import Answered, Status
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import Engine, Request
from edgenode.engines.known import DETERMINISTIC
from edgenode.node import Node, NodeConfig
from edgenode.types import Completion, Usage
from tests.end_to_end.pools import QUESTION, is_probe, lease_text, pool_of, run
from tests.scripted_engine import ScriptedEngine
from tests.terminal import on_terminal

OFF_TOPIC = "Xylophone zebra quantum?"


def never_probed(request: Request) -> Completion | asyncio.Event:
    """Finds nothing; how fast it is nobody learns before it reads."""
    return asyncio.Event() if is_probe(request) else Completion('{"quote": null, "answer": ""}', Usage(100, 0, 5, 0.1))


def unknown() -> ScriptedEngine:
    return ScriptedEngine(never_probed, name=DETERMINISTIC)


@asynccontextmanager
async def node(home: Path, engine: Engine) -> AsyncIterator[str]:
    name = f"node-{secrets.token_hex(4)}"
    async with Node(NodeConfig(home=home / name, name=name), engine):
        yield name


async def events_of(pool: Pool, document: Path, **options: object) -> list[Event]:
    return [event async for event in pool.stream(QUESTION, [document], read="all", **options)]  # type: ignore[arg-type]


async def test_an_estimate_comes_before_the_reading_and_again_while_it_goes_on(tmp_path: Path, lease: Path) -> None:
    """As many parts as are planned, by as many devices as there are; the parts left only fall, and there is a time."""
    async with pool_of(tmp_path, *(DeterministicEngine(read_tokens_per_second=4_000) for _ in range(2))) as pool:
        told = await events_of(pool, lease)
    (planned,) = (event for event in told if isinstance(event, Planned))
    estimates = [event for event in told if isinstance(event, Estimated)]
    first = estimates[0]
    assert (first.parts, first.devices, first.off_topic) == (planned.chunks_read, 2, False)
    assert told.index(first) < min(told.index(event) for event in told if isinstance(event, Leased))
    parts = [each.parts for each in estimates]
    assert parts == sorted(set(parts), reverse=True)
    assert parts[-1] == 1
    assert estimates[-1].seconds is not None


async def test_a_program_is_not_asked_but_may_say_no(tmp_path: Path, lease: Path) -> None:
    """With `confirm` that says no nobody reads; `resume` reads all of it then."""
    seen: list[Estimated] = []

    async def no(estimated: Estimated) -> bool:
        seen.append(estimated)
        return False

    async with pool_of(tmp_path, DeterministicEngine()) as pool:
        told = await events_of(pool, lease, confirm=no)
        assert [event for event in told if isinstance(event, Estimated)] == seen
        assert not [event for event in told if isinstance(event, Leased)]
        assert isinstance(told[-1], Ended)
        stopped = told[-1].answer
        assert (stopped.status, stopped.text, stopped.nodes) == (Status.STOPPED, "", ())
        assert pool.runs()[-1].status == "stopped"
        again = [event async for event in pool.resume(stopped.run)]
    assert isinstance(again[-1], Ended)
    assert again[-1].answer.run == stopped.run
    assert [event for event in again if isinstance(event, Found) and isinstance(event.finding, Answered)]


@pytest.mark.parametrize(("typed", "status"), [("\n", 5), ("n\n", 5), ("\x04", 5), ("y\n", 3)])
async def test_an_off_topic_question_is_read_only_if_wanted(tmp_path: Path, typed: str, status: int) -> None:
    """On a terminal: nothing is about it, shall it be read? By default not."""
    document = tmp_path / "lease.txt"
    document.write_text(lease_text(4), encoding="utf-8")
    engine = unknown()
    async with node(tmp_path, engine) as name, on_terminal("coordinator", "ask", "--node", name, document, OFF_TOPIC) as asking:
        await asking.says("[y/N]")
        asking.types(typed)
        assert await asking.ends() == status, asking.said
        assert any(not is_probe(request) for request in engine.seen) == (status != 5)
    assert "Traceback" not in asking.said
    shown = run("coordinator", "show", "last", "--json").json
    assert shown["status"] == ("stopped" if status == 5 else "not_found")
    assert ("coordinator resume" in asking.said) == (status == 5)


async def test_ctrl_c_at_the_question_ends_it_at_once(tmp_path: Path) -> None:
    """With the run kept, and nothing left that waits for the terminal."""
    document = tmp_path / "lease.txt"
    document.write_text(lease_text(4), encoding="utf-8")
    async with node(tmp_path, unknown()) as name, on_terminal("coordinator", "ask", "--node", name, document, OFF_TOPIC) as asking:
        await asking.says("[y/N]")
        asking.types("\x03")
        assert await asking.ends() == 130, asking.said
    assert "Fatal" not in asking.said
    assert "Traceback" not in asking.said
    assert "coordinator resume" in asking.said


async def test_what_takes_long_is_asked_about(tmp_path: Path) -> None:
    """Hours of reading on one slow device: the estimate is told, and no stands."""
    document = tmp_path / "long.txt"
    document.write_text(lease_text(900), encoding="utf-8")
    slow = DeterministicEngine(read_tokens_per_second=100)
    arguments = ("--read", "all", document, QUESTION)
    async with node(tmp_path, slow) as name, on_terminal("coordinator", "ask", "--node", name, *arguments) as asking:
        await asking.says("[Y/n]")
        assert "parts to read on 1 device" in " ".join(asking.said.split())
        assert "minutes" in asking.said
        asking.types("n\n")
        assert await asking.ends() == 5, asking.said


@pytest.mark.parametrize("arguments", [("--json",), ()])
async def test_a_pipe_is_never_asked(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """It reads, and says that nothing seems to be about the question."""
    document = tmp_path / "lease.txt"
    document.write_text(lease_text(4), encoding="utf-8")
    async with node(tmp_path, unknown()) as name:
        done = await asyncio.to_thread(run, "coordinator", "ask", "--node", name, *arguments, document, OFF_TOPIC)
    assert done.status == 3
    if not arguments:
        assert "about this" in done.err
        assert "to read on 1 device" in done.err


async def test_who_says_yes_beforehand_is_not_asked(tmp_path: Path) -> None:
    """With --yes a terminal is like a pipe in this."""
    document = tmp_path / "lease.txt"
    document.write_text(lease_text(4), encoding="utf-8")
    arguments = ("--yes", document, OFF_TOPIC)
    async with node(tmp_path, unknown()) as name, on_terminal("coordinator", "ask", "--node", name, *arguments) as asking:
        assert await asking.ends() == 3, asking.said
    assert "[y/N]" not in asking.said
