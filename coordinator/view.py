"""What a person sees while a run goes on: live on a terminal, plain lines elsewhere. It all comes from the run's events."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coordinator.events import (
    Aggregating,
    DocumentGap,
    DocumentRead,
    DocumentSkipped,
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
    Retried,
    RunStarted,
    SupervisorTrouble,
    Warned,
)
from coordinator.types import Answered, Failed, Finding, Rejected, Retrieved
from coordinator.words import about, by_ocr, place, several
from edgenode.text import clean_line
from edgenode.types import NodeId

FOUND_SHOWN = 4


class Terminal(Console):
    """A console that leaves a closed pipe to the command line, instead of ending the program by itself."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class View(Protocol):
    """Shows events until it is left. Inside `aside` the terminal is for a question and its answer."""

    def show(self, event: Event) -> None: ...

    def aside(self) -> AbstractContextManager[None]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Silent:
    """For `--json`."""

    def show(self, event: Event) -> None:
        """Nothing: the result says it all."""

    def aside(self) -> AbstractContextManager[None]:
        """There is nothing in the way."""
        return contextlib.nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing to undo."""


class Lines(Silent):
    """Plain lines on standard error, one for what matters and one for each tenth of the work, so that a log stays readable."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = _Count()
        self._tenths = 0
        self._in_doubt: dict[NodeId, tuple[NodeState, bool]] = {}

    def show(self, event: Event) -> None:
        is_told, is_known = self._count.is_told, self._count.seconds_left is not None
        self._count.hear(event)
        if isinstance(event, Estimated) and is_told and (is_known or event.seconds is None):
            return  # it stands in the line of the next tenth
        if isinstance(event, NodeJoined | NodeChanged):
            doubt = (event.node.state, bool(event.node.draining))
            # A battery that falls by another percent is no news.
            if isinstance(event, NodeChanged) and self._in_doubt.get(event.node.id) == doubt:
                return
            self._in_doubt[event.node.id] = doubt
        line = _line(event)
        if line:
            self._console.print(Text(line), soft_wrap=True)
        if isinstance(event, Found) and self._count.total:
            tenths = self._count.done * 10 // self._count.total
            if tenths > self._tenths:
                self._tenths = tenths
                left = f", {self._count.left}" if self._count.left else ""
                self._console.print(Text(f"{self._count.done} of {self._count.total} steps done{left}"), soft_wrap=True)


