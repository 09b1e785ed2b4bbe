"""Requests that found no connection: they were not sent, wherever a run's requests are told or counted."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordinator.cloud.gate import Gate
from coordinator.cloud.supervisor import Supervisor
from coordinator.commands.runs import add_to
from coordinator.config import SupervisorConfig, runs_dir
from coordinator.errors import SupervisorUnavailable, SupervisorUnsure
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestState
from coordinator.story import story_json, story_lines, story_of
from edgenode.console import Parser
from tests.cloud.common import QUICK, REQUEST, SCHEMA, SYSTEM, config, gate, parse
from tests.supervisor_server import Reply, SupervisorServer

ELSEWHERE = "https://supervisor.invalid/v1"


@contextmanager
def listener(*, hangs: bool = False) -> Iterator[tuple[int, threading.Event]]:
    """The port of a server that accepts connections, reads a little and closes them or, where it `hangs`, says nothing."""
    accepted, over = threading.Event(), threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(1)
                    accepted.set()
                    if hangs:
                        over.wait()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], accepted
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


async def ask(journal: Journal, settings: SupervisorConfig, *, again: bool = False) -> None:
    way_out = Gate(settings, journal, system=SYSTEM, schema=SCHEMA, budget_characters=4000, again=again)
    async with Supervisor(way_out, QUICK) as supervisor:
        await supervisor.aggregate(REQUEST, parse)


def assert_nothing_was_sent(journal: Journal) -> None:
    assert {record.state for record in journal.ledger.records()} == {RequestState.NOT_SENT}
    assert journal.ledger.used() == ()
    assert journal.ledger.unsure() is None


@pytest.mark.parametrize("trouble", ["no such name", "refused", "no TLS", "TLS cut", "a proxy refuses", "a proxy cuts", "no proxy"])
async def test_without_a_connection_nothing_was_sent(journal: Journal, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt is in the ledger as not sent, none counts as a request, and nothing is unsure."""
    with SupervisorServer() as plain, listener() as (cutting, _):
        here = plain.url.removeprefix("http://")
        url = {"refused": "http://127.0.0.1:1/v1", "no TLS": f"https://{here}", "TLS cut": f"https://127.0.0.1:{cutting}/v1"}
        proxy = {"a proxy refuses": plain.url, "a proxy cuts": f"http://127.0.0.1:{cutting}", "no proxy": "http://127.0.0.1:1"}
        if trouble in proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy[trouble])
        with pytest.raises(SupervisorUnavailable):
            await ask(journal, config(url.get(trouble, ELSEWHERE)))
        assert plain.requests == []
    assert_nothing_was_sent(journal)


async def test_a_deadline_while_it_connects_sent_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that accepts and never answers has got nothing of the request."""
    with listener(hangs=True) as (port, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(SupervisorUnavailable):
            await ask(journal, config(ELSEWHERE, timeout_seconds=0.05))
    assert_nothing_was_sent(journal)


async def test_ctrl_c_while_it_connects_sent_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was interrupted before the first byte left may be asked again without a thought."""
    with listener(hangs=True) as (port, accepted):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        task = asyncio.create_task(ask(journal, config(ELSEWHERE)))
        await asyncio.to_thread(accepted.wait, 120)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert_nothing_was_sent(journal)


async def test_a_doubt_is_not_settled_by_what_was_not_sent(tmp_path: Path) -> None:
    """After a lost request an attempt that found no connection says nothing of whether that one was charged."""
    with SupervisorServer(Reply(cut=True)) as server, Journal.create(tmp_path) as journal:
        with pytest.raises(SupervisorUnsure):
            await ask(journal, config(server.url))
        lost = journal.ledger.unsure()
        assert lost is not None
        with pytest.raises(SupervisorUnavailable):
            await ask(journal, config("http://127.0.0.1:1/v1"), again=True)
        assert journal.ledger.unsure() == lost
        assert len(journal.ledger.used()) == 1


async def test_the_story_and_the_ledger_tell_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`show` and `ledger` say for people and for scripts that nothing was sent, with what was tried."""
    with Journal.create(runs_dir()) as journal:
        with pytest.raises(SupervisorUnavailable):
            async with Supervisor(gate(journal, config("http://127.0.0.1:1/v1")), QUICK) as supervisor:
                await supervisor.aggregate(REQUEST, parse)
        story = story_of(journal)
        assert {each["state"] for each in story_json(story)["requests"]} == {"not_sent"}
        lines = list(story_lines(story))
        assert "Nothing was sent." in lines
        assert "What was sent" not in lines
    parser = Parser(prog="coordinator")
    add_to(parser.add_subparsers(parser_class=Parser))
    for arguments in (["ledger", journal.run], ["ledger", journal.run, "--json"]):
        options = parser.parse_args(arguments)
        assert options.act(options) == 0
    people, scripts = capsys.readouterr().out.split('{"run"', 1)
    assert people.startswith("Nothing was sent")
    assert {each["state"] for each in json.loads('{"run"' + scripts)["requests"]} == {"not_sent"}
