"""The scheduler on simulated pools: five devices and four with each fault beside simple policies, and thousands of devices.

python scripts/simulate.py [--bundles 200] [--seed 0] [--json]
python scripts/simulate.py --scale 1000 --subtasks 100000
python scripts/simulate.py --growth
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from simulated_policies import Requests

from coordinator.scheduling.decisions import Work
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.simulated import Policy, Result, SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from edgenode.types import NodeId, SubtaskId

POOLS: Final = {"10-6-3-1-0.5": (10.0, 6.0, 3.0, 1.0, 0.5), "4 equal": (5.0, 5.0, 5.0, 5.0)}
FAULTS: Final = ("none", "kill", "stall", "slow", "join")
POLICIES: Final = ("edgenode", "round_robin", "least_outstanding")
READ_SPEED: Final = 200.0
"""Tokens a second of a device of speed 1."""
TASKS: Final = 3
SIZES: Final = ((10, 1_000), (100, 10_000), (1_000, 33_000), (3_000, 100_000))
"""Devices and subtasks, as they grow."""
# Of the time that edgenode takes, what the others are given.
CUT_OFF: Final = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    pool: str
    fault: str
    policy: str
    ideal_seconds: float
    seconds: float
    efficiency: float
    lost: int
    duplicates: int
    wasted_share: float


def make_work(bundles: int, tasks: int, seed: int) -> tuple[list[Work], dict[SubtaskId, tuple[int, Tokens]]]:
    """Chunks of about 900 tokens, each with `tasks` short instructions and replies."""
    random_ = random.Random(seed)
    work, subtasks = [], {}
    for chunk in range(bundles):
        shared = random_.randint(800, 1000)
        ids = tuple(SubtaskId(f"{task}.{chunk}") for task in range(tasks))
        work.append(Work(chunk, ids, shared, 45, 30))
        subtasks.update({id: (chunk, Tokens(shared, random_.randint(30, 60), random_.randint(15, 30))) for id in ids})
    return work, subtasks


def make_policy(name: str, work: list[Work], timeout: float) -> Policy:
    if name == "edgenode":
        schedule = Schedule()
        schedule.add("", work, 0.0)
        return schedule
    return Requests(work, least=name == "least_outstanding", timeout=timeout)


def run_small(pool: str, fault: str, policy: str, bundles: int, seed: int, limit: float) -> tuple[Row, Policy]:
    work, subtasks = make_work(bundles, TASKS, seed)
    nodes = [SimulatedNode(NodeId(f"n{place}"), speed * READ_SPEED) for place, speed in enumerate(POOLS[pool])]
    demand = sum(bundle.shared_tokens for bundle in work)
    # What a careful person would set: a few times what a subtask takes on the slowest device.
    timeout = 4 * demand / len(work) / min(node.read for node in nodes)
    machine = make_policy(policy, work, timeout)
    simulation = Simulation(machine, subtasks, nodes, seed=seed)
    first = nodes[0].id
    for node in nodes[1:] if fault == "join" else nodes:
        simulation.at(0.0, lambda id=node.id: simulation.join(id))
    happen = {
        "kill": lambda: simulation.kill(first),
        "stall": lambda: simulation.set_pace(first, 0.0),
        "slow": lambda: simulation.set_pace(first, 0.1),
        "join": lambda: simulation.join(first),
    }
    if fault in happen:
        simulation.when_done(0.3, happen[fault])
    result = simulation.run(limit)
    return _row(pool, fault, policy, result), machine


def _row(pool: str, fault: str, policy: str, result: Result) -> Row:
    return Row(
        pool,
        fault,
        policy,
        round(result.ideal_seconds, 3),
        round(result.seconds, 3),
        round(result.efficiency, 4),
        result.lost,
        result.duplicates,
        round(result.wasted_share, 4),
    )


def small(bundles: int, seed: int) -> list[Row]:
    rows = []
    for pool in POOLS:
        for fault in FAULTS:
            row, _ = run_small(pool, fault, "edgenode", bundles, seed, 1e6)
            rows.append(row)
            limit = CUT_OFF * row.seconds
            rows += [run_small(pool, fault, policy, bundles, seed, limit)[0] for policy in POLICIES[1:]]
    return rows


def run_large(count: int, subtasks_wanted: int, seed: int, churn: bool) -> dict[str, float]:
    """A pool of `count` devices with heavy-tailed speeds, and with `churn` all that befalls homes at once."""
    random_ = random.Random(seed)
    work, subtasks = make_work(subtasks_wanted // TASKS, TASKS, seed)
    nodes = [
        SimulatedNode(
            NodeId(f"n{place}"),
            min(3000.0, max(100.0, 100.0 * random_.paretovariate(1.2))),
            step=256,
            noise=0.2,
            claims=3.0 if churn and random_.random() < 0.02 else 1.0,
            silent=random_.random() < 0.1,
        )
        for place in range(count)
    ]
    schedule = Schedule()
    schedule.add("", work, 0.0)
    simulation = Simulation(schedule, subtasks, nodes, seed=seed, delay=0.01)
    length = simulation.demand / sum(node.read for node in nodes)
    for node in nodes:
        late = churn and random_.random() < 0.1
        simulation.at(random_.uniform(0, length / 2) if late else 0.0, lambda id=node.id: simulation.join(id))
        if not churn:
            continue
        fate, when = random_.random(), random_.uniform(0.1, 0.9) * length
        if fate < 0.05:
            simulation.at(when, lambda id=node.id: simulation.kill(id))
        elif fate < 0.15:
            seconds = random_.uniform(1, 30)
            simulation.at(when, lambda id=node.id, seconds=seconds: simulation.sleep(id, seconds))
        elif fate < 0.2:
            simulation.at(when, lambda id=node.id: simulation.set_pace(id, 0.1))
        elif fate < 0.22:
            simulation.at(when, lambda id=node.id: simulation.set_pace(id, 0.0))
    if churn:

        def router_reboots() -> None:
            for node in nodes[: count // 3]:
                if node.there:
                    simulation.sleep(node.id, 20.0)

        simulation.at(length / 2, router_reboots)
    # Of the processor, so that what else runs on the machine does not count.
    began = time.process_time()
    result = simulation.run()
    seconds = time.process_time() - began
    return {
        "nodes": count,
        "subtasks": len(subtasks),
        "churn": churn,
        "ideal_seconds": round(result.ideal_seconds, 2),
        "seconds": round(result.seconds, 2),
        "efficiency": round(result.efficiency, 4),
        "lost": result.lost,
        "duplicates": result.duplicates,
        "wasted_share": round(result.wasted_share, 4),
        "prediction_error_median": round(schedule.error.quantile(0.5), 3),
        "prediction_error_p90": round(schedule.error.quantile(0.9), 3),
        "processor_seconds": round(seconds, 1),
        "microseconds_per_event": round(1e6 * seconds / max(1, result.events), 1),
        "microseconds_per_decision": round(1e6 * seconds / max(1, result.decisions), 1),
        "microseconds_per_subtask": round(1e6 * seconds / len(subtasks), 1),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0),
    }


def growth(seed: int) -> None:
    """Each size in a process of its own, so that its memory is its own. A subtask's time includes its simulation."""
    print("| nodes | subtasks | efficiency | lost | counted twice | wasted | µs a subtask | µs a decision | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for nodes, subtasks in SIZES:
        size = ["--scale", str(nodes), "--subtasks", str(subtasks), "--seed", str(seed), "--json"]
        row = json.loads(subprocess.run([sys.executable, __file__, *size], check=True, capture_output=True).stdout)
        print(
            f"| {nodes:,} | {row['subtasks']:,} | {row['efficiency']:.3f} | {row['lost']} | {row['duplicates']} "
            f"| {row['wasted_share']:.3f} | {row['microseconds_per_subtask']:.0f} | {row['microseconds_per_decision']:.0f} "
            f"| {row['peak_megabytes']:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=int, default=0, help="simulate so many devices instead of the small pools")
    parser.add_argument("--subtasks", type=int, default=100_000)
    parser.add_argument("--healthy", action="store_true", help="with --scale: nothing befalls the devices")
    parser.add_argument("--growth", action="store_true", help="simulate pools of growing size, and print what each costs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.growth:
        growth(arguments.seed)
        return
    if arguments.scale:
        large = run_large(arguments.scale, arguments.subtasks, arguments.seed, not arguments.healthy)
        print(json.dumps(large) if arguments.json else "\n".join(f"{key:>26} {value}" for key, value in large.items()))
        return
    rows = small(arguments.bundles, arguments.seed)
    if arguments.json:
        print(json.dumps({"scenarios": [asdict(row) for row in rows]}, indent=1))
        return
    print(f"{arguments.bundles} bundles of {TASKS}, simulated; seed {arguments.seed}")
    for row in rows:
        print(
            f"{row.pool:13} {row.fault:6} {row.policy:18} ideal {row.ideal_seconds:7.2f} s  took {row.seconds:7.2f} s  "
            f"efficiency {row.efficiency:.3f}  lost {row.lost:3}  twice {row.duplicates}  wasted {row.wasted_share:.3f}"
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
