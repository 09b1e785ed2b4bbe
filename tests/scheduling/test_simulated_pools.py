"""The scheduler on simulated pools, speeds unknown at the start: close to the sum of the devices, whatever befalls one of them."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.scheduling.decisions import Work
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.simulated import Result, SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from edgenode.types import NodeId, SubtaskId

POOLS = ((10.0, 6.0, 3.0, 1.0, 0.5), (5.0, 5.0, 5.0, 5.0))
FIRST = NodeId("n0")


def pool(
    speeds: tuple[float, ...],
    *,
    bundles: int = 200,
    tasks: int = 3,
    fault: Callable[[Simulation], None] | None = None,
    late: bool = False,
    shape: Callable[[int, SimulatedNode], None] | None = None,
    seed: int = 0,
    read: float = 200.0,
) -> tuple[Result, Schedule]:
    """One run; `fault` happens at 30 % of the work, `late` lets the first node join only then."""
    work, subtasks = [], {}
    for chunk in range(bundles):
        shared = 800 + 37 * chunk % 200
        ids = tuple(SubtaskId(f"{task}.{chunk}") for task in range(tasks))
        work.append(Work(chunk, ids, shared, 45, 30))
        subtasks.update({id: (chunk, Tokens(shared, 30 + 7 * task % 30, 15 + 5 * chunk % 15)) for task, id in enumerate(ids)})
    nodes = [SimulatedNode(NodeId(f"n{place}"), read * speed) for place, speed in enumerate(speeds)]
    for place, node in enumerate(nodes):
        if shape is not None:
            shape(place, node)
    schedule = Schedule()
    schedule.add("", work, 0.0)
    simulation = Simulation(schedule, subtasks, nodes, seed=seed)
    for node in nodes[1:] if late else nodes:
        simulation.at(0.0, lambda id=node.id: simulation.join(id))
    if fault is not None:
        simulation.when_done(0.3, lambda: fault(simulation))
    result = simulation.run(limit=10_000.0)
    assert result.lost == result.duplicates == 0
    return result, schedule


@pytest.mark.parametrize("speeds", POOLS)
def test_a_healthy_pool_is_as_fast_as_the_sum_of_its_devices(speeds: tuple[float, ...]) -> None:
    """With speeds that the scheduler has to learn."""
    result, schedule = pool(speeds)
    assert result.efficiency >= 0.97
    assert result.wasted_share <= 0.02
    assert schedule.error.quantile(0.5) < 0.1


def hang(simulation: Simulation) -> None:
    """It makes no more progress, but answers that it has stopped when it is told to."""
    simulation.nodes[FIRST].heeds = True
    simulation.set_pace(FIRST, 0.0)


FAULTS: dict[str, Callable[[Simulation], None]] = {
    "kill": lambda simulation: simulation.kill(FIRST),
    "stall": lambda simulation: simulation.set_pace(FIRST, 0.0),
    "hang": hang,
    "slow": lambda simulation: simulation.set_pace(FIRST, 0.1),
    "sleep": lambda simulation: simulation.sleep(FIRST, 15.0),
    "join": lambda simulation: simulation.join(FIRST),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("speeds", POOLS)
def test_any_one_fault_of_the_fastest_costs_little(speeds: tuple[float, ...], fault: str) -> None:
    """Killed, stalled with its heartbeat going on, hanging, slowed to a tenth, asleep, late: measured by the speeds present."""
    result, _ = pool(speeds, fault=FAULTS[fault], late=fault == "join")
    assert result.efficiency >= 0.95
    assert result.wasted_share <= 0.02


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_device_that_hangs_wastes_little_in_every_run(noise: float) -> None:
    """The worst of several, and not the mean: what it had begun is read once more, and it is not tried again and again."""
    for seed in range(6):

        def shake(place: int, node: SimulatedNode) -> None:
            node.noise = noise

        result, _ = pool(POOLS[0], bundles=120, fault=hang, shape=shake, seed=seed, read=1300.0)
        assert result.wasted_share <= 0.02


def test_a_device_that_recovers_is_used_again() -> None:
    """Slowed to a tenth at 30 %, as fast as before some seconds later."""

    def slow_for_a_while(simulation: Simulation) -> None:
        simulation.set_pace(FIRST, 0.1)
        simulation.at(simulation.now + 15, lambda: simulation.set_pace(FIRST, 1.0))

    result, _ = pool(POOLS[0], fault=slow_for_a_while)
    assert result.efficiency >= 0.95


def test_a_stalled_device_that_wakes_is_used_again() -> None:
    """It was given up, and answers the cancellation when it can."""

    def stall_for_a_while(simulation: Simulation) -> None:
        simulation.set_pace(FIRST, 0.0)
        simulation.at(simulation.now + 15, lambda: simulation.set_pace(FIRST, 1.0))

    result, _ = pool(POOLS[0], fault=stall_for_a_while)
    assert result.efficiency >= 0.9


@pytest.mark.parametrize("claims", [10.0, 0.1])
def test_progress_that_lies_costs_little(claims: float) -> None:
    """The fastest device's progress runs ahead of what it does, or behind: its outcomes tell."""

    def lie(place: int, node: SimulatedNode) -> None:
        node.claims = claims if place == 0 else 1.0

    result, _ = pool(POOLS[0], shape=lie)
    assert result.efficiency >= 0.9
    assert result.wasted_share <= 0.03


