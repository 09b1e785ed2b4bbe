"""The story of a run: from events as they are told to lines for a person, and back from a journal that knows little."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import events
from coordinator.errors import RunError
from coordinator.runs.journal import Journal
from coordinator.runs.recorder import MAX_WORDS, Recorder
from coordinator.runs.records import RequestState
from coordinator.story import LINES_SHOWN, list_stories, story_json, story_lines, story_of, summary_line
from coordinator.types import Answer, Failed, FindingCounts, Ledger, NodeWork, Rejected, RunId, Status
from edgenode.types import EngineState, FailureReason, LeaseId, Model, NodeId
from tests.logged import logged

PI, HALL = NodeId("a" * 32), NodeId("b" * 32)
ANSWER = Answer(RunId("r"), Status.ANSWERED, "Six weeks.", "home", (), FindingCounts(), (), Ledger((), 0, 0), 0.0)


def node(id: NodeId, name: str, state: events.NodeState = events.NodeState.JOINED, why: str = "") -> events.NodeInfo:
    return events.NodeInfo(id, name, "127.0.0.1:1", state, "xllamacpp", EngineState.READY, (Model("smol"),), why=why)


HAPPENED = (
    events.RunStarted(RunId("r"), "When?"),
    events.DocumentSkipped("b.xlsx", "It is a spreadsheet."),
    events.NodeJoined(node(PI, "kitchen-pi")),
    events.NodeJoined(node(HALL, "hall-phone")),
    events.Planned(("When?",), False, 20, 10, 10),
    events.Leased(PI, LeaseId("1"), "D1", 3, 2, False),
    events.Leased(HALL, LeaseId("2"), "D1", 4, 2, False),
    events.NodeChanged(node(HALL, "hall-phone", events.NodeState.SUSPECT, "It is silent.")),
    events.Leased(PI, LeaseId("3"), "D1", 4, 2, True),
    events.Cancelled(HALL, LeaseId("2"), 1, "Another device was first."),
    events.NodeGone(HALL, "hall-phone", "The connection to the node broke."),
    events.Lost(HALL, LeaseId("2"), 1, "It broke."),
    events.Retried(PI, "The engine crashed."),
    events.Found(Rejected(0, 3, "not there", PI)),
    events.Found(Failed(0, 4, FailureReason.CONTEXT_EXCEEDED, "It does not fit.", (PI,))),
    events.Warned("1 of 10 subtasks failed."),
    events.SupervisorTrouble("The supervisor limits how often it may be asked.", 2.0),
    events.Ended(ANSWER),
)

TOLD = (
    "The run begins",
    "Skipped b.xlsx: It is a spreadsheet.",
    "kitchen-pi (smol, xllamacpp) joins in",
    "Planned: 10 of 20 parts, 10 steps",
    "hall-phone is suspect: It is silent.",
    "kitchen-pi was given 2 steps on D1 p. 4 that another node was late with",
    "1 step cancelled on hall-phone: Another device was first.",
    "hall-phone is gone: The connection to the node broke.",
    "1 step that hall-phone held went back, to be done elsewhere: It broke.",
    "An attempt failed on kitchen-pi, to be tried again: The engine crashed.",
    "A quotation by kitchen-pi is not in the text and was rejected",
    "A step was given up (context_exceeded, tried by kitchen-pi): It does not fit.",
    "1 of 10 subtasks failed.",
    "The supervisor limits how often it may be asked. Asked again after 2 s.",
    "It ends: answered",
    "Nothing was sent.",
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.create(tmp_path) as journal:
        journal.set_value("kept", {"question": "When?", "names": {"D1": "lease.pdf"}})
        yield journal


def test_every_event_of_a_run_finds_its_line(journal: Journal) -> None:
    """Told in the order it happened, passed on unchanged, and each node's part in numbers."""
    passed_on: list[events.Event] = []
    tell = Recorder(journal, passed_on.append)
    for event in HAPPENED:
        tell(event)
    journal.set_work(NodeWork(PI, "kitchen-pi", "smol", "xllamacpp", 3, 1000, 400, 50, 2.0))
    assert passed_on == list(HAPPENED)
    story = story_of(journal)
    lines = list(story_lines(story))
    positions = [next(at for at, line in enumerate(lines) if line.endswith(each)) for each in TOLD]
    assert positions == sorted(positions)
    assert (
        "  kitchen-pi (smol, xllamacpp): 3 steps, 2 leases, 600 tokens read (+ 400 from the cache), 50 written, 2.0 s at work, "
        "325 tokens/s, 1 of them hedges, 1 failed, 1 with a quotation that is not there"
    ) in lines
    told = json.loads(json.dumps(story_json(story)))
    assert told["nodes"][0]["counts"]["leased"] == 1
    assert len(told["events"]) == len(HAPPENED)


