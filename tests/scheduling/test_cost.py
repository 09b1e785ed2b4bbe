"""What a decision costs as pools grow, counted in calls: no clock, no processor, nobody else's load."""

import sys
from collections.abc import Callable
from types import FrameType

from coordinator.scheduling.decisions import Candidate, Grant, Work
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.simulated import SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from edgenode.types import FailureReason, NodeId, SubtaskId


def calls_in(what: Callable[[], object]) -> int:
    """How many functions of Python are called."""
    count = 0

    def called(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        what()
    finally:
        sys.setprofile(before)
    return count


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
    count = calls_in(simulation.run)
    assert len(simulation.settled) == len(subtasks)
    return count / len(subtasks)


def test_what_a_subtask_costs_hardly_grows_with_the_pool() -> None:
    """Eight times the devices and the work: with a cost that grew with both it would be eight times as much for each."""
    assert calls_for_each_subtask(80) < 1.5 * calls_for_each_subtask(10)


def calls_while_one_rests(failed: int) -> int:
    """In a minute in which so many subtasks that one node failed for good wait for another that rests."""
    schedule = Schedule()
    models = (Candidate("model", 4096),)
    schedule.node_joined(NodeId("rests"), 0.0, models=models, ready=False, resting=True)
    schedule.node_joined(NodeId("fails"), 0.0, models=models)
    (grant,) = schedule.add("r", [Work(0, tuple(SubtaskId(str(number)) for number in range(failed)))], 0.0)
    assert isinstance(grant, Grant)
    for id in grant.subtasks:
        schedule.failed(grant.lease, id, FailureReason.BAD_REPLY, "not JSON", 1.0)

    def wait() -> None:
        now = 1.0
        while now < 61.0:
            now = max(now, schedule.wakes_at)
            assert not schedule.tick(now)

    return calls_in(wait)


def test_what_waits_for_a_node_that_rests_is_not_looked_at_all_the_time() -> None:
    """Of a few hundred each is looked at once a second, though the idle node is asked twenty times a second."""
    more = calls_while_one_rests(400) - calls_while_one_rests(200)
    assert more < 60 * 200 * 40
