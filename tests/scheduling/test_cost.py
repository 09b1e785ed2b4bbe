"""What a decision costs as pools grow, counted in calls: no clock, no processor, nobody else's load."""

import sys
from types import FrameType

from coordinator.scheduling.decisions import Work
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.simulated import SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from edgenode.types import NodeId, SubtaskId


def calls_for_each_subtask(devices: int) -> float:
    """Python calls, the simulation's own included, with twenty subtasks for each device, of which every tenth stalls."""
    bundles = 10 * devices
    work = [Work(chunk, tuple(SubtaskId(f"{task}.{chunk}") for task in range(2)), 900, 45, 30) for chunk in range(bundles)]
    subtasks = {id: (bundle.chunk, Tokens(900, 45, 30)) for bundle in work for id in bundle.subtasks}
    nodes = [SimulatedNode(NodeId(f"n{place}"), 300.0 + 100 * (place % 7), step=256) for place in range(devices)]
    schedule = Schedule()
    schedule.add("", work, 0.0)
    simulation = Simulation(schedule, subtasks, nodes)
    for place, node in enumerate(nodes):
        simulation.join(node.id)
        if place % 10 == 5:
            simulation.at(5.0, lambda id=node.id: simulation.set_pace(id, 0.0))
    count = 0

    def called(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        result = simulation.run()
    finally:
        sys.setprofile(before)
    assert not result.lost
    return count / len(subtasks)


def test_what_a_subtask_costs_hardly_grows_with_the_pool() -> None:
    """Eight times the devices and the work: with a cost that grew with both it would be eight times as much for each."""
    assert calls_for_each_subtask(80) < 1.5 * calls_for_each_subtask(10)