def test_devices_that_tell_no_progress_are_used_fully() -> None:
    """A server that says nothing until it has answered."""

    def hush(place: int, node: SimulatedNode) -> None:
        node.silent = True

    result, _ = pool(POOLS[0], shape=hush)
    assert result.efficiency >= 0.95


def test_noise_costs_little() -> None:
    """Every step of every device takes up to twice as long as the one before."""

    def shake(place: int, node: SimulatedNode) -> None:
        node.noise = 0.4

    result, _ = pool(POOLS[0], shape=shake)
    # Noise of .4 in the logarithm makes the mean step longer by this much.
    assert result.efficiency * math.exp(0.4**2 / 2) >= 0.95
    assert result.wasted_share <= 0.02


def test_a_pool_in_which_all_but_the_slowest_die_ends() -> None:
    """The last device does it all."""

    def kill_all_but_one(simulation: Simulation) -> None:
        for place in range(4):
            simulation.kill(NodeId(f"n{place}"))

    result, _ = pool(POOLS[0], bundles=40, fault=kill_all_but_one)
    assert result.efficiency >= 0.9


def test_few_bundles_on_unequal_devices_do_not_wait_for_the_slowest() -> None:
    """A bundle each, thirty-fold speeds: the fast ones take over what the slow ones began."""
    result, _ = pool((30.0, 20.0, 10.0, 1.0), bundles=4)
    alone = 4 * 1250 / (30.0 * 200)
    assert result.seconds < 2.5 * alone


def test_the_simulation_prints_what_others_reach() -> None:
    """The command, with a small run: every scenario is there, and edgenode is ahead of both others everywhere."""
    script = Path(__file__).resolve().parents[2] / "scripts" / "simulate.py"
    run = subprocess.run([sys.executable, script, "--bundles", "40", "--json"], check=True, capture_output=True, timeout=600)
    rows = json.loads(run.stdout)["scenarios"]
    assert len(rows) == 30
    for row in rows:
        ours = next(
            each for each in rows if (each["pool"], each["fault"], each["policy"]) == (row["pool"], row["fault"], "edgenode")
        )
        assert ours["lost"] == ours["duplicates"] == 0
        assert ours["efficiency"] >= row["efficiency"]


def test_a_hundred_devices_with_all_that_happens() -> None:
    """Churn, sleeps, a router that reboots, stalls and liars: nothing lost, nothing twice."""
    script = Path(__file__).resolve().parents[2] / "scripts" / "simulate.py"
    command = [sys.executable, script, "--scale", "100", "--subtasks", "3000", "--seed", "5", "--json"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=600).stdout)
    assert result["lost"] == result["duplicates"] == 0
    assert result["efficiency"] > 0.6
