"""One measurement: one policy does the work on one pool while one thing happens."""

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.devices import Device, Used
from bench.policies import Requests, edgenode
from bench.work import Work, cost, ideal_seconds
from coordinator.events import NodeState
from coordinator.nodes.news import Heard, News, Up
from coordinator.nodes.pairing import Trust
from coordinator.nodes.roster import Roster
from coordinator.scheduling.speed import PredictionError
from edgenode.net.interfaces import LOOPBACK, scope
from edgenode.types import NodeId, Outcome, Progress

POLICIES: Final = ("edgenode", "round_robin", "least_outstanding")
FAULTS: Final = ("none", "kill", "stall", "slow", "join")
MORE_FAULTS: Final = ("freeze",)
"""Measured when asked for: what happens is much like `stall`, but the roster notices."""
FAULT_AT: Final = 0.3
"""Share of the subtasks after whose outcome it happens."""
SLOWED: Final = 0.1
TIMEOUT_REQUESTS: Final = 3.0
"""Time-out of the other policies, in requests of the slowest device: it holds two, so no healthy device ever runs into it."""
JOIN_SECONDS: Final = 120.0
CORES: Final = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What became of a device's time: the share in which it worked, and how long before the end it was heard of last."""

    name: str
    speed: float
    worked: float
    quiet: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds from the first lease to the last outcome, or to the cut-off. `ideal` follows from the demand of the work and from the
    speeds that were present, each from when it was: a node that joins counts from when the roster has it, a node to which something
    happens stops counting at that moment."""

    ideal: float
    seconds: float
    lost: int
    duplicates: int
    wasted_share: float
    processor_share: float
    """Of all cores, by the coordinator and the nodes."""
    others_share: float
    """Of all cores, by everything else on the machine; 0 where that cannot be told."""
    devices: tuple[DeviceUse, ...]
    error: PredictionError | None
    """How far off the predictions of subtasks were, of a policy that predicts."""

    @property
    def efficiency(self) -> float:
        """At most that, where the policy was cut off."""
        return self.ideal / self.seconds


class Measurement:
    """`spare` is a device that is warm and joins, for that fault."""

    def __init__(self, devices: Sequence[Device], spare: Device | None, work: Work, fault: str, pace: float) -> None:
        self._devices = [*devices, *([spare] if spare else [])]
        self._initial = {device.id for device in devices}
        self._spare = spare
        self._victim = max(devices, key=lambda device: device.speed)
        self._work = work
        self._fault = fault
        self._pace = pace
        self._ended: Counter[tuple[int, int]] = Counter()
        self._lost: set[tuple[int, int]] = set()
        self._speeds: list[tuple[float, Device, float]] = []
        self._heard: dict[NodeId, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._began = 0.0
        self._error: PredictionError | None = None

    async def run(self, policy: str, limit: float) -> Measured:
        """Measures `policy` for at most `limit` seconds."""
        names = [device.name for device in self._devices]
        async with Roster(scope(LOOPBACK), Trust.load(), names) as roster:
            await _joined(roster, len(self._initial))
            with roster.listening(self._listen):
                before, own, machine = [device.used for device in self._devices], time.process_time(), machine_seconds()
                self._began = asyncio.get_running_loop().time()
                self._speeds = [(0.0, device, 0.0 if device is self._spare else device.speed) for device in self._devices]
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limit):
                        await self._carry_out(roster, policy)
                seconds = self._now()
                own, machine = time.process_time() - own, machine_seconds() - machine
            # A spare that is still starting is not left half started.
            await asyncio.gather(*self._tasks)
        # What cancelled work still read counts, so nodes are asked after their streams have ended.
        used = [device.used.since(old) for device, old in zip(self._devices, before, strict=True)]
        return self._measured(seconds, used, own + sum(each.processor for each in used), machine)

    async def _carry_out(self, roster: Roster, policy: str) -> None:
        if policy == "edgenode":
            await edgenode(roster, self._work, self._count, self._predicted)
        else:
            slowest = min(device.speed for device in self._devices)
            timeout = TIMEOUT_REQUESTS * self._work.greatest_request / (self._pace * slowest)
            await Requests(roster, self._work, self._count, timeout, least=policy == "least_outstanding").run()

    def _predicted(self, error: PredictionError) -> None:
        self._error = error

    def _count(self, task: int, chunk: int, has_outcome: bool) -> None:
        self._ended[task, chunk] += 1
        if not has_outcome:
            self._lost.add((task, chunk))
        if self._ended.total() == max(1, round(FAULT_AT * self._work.subtasks)):
            self._happen()

    def _happen(self) -> None:
        match self._fault:
            case "kill":
                self._victim.kill()
                self._set(self._victim, 0.0)
            case "freeze":
                self._victim.freeze()
                self._set(self._victim, 0.0)
            case "stall":
                self._victim.set_speed(0.0)
                self._set(self._victim, 0.0)
            case "slow":
                self._victim.set_speed(self._victim.speed * SLOWED)
                self._set(self._victim, self._victim.speed * SLOWED)
            case "join":
                assert self._spare is not None, "made for this fault"
                self._tasks.append(asyncio.create_task(self._spare.start(), name="join"))

    def _listen(self, news: News) -> None:
        match news:
            case Up(node) if node.state is NodeState.JOINED and node.id not in self._initial and self._spare is not None:
                self._initial.add(node.id)
                self._set(self._spare, self._spare.speed)
            case Heard(id, Progress() | Outcome()):
                self._heard[id] = self._now()

    def _set(self, device: Device, speed: float) -> None:
        self._speeds.append((self._now(), device, speed))

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    def _measured(self, seconds: float, used: Sequence[Used], processor: float, machine: float) -> Measured:
        demand = self._work.demand
        present: dict[Device, float] = {}
        sums: dict[float, float] = {}
        for at, device, speed in self._speeds:
            present[device] = speed
            sums[at] = sum(present.values())
        done = len(self._ended) - len(self._lost)
        readers = sum(each.read > 0 for each in used)
        needed = demand.cost * done / self._work.subtasks + demand.greeting * max(0, readers - 1)
        spent = sum(cost(each.read, each.written) for each in used)
        return Measured(
            ideal=ideal_seconds(demand.cost, self._pace, tuple(sums.items())),
            seconds=seconds,
            lost=self._work.subtasks - done,
            duplicates=self._ended.total() - len(self._ended),
            wasted_share=max(0.0, spent - needed) / demand.cost,
            processor_share=processor / (seconds * CORES),
            others_share=max(0.0, machine - processor) / (seconds * CORES),
            devices=tuple(self._use(device, each, seconds) for device, each in zip(self._devices, used, strict=True)),
            error=self._error,
        )

    def _use(self, device: Device, used: Used, seconds: float) -> DeviceUse:
        changes = [(at, speed) for at, whose, speed in self._speeds if whose is device]
        ends = [*(at for at, _ in changes[1:]), seconds]
        capacity = sum(self._pace * speed * max(0.0, end - at) for (at, speed), end in zip(changes, ends, strict=True))
        quiet = seconds - self._heard.get(device.id, 0.0) if device.id else seconds
        return DeviceUse(device.name, device.speed, cost(used.read, used.written) / capacity if capacity else 0.0, quiet)


def machine_seconds() -> float:
    """Processor time that all programs of this machine together have used since some moment; 0 where the kernel does not tell."""
    try:
        user, nice, system, _idle, _wait, *interrupts = map(int, Path("/proc/stat").read_text(encoding="ascii").split()[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


async def _joined(roster: Roster, count: int) -> None:
    async with asyncio.timeout(JOIN_SECONDS):
        while sum(node.state is NodeState.JOINED for node in roster.nodes()) < count:
            await roster.changed(1.0)
