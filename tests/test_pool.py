"""The SDK's stream of events when whoever takes them is slow."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from coordinator.errors import RunError
from coordinator.events import Event, Reading, Warned
from coordinator.pool import _events
from coordinator.types import Answer
from edgenode.types import NodeId


def at(node: str, page: int, read: int) -> Reading:
    return Reading(NodeId(node), "D1", page, read, 1_000, 0)


async def take(stream: AsyncIterator[Event], taken: list[Event], come: asyncio.Event) -> None:
    """Takes what comes, but not before `come`."""
    async for event in stream:
        await come.wait()
        taken.append(event)


async def test_a_talkative_node_fills_no_memory() -> None:
    """Of what nodes say of their progress the last is kept for each text that they read, in its place among the other events, and
    of those all are; then comes the error that the run ended with."""
    came = asyncio.Event()

    async def talk(emit: Callable[[Event], None]) -> Answer:
        for read in range(1_000):
            emit(at("a", 1, read))
            emit(at("b", 1, read))
        emit(Warned("first"))
        for read in range(1_000):
            emit(at("a", 2, read))
            emit(at("a", 1, 1_000 + read))
        emit(Warned("second"))
        came.set()
        raise RunError("The disk is full.")

    taken: list[Event] = []
    with pytest.raises(RunError, match="disk is full"):
        await take(_events(talk), taken, came)
    assert taken == [at("b", 1, 999), Warned("first"), at("a", 2, 999), at("a", 1, 1_999), Warned("second")]


async def test_a_quick_taker_gets_each_event() -> None:
    """Where each is taken before the next comes, none is left out."""
    taken: list[Event] = []
    come = asyncio.Event()
    come.set()
    said = [at("a", 1, read) for read in range(20)]

    async def talk(emit: Callable[[Event], None]) -> Answer:
        for number, event in enumerate(said):
            emit(event)
            while len(taken) <= number:  # noqa: ASYNC110 - the taker has no event for it
                await asyncio.sleep(0)
        raise RunError("over")

    with pytest.raises(RunError):
        await take(_events(talk), taken, come)
    assert taken == said
