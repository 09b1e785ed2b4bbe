"""What a person sees: live on a terminal, plain lines elsewhere, and the account at the end."""

import io
import os
import pty
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from coordinator.account import print_answer
from coordinator.config import SupervisorConfig
from coordinator.events import (
    Aggregating,
    Estimated,
    Event,
    Found,
    NodeChanged,
    NodeGone,
    NodeInfo,
    NodeJoined,
    NodeState,
    Planned,
    Reading,
    RunStarted,
)
from coordinator.types import (
    Abstained,
    AggregationRequest,
    Answer,
    Answered,
    Citation,
    FindingCounts,
    Ledger,
    LedgerRequest,
    NodeWork,
    Place,
    RunId,
    Status,
)
from coordinator.view import Lines, LiveView
from coordinator.words import about
from edgenode.types import EngineState, Model, NodeId

NODE = NodeInfo(NodeId("n1"), "kitchen", "127.0.0.1:1", NodeState.JOINED, "xllamacpp", EngineState.READY, (Model("small"),))
FINDING = Found(Answered(0, 0, Place("D1", 3, 0, 9), "The rent.", "900", NodeId("n1")))
EVENTS = (
    RunStarted(RunId("r1"), "What is the rent?"),
    NodeJoined(NODE),
    Planned(("What is the rent?",), False, 9, 2, 2),
    Reading(NodeId("n1"), "D1", 3, 100, 600, 0),
    FINDING,
    Aggregating("home", "small", 1, AggregationRequest("", "", "")),
)


def answer(requests: tuple[LedgerRequest, ...], by: str = "supervisor", quote: str = "The rent is 900.") -> Answer:
    work = NodeWork(NodeId("n1"), "kitchen", "small", "xllamacpp", 2, 1200, 400, 50, 3.0)
    ledger = Ledger(requests, 400_000, 100_000)
    cited = (Citation("lease.pdf", 3, 10, 26, quote, "page 3"),)
    return Answer(RunId("r1"), Status.ANSWERED, "900 a month.", by, cited, FindingCounts(1, 2, 3, 0, 0), (work,), ledger, 4.2)


def printed(result: Answer) -> str:
    stream = io.StringIO()
    print_answer(Console(file=stream, width=60), result, SupervisorConfig(model="gpt-5-mini", api_key="k"))
    return stream.getvalue()


def test_the_account_tells_tokens_and_money_against_the_whole_document() -> None:
    """Read at home by whom, sent in how many requests, at what price, instead of what."""
    text = printed(answer((LedgerRequest("gpt-5-mini", 5000, 1000, 100, 0.00045),)))
    assert "[1] lease.pdf, page 3" in text
    assert "kitchen, small: 2 steps, 800 tokens read (+ 400 from the cache), 50 written" in text
    assert "1 request, 5,000 bytes, 1,000 tokens in, 100 out, $0.0004" in text
    assert "about 100,000 tokens (about $0.0" in text
    assert "coordinator ledger r1" in text


def test_an_answer_at_home_says_that_nothing_was_sent() -> None:
    """No request, no price, one clear sentence."""
    assert "Nothing was sent." in printed(answer((), by="home"))


def test_a_document_cannot_steer_the_terminal() -> None:
    """Escape sequences in a quotation are not passed on."""
    assert "\x1b" not in printed(answer((), quote="\x1b[2Jgone\x1b]0;title\x07"))


def test_plain_lines_are_few_and_plain() -> None:
    """In a pipe: a line for what matters, no escape sequences."""
    stream = io.StringIO()
    with Lines(Console(file=stream, width=60)) as view:
        for event in EVENTS:
            view.show(event)
    assert stream.getvalue().splitlines() == [
        "Run r1",
        "Node kitchen (small) joins in",
        "Reading 2 of 9 parts (those that may hold the answer): 1 question, 2 steps",
        "1 of 2 steps done",
        "small (a local model) writes the answer",
    ]


@pytest.mark.parametrize("width", [20, 40, 120])
def test_the_live_view_shows_nodes_bar_and_findings_at_any_width(width: int) -> None:
    """A line a node, one bar, what was found, and gone at the end."""
    stream = io.StringIO()
    with drawn_once(Console(file=stream, width=width, force_terminal=True, color_system=None)) as view:
        for event in EVENTS[:-1]:
            view.show(event)
    text = stream.getvalue()
    assert "kitchen" in text
    if width == 120:
        assert "reads D1 p. 3: 100/600 tokens" in text
        assert "D1 p. 3: The rent." in text
        assert "1/2" in text


def drawn_once(console: Console) -> LiveView:
    """A view that draws when it is left, and not in a thread of its own whenever that gets its turn."""
    view = LiveView(console)
    view._live.auto_refresh = False
    return view


def shown_live(*events: Event) -> str:
    stream = io.StringIO()
    with drawn_once(Console(file=stream, width=120, force_terminal=True, color_system=None)) as view:
        for event in events:
            view.show(event)
    return stream.getvalue()


