"""Tasks that end badly: by a defect, and by somebody who interrupts the program in the middle of one."""

import asyncio

import pytest

from coordinator.nodes.tasks import Tasks
from tests.logged import logged


async def ends_by(error: BaseException) -> None:
    raise error


async def owning(error: BaseException) -> None:
    tasks = Tasks()
    try:
        task = tasks.spawn(ends_by(error), "node-pi")
        await asyncio.wait({task})
    finally:
        await tasks.end()


def test_a_defect_is_logged_and_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """By the name of the task."""
    asyncio.run(owning(ValueError("a defect")))
    assert logged(caplog, "coordinator") == ["node-pi ended by a defect."]


def test_an_interruption_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    """A second Ctrl-C is raised in whichever task is running: it ends the program and is not told as that task's fault."""
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(owning(KeyboardInterrupt()))
    assert logged(caplog, "coordinator") == []
