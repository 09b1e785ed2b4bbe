"""What slots and further models gain is measured, and used where it is something: on simulated devices."""

import pytest

from coordinator.scheduling.decisions import Candidate, Work
from coordinator.scheduling.schedule import Schedule
from coordinator.scheduling.simulated import Result, SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from coordinator.scheduling.width import TRIALS
from edgenode.types import NodeId, SubtaskId

BILLION = 10**9
FIRST = Candidate("first", 4096, 3 * BILLION)


def run(nodes: list[SimulatedNode], bundles: int) -> tuple[Result, Schedule]:
    work, subtasks = [], {}
    for chunk in range(bundles):
        shared = 800 + 37 * chunk % 200
        ids = tuple(SubtaskId(f"{task}.{chunk}") for task in range(3))
        work.append(Work(chunk, ids, shared, 45, 30))
        subtasks.update({id: (chunk, Tokens(shared, 30 + 7 * task % 30, 15 + 5 * chunk % 15)) for task, id in enumerate(ids)})
    schedule = Schedule()
    schedule.add("", work, 0.0)
    simulation = Simulation(schedule, subtasks, nodes)
    for node in nodes:
        simulation.at(0.0, lambda id=node.id: simulation.join(id))
    result = simulation.run(limit=10_000.0)
    assert result.lost == result.duplicates == 0
    return result, schedule


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(("gains", "width"), [((1.0, 1.0, 1.0, 1.0), 1), ((1.0, 1.1, 1.1, 1.1), None), ((1.0, 1.7, 2.4, 3.0), 4)])
def test_slots_are_used_as_far_as_they_gain(gains: tuple[float, ...], width: int | None, silent: bool) -> None:
    """Against the best fixed width, which is what the ideal is for: on a processor, nearly so, on a graphics card."""
    nodes = [
        SimulatedNode(NodeId(f"n{place}"), 200.0 * speed, gains=gains, silent=silent) for place, speed in enumerate((10, 6, 3))
    ]
    result, schedule = run(nodes, 200)
    assert result.efficiency >= (0.85 if width == 4 else 0.92)
    assert result.wasted_share <= 0.06
    for node in nodes:
        reached = schedule._book.nodes[node.id].width.now
        assert width is None or reached == width
        assert node.most <= 2 or width != 1


def test_a_node_that_gets_other_slots_keeps_what_it_holds() -> None:
    """The server that it asks was started anew with more or fewer of them: nothing is lost, and what they gain is measured anew."""
    work = [Work(chunk, (SubtaskId(str(chunk)),)) for chunk in range(2)]
    schedule = Schedule()
    schedule.add("", work, 0.0)
    node = NodeId("n")
    schedule.node_joined(node, 0.0, models=(FIRST,), slots=4)
    for now, slots in ((1.0, 2), (2.0, 8)):
        schedule.node_resized(node, slots, now)
        (lease,) = schedule._book.nodes[node].leases
        assert schedule._book.nodes[node].width.slots == slots
    assert schedule._book.losses == 0
    assert schedule.settled(lease.id, SubtaskId("0"), 3.0) is not None


def test_a_lease_sent_ahead_is_not_begun_beside_another() -> None:
    """Bundles take less than a round trip, so the next is on the node already: one at a time is asked for until wider is tried."""
    node = SimulatedNode(NodeId("n"), 500_000.0, gains=(1.0, 1.0))
    run([node], TRIALS // 3 + 1)
    assert node.most == 1


def with_second(factor: float, parameters: int, *, bundles: int = 300, silent: bool = False) -> tuple[Result, list[SimulatedNode]]:
    """Two devices with a second model, beside one whose only one has a billion weights."""
    two = (FIRST, Candidate("second", 4096, parameters))
    nodes = [
        SimulatedNode(NodeId(f"n{place}"), 200.0 * speed, models=models, factors={"second": factor}, loading=2.0, silent=silent)
        for place, (speed, models) in enumerate(((6, (Candidate("small", 4096, BILLION),)), (4, two), (3, two)))
    ]
    return run(nodes, bundles)[0], nodes[1:]


@pytest.mark.parametrize("silent", [False, True])
def test_a_faster_model_that_is_large_enough_is_used(silent: bool) -> None:
    """Twice as fast: after a bundle with the first, everything."""
    result, nodes = with_second(2.0, BILLION, silent=silent)
    slow, _ = with_second(2.0, BILLION // 2, silent=silent)
    assert all(node.used["second"] > 10 * node.used["first"] for node in nodes)
    assert result.seconds < 0.75 * slow.seconds


@pytest.mark.parametrize("parameters", [0, BILLION // 2, 20 * BILLION])
def test_a_model_that_is_smaller_or_far_larger_is_not_even_tried(parameters: int) -> None:
    """Smaller would give up quality, and of an unknown size nobody knows."""
    _, nodes = with_second(2.0, parameters)
    assert all("second" not in node.used for node in nodes)


@pytest.mark.parametrize("silent", [False, True])
def test_a_slower_model_is_tried_once(silent: bool) -> None:
    """One bundle, and loading two models, is what it costs."""
    result, nodes = with_second(0.5, BILLION, silent=silent)
    assert all(node.used.get("second", 0) <= 3 for node in nodes)
    assert result.efficiency >= 0.95


def test_nothing_is_tried_that_the_work_left_does_not_repay() -> None:
    """Some seconds of work, and two for loading each model."""
    _, nodes = with_second(2.0, BILLION, bundles=20)
    assert all("second" not in node.used for node in nodes)
