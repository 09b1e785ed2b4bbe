"""What becomes of subtasks that failed, and of an answer that was given without them."""

import itertools
import math
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from coordinator.commands.ask import _interrupted
from coordinator.config import runs_dir
from coordinator.errors import SupervisorRejected
from coordinator.events import Aggregating, Ended, Event, Planned, Warned
from coordinator.runs.journal import Journal
from coordinator.runs.outcome import Kept
from coordinator.story import list_stories, story_of
from coordinator.types import Answer
from edgenode.engines.engine import Request
from edgenode.errors import ContextExceeded
from edgenode.types import Completion, Usage
from tests.end_to_end.pools import QUESTION, is_probe, pool_of
from tests.scripted_engine import ScriptedEngine
from tests.supervisor_server import DEFAULT_REPLY, SupervisorServer, failure

FAILING = 3
NOTHING = Completion('{"quote": null, "answer": ""}', Usage(10, 0, 3, 0.1))
NOT_FOUND = Completion('{"found": false, "answer": "", "citations": []}', Usage())


def reader(failing: int = 0, home: Completion | BaseException = NOT_FOUND) -> ScriptedEngine:
    """Its first few subtasks fail for good; it says of the rest that there is nothing in it, and `home` of all findings."""
    asked = itertools.count()

    def act(request: Request) -> Completion | BaseException:
        if is_probe(request):
            return NOTHING
        if "found" in request.reply_schema:
            return home
        return NOTHING if next(asked) >= failing else ContextExceeded("Too long.")

    return ScriptedEngine(act)


async def listen(stream: AsyncIterator[Event]) -> tuple[Answer, list[Event]]:
    events = [event async for event in stream]
    assert isinstance(events[-1], Ended)
    return events[-1].answer, events


def warned(events: list[Event]) -> str:
    return " ".join(event.message for event in events if isinstance(event, Warned))


@pytest.mark.parametrize("change", ["changed", "deleted"])
async def test_what_failed_is_read_once_the_document_is_back(change: str, tmp_path: Path, lease: Path) -> None:
    """Each answer says what it does not rest on and why; put back as it was, the document is read to its end."""
    text = lease.read_text()
    async with pool_of(tmp_path, reader(FAILING)) as pool:
        first = await pool.ask(QUESTION, [lease], read="all")
    assert first.findings.failed == FAILING
    lease.unlink() if change == "deleted" else lease.write_text(text + "One more rule.")
    async with pool_of(tmp_path, reader()) as pool:
        for _ in range(2):
            partial, events = await listen(pool.resume(first.run))
            says = "is no longer at" if change == "deleted" else "has changed"
            for told in (partial.incomplete, warned(events)):
                assert says in told
            assert f"{FAILING} of " in first.incomplete
            assert f"{FAILING} of " in partial.incomplete
            assert partial.findings == first.findings
        assert list_stories(runs_dir())[-1].missing == FAILING
        lease.write_text(text)
        whole, events = await listen(pool.resume(first.run))
    assert (whole.findings.failed, whole.incomplete) == (0, "")
    assert whole.findings.abstained == first.findings.abstained + FAILING
    (planned,) = [event for event in events if isinstance(event, Planned)]
    assert planned.subtasks - planned.done == FAILING


async def test_an_answer_that_was_paid_for_stands_until_it_is_asked_for_again(tmp_path: Path, lease: Path) -> None:
    """What failed is read for nothing; the supervisor is asked anew, and paid anew, only when told to."""
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, reader(FAILING), supervisor=supervisor.url) as pool:
            first = await pool.ask(QUESTION, [lease], read="all")
        assert f"{FAILING} of " in first.incomplete
        assert "Too long." in first.incomplete
        async with pool_of(tmp_path, reader(), supervisor=supervisor.url) as pool:
            for _ in range(2):
                read, _ = await listen(pool.resume(first.run))
                assert read.findings.failed == 0
                assert "again=True" in read.incomplete
                assert (read.text, read.citations) == (first.text, first.citations)
            assert len(supervisor.requests) == 1
            anew, _ = await listen(pool.resume(first.run, again=True))
            assert anew.incomplete == ""
        # What the readers found is the same here, nothing, and so is the request; but another answer was asked for.
        one, other = supervisor.requests
        assert one.body == other.body
        assert one.headers["idempotency-key"] != other.headers["idempotency-key"]


