"""What is kept of runs as a whole: what all of them sent, deleting many of them, and the same in the SDK."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator import Pool
from coordinator.config import runs_dir
from coordinator.errors import RunBusy, RunError
from coordinator.runs.folders import list_runs
from coordinator.runs.journal import Journal
from coordinator.types import RunId
from edgenode.errors import UsageError
from tests.end_to_end.pools import QUESTION, RunningNode, run


def kept(*requests: tuple[bytes, float | None], begun: str = "") -> RunId:
    """A run that sent `requests`: their bodies and prices. `begun` is the beginning of its id, where it is to be an old one."""
    with Journal.create(runs_dir()) as journal:
        for body, usd in requests:
            number = journal.ledger.begin("https://api.example/v1", "m", body, "sending")
            journal.ledger.end(number, 200, b"{}", 100, 10, usd)
    if not begun:
        return journal.run
    old = RunId(f"{begun}-{journal.run[-4:]}")
    journal.path.parent.rename(runs_dir() / old)
    return old


def test_the_ledger_of_all_runs_sums_up_what_left_and_what_it_cost() -> None:
    """By month and in all; characters and not bytes, prices that nobody knows told apart; a dry run counts nothing."""
    kept(("ä".encode() * 7, 0.25), (b"123", None), begun="20240131-120000")
    newest = kept((b"12345", 0.5))
    with Journal.open(runs_dir(), newest) as journal:
        journal.ledger.begin("https://api.example/v1", "m", b"never sent", "dry_run")
    kept()
    told = run("coordinator", "ledger", "--all", "--json").json
    total = {"runs": 3, "requests": 3, "characters": 15, "prompt_tokens": 300, "completion_tokens": 30, "usd": 0.75, "unpriced": 1}
    assert told.items() >= total.items()
    assert [(each["requests"], each["characters"]) for each in told["months"]] == [(2, 10), (1, 5)]
    lines = run("coordinator", "ledger", "--all").out.splitlines()
    assert len(lines) == 3
    assert all(word in lines[-1] for word in ("3 requests", "15 characters", "$0.7500", "1 of unknown price"))
    listed = run("coordinator", "runs").out.splitlines()
    assert ["$" in line for line in listed] == [True, True, False]
    assert run("coordinator", "runs", "--json").json["runs"][1]["sent"]["usd"] == 0.5


def test_forget_deletes_what_is_old_or_all_and_leaves_what_is_at_work() -> None:
    """A run at work is named and kept; --all needs --yes where nobody can be asked."""
    kept(begun="20240131-120000")
    young = kept()
    assert run("coordinator", "forget", "--older-than", "30d", "--json").json["kept"] == {}
    assert list_runs(runs_dir()) == (young,)
    refused = run("coordinator", "forget", "--all")
    assert (refused.status, list_runs(runs_dir())) == (2, (young,))
    assert "--yes" in refused.err
    with Journal.create(runs_dir()) as at_work:
        done = run("coordinator", "forget", "--all", "--yes")
        assert done.status == 0
        assert at_work.run in done.err
        assert list_runs(runs_dir()) == (at_work.run,)


@pytest.mark.parametrize(
    "arguments",
    [("forget",), ("forget", "--all", "last"), ("forget", "--older-than", "soon"), ("ledger",), ("ledger", "last", "--all")],
)
def test_what_to_forget_or_to_sum_up_must_be_said(arguments: tuple[str, ...]) -> None:
    """One run or many: neither and both are wrong usage, in one sentence."""
    kept()
    done = run("coordinator", *arguments)
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert len(list_runs(runs_dir())) == 1


def test_the_sdk_lists_shows_and_forgets_runs() -> None:
    """Without nodes, and without a loop."""
    first, second = kept((b"{}", 0.25)), kept()
    pool = Pool.discover()
    assert [each.run for each in pool.runs()] == [first, second]
    assert pool.runs()[0].sent.usd == 0.25
    assert [each.body for each in pool.ledger(first)] == [b"{}"]
    pool.forget(first)
    assert [each.run for each in pool.runs()] == [second]
    with pytest.raises(RunError):
        pool.ledger(first)
    with Journal.create(runs_dir()) as at_work, pytest.raises(RunBusy):
        pool.forget(at_work.run)


def test_a_program_without_an_event_loop_asks(start_node: Callable[..., RunningNode], lease: Path) -> None:
    """Twice with one pool; inside a loop it is told what to use there."""
    node = start_node()
    pool = Pool.discover(nodes=[node.name])
    for _ in range(2):
        answer = pool.ask_sync(QUESTION, lease)
        assert answer.citations
        assert pool.runs()[-1].run == answer.run

    async def inside() -> None:
        with pytest.raises(UsageError, match=re.escape("await pool.ask")):
            pool.ask_sync(QUESTION, lease)

    asyncio.run(inside())
