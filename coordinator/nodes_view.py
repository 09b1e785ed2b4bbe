"""The table of nodes: once, or live while they come and go.

On a terminal it fits the window. In a pipe there is one line a node (or a change), its columns two spaces or more apart, an empty
one "-".
"""

import asyncio
import unicodedata
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from coordinator.events import NodeInfo, NodeState
from coordinator.output import node_json
from edgenode.console import print_json, say_empty
from edgenode.text import clean_line
from edgenode.types import DeviceStatus, EngineState, NodeId

NOBODY: Final = "No node was found. Start one on this machine with: edgenode start"
LOOKING: Final = "Looking for nodes …"
NOBODY_YET: Final = "No node yet. Start one on this machine with: edgenode start"
HEAD: Final = ("NAME", "ADDRESS", "STATE", "ENGINE", "MODEL", "DEVICE")
GAP: Final = "  "
CELL_CHARACTERS: Final = 80
WHY_CHARACTERS: Final = 300
SHORTEST_ID: Final = 4
ID_CHARACTERS: Final = 32
STYLES: Final = {NodeState.JOINED: "green", NodeState.SUSPECT: "yellow", NodeState.GONE: "red", NodeState.UNPAIRED: "cyan"}

Clock = Callable[[], datetime]


def _local_now() -> datetime:
    return datetime.now().astimezone()


def print_nodes(console: Console, nodes: Sequence[NodeInfo]) -> None:
    """The nodes, in the order given. Without any, a pipe gets nothing, and standard error what to do."""
    if not nodes and not console.is_terminal:
        say_empty(NOBODY)
    elif console.is_terminal:
        console.print(_Table(nodes, NOBODY))
    else:
        rows = [(*HEAD, "WHY"), *((*row, explanation(node)) for node, row in zip(nodes, _rows(nodes), strict=True))]
        for line in _aligned([tuple(cell or "-" for cell in row) for row in rows]):
            console.print(Text(line), soft_wrap=True)


