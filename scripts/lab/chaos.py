"""A home in the lab to which faults happen while it reads: carries out schedules of `faults`, and says what became of the run."""

import math
import shutil
import signal
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.errors import RunError
from coordinator.runs.journal import Journal
from coordinator.story import story_json, story_of
from coordinator.types import Abstained, Answered, Finding, Retrieved

from .clock import WallClock
from .faults import COORDINATOR, Fault, Kind
from .lab import Lab
from .namespaces import LabFailed
from .pool import LabNode, Member, start_paired
from .switch import Line

BAD_LINE = Line(lost_to_host=0.1, lost_from_host=0.1, delay=0.5)
JUMP_SECONDS = 5 * 3600.0
RUN_SECONDS = 900.0
"""No run takes so long, whatever happens to it and however busy the machine is."""
LOOK_SECONDS = 0.05
PACE_SECONDS = 0.5
"""Of the run that nobody looks at. However long a busy machine keeps this process waiting, no run is over before its faults."""
MOVES_FROM = 110
"""Addresses above those of the hosts, for those that move."""
Watcher = Callable[[Journal], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. `found` counts each thing that was found, by whomever, as it stands in the text."""

    status: str
    answer: str
    citations: tuple[str, ...]
    found: Counter[tuple[Any, ...]]
    subtasks: int
    story: dict[str, Any]
    """What `coordinator show --json` tells."""

    @property
    def result(self) -> tuple[Any, ...]:
        """What must not depend on what happened on the way."""
        return self.status, self.answer, self.citations, self.found, self.subtasks


class ChaosHome:
    """A coordinator's host and those of nodes, one for each of `speeds` (READ:WRITE, tokens a second), all paired, in a lab that is
    entered; every host goes by a clock of its own. Of `model`, a GGUF file, nothing but the head is read."""

    def __init__(self, lab: Lab, folder: Path, model: Path, speeds: Sequence[str]) -> None:
        self.coordinator = Member(lab.hosts[0], folder)
        self.nodes = [LabNode(host, folder) for host in lab.hosts[1:]]
        for member in (self.coordinator, *self.nodes):
            # By a link-local address a connection would survive the change of the other one.
            member.host.disable_ipv6()
            member.clock = WallClock(member.folder / "clock")
        self._pace = folder / "pace"
        self._pace.touch()
        self._work_until(math.inf)
        for node, speed in zip(self.nodes, speeds, strict=True):
            node.stand_in(model, speed, self._pace)
        self._runs = self.coordinator.folder / "data" / "runs"
        self._moves = MOVES_FROM
        self.in_force: list[Fault] = []
        """What has begun and not ended."""
        self._process: subprocess.Popen[str] | None = None
        start_paired(self.coordinator, self.nodes)

    def ask(self, document: Path, question: str, faults: Sequence[Fault] = (), told: Watcher | None = None) -> Outcome:
        """A run of all nodes to which `faults` happen, from `coordinator ask` to its answer; then whatever faults are left end.
        `told` is called again and again with what the journal has, to do more.

        Raises `LabFailed` when it fails, or when it had ended before a fault was due."""
        shutil.rmtree(self._runs, ignore_errors=True)
        waiting = list(faults)
        ends: list[tuple[float, Fault]] = []
        named = [option for node in self.nodes for option in ("--node", node.name)]
        output = self.coordinator.begin("coordinator", "ask", document, question, "--read", "all", *named)
        deadline = time.monotonic() + RUN_SECONDS
        try:
            while True:
                if time.monotonic() > deadline:
                    raise LabFailed(f"The run did not end within {RUN_SECONDS:.0f} s.")
                self._process = output.process
                share = self._look(told)
                self._work_until(time.monotonic() + PACE_SECONDS)
                while waiting and share >= waiting[0].at:
                    fault = waiting.pop(0)
                    self.inflict(fault)
                    if fault.seconds is not None:
                        ends.append((time.monotonic() + fault.seconds, fault))
                for end in [each for each in ends if each[0] <= time.monotonic()]:
                    ends.remove(end)
                    self.relieve(end[1])
                with suppress(subprocess.TimeoutExpired):
                    status = output.process.wait(timeout=LOOK_SECONDS)
                    if status != -signal.SIGKILL:
                        break
                    output = self.coordinator.begin("coordinator", "resume", "last")
            answer = output.wait(lambda _: True).what
        finally:
            self.mend()
        if waiting:
            raise LabFailed(f"The run ended before its time: {', '.join(map(str, waiting))} did not come.")
        return self._outcome(answer)

    def mend(self) -> None:
        """Ends all faults that are left, and returns when all nodes serve."""
        self._work_until(math.inf)
        for fault in tuple(self.in_force):
            self.relieve(fault)
        for node in self.nodes:
            assert node.address

    def inflict(self, fault: Fault) -> None:
        member = self.member(fault.victim)
        self.in_force.append(fault)
        match fault.kind:
            case Kind.KILL:
                self._process_of(fault.victim).kill()
            case Kind.FREEZE:
                self._process_of(fault.victim).send_signal(signal.SIGSTOP)
            case Kind.CUT | Kind.MOVE:
                member.host.cut()
            case Kind.BAD_LINE:
                member.host.set_line(BAD_LINE)
            case Kind.AHEAD | Kind.BEHIND:
                member.set_clock(JUMP_SECONDS if fault.kind is Kind.AHEAD else -JUMP_SECONDS)
            case Kind.CRASH:
                self.node(fault.victim).crash_engine()

    def relieve(self, fault: Fault) -> None:
        """A node that was killed is started again, which this does not wait for."""
        member = self.member(fault.victim)
        self.in_force.remove(fault)
        match fault.kind:
            case Kind.KILL if fault.victim != COORDINATOR:
                node = self.node(fault.victim)
                node.wait_ended()
                node.start()
            case Kind.FREEZE:
                self._process_of(fault.victim).send_signal(signal.SIGCONT)
            case Kind.MOVE:
                self._moves += 1
                member.host.set_address(f"10.77.0.{self._moves}")
                member.host.heal()
            case Kind.CUT | Kind.BAD_LINE:
                member.host.heal()
            case Kind.AHEAD | Kind.BEHIND:
                member.set_clock(0.0)
            case Kind.CRASH:
                self.node(fault.victim).spare_engine()

    def member(self, victim: int) -> Member:
        return self.coordinator if victim == COORDINATOR else self.node(victim)

    def node(self, victim: int) -> LabNode:
        return self.nodes[victim - 1]

    def _work_until(self, time_: float) -> None:
        """No engine begins work after that time of the monotonic clock."""
        # In place: an engine may be reading.
        with self._pace.open("r+b") as file:
            file.write(struct.pack("d", time_))

    def _process_of(self, victim: int) -> subprocess.Popen[str]:
        process = self._process if victim == COORDINATOR else self.node(victim).output.process
        assert process is not None, "it runs"
        return process

    def _look(self, told: Watcher | None) -> float:
        """The share of the run's subtasks that have ended."""
        try:
            with Journal.look(self._runs, "last") as journal:
                plan = journal.value("plan")
                if not plan:
                    return 0.0
                if told is not None:
                    told(journal)
                return len(journal.ended_subtasks()) / int(plan["subtasks"])
        except (IndexError, RunError):
            return 0.0  # not there yet, or not whole yet

    def _outcome(self, answer: dict[str, Any]) -> Outcome:
        with Journal.look(self._runs, "last") as journal:
            story = story_json(story_of(journal))
            found = Counter(_thing(finding) for finding in journal.findings())
        citations = tuple(f"{each['document']}:{each['start']}:{each['quote']}" for each in answer["citations"])
        subtasks = sum(node["subtasks"] for node in answer["nodes"])
        return Outcome(answer["status"], answer["answer"], citations, found, subtasks, story)


def _thing(finding: Finding) -> tuple[Any, ...]:
    """A finding without who made it."""
    match finding:
        case Answered(task, chunk, place, quote, answer):
            return "answered", task, chunk, place.start, place.end, quote, answer
        case Retrieved(task, chunk, place, quote):
            return "retrieved", task, chunk, place.start, place.end, quote
        case Abstained(task, chunk):
            return "abstained", task, chunk
        case _:
            return type(finding).__name__, finding
