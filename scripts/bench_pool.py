"""Measures how much of a pool's devices a run gets, healthy and when things happen to them, beside what other policies get.

    python scripts/bench_pool.py [--bundles N] [--seconds S] [--repeat N] [--pool WORD] [--fault WORD ...] [--policy WORD ...]
                                 [--details] [--json]

Nodes are real ones in processes of their own, reached by gRPC and TLS on loopback. Their engine is the deterministic test engine:
it reads nothing and keeps the time that a device of a set speed would need, so that many devices fit on one machine. Efficiency is
the ideal time, in which the speeds that were present do the work with each chunk read once (`bench/work.py`), over the time taken.

Faults happen to the fastest device when 30 % of the subtasks have their outcomes. `kill`: its process gets SIGKILL. `stall`: its
engine makes no more progress, and the node goes on answering. `slow`: a tenth of its speed from then on. `join`: another device is
started. And when asked for, `freeze`: its process is stopped. Other policies (`bench/policies.py`) send a subtask at a time over
the same nodes, with a time-out and a retry on another node, and are cut off at five times the time of edgenode.

`lost` counts subtasks without an outcome, `duplicates` those counted twice, `wasted_share` is what the devices read and wrote
beyond the demand, as a share of it. Starting nodes and pairing is not timed. Each figure of edgenode is that of the median of
`--repeat` runs by efficiency, but with the worst of what must never be much in any of them: the most lost, the most counted twice
and the largest wasted share. Other policies run once.

The errors of prediction are edgenode's: how far off the time was, relative, that its scheduler had predicted for a subtask by
speeds that it learnt in that run alone; the median and the 90th percentile of all subtasks, each of the worst run.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.devices import Device, DeviceFailed, Devices, devices
from bench.interrupts import end_on_signals
from bench.measure import FAULTS, MORE_FAULTS, POLICIES, TIMEOUT_REQUESTS, Measured, Measurement
from bench.work import WRITE_PACE, Work

POOLS: Final = {"10-6-3-1-0.5": (10.0, 6.0, 3.0, 1.0, 0.5), "4-equal": (5.0, 5.0, 5.0, 5.0)}
JOINS: Final = 5.0
"""Speed of the device that joins."""
CUT_OFF: Final = 5.0
OURS: Final = POLICIES[0]
OWN_LIMIT: Final = 100.0
"""Ideal times of the healthy pool after which edgenode itself is cut off, so that the benchmark ends."""
PACKAGES: Final = ("edgenode", "grpcio", "protobuf", "zeroconf")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of the result. A run that was cut off has lost what was left, and its efficiency is at most the one given."""

    pool: str
    fault: str
    policy: str
    ideal_seconds: float
    seconds: float
    efficiency: float
    lost: int
    duplicates: int
    wasted_share: float

    def markdown(self) -> str:
        return (
            f"| {self.pool} | {self.fault} | {self.policy} | {self.ideal_seconds:.2f} | {self.seconds:.2f} | {self.efficiency:.3f} "
            f"| {self.lost} | {self.duplicates} | {self.wasted_share:.3f} |"
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """How far off edgenode's predictions of subtasks were in a scenario: relative errors, of the worst run. `subtasks` are all that
    were predicted and timed."""

    pool: str
    fault: str
    subtasks: int
    median: float
    ninetieth: float

    def markdown(self) -> str:
        return f"| {self.pool} | {self.fault} | {self.subtasks} | {self.median:.3f} | {self.ninetieth:.3f} |"


HEADING: Final = """| pool | fault | policy | ideal, s | taken, s | efficiency | lost | counted twice | wasted |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""

PREDICTION_HEADING: Final = """| pool | fault | subtasks predicted | median error | 90th percentile |
| --- | --- | --- | --- | --- |"""


class Bench:
    """All measurements on one pool, with devices that last as long as they are of use."""

    def __init__(self, pool: str, work: Work, made: Devices, pace: float, options: argparse.Namespace) -> None:
        self._pool = pool
        self._work = work
        self._made = made
        self._pace = pace
        self._options = options
        self._devices: list[Device] = []
        self.predictions: list[Prediction] = []
        self.processor: list[tuple[float, float]] = []
        """Of each measurement: shares of all cores, used by it and by others."""

    async def scenarios(self, fault: str) -> AsyncIterator[Scenario]:
        limit = OWN_LIMIT * self._options.seconds
        for policy in self._options.policy:
            runs = [await self._measure(fault, policy, limit) for _ in range(self._options.repeat if policy == OURS else 1)]
            scenario = self._scenario(fault, policy, runs)
            if policy == OURS:
                limit = CUT_OFF * scenario.seconds
                self.predictions.append(self._prediction(fault, runs))
            yield scenario

    async def _measure(self, fault: str, policy: str, limit: float) -> Measured:
        await self._mend()
        (spare,) = await self._made.make([JOINS]) if fault == "join" else [None]
        measurement = Measurement(self._devices, spare, self._work, fault, self._pace)
        try:
            measured = await measurement.run(policy, limit)
        finally:
            if spare is not None:
                await spare.end()
        self.processor.append((measured.processor_share, measured.others_share))
        if self._options.details:
            _show(f"{self._pool} {fault} {policy}", measured)
        return measured

    async def _mend(self) -> None:
        """Makes the pool what it was: new devices for those that are of no more use, and the others as new."""
        for device in self._devices:
            if device.is_spoilt:
                await device.end()
        self._devices = [device for device in self._devices if not device.is_spoilt]
        missing = list(POOLS[self._pool])
        for device in self._devices:
            missing.remove(device.speed)
            device.refresh()
        for device in await self._made.make(missing):
            await device.start()
            self._devices.append(device)

    def _scenario(self, fault: str, policy: str, runs: Sequence[Measured]) -> Scenario:
        middle = sorted(runs, key=lambda run: run.efficiency)[(len(runs) - 1) // 2]
        return Scenario(
            self._pool,
            fault,
            policy,
            round(middle.ideal, 3),
            round(middle.seconds, 3),
            round(middle.efficiency, 4),
            max(run.lost for run in runs),
            max(run.duplicates for run in runs),
            round(max(run.wasted_share for run in runs), 4),
        )

    def _prediction(self, fault: str, runs: Sequence[Measured]) -> Prediction:
        errors = [run.error for run in runs if run.error is not None]
        return Prediction(
            self._pool,
            fault,
            sum(error.count for error in errors),
            round(max(error.quantile(0.5) for error in errors), 4),
            round(max(error.quantile(0.9) for error in errors), 4),
        )


async def bench(options: argparse.Namespace, folder: Path) -> int:
    os.environ |= {"EDGENODE_INTERFACE": "127.0.0.1", "EDGENODE_DATA": str(folder)}
    began = time.monotonic()
    work = Work(options.bundles, options.seed)
    scenarios: list[Scenario] = []
    predictions: list[Prediction] = []
    processor: list[tuple[float, float]] = []
    conditions = _conditions(options, work)
    print("; ".join(f"{name}: {value}" for name, value in conditions.items()) + ".", file=sys.stderr)
    for pool in (name for name in POOLS if options.pool in name):
        pace = work.demand.cost / (sum(POOLS[pool]) * options.seconds)
        print(f"Pool {pool}: speed 1 reads {pace:.0f} and writes {pace * WRITE_PACE:.0f} tokens a second.", file=sys.stderr)
        async with devices(_folder(folder / pool), (pace, pace * WRITE_PACE)) as made:
            on_pool = Bench(pool, work, made, pace, options)
            for fault in options.fault:
                async for scenario in on_pool.scenarios(fault):
                    scenarios.append(scenario)
                    print(scenario.markdown(), file=sys.stderr, flush=True)
            predictions += on_pool.predictions
            processor += on_pool.processor
    ours, others = (100 * max(shares) for shares in zip(*processor, strict=True))
    conditions["processor"] = f"of all cores at most {ours:.0f} % used by a measurement, {others:.0f} % by other programs meanwhile"
    conditions["took"] = f"{time.monotonic() - began:.0f} s"
    if options.json:
        told = {"scenarios": [asdict(each) for each in scenarios], "predictions": [asdict(each) for each in predictions]}
        print(json.dumps({"conditions": conditions} | told, indent=2))
    else:
        print("; ".join(f"{name}: {value}" for name, value in conditions.items()) + ".\n")
        print(HEADING, *(each.markdown() for each in scenarios), sep="\n")
        if predictions:
            print("", PREDICTION_HEADING, *(each.markdown() for each in predictions), sep="\n")
    return 0


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _show(what: str, measured: Measured) -> None:
    """For whoever tunes: where the time went."""
    used = ", ".join(f"{use.speed:g}: {100 * use.worked:.0f} % (-{use.quiet:.2f} s)" for use in measured.devices)
    processor = f"processor {100 * measured.processor_share:.0f} %, others {100 * measured.others_share:.0f} %"
    print(
        f"{what}: {measured.efficiency:.3f}, {measured.seconds:.2f} s of {measured.ideal:.2f}, wasted {measured.wasted_share:.3f}, "
        f"{processor}; devices worked (last heard before the end): {used}",
        file=sys.stderr,
        flush=True,
    )


def _conditions(options: argparse.Namespace, work: Work) -> dict[str, str]:
    demand = work.demand
    return {
        "engine": "deterministic (test engine with set speeds: it keeps the time of a device and reads nothing)",
        "nodes": "real processes, gRPC and TLS on loopback, one slot each with a prompt cache; speeds unknown to the policies",
        "work": f"{options.bundles} bundles, {work.subtasks} subtasks, {demand.read} tokens to read, {demand.written} to write",
        "ideal time of the healthy pool": f"{options.seconds:g} s",
        "other policies": f"time-out of {TIMEOUT_REQUESTS:g} requests of the slowest device, cut off at {CUT_OFF:g} times our time",
        "runs": f"{OURS} {options.repeat} (the median; waste, loss and errors of prediction the worst), others 1",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=120, help="chunks with three questions each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="ideal time of a healthy pool; sets the speeds (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of edgenode, of which the median counts (%(default)s)")
    parser.add_argument("--pool", default="", metavar="WORD", help=f"only pools with WORD in their name: {', '.join(POOLS)}")
    parser.add_argument("--fault", nargs="+", choices=(*FAULTS, *MORE_FAULTS), default=FAULTS)
    parser.add_argument("--policy", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--seed", type=int, default=0, help="of the made-up document (%(default)s)")
    parser.add_argument("--details", action="store_true", help="tell of each run what the devices did")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    end_on_signals()
    with tempfile.TemporaryDirectory() as folder:
        try:
            return asyncio.run(bench(options, Path(folder)))
        except DeviceFailed as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
