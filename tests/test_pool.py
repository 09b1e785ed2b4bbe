"""The SDK misused: a sentence, and no run written."""

import pytest

from coordinator.config import runs_dir
from coordinator.pool import Pool
from coordinator.runs.folders import list_runs
from edgenode.errors import UsageError


async def test_an_unknown_reading_is_a_usage_error() -> None:
    """The choices are told."""
    async with Pool.discover(nodes=["nobody"]) as pool:
        with pytest.raises(UsageError, match=r"'bogus'.*auto, relevant, all"):
            await pool.ask("Is it?", ["a.txt"], read="bogus")


async def test_a_pool_that_is_not_open_is_told() -> None:
    """Before it is entered and after it is left; nothing is kept of what was asked."""
    pool = Pool.discover(nodes=["nobody"])

    async def is_refused() -> None:
        for call in (lambda: pool.ask("Is it?", [__file__]), pool.nodes):
            with pytest.raises(UsageError, match="not open"):
                await call()
        for listen in (lambda: pool.resume("last"), pool.watch):
            with pytest.raises(UsageError, match="not open"):
                listen()

    await is_refused()
    async with pool:
        assert await pool.nodes() == ()
    await is_refused()
    assert list_runs(runs_dir()) == ()