async def watch_nodes(
    console: Console,
    updates: AsyncIterator[Sequence[NodeInfo]],
    as_json: bool = False,
    clock: Clock = _local_now,
    settle: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Shows what `updates` tells, all nodes each time, until it ends or the caller is cancelled.

    A terminal shows the table as it is; a pipe gets a line for each change that matters to whoever asks questions, of which the
    first update is full, and so does a terminal that cannot move its cursor; JSON gets an object for each change of anything, on
    standard output, whatever the console. `settle` returns once whoever is there should have been found; it is called beside.
    """
    table = _Table((), LOOKING if settle else NOBODY_YET)

    async def found() -> None:
        if settle is not None:
            await settle()
            table.empty = NOBODY_YET

    finding = asyncio.create_task(found(), name="nodes-found")
    try:
        await _show(console, updates, as_json, clock, table)
    finally:
        finding.cancel()
        await asyncio.gather(finding, return_exceptions=True)


async def _show(console: Console, updates: AsyncIterator[Sequence[NodeInfo]], as_json: bool, clock: Clock, table: "_Table") -> None:
    if as_json:
        async for each in _changes(updates, clock):
            time = each.at.isoformat(timespec="milliseconds")
            print_json({"time": time, "changed": each.keys(), "node": node_json(each.node)})
    elif console.is_terminal and not console.is_dumb_terminal:
        with Live(table, console=console, refresh_per_second=4) as live:
            async for nodes in updates:
                table.nodes = tuple(nodes)
                live.refresh()
    else:
        async for each in _changes(updates, clock):
            for line in each.lines():
                console.print(Text(f"{each.at:%H:%M:%S} {each.called} {line}"), soft_wrap=True)


def explanation(node: NodeInfo) -> str:
    """Why a node is not joined or takes no work, as a sentence; empty where all is well."""
    if node.state is not NodeState.JOINED:
        return clean_line(node.why, WHY_CHARACTERS)
    reason = clean_line(node.draining, WHY_CHARACTERS)
    return f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith(('.', '…')) else '.'}" if reason else ""


def device_text(status: DeviceStatus | None) -> str:
    """How a device fares in a few words; empty where nothing is known."""
    if status is None:
        return ""
    parts = []
    if status.battery_percent is not None:
        parts.append(f"battery {status.battery_percent:.0f} %{' (charging)' if status.charging else ''}")
    if status.temperature_celsius is not None:
        parts.append(f"{status.temperature_celsius:.0f} °C")
    if status.available_memory_bytes is not None:
        memory = status.available_memory_bytes / 1e6
        parts.append(f"{memory / 1e3:.1f} GB free" if memory >= 1e3 else f"{memory:.0f} MB free")
    if status.load is not None:
        parts.append(f"load {status.load:.1f}")
    return ", ".join(parts)


def distinct_names(nodes: Sequence[NodeInfo]) -> dict[NodeId, str]:
    """What to call each: its name, and where others go by what looks the same, as much of its id as tells them apart."""
    alike: dict[str, list[NodeInfo]] = defaultdict(list)
    for node in nodes:
        alike[unicodedata.normalize("NFKC", node.name).casefold()].append(node)
    names: dict[NodeId, str] = {}
    for group in alike.values():
        lengths = range(SHORTEST_ID, ID_CHARACTERS)
        length = next((each for each in lengths if len({node.id[:each] for node in group}) == len(group)), ID_CHARACTERS)
        for node in group:
            name = clean_line(node.name, CELL_CHARACTERS) or "?"
            names[node.id] = f"{name} ({node.id[:length]})" if len(group) > 1 else name
    return names


class _Table:
    """The nodes within whatever width there is: a line each, with what does not fit in short lines below."""

    def __init__(self, nodes: Sequence[NodeInfo], empty: str) -> None:
        self.nodes = nodes
        self.empty = empty

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.nodes:
            yield Text(self.empty)
            return
        rows = _rows(self.nodes)
        # On 80 columns how the device fares goes below the line, on a phone's 40 everything but the name and the state.
        for inline in (len(HEAD), len(HEAD) - 1):
            lines = _aligned([row[:inline] for row in (HEAD, *rows)])
            if max(map(cell_len, lines)) <= options.max_width:
                yield Text(lines[0], style="bold")
                break
        else:
            inline, lines = 0, ["", *(f"{row[0]}{GAP}{row[2]}" for row in rows)]
        for node, row, line in zip(self.nodes, rows, lines[1:], strict=True):
            yield _styled(line, node, row[0], row[2])
            below = row[inline:] if inline else (row[1], *row[3:])
            yield from (Text(f"  {cell}") for cell in below if cell)
            if why := explanation(node):
                yield Text(f"  {why}", style="dim")


def _styled(line: str, node: NodeInfo, name: str, state: str) -> Text:
    text = Text(line)
    text.stylize("bold", 0, len(name))
    at = line.index(state, len(name))
    text.stylize("yellow" if node.draining else STYLES[node.state], at, at + len(state))
    return text


def _rows(nodes: Sequence[NodeInfo]) -> list[tuple[str, ...]]:
    names = distinct_names(nodes)
    return [
        (
            names[node.id],
            clean_line(node.address, CELL_CHARACTERS),
            _state(node),
            _engine(node),
            _models(node),
            # What a device that is gone said last is no longer so.
            "" if node.state is NodeState.GONE else device_text(node.status),
        )
        for node in nodes
    ]


def _state(node: NodeInfo) -> str:
    return f"{node.state.value}, draining" if node.draining and node.state is NodeState.JOINED else node.state.value


def _engine(node: NodeInfo) -> str:
    busy = node.engine_state not in (None, EngineState.READY)
    unchecked = f" (served by {node.unchecked}, which this node cannot check)" if node.unchecked else ""
    return clean_line(node.engine, CELL_CHARACTERS) + (f" ({node.engine_state})" if busy else "") + clean_line(unchecked, 120)


def _models(node: NodeInfo) -> str:
    return clean_line(", ".join(model.name for model in node.models), CELL_CHARACTERS)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the cells below one another on a terminal, where a Japanese character is two wide."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


@dataclass(frozen=True, slots=True)
class _Change:
    at: datetime
    node: NodeInfo
    """As it is now; as it was last when it was removed."""
    before: NodeInfo | None
    called: str
    removed: bool = False

    def keys(self) -> list[str]:
        """Which keys of the node's JSON differ, or what happened to the whole."""
        if self.removed or self.before is None:
            return ["removed" if self.removed else "new"]
        before = node_json(self.before)
        return [key for key, value in node_json(self.node).items() if value != before[key]]

    def lines(self) -> Iterator[str]:
        """What is worth a person's attention. How the device fares and new numbers in a reason are not."""
        node, before = self.node, self.before
        why = explanation(node)
        if self.removed:
            yield "is no longer seen"
            return
        if before is None or before.state is not node.state:
            yield f"{_state(node)}{f': {why}' if why else ''}"
        elif node.state is NodeState.JOINED and bool(before.draining) is not bool(node.draining):
            yield f"draining: {why}" if why else "takes work again"
        if before is None:
            return
        if node.engine_state is not None and before.engine_state not in (None, node.engine_state):
            yield f"engine {node.engine_state}"
        if node.models and before.models and [model.name for model in before.models] != [model.name for model in node.models]:
            yield f"serves {_models(node)}"


async def _changes(updates: AsyncIterator[Sequence[NodeInfo]], clock: Clock) -> AsyncIterator[_Change]:
    """What differs from one update to the next."""
    known: dict[NodeId, NodeInfo] = {}
    names: dict[NodeId, str] = {}
    async for nodes in updates:
        at = clock()
        now = {node.id: node for node in nodes}
        for id in known.keys() - now.keys():
            yield _Change(at, known[id], known[id], names[id], removed=True)
        names = distinct_names(nodes)
        for node in nodes:
            before = known.get(node.id)
            if before != node:
                yield _Change(at, node, before, names[node.id])
        known = now