class LiveView:
    """A line a node, one bar for the run, the findings so far; gone when the answer comes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = _Count()
        self._nodes: dict[NodeId, _Row] = {}
        self._found: list[str] = []
        self._stage = "Looking for nodes and reading the documents' text …"
        self._started = time.monotonic()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def show(self, event: Event) -> None:
        first = isinstance(event, Estimated) and not self._count.is_told
        self._count.hear(event)
        match event:
            case NodeJoined(node):
                # What it has done stays done when it comes back.
                row = self._nodes.setdefault(node.id, _Row(node))
                row.node, row.doing, row.note = node, "waiting", _note(node)
            case NodeChanged(node):
                if node.id in self._nodes:
                    row = self._nodes[node.id]
                    row.node, row.note = node, _note(node)
            case NodeGone(id, _, why):
                if id in self._nodes:
                    self._nodes[id].note = f"gone: {why}"
            case Reading(id, document, page, read, prompt, written):
                if id in self._nodes:
                    self._nodes[id].progress(document, page, read, prompt, written)
            case Found(finding):
                self._note(finding)
            case Planned():
                self._stage = "Reading"
            case Aggregating(by, model, findings):
                self._stage = _writing(by, model, findings) + " …"
        if isinstance(event, DocumentSkipped | DocumentGap | NodeGone | SupervisorTrouble | Warned | Planned | RunStarted) or first:
            line = _line(event)
        else:
            line = ""
        if line:
            self._console.print(Text(line), soft_wrap=True)

    def _note(self, finding: Finding) -> None:
        node = getattr(finding, "node", None)
        if node in self._nodes:
            self._nodes[node].done += 1
        if isinstance(finding, Answered | Retrieved):
            mark = "" if isinstance(finding, Answered) else " (retrieved)"
            where = place(finding.place.document, finding.place.page) + by_ocr(finding.place)
            line = f"{where}{mark}: {clean_line(finding.quote, 120)}"
            # Retrieval gives its strongest first, and many: the first few will do.
            if line not in self._found and (not mark or len(self._found) < FOUND_SHOWN):
                self._found.append(line)

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 2), expand=True)
        for column in range(4):
            table.add_column(no_wrap=True, ratio=1 if column == 3 else None)
        for row in tuple(self._nodes.values()):  # it draws in a thread, and nodes join meanwhile
            speed = f"{row.speed:.0f} tok/s" if row.speed else ""
            table.add_row(Text(row.node.name, style="bold"), Text(f"{row.done} done"), Text(speed), Text(row.note or row.doing))
        bar = Table.grid(padding=(0, 2), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        count = f"{self._count.done}/{self._count.total}" if self._count.total else ""
        elapsed = f"{time.monotonic() - self._started:.0f} s"
        left = self._count.left if self._count.done < self._count.total else ""
        pulsing = not self._count.total or self._count.done >= self._count.total
        bar.add_row(
            Text(self._stage, overflow="ellipsis"),
            ProgressBar(total=self._count.total or None, completed=self._count.done, pulse=pulsing),
            Text(f"{count}  {elapsed}" + (f", {left}" if left else "")),
        )
        found = [Text(f"  {each}", overflow="ellipsis", no_wrap=True, style="dim") for each in self._found[-FOUND_SHOWN:]]
        return Group(table, bar, *found)


@dataclass(slots=True)
class _Row:
    node: NodeInfo
    doing: str = "waiting"
    note: str = ""
    """Why it is not at work as it should be; goes before what it does."""
    done: int = 0
    speed: float = 0.0
    _tokens: int = 0
    _at: float = 0.0

    def progress(self, document: str, page: int | None, read: int, prompt: int, written: int) -> None:
        now, tokens = time.monotonic(), read + written
        where = place(document, page)
        so_far = f": {read}/{prompt} tokens" if prompt else ""  # engines that tell no progress only begin
        self.doing = f"reads {where}{so_far}" if not written else f"answers on {where}: {written} tokens"
        if tokens > self._tokens and self._at and now - self._at > 0.2:
            rate = (tokens - self._tokens) / (now - self._at)
            self.speed = rate if not self.speed else 0.7 * self.speed + 0.3 * rate
        self._tokens, self._at = tokens, now


@dataclass(slots=True)
class _Count:
    total: int = 0
    done: int = 0
    is_told: bool = False
    """Whether there was an estimate of how long it takes, or that this is not known."""
    seconds_left: float | None = None
    _at: float = 0.0

    @property
    def left(self) -> str:
        """How long it will still take, "about 6 minutes left"; empty while that is not known."""
        if self.seconds_left is None:
            return ""
        return f"{about(max(0.0, self.seconds_left - (time.monotonic() - self._at)))} left"

    def hear(self, event: Event) -> None:
        match event:
            case Planned(subtasks=subtasks):
                self.total = subtasks
            case Estimated(seconds=seconds):
                self.is_told, self.seconds_left, self._at = True, seconds, time.monotonic()
            case Found(finding) if not isinstance(finding, Retrieved | Rejected):
                self.done += 1
            case Aggregating():
                self.done = self.total


def _note(node: NodeInfo) -> str:
    if node.state is not NodeState.JOINED:
        return f"{node.state}: {node.why}"
    return f"draining: {node.draining}" if node.draining else ""


def _writing(by: str, model: str, findings: int) -> str:
    if by != "supervisor":
        return f"{model} (a local model) writes the answer"
    return f"{model} (the supervisor) writes the answer from {several(findings, 'finding')}"


def _line(event: Event) -> str:
    match event:
        case RunStarted(run):
            return f"Run {run}"
        case DocumentRead(label, name, characters, pages):
            return f"{label}: {clean_line(name, 200)}, {characters:,} characters" + (f", {several(pages, 'page')}" if pages else "")
        case DocumentSkipped(name, reason):
            return f"Skipped {clean_line(name, 200)}: {clean_line(reason, 300)}"
        case DocumentGap(label, name, gap):
            return f"Not all of {label} ({clean_line(name, 200)}) can be read: {clean_line(gap.reason, 300)}"
        case NodeJoined(node):
            model = node.models[0].name if node.models else "no model"
            note = _note(node)
            return f"Node {node.name} ({model}) joins in{f', {note}' if note else ''}"
        case NodeGone(_, name, why):
            return f"Node {name} is gone ({why}); its work goes to others"
        case NodeChanged(node):
            return f"Node {node.name}: {_note(node) or 'takes work again'}"
        case Planned(tasks, overview, chunks, read, subtasks, done):
            whole = "the question is about the whole" if overview else "all of them"
            why = whole if read == chunks else "those that may hold the answer"
            plan = f"Reading {read} of {chunks} parts ({why}): {several(len(tasks), 'question')}, {several(subtasks, 'step')}"
            return f"{plan}, of which {done:,} were done before" if done else plan
        case Estimated(parts, devices, seconds):
            left = f"{several(parts, 'part')} to read on {several(devices, 'device')}"
            return f"{left}. How long that takes is not known yet." if seconds is None else f"{left}, {about(seconds)}."
        case Found(Failed(message=message)):
            return f"A part could not be read: {message}"
        case Retried(_, message):
            return f"Trying again elsewhere: {message}"
        case Aggregating(by, model, findings):
            return _writing(by, model, findings)
        case SupervisorTrouble(message, wait):
            return f"{message} Trying again in {wait:.0f} s."
        case Warned(message):
            return message
        case _:
            return ""
