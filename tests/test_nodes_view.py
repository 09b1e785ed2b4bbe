"""The table of nodes, and what is told of their coming and going."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from coordinator.events import NodeInfo, NodeState
from coordinator.nodes_view import device_text, distinct_names, explanation, print_nodes, watch_nodes
from edgenode.types import DeviceStatus, EngineState, Model, NodeId

FARES = DeviceStatus(63, False, 48.3, 2_100_000_000, 0.41)
MODEL = Model("SmolLM2-135M-Q4_1")
NODE = NodeInfo(
    NodeId("3f2a91c0" * 4), "kitchen", "192.168.1.20:7433", NodeState.JOINED, "xllamacpp", EngineState.READY, (MODEL,), FARES
)
SUSPECT = replace(NODE, state=NodeState.SUSPECT, why="It has been silent for seconds.")
HALL = replace(SUSPECT, id=NodeId("5a" * 16), name="hall")
GONE = replace(NODE, state=NodeState.GONE, why="It was stopped.")
REASON = "on battery at 14 %: takes no work until it charges or reaches 30 %"
DRAINING = replace(NODE, draining=REASON)
UNPAIRED = NodeInfo(
    NodeId("b7" * 16),
    "台所のパイ",
    "[fe80::1]:7433",
    NodeState.UNPAIRED,
    "",
    None,
    (),
    None,
    "",
    "It is not paired: coordinator pair 台所のパイ",
)
AT = datetime(2026, 3, 1, 12, 3, 4, tzinfo=UTC)


def printed(nodes: Sequence[NodeInfo], width: int = 80, terminal: bool = False) -> list[str]:
    stream = io.StringIO()
    print_nodes(Console(file=stream, width=width, force_terminal=terminal, color_system=None), nodes)
    return stream.getvalue().splitlines()


async def updates(*all_nodes: Sequence[NodeInfo]) -> AsyncIterator[Sequence[NodeInfo]]:
    for nodes in all_nodes:
        yield nodes


async def watched(*all_nodes: Sequence[NodeInfo], terminal: bool = False, width: int = 60) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system=None)
    await watch_nodes(console, updates(*all_nodes), clock=lambda: AT)
    return stream.getvalue().splitlines()


def test_a_pipe_gets_a_line_a_node_with_columns_to_split() -> None:
    """However narrow it thinks it is: nothing wrapped, nothing cut, no cell empty, the reason in a column of its own."""
    lines = printed([NODE, UNPAIRED, replace(DRAINING, id=HALL.id, name="hall pi")], width=20)
    rest = ["xllamacpp", "SmolLM2-135M-Q4_1", "battery 63 %, 48 °C, 2.1 GB free, load 0.4"]
    assert [re.split(r" {2,}", line) for line in lines] == [
        ["NAME", "ADDRESS", "STATE", "ENGINE", "MODEL", "DEVICE", "WHY"],
        ["kitchen", "192.168.1.20:7433", "joined", *rest, "-"],
        ["台所のパイ", "[fe80::1]:7433", "unpaired", "-", "-", "-", "It is not paired: coordinator pair 台所のパイ"],
        ["hall pi", "192.168.1.20:7433", "joined, draining", *rest, f"O{REASON[1:]}."],
    ]


def test_columns_stand_below_one_another_also_with_japanese_names() -> None:
    """A wide character takes two places of a terminal."""
    head, *lines = (line for line in printed([NODE, UNPAIRED], width=120, terminal=True) if not line.startswith("  "))
    where = cell_len(head[: head.index("ADDRESS")])
    assert [cell_len(line[: line.index(start)]) for line, start in zip(lines, ("192.", "[fe80"), strict=True)] == [where, where]


def test_a_terminal_explains_below_the_node() -> None:
    """What is not joined or drains says why, in a line of its own."""
    lines = printed([NODE, HALL, UNPAIRED], width=140, terminal=True)
    assert [line.split()[0] for line in lines] == ["NAME", "kitchen", "hall", "It", "台所のパイ", "It"]
    assert lines[3] == "  It has been silent for seconds."
    assert lines[5] == "  It is not paired: coordinator pair 台所のパイ"


def test_on_80_columns_how_the_device_fares_goes_below() -> None:
    """The table stays a table."""
    head, kitchen, fares = printed([NODE], width=80, terminal=True)
    assert head.split() == ["NAME", "ADDRESS", "STATE", "ENGINE", "MODEL"]
    assert kitchen.split()[0] == "kitchen"
    assert fares == "  battery 63 %, 48 °C, 2.1 GB free, load 0.4"


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_terminal_gets_short_lines(width: int) -> None:
    """No table that breaks in the middle of a cell; all is there, within the width."""
    lines = printed([NODE, replace(UNPAIRED, models=(MODEL,))], width=width, terminal=True)
    assert max(map(cell_len, lines)) <= width
    assert lines[0] == "kitchen  joined"
    assert {"  192.168.1.20:7433", "  xllamacpp", "  SmolLM2-135M-Q4_1", "台所のパイ  unpaired"} <= set(lines)
    if width == 60:
        assert "  battery 63 %, 48 °C, 2.1 GB free, load 0.4" in lines


def test_without_nodes_a_terminal_says_what_to_do() -> None:
    """And a pipe gets nothing, so that nothing is parsed as a node."""
    assert "edgenode start" in printed([], terminal=True)[0]
    assert printed([]) == []


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, ""),
        (DeviceStatus(), ""),
        (DeviceStatus(battery_percent=9, charging=True), "battery 9 % (charging)"),
        (DeviceStatus(available_memory_bytes=640_000_000), "640 MB free"),
        (DeviceStatus(temperature_celsius=-3.0, load=12.0), "-3 °C, load 12.0"),
    ],
)
def test_the_device_in_short(status: DeviceStatus | None, text: str) -> None:
    """Only what is known."""
    assert device_text(status) == text


def test_nodes_of_one_name_are_told_apart() -> None:
    """By as little of the id as does it; what looks alike counts as one name."""
    first = replace(NODE, id=NodeId("aaaa1" + "0" * 27))
    second = replace(NODE, id=NodeId("aaaa2" + "0" * 27), name="Kitchen")
    third = replace(NODE, id=NodeId("bbbb" + "0" * 28), name="ｋｉｔｃｈｅｎ")
    names = distinct_names([first, second, third, UNPAIRED])
    assert list(names.values()) == ["kitchen (aaaa1)", "Kitchen (aaaa2)", "ｋｉｔｃｈｅｎ (bbbb0)", "台所のパイ"]


def test_a_device_that_is_gone_has_no_status() -> None:
    """Its battery may be empty by now."""
    assert "battery" in printed([SUSPECT])[1]
    assert "battery" not in printed([GONE])[1]


def test_an_engine_that_is_not_ready_says_so() -> None:
    """Beside its name."""
    assert "xllamacpp (restarting)" in printed([replace(NODE, engine_state=EngineState.RESTARTING)])[1]


def test_explanations_are_sentences() -> None:
    """Of the state first: a node that cannot be heard may still have said that it drains."""
    assert explanation(NODE) == ""
    assert explanation(DRAINING) == f"O{REASON[1:]}."
    assert explanation(replace(DRAINING, state=NodeState.GONE, why="It was stopped.")) == "It was stopped."


@given(st.text(), st.text(), st.text(), st.booleans(), st.integers(1, 200))
def test_no_node_steers_the_terminal(name: str, why: str, draining: str, terminal: bool, width: int) -> None:
    """Whatever it calls itself, and whatever reason it gives."""
    node = replace(NODE, name=name, why=why, draining=draining)
    for each in (node, replace(node, state=NodeState.SUSPECT)):
        lines = printed([each], width, terminal)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", "".join(lines))
        assert terminal or len(lines) == 2


async def test_a_pipe_gets_a_line_a_change() -> None:
    """Coming, going, draining, another model: with the time. The temperature and a percent less are no news."""
    cooler = replace(NODE, status=replace(FARES, temperature_celsius=40.0))
    emptier = replace(DRAINING, draining=REASON.replace("14", "13"))
    other = replace(NODE, models=(Model("big"),), engine_state=EngineState.RESTARTING)
    lines = await watched([NODE], [cooler], [SUSPECT], [GONE], [NODE, UNPAIRED], [NODE], [DRAINING], [emptier], [NODE], [other])
    assert lines == [
        "12:03:04 kitchen joined",
        "12:03:04 kitchen suspect: It has been silent for seconds.",
        "12:03:04 kitchen gone: It was stopped.",
        "12:03:04 kitchen joined",
        "12:03:04 台所のパイ unpaired: It is not paired: coordinator pair 台所のパイ",
        "12:03:04 台所のパイ is no longer seen",
        f"12:03:04 kitchen draining: O{REASON[1:]}.",
        "12:03:04 kitchen takes work again",
        "12:03:04 kitchen engine restarting",
        "12:03:04 kitchen serves big",
    ]


async def test_json_gets_an_object_a_change_of_anything(capsys: pytest.CaptureFixture[str]) -> None:
    """With the time, what changed, and the node as `coordinator nodes --json` prints it."""
    warmer = replace(NODE, status=replace(FARES, temperature_celsius=52.0))
    console = Console(file=io.StringIO())
    await watch_nodes(console, updates([NODE], [NODE], [warmer], [SUSPECT], []), as_json=True, clock=lambda: AT)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["changed"] for each in told] == [["new"], ["status"], ["state", "why", "status"], ["removed"]]
    assert told[0]["time"] == "2026-03-01T12:03:04.000+00:00"
    assert told[1]["node"]["status"]["temperature_celsius"] == 52.0
    assert told[2]["node"]["trust"] == "paired"


async def test_a_terminal_shows_the_table_as_it_is() -> None:
    """It begins with a hint and follows every update."""
    shown = "\n".join(await watched([NODE], [SUSPECT], terminal=True, width=130))
    assert "No node yet" in shown
    assert shown.index("joined") < shown.index("It has been silent for seconds.")


async def test_an_empty_table_says_first_that_it_looks() -> None:
    """Nobody is said to be there only once whoever is would have been found."""
    settled, stream = asyncio.Event(), io.StringIO()

    async def found() -> AsyncIterator[Sequence[NodeInfo]]:
        yield []
        assert "Looking for nodes" in stream.getvalue()
        assert "No node yet" not in stream.getvalue()
        settled.set()
        for _ in range(3):
            await asyncio.sleep(0)
        yield []

    async def settle() -> None:
        await settled.wait()

    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    await watch_nodes(console, found(), clock=lambda: AT, settle=settle)
    assert "No node yet" in stream.getvalue()


async def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Emacs' shell: nothing can be drawn over there."""
    monkeypatch.setenv("TERM", "dumb")
    assert await watched([NODE], [SUSPECT], terminal=True) == await watched([NODE], [SUSPECT])


async def test_the_watch_ends_with_an_error_of_its_source() -> None:
    """What the pool raises reaches the command, and the terminal is left in order."""

    async def breaks() -> AsyncIterator[Sequence[NodeInfo]]:
        yield [NODE]
        raise ConnectionError("gone")

    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)
    with pytest.raises(ConnectionError):
        await watch_nodes(console, breaks())
    assert stream.getvalue().endswith("\x1b[?25h")
