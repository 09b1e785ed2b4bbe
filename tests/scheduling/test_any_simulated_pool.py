"""Random pools of simulated devices with slots and models, random runs and faults: what a device that stays can read is read."""

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordinator.scheduling.decisions import Candidate, Need, Work
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.simulated import SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from edgenode.types import NodeId, SubtaskId

SMALL, LARGE = Candidate("small", 2048, 10**9), Candidate("large", 8192, 3 * 10**9)
TEST = Candidate("test", 8192, test_engine=True)
NEEDS = (Need(), Need(4096), Need(4096, test_engine=True))


@dataclass(frozen=True, slots=True)
class Device:
    speed: float
    models: tuple[Candidate, ...]
    gains: tuple[float, ...]
    silent: bool
    fate: str
    when: float


DEVICES = st.builds(
    Device,
    speed=st.floats(0.5, 15.0),
    models=st.sampled_from([(SMALL,), (LARGE,), (LARGE, SMALL), (SMALL, LARGE), (TEST,), (SMALL, TEST)]),
    gains=st.sampled_from([(1.0,), (1.0, 1.0), (1.0, 1.7, 2.4)]),
    silent=st.booleans(),
    fate=st.sampled_from(["none", "kill", "sleep", "stall", "hang", "slow", "late"]),
    when=st.floats(0.0, 20.0),
)


# Devices that hang one after another, each with what the one before it hung with.
HANGING = [
    Device(speed, (LARGE,), (1.0,), silent, "hang", when)
    for speed, silent, when in (
        (5.0, True, 1.0),
        (5.0, False, 1.7427),
        (10.0, False, 1.0),
        (10.0, False, 2.7209),
        (10.0, False, 1.2373),
    )
]


@example(HANGING, [(Need(), 11, True, 0.0)], False)
@settings(max_examples=40, deadline=None)
@given(
    devices=st.lists(DEVICES, max_size=5),
    runs=st.lists(
        st.tuples(st.sampled_from(NEEDS), st.integers(1, 12), st.booleans(), st.floats(0.0, 10.0)), min_size=1, max_size=4
    ),
    expected=st.booleans(),
)
def test_every_run_ends_and_nothing_is_lost_that_somebody_can_read(
    devices: list[Device], runs: list[tuple[Need, int, bool, float]], expected: bool
) -> None:
    """One device stays and can read all; each subtask is counted once, by whoever did it, and the end comes in bounded time."""
    schedule = Schedule()
    plans, subtasks = [], {}
    for number, (need, bundles, interactive, at) in enumerate(runs):
        work = []
        for chunk in range(bundles):
            ids = tuple(SubtaskId(f"{number}/{task}.{chunk}") for task in range(1 + chunk % 3))
            work.append(Work(chunk, ids, 900, 45, 30))
            # Chunks of different runs are different texts.
            subtasks.update({id: (1000 * number + chunk, Tokens(900, 45, 30)) for id in ids})
        plans.append((f"{number}", work, need, interactive, at))
    stays = SimulatedNode(NodeId("stays"), 600.0, models=(LARGE, TEST))
    nodes = [
        SimulatedNode(
            NodeId(f"n{place}"),
            200 * each.speed,
            models=each.models,
            gains=each.gains,
            silent=each.silent,
            heeds=each.fate == "hang",
        )
        for place, each in enumerate(devices)
    ]
    simulation = Simulation(schedule, subtasks, [stays, *nodes])
    if expected:
        simulation.follow(schedule.expect(0.0))
    for run, work, need, interactive, at in plans:
        simulation.at(
            at,
            lambda run=run, work=work, need=need, interactive=interactive: simulation.follow(
                schedule.add(run, work, simulation.now, need=need, interactive=interactive)
            ),
        )
    simulation.join(stays.id)
    for node, each in zip(nodes, devices, strict=True):
        simulation.at(each.when if each.fate == "late" else 0.0, lambda id=node.id: simulation.join(id))
        happen = {
            "kill": lambda id=node.id: simulation.kill(id),
            "sleep": lambda id=node.id: simulation.sleep(id, 8.0),
            "stall": lambda id=node.id: simulation.set_pace(id, 0.0),
            "hang": lambda id=node.id: simulation.set_pace(id, 0.0),
            "slow": lambda id=node.id: simulation.set_pace(id, 0.1),
        }
        if each.fate in happen:
            simulation.at(each.when, happen[each.fate])
    simulation.run(limit=2_000)
    while simulation.events and simulation.now < 2_000:
        # The next run is still to come, or word of what has ended.
        simulation.step()
        simulation.run(limit=2_000)
    result = simulation.run(limit=2_000)
    assert not simulation.given_up
    assert result.lost == result.duplicates == 0
    # All of it by the one that stays, after each of the others has kept it waiting for a while.
    assert result.seconds < 10 + 3 * simulation.demand / stays.read + 60
