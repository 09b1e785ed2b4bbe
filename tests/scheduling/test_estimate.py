"""How long a run will take: nothing is claimed before anything is known, and then it is close."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.scheduling.decisions import Candidate, Work
from coordinator.scheduling.estimate import Device, demand_of, estimate
from coordinator.scheduling.holdings import Node
from coordinator.scheduling.readers import Reader, Record
from coordinator.scheduling.schedule import ANY_MODEL, Schedule
from coordinator.scheduling.simulated import SimulatedNode, Tokens
from coordinator.scheduling.simulator import Simulation
from coordinator.scheduling.speed import reading
from coordinator.scheduling.width import Width
from edgenode.types import NodeId, SubtaskId

MODEL = Candidate("model", 4096)


def work(bundles: int, run: str = "run", tasks: int = 2) -> list[Work]:
    return [
        Work(chunk, tuple(SubtaskId(f"{run}/{task}.{chunk}") for task in range(tasks)), 800, 45, 30) for chunk in range(bundles)
    ]


def device(tokens_per_second: float | None, free_in: float = 0.0) -> Device:
    reader = Reader(MODEL)
    if tokens_per_second is not None:
        reader.speed.observe(reading(0, 1_000), 1_000 / tokens_per_second)
    return Device(Node(NodeId("n"), Record(), reader, Width(1)), reader, free_in)


def seconds(devices: list[Device], bundles: int) -> float:
    found = estimate(devices, *demand_of(work(bundles))).seconds
    assert found is not None
    return found


def test_nothing_is_claimed_of_devices_that_nobody_has_seen_work() -> None:
    """Neither before they have read anything, nor without any device."""
    assert estimate([device(None), device(None)], *demand_of(work(9))).seconds is None
    assert estimate([], *demand_of(work(9))).seconds is None
    assert Schedule().foresee(work(9), ANY_MODEL).devices == 0


@given(
    speeds=st.lists(st.floats(5, 2_000), min_size=1, max_size=6),
    busy=st.lists(st.floats(0, 500), min_size=6, max_size=6),
    more=st.floats(5, 2_000),
    bundles=st.integers(1, 300),
)
def test_more_devices_are_never_slower_and_more_work_never_faster(
    speeds: list[float], busy: list[float], more: float, bundles: int
) -> None:
    """Whatever each of them still has to do; and no run takes less than its fastest device needs for one part."""
    devices = [device(speed, free) for speed, free in zip(speeds, busy, strict=False)]
    taken = seconds(devices, bundles)
    assert seconds([*devices, device(more, busy[-1])], bundles) <= taken * (1 + 1e-9)
    assert seconds(devices, bundles + 1) >= taken * (1 - 1e-9)
    assert taken >= min(seconds([each], 1) for each in devices) * (1 - 1e-9)


def test_other_runs_take_their_share() -> None:
    """Beside one other run it takes twice as long."""
    devices, needed = [device(100.0)], demand_of(work(20))
    alone, beside = estimate(devices, *needed).seconds, estimate(devices, *needed, runs=2).seconds
    assert alone is not None
    assert beside == pytest.approx(2 * alone)


@pytest.mark.parametrize("speeds", [(200.0,), (2_000.0, 1_200.0, 200.0), (100.0, 100.0, 100.0, 100.0)])
@pytest.mark.parametrize("joins", [False, True])
def test_what_is_foreseen_is_close_to_what_it_takes(speeds: tuple[float, ...], joins: bool) -> None:
    """Before the run by what an earlier one taught, and at a third of it, also when another device has joined meanwhile."""
    nodes = [SimulatedNode(NodeId(f"n{place}"), speed) for place, speed in enumerate(speeds)]
    late = SimulatedNode(NodeId("late"), max(speeds))
    earlier, bundles = work(2 * len(nodes), "earlier"), work(60)
    subtasks = {id: (number, Tokens(800, 40, 25)) for number, each in enumerate((*earlier, *bundles)) for id in each.subtasks}
    schedule = Schedule()
    simulation = Simulation(schedule, subtasks, [*nodes, late])
    for node in nodes:
        simulation.at(0.0, lambda id=node.id: simulation.join(id))
    simulation.follow(schedule.add("earlier", earlier, 0.0))
    simulation.run()
    foreseen = schedule.foresee(bundles, ANY_MODEL)
    assert foreseen.devices == len(nodes)
    began, seen = simulation.now, []
    simulation.follow(schedule.add("run", bundles, began))
    share = (len(earlier) + len(bundles) / 3) / (len(earlier) + len(bundles))
    if joins:
        simulation.when_done(share * 0.9, lambda: simulation.join(late.id))
    simulation.when_done(share, lambda: seen.append((simulation.now, schedule.left("run", simulation.now))))
    simulation.run()
    taken = simulation.now - began
    if not joins:
        assert foreseen.seconds == pytest.approx(taken, rel=0.2)
    ((at, left),) = seen
    assert left is not None
    assert left.devices == len(nodes) + joins
    assert left.seconds == pytest.approx(simulation.now - at, rel=0.25)
    assert schedule.left("run", simulation.now) is None