async def test_without_nodes_the_supervisor_is_asked_all_the_same(tmp_path: Path, lease: Path) -> None:
    """A subtask failed and so did the supervisor, and then all nodes are off: it is asked, its answer is told as often as wanted,
    also when the document changes, and the failure stays known until the subtask is read."""
    text = lease.read_text()
    with SupervisorServer(failure(401)) as supervisor:
        async with pool_of(tmp_path, reader(1), supervisor=supervisor.url) as pool:
            with pytest.raises(SupervisorRejected):
                await pool.ask(QUESTION, [lease], read="all")
        async with pool_of(tmp_path, supervisor=supervisor.url) as pool:
            for says in ("No node", "No node", "has changed"):
                if says == "has changed":
                    lease.write_text(text + "One more rule.")
                answer, events = await listen(pool.resume("last"))
                assert says in warned(events)
                assert (answer.text, answer.findings.failed) == (DEFAULT_REPLY["answer"], 1)
                with Journal.look(runs_dir(), answer.run) as journal:
                    assert "1 of " in story_of(journal).incomplete
                    assert "Too long." in story_of(journal).incomplete
        assert len(supervisor.requests) == 2
        lease.write_text(text)
        async with pool_of(tmp_path, reader(), supervisor=supervisor.url) as pool:
            answer, _ = await listen(pool.resume("last"))
        assert answer.findings.failed == 0
        assert len(supervisor.requests) == 2


@pytest.mark.parametrize("end", ["failed", "killed", "old"])
async def test_a_reply_that_was_paid_for_is_settled_before_more_is_read(end: str, tmp_path: Path, lease: Path) -> None:
    """The answer was not kept, since the run failed otherwise, was killed, or is of an edgenode that kept no citations: the reply
    in the ledger becomes the answer, and only then what failed is read. One request is paid for."""
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, reader(FAILING), supervisor=supervisor.url) as pool:
            first = await pool.ask(QUESTION, [lease], read="all")
        with Journal.open(runs_dir(), first.run) as journal:
            old = {"status": "answered", "by": "supervisor", "text": first.text}
            failed = old | {"status": "failed", "by": "home", "text": "", "error": "No node."}
            journal.set_value("end", {"failed": failed, "killed": None, "old": old}[end])
        async with pool_of(tmp_path, reader(), supervisor=supervisor.url) as pool:
            settled, events = await listen(pool.resume(first.run))
            assert "its reply is used" in warned(events)
            assert (settled.text, settled.citations) == (first.text, first.citations)
            assert settled.findings.failed == FAILING
            read, _ = await listen(pool.resume(first.run))
            assert (read.text, read.findings.failed) == (first.text, 0)
        assert len(supervisor.requests) == 1


async def test_an_answer_made_at_home_is_made_anew_at_home(tmp_path: Path, lease: Path) -> None:
    """A supervisor that was configured meanwhile is asked only when told to; where the pool cannot make another, the answer that
    there is stands, and says how to have it made."""
    async with pool_of(tmp_path, reader(FAILING)) as pool:
        first = await pool.ask(QUESTION, [lease], read="all")
    assert (first.answered_by, first.findings.failed) == ("home", FAILING)
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, reader(home=ContextExceeded("Too long.")), supervisor=supervisor.url) as pool:
            stands, events = await listen(pool.resume(first.run))
            assert "No local model could write an answer" in warned(events)
            assert (stands.status, stands.citations, stands.findings.failed) == (first.status, first.citations, 0)
            assert stands.incomplete.endswith(f'To have it made anew: pool.resume("{first.run}")')
        async with pool_of(tmp_path, reader(), supervisor=supervisor.url) as pool:
            anew, events = await listen(pool.resume(first.run))
            assert [event.by for event in events if isinstance(event, Aggregating)] == ["home"]
            assert (anew.answered_by, anew.incomplete, supervisor.requests) == ("home", "", [])
            paid, _ = await listen(pool.resume(first.run, again=True))
        assert (paid.answered_by, len(supervisor.requests)) == ("supervisor", 1)


@pytest.mark.parametrize(("began", "says"), [(0.0, "was under way"), (math.inf, "An earlier request had brought no reply")])
def test_an_interrupted_command_tells_its_own_request_from_an_earlier_one(began: float, says: str) -> None:
    """Both may have been charged, and both are asked again only with --again."""
    with Journal.create(runs_dir()) as journal:
        journal.set_value("kept", asdict(Kept("When?", {}, 0, 0, False, None)))
        journal.set_value("read", True)
        journal.ledger.end(journal.ledger.begin("https://host/v1", "m", b"{}", "sending"), None, None, lost=True)
    sentence, told = _interrupted(journal.run, began)
    assert says in sentence
    assert sentence.endswith(f"coordinator resume {journal.run} --again")
    assert told["run"] == journal.run


async def test_a_run_that_is_answered_is_left_as_it_is(tmp_path: Path, lease: Path) -> None:
    """Without nodes: its answer is told, with its citations, and neither its story nor its time grows."""
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, reader(), supervisor=supervisor.url) as pool:
            answer = await pool.ask(QUESTION, [lease], read="all")
            with Journal.look(runs_dir(), answer.run) as journal:
                before = story_of(journal)
            told, events = await listen(pool.resume("last"))
            with Journal.look(runs_dir(), answer.run) as journal:
                assert story_of(journal) == before
    assert not [event for event in events if isinstance(event, Aggregating)]
    assert "answered before" in warned(events)
    assert told.citations == answer.citations
    assert (told.text, told.findings, told.ledger) == (answer.text, answer.findings, answer.ledger)
