"""Slow calls beside the event loop."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from edgenode.threads import in_thread


async def test_what_a_call_returns_or_raises_arrives() -> None:
    """As if it had been called where it is waited for."""

    def fail() -> None:
        raise KeyError("none")

    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(KeyError, match="none"):
        await in_thread(fail)


def test_a_call_that_ends_after_the_program_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the event loop is closed in the very moment in which it is to be told."""
    begun, ends = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        ends.wait()

    async def give_up() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "is_closed", lambda: False, raising=False)
        call = asyncio.create_task(in_thread(slow))
        await asyncio.sleep(0)
        begun.wait()
        call.cancel()

    errors: list[threading.ExceptHookArgs] = []
    hook: Callable[[threading.ExceptHookArgs], object] = errors.append
    monkeypatch.setattr(threading, "excepthook", hook)
    asyncio.run(give_up())
    (thread,) = (each for each in threading.enumerate() if each.name == "slow")
    ends.set()
    thread.join()
    assert not errors