@pytest.mark.parametrize("status", [None, 504])
def test_a_request_that_is_lost_says_what_came(status: int | None, journal: Journal) -> None:
    """Nothing, or a gateway's word, which is on record."""
    request = journal.ledger.begin("https://host/v1", "m", b"{}", "sending")
    journal.ledger.end(request, status, b"late" if status else None, lost=True)
    lines = "\n".join(story_lines(story_of(journal)))
    assert ("no reply was recorded" if status is None else "only a gateway replied, HTTP status 504") in lines
    assert "whether it was answered and charged is not known" in lines


def test_a_request_that_was_under_way_when_the_coordinator_died_is_told_as_such(tmp_path: Path) -> None:
    """While the run goes on it is being sent. After that nobody knows what came of it, and a plain resume would not ask again."""
    with Journal.create(tmp_path) as journal:
        journal.ledger.begin("https://host/v1", "m", b"{}", "sending")
        with Journal.look(tmp_path, journal.run) as looked:
            assert any(line.endswith("being sent") for line in story_lines(story_of(looked)))
    with Journal.look(tmp_path, journal.run) as looked:
        story = story_of(looked)
        assert looked.ledger.records()[0].state is RequestState.SENDING, "looking changes nothing"
    lines = "\n".join(story_lines(story))
    assert "whether it was answered and charged is not known" in lines
    assert f"coordinator resume {journal.run} --again" in lines
    assert "Go on with" not in lines
    assert story_json(story)["requests"][0]["state"] == "lost"


def test_a_changing_battery_is_told_once(journal: Journal) -> None:
    """What a node says while it drains may change every minute; that it drains is one event."""
    tell = Recorder(journal, lambda event: None)
    for percent in (20, 19, 18):
        tell(events.NodeChanged(events.NodeInfo(PI, "pi", "x", events.NodeState.JOINED, "e", None, (), draining=f"{percent} %")))
    assert [event.kind for event in journal.events()] == ["changed"]


def test_what_peers_say_is_cleaned_and_cut(journal: Journal) -> None:
    """No control characters reach the file or the terminal, and no megabytes."""
    Recorder(journal, lambda event: None)(events.Retried(PI, "\x1b[2J" + "x" * 10_000))
    message = journal.events()[0].value["message"]
    assert len(message) == MAX_WORDS
    assert "\x1b" not in "\n".join(story_lines(story_of(journal)))


def test_a_story_that_cannot_be_kept_ends_no_run(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """A file that takes no more: the events go on to whoever watches, and that is said once."""
    passed_on: list[events.Event] = []
    tell = Recorder(journal, passed_on.append)
    journal._connection.execute("PRAGMA query_only=1")
    for event in HAPPENED:
        tell(event)
    assert passed_on == list(HAPPENED)
    (told,) = logged(caplog, "coordinator")
    assert "not written down" in told


def test_a_long_story_is_cut_for_a_person(journal: Journal) -> None:
    """So many lines, and how to see the rest."""
    tell = Recorder(journal, lambda event: None)
    for _ in range(LINES_SHOWN + 5):
        tell(events.Retried(PI, "The engine crashed."))
    lines = list(story_lines(story_of(journal)))
    assert sum("The engine crashed." in line for line in lines) == LINES_SHOWN
    assert any(f"5 more: coordinator show {journal.run} --json" in line for line in lines)


def test_a_sitting_that_was_cut_off_is_told(journal: Journal, tmp_path: Path) -> None:
    """Two sittings, the first without an end."""
    Recorder(journal, lambda event: None)(HAPPENED[0])
    journal.close()
    with Journal.open(tmp_path, journal.run) as again:
        Recorder(again, lambda event: None)(HAPPENED[0])
        lines = list(story_lines(story_of(again)))
    cut = next(at for at, line in enumerate(lines) if "stopped before the run had ended" in line)
    assert "The run begins" in lines[cut - 1]
    assert "The run is resumed" in lines[cut + 1]
    assert any(line.endswith("in 2 sittings") for line in lines)


def test_a_run_that_cannot_be_read_hides_no_other(journal: Journal, tmp_path: Path) -> None:
    """A damaged, an empty and a newer one are listed with what is wrong with them."""
    with Journal.create(tmp_path) as newer:
        newer._connection.execute("PRAGMA user_version=99")
    with Journal.create(tmp_path) as damaged:
        pass
    damaged.path.write_bytes(b"no database" * 1000)
    listed = {each.run: each for each in list_stories(tmp_path)}
    assert len(listed) == 3
    assert (listed[journal.run].status, listed[journal.run].question) == ("running", "When?")
    assert "newer" in listed[newer.run].why
    assert "damaged" in summary_line(listed[damaged.run])
    with pytest.raises(RunError, match="damaged"):
        Journal.look(tmp_path, damaged.run)
