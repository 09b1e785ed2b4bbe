"""Measures in the lab of hosts how soon a coordinator's roster notices what happens to nodes, and how soon it finds them.

    python scripts/bench_roster.py [--nodes N] [--times N] [--only WORD] [--json]

Needs Linux and root (see `scripts/lab`). Each node and the coordinator has a host of its own: a network namespace on a switch; they
share the machine's processors. What is timed is what a person sees: the lines of `coordinator nodes --watch --json` as they come.
"Noticed" is from the fault to the node being shown as suspect or gone. "Back" is from its end, where a node is started again from
that command on, to the node being shown as joined. Nodes run the deterministic test engine and have nothing to read. Every fault
happens to one node after another, with a new watch for each round, so that no node comes and goes often enough to be held off.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from lab import Lab, LabFailed, unavailable
from lab.pool import LabNode, Member, Watch, start_paired

AWAY_SECONDS = 10.0
"""From a fault to its end: long enough that connections have been given up."""
QUIET_SECONDS = 2.0
PACKAGES = ("edgenode", "grpcio", "zeroconf")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `target` is the median to be kept, in seconds, None where there is none."""

    what: str
    target: float | None
    seconds: tuple[float, ...]

    def markdown(self) -> str:
        spread = f"{min(self.seconds):.2f} to {max(self.seconds):.2f}"
        return f"| {self.what} | {median(self.seconds):.2f} | {spread} | {'' if self.target is None else f'{self.target:g}'} |"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to a node, and its end. `target` is for noticing it."""

    name: str
    target: float
    begin: Callable[[LabNode], None]
    end: Callable[[LabNode], None]
    ended: str
    shown: tuple[str, ...] = ("suspect", "gone")


def kill(node: LabNode) -> None:
    node.send(signal.SIGKILL)


def restart(node: LabNode) -> None:
    node.wait_ended()
    node.start()


FAULTS = (
    Fault("process killed (SIGKILL)", 1.0, kill, restart, "started again"),
    Fault("goodbye (SIGTERM)", 1.0, lambda node: node.send(signal.SIGTERM), restart, "started again", ("gone",)),
    Fault("process frozen (SIGSTOP)", 5.0, lambda n: n.send(signal.SIGSTOP), lambda n: n.send(signal.SIGCONT), "thawed"),
    Fault("cable cut at the switch", 5.0, lambda n: n.host.cut(), lambda n: n.host.heal(), "mended"),
    Fault("cable pulled at the node", 5.0, lambda n: n.host.unplug(), lambda n: n.host.plug(), "plugged in"),
    Fault("one-way loss: what the node sends", 5.0, lambda n: n.host.mute(), lambda n: n.host.heal(), "mended"),
    Fault("one-way loss: what it is sent", 5.0, lambda n: n.host.deafen(), lambda n: n.host.heal(), "mended"),
)
BACK_TARGET = 5.0


class Bench:
    """The lab with paired nodes, and what is measured in it, so many times each."""

    def __init__(self, lab: Lab, folder: Path, times: int) -> None:
        self._lab = lab
        self._folder = folder
        self._times = times
        self._fresh = 0
        self._coordinator = Member(lab.hosts[0], folder)
        self._nodes = [LabNode(host, folder) for host in lab.hosts[1:]]
        start_paired(self._coordinator, self._nodes)

    def fault(self, fault: Fault) -> Iterator[Row]:
        noticed, back = [], []
        for watch, node in self._rounds():
            began = time.monotonic()
            fault.begin(node)
            noticed.append(watch.wait(node.name, fault.shown, began).at - began)
            time.sleep(max(0.0, began + AWAY_SECONDS - time.monotonic()))
            ended = time.monotonic()
            fault.end(node)
            back.append(watch.wait(node.name, ["joined"], ended).at - ended)
        yield Row(f"{fault.name}: noticed", fault.target, tuple(noticed))
        yield Row(f"{fault.name}, then {fault.ended}: back", BACK_TARGET, tuple(back))

    def new_address(self) -> Iterator[Row]:
        back = []
        for node in self._nodes:
            node.host.disable_ipv6()
        for number, (watch, node) in enumerate(self._rounds()):
            began = time.monotonic()
            node.host.set_address(f"10.77.0.{150 + number}")
            back.append(watch.wait(node.name, ["joined"], began, f"{node.host.address}:").at - began)
        yield Row("IPv4 address changed, no IPv6: joined at the new one", BACK_TARGET, tuple(back))

    def discovery(self) -> Iterator[Row]:
        join = [option for node in self._nodes for option in ("--join", node.address)]
        new, joined = ["unpaired"], ["joined"]
        yield self._cold("new coordinator: all nodes listed", new, fresh=True)
        yield self._cold("paired coordinator: all nodes joined", joined)
        self._lab.set_multicast(False)
        yield self._cold("new coordinator, no multicast, --join: all nodes listed", new, *join, fresh=True)
        yield self._cold("paired coordinator, no multicast, --join: all nodes joined", joined, *join)
        yield self._cold("paired coordinator, no multicast, last-known addresses: all nodes joined", joined)
        self._lab.set_multicast(True)

    def _cold(self, what: str, states: list[str], *options: str, fresh: bool = False) -> Row:
        """From the start of the command `coordinator nodes` until it has shown the last node so."""
        seconds = []
        for _ in range(self._times):
            coordinator = self._coordinator
            if fresh:
                self._fresh += 1
                coordinator = Member(self._coordinator.host, self._folder / f"fresh-{self._fresh}")
            # A node that spoke less than a second ago keeps silent when it is asked by mDNS.
            time.sleep(QUIET_SECONDS)
            began = time.monotonic()
            with Watch(coordinator, *options) as watch:
                seconds.append(max(watch.wait(node.name, states).at for node in self._nodes) - began)
        return Row(what, None, tuple(seconds))

    def _rounds(self) -> Iterator[tuple[Watch, LabNode]]:
        """A node for each time, with a watch that shows all nodes as joined and knows of no losses of this one."""
        for first in range(0, self._times, len(self._nodes)):
            with Watch(self._coordinator) as watch:
                for node in self._nodes:
                    watch.wait(node.name, ["joined"])
                for node in self._nodes[: self._times - first]:
                    yield watch, node


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5, help="hosts with a node (%(default)s)")
    parser.add_argument("--times", type=int, default=5, help="how often each is measured (%(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="what has WORD in its name (faults), or: address, discovery")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if reason := unavailable():
        print(reason, file=sys.stderr)
        return 1
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory() as folder, Lab(arguments.nodes + 1) as lab:
            bench = Bench(lab, Path(folder), arguments.times)
            for row in _measured(bench, arguments.only):
                rows.append(row)
                print(row.markdown(), file=sys.stderr)
    except LabFailed as error:
        print(error, file=sys.stderr)
        return 1
    conditions = _conditions(arguments.nodes, arguments.times)
    if arguments.json:
        print(
            json.dumps(
                {"conditions": conditions, "rows": [asdict(row) | {"median": median(row.seconds)} for row in rows]}, indent=2
            )
        )
        return 0
    print("; ".join(f"{name} {value}" for name, value in conditions.items()) + ".\n")
    print("| what | median, s | fastest to slowest, s | target, s |\n| --- | --- | --- | --- |")
    print(*(row.markdown() for row in rows), sep="\n")
    return 0


def _measured(bench: Bench, only: str) -> Iterator[Row]:
    for fault in FAULTS:
        if only in fault.name:
            yield from bench.fault(fault)
    if only in "discovery":
        yield from bench.discovery()
    if only in "address":
        yield from bench.new_address()


def _conditions(nodes: int, times: int) -> dict[str, str]:
    return {
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "hosts": f"{nodes} with a node and 1 with the coordinator, all on one machine",
        "engine": "deterministic (test engine)",
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "times": f"{times} each",
    }


if __name__ == "__main__":
    sys.exit(main())
