"""Connections to nodes that are made anew, so that certificates are looked at: when, how, and what that costs."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.events import NodeGone, NodeState
from coordinator.nodes.link import seconds_of_connection
from coordinator.nodes.news import Down, News, Up
from coordinator.nodes.pairing import Trust
from coordinator.scheduling.membership import ANEW, Became, Close, Dial, Member, hold_off
from edgenode.engines.engine import Request
from edgenode.net.channel import CONNECTION_SECONDS
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import now_utc
from edgenode.types import Completion
from tests.nodes.test_roster import is_joined, roster_of, seen, unique, until
from tests.runs.test_dispatch import DONE, Run, dispatching, of
from tests.scripted_engine import ScriptedEngine

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def member_until(end: float) -> Member:
    member = Member(0.0)
    member.tick(0.0)
    member.connected(0.1, end)
    return member


def test_a_stream_whose_time_is_over_is_closed_and_dialled_at_once() -> None:
    """As often as there is need: it is no loss, and so never holds the node off from work."""
    member, now = Member(0.0), 0.0
    assert member.tick(now) == [Dial()]
    for _ in range(10):
        assert member.connected(now, now + 2.0) == [Became(NodeState.JOINED, "")]
        assert member.wakes_at == now + 2.0
        now = member.wakes_at
        assert member.tick(now) == [Close(ANEW), Became(NodeState.SUSPECT, ANEW), Dial()]
    assert hold_off(10) > 0.0


def test_a_frame_that_comes_at_its_end_is_heard_on_its_stream() -> None:
    """Only the clock ends it, and it does that even if a frame was sooner."""
    member = member_until(2.0)
    assert member.heard(2.5) == []
    assert member.is_open
    assert member.wakes_at <= 2.5
    assert member.tick(2.5)[0] == Close(ANEW)


def test_a_stream_without_an_end_goes_on() -> None:
    """One that the node opened is held to its certificate where it came in; and an earlier one's end is not the next one's."""
    member = member_until(2.0)
    member.connected(1.0)
    for second in range(1, 100):
        assert member.heard(float(second)) == []
        assert member.tick(float(second)) == []
    assert member.wakes_at < math.inf


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        (timedelta(days=90), CONNECTION_SECONDS),
        (timedelta(seconds=CONNECTION_SECONDS + 1), CONNECTION_SECONDS),
        (timedelta(minutes=5), 300.0),
        (timedelta(seconds=1), 1.0),
        (timedelta(0), CONNECTION_SECONDS),
        (-timedelta(days=3), CONNECTION_SECONDS),
    ],
)
def test_a_connection_lasts_no_longer_than_the_nodes_certificate(left: timedelta, seconds: float) -> None:
    """And for half a day at most. What is remembered of a certificate that was renewed without our knowing ends nothing."""
    assert seconds_of_connection(NOW + left, NOW) == seconds


async def test_a_node_whose_certificate_ends_is_connected_to_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the date: here it is always half a second before the end. Whoever watches is told why."""
    trust, name, news = Trust.load(), unique("anew"), asyncio.Queue[News]()
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()):
        async with roster_of(trust, name) as roster:
            await seen(roster, is_joined)
        (kept,) = trust.paired.all()
        assert kept.certificate_ends > now_utc() + timedelta(days=80)
        monkeypatch.setattr("coordinator.nodes.link.now_utc", lambda: kept.certificate_ends - timedelta(seconds=0.5))
        async with roster_of(trust, name) as roster:
            with roster.listening(news.put_nowait):
                for _ in range(2):
                    await until(news, Up)
                    while (await until(news, Down)).why != ANEW:
                        pass
                await seen(roster, is_joined)


async def test_a_run_loses_no_answer_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the only node was at when its connection was made anew is asked again, and the run ends whole."""

    def was_cut() -> bool:
        return any(of("run", request) for request in engine.cancelled)

    def reply(request: Request) -> Completion | asyncio.Event:
        return DONE if was_cut() or not of("run", request) else asyncio.Event()

    engine, run = ScriptedEngine(reply), Run("run", 12)
    monkeypatch.setattr("coordinator.nodes.link.seconds_of_connection", lambda ends, now: 3_600.0 if was_cut() else 1.0)
    async with dispatching(tmp_path, engine) as (dispatcher, _):
        await run.on(dispatcher)
    assert run.is_whole
    assert run.failed == []
    assert ANEW in [event.why for event in run.events if isinstance(event, NodeGone)]