SUSPECT = replace(NODE, state=NodeState.SUSPECT, why="It has been silent for seconds.")
DRAINING = replace(NODE, draining="on battery at 14 %: takes no work until it charges or reaches 30 %")


@pytest.mark.parametrize(
    ("node", "note"),
    [(SUSPECT, "suspect: It has been silent for seconds."), (DRAINING, "draining: on battery at 14 %: takes no work until")],
)
def test_a_node_in_doubt_says_so_instead_of_what_it_reads(node: NodeInfo, note: str) -> None:
    """Suspect and draining show in the node's line, and end when it is well again."""
    assert note in shown_live(*EVENTS[:4], NodeChanged(node))
    assert note in shown_live(NodeJoined(node))
    assert note not in shown_live(NodeJoined(NODE), NodeChanged(node), NodeChanged(NODE))


def test_a_node_that_comes_back_keeps_what_it_has_done() -> None:
    """Its line goes on counting."""
    assert "1 done" in shown_live(*EVENTS[:5], NodeGone(NODE.id, NODE.name, "It was silent for 6 s."), NodeJoined(NODE))


def test_nodes_join_while_it_draws() -> None:
    """It draws in a thread of its own, whatever happens meanwhile."""
    view = LiveView(Console(file=io.StringIO()))

    class Meanwhile(float):
        def __bool__(self) -> bool:
            view.show(NodeJoined(replace(NODE, id=NodeId("n2"))))
            return False

    view.show(NodeJoined(NODE))
    view._nodes[NODE.id].speed = Meanwhile()
    view._render()
    assert len(view._nodes) == 2


def test_plain_lines_tell_of_nodes_in_doubt() -> None:
    """One line when it begins and one when it ends."""
    stream = io.StringIO()
    with Lines(Console(file=stream, width=60)) as view:
        for node in (SUSPECT, NODE, DRAINING, replace(DRAINING, draining=DRAINING.draining.replace("14", "13"))):
            view.show(NodeChanged(node))
        view.show(NodeJoined(DRAINING))
    assert stream.getvalue().splitlines() == [
        "Node kitchen: suspect: It has been silent for seconds.",
        "Node kitchen: takes work again",
        "Node kitchen: draining: on battery at 14 %: takes no work until it charges or reaches 30 %",
        "Node kitchen (small) joins in, draining: on battery at 14 %: takes no work until it charges or reaches 30 %",
    ]


def test_how_long_it_takes_is_told_before_and_with_each_tenth() -> None:
    """Once as a line of its own, or as soon as it is known; in between it stands beside what is done."""
    found = [Found(Abstained(0, chunk, NODE.id)) for chunk in range(4)]
    plan = Planned(("What is the rent?",), False, 9, 4, 4)
    known = [plan, Estimated(4, 1, 360.0), Estimated(3, 1, 270.0), found[0]]
    unknown = [plan, Estimated(4, 1, None), Estimated(3, 1, 270.0), found[0], Estimated(2, 1, 180.0), found[1]]
    for events, own in ((known, 1), (unknown, 2)):
        stream = io.StringIO()
        with Lines(Console(file=stream, width=60)) as view:
            for event in events:
                view.show(event)
        lines = stream.getvalue().splitlines()
        assert sum("to read on 1 device" in line for line in lines) == own
        (first,) = (line for line in lines if line.startswith("1 of 4"))
        assert "about 4 minutes" in first or "about 5 minutes" in first
    assert "about 4 minutes left" in shown_live(*known, Estimated(3, 1, 245.0))
    assert "left" not in shown_live(plan, Estimated(4, 1, None))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "a few seconds"), (14, "about 10 seconds"), (88, "about 90 seconds"), (360, "about 6 minutes"), (7_000, "about 2 hours")],
)
def test_times_are_told_as_people_tell_them(seconds: float, words: str) -> None:
    """In the unit that fits, without claiming to be exact."""
    assert about(seconds) == words


def test_on_a_terminal_ask_shows_the_live_view(tmp_path: Path) -> None:
    """The real command on a real pseudo-terminal: something moves while it looks for nodes, and the end is a sentence."""
    document = tmp_path / "a.txt"
    document.write_text("The rent is 900 EUR.", encoding="utf-8")
    shown = on_terminal(["coordinator", "ask", "--node", "nobody-of-this-name", str(document), "What is the rent?"])
    assert "Looking for nodes" in shown
    assert "edgenode start" in shown
    assert "Traceback" not in shown


def on_terminal(arguments: list[str]) -> str:
    """What a command prints on a terminal of its own until it ends."""
    ours, theirs = pty.openpty()
    name = Path(sys.executable).parent / arguments[0]
    process = subprocess.Popen([str(name), *arguments[1:]], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    output = b""
    try:
        while select.select([ours], [], [], 120)[0]:
            try:
                data = os.read(ours, 65_536)
            except OSError:  # the other end is closed: Linux says so with an error
                break
            if not data:
                break
            output += data
    finally:
        os.close(ours)
        process.wait(timeout=120)
    return output.decode("utf-8", "replace")
