"""An engine that refuses for good costs a moment, and not minutes."""

from pathlib import Path

from coordinator import Pool
from coordinator.events import Ended, Event, Found, NodeGone
from coordinator.types import Answered
from edgenode.errors import EngineRefused
from tests.end_to_end.pools import FACT, QUESTION, lease_text, pool_of, readers
from tests.scripted_engine import ScriptedEngine

REASON = "The engine wants a key."


def refusing() -> ScriptedEngine:
    # As good as the other: work for both.
    return ScriptedEngine(lambda _: EngineRefused(REASON), name="deterministic")


async def events_of(pool: Pool, document: Path) -> list[Event]:
    return [event async for event in pool.stream(QUESTION, [document], read="all")]


async def test_the_others_go_on(tmp_path: Path) -> None:
    """A node whose engine refuses is left out after its second refusal, with the reason; the answer is that of the others."""
    document = tmp_path / "lease.md"
    document.write_text(lease_text(30), encoding="utf-8")
    engine = refusing()
    async with pool_of(tmp_path, engine, *readers(1)) as pool:
        events = await events_of(pool, document)
    (answer,) = [event.answer for event in events if isinstance(event, Ended)]
    assert any(FACT in event.finding.quote for event in events if isinstance(event, Found) and isinstance(event.finding, Answered))
    assert answer.findings.failed == 0
    assert [event.why for event in events if isinstance(event, NodeGone)] == [REASON]
    assert len(engine.seen) < 8


async def test_alone_it_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    """Each of forty parts would be tried five times with growing pauses, if it might pass."""
    document = tmp_path / "lease.md"
    document.write_text(lease_text(40), encoding="utf-8")
    engine = refusing()
    async with pool_of(tmp_path, engine) as pool:
        ended = (await events_of(pool, document))[-1]
    assert isinstance(ended, Ended)
    assert REASON in ended.answer.incomplete
    assert len(engine.seen) < 20
