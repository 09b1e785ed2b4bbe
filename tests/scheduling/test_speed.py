"""The speed model on generated traces: what it learns, how soon, and what it does not fall for."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.scheduling.speed import Demand, PredictionError, SpeedModel, bundle_demand, reading


def truth(demand: Demand, read: float, write: float, overhead: float = 0.02, attention: float = 0.0) -> float:
    return demand.calls * overhead + demand.read / read + demand.depth * attention + demand.written / write


def subtask(random_: random.Random, first: bool) -> Demand:
    chunk, own = random_.uniform(600, 1200), random_.uniform(30, 90)
    return reading(0 if first else chunk, chunk + own, calls=1, written=random_.uniform(10, 80))


@settings(max_examples=60, deadline=None)
@given(st.floats(3, 5000), st.floats(1, 8), st.integers(0, 1000))
def test_a_device_is_known_after_a_few_subtasks(read: float, ratio: float, seed: int) -> None:
    """From a Pi's three tokens a second to a desktop's thousands, within a quarter after three bundles of three."""
    random_ = random.Random(seed)
    model = SpeedModel()
    for count in range(9):
        demand = subtask(random_, first=count % 3 == 0)
        model.observe(demand, truth(demand, read, read / ratio) * random_.lognormvariate(0, 0.05))
    bundle = bundle_demand(900, 60, 40, 3)
    assert model.seconds(bundle) == pytest.approx(truth(bundle, read, read / ratio), rel=0.25)


@pytest.mark.parametrize("factor", [0.1, 0.3, 3.0, 10.0])
def test_a_step_is_learnt_from_three_observations(factor: float) -> None:
    """A device that slows to a tenth, or recovers, is predicted within a fifth after three more subtasks."""
    random_ = random.Random(7)
    model = SpeedModel()
    for count in range(30):
        demand = subtask(random_, first=count % 3 == 0)
        model.observe(demand, truth(demand, 200, 40) * random_.lognormvariate(0, 0.1))
    for count in range(3):
        demand = subtask(random_, first=count == 0)
        model.observe(demand, truth(demand, 200, 40) / factor * random_.lognormvariate(0, 0.05))
    bundle = bundle_demand(900, 60, 40, 3)
    assert model.changes >= 1
    assert model.seconds(bundle) == pytest.approx(truth(bundle, 200, 40) / factor, rel=0.3)


def test_heavy_tails_move_little() -> None:
    """One subtask in twenty takes up to fifty times as long: the prediction of an ordinary one stays within a quarter, mostly."""
    random_ = random.Random(3)
    model, far = SpeedModel(), 0
    for count in range(400):
        demand = subtask(random_, first=count % 3 == 0)
        if count > 20:
            far += abs(math.log(model.seconds(demand) / truth(demand, 100, 25))) > math.log(1.25)
        noise = random_.lognormvariate(0, 0.1) * (random_.uniform(5, 50) if random_.random() < 0.05 else 1)
        model.observe(demand, truth(demand, 100, 25) * noise)
    assert far < 40


def test_attention_is_learnt_from_chunks_of_several_lengths() -> None:
    """Twice the chunk takes more than twice the time on a device where attention counts."""
    random_ = random.Random(5)
    model = SpeedModel()
    for _ in range(120):
        start = random_.choice([0, 500, 1000, 2000, 4000])
        demand = reading(start, start + 256)
        model.observe(demand, truth(demand, 200, 40, attention=1 / 200 / 3000) * random_.lognormvariate(0, 0.05))
    for length in (500, 4000):
        demand = reading(0, length)
        assert model.seconds(demand) == pytest.approx(truth(demand, 200, 40, attention=1 / 200 / 3000), rel=0.2)


def test_uncertainty_is_told_and_shrinks() -> None:
    """An unknown device may be many times slower; a known one hardly."""
    model, bundle = SpeedModel(), bundle_demand(900, 60, 40, 3)
    before = model.spread(bundle)
    for count in range(12):
        demand = subtask(random.Random(count), first=True)
        model.observe(demand, truth(demand, 100, 25))
    assert before > 1.0
    assert model.spread(bundle) < 0.3


def test_reading_tells_of_writing() -> None:
    """A device that reads ten times slower than guessed is expected to write slower too, before it has written anything."""
    slow, fast = SpeedModel(), SpeedModel()
    slow.observe(reading(0, 64), 6.4)
    fast.observe(reading(0, 64), 0.064)
    assert slow.paces[3] > 20 * fast.paces[3]


def test_a_new_node_is_guessed_from_the_others() -> None:
    """The prior is the pool's, with all of its uncertainty."""
    known = SpeedModel()
    for _ in range(20):
        known.observe(reading(0, 900), 9.0)
    new = SpeedModel(like=known)
    assert new.read_speed == pytest.approx(known.read_speed)
    assert new.spread(reading(0, 900)) > 1.0
    assert not new.known


def test_progress_that_runs_ahead_loses_credit_and_regains_it() -> None:
    """Outcomes confirm or they do not."""
    model = SpeedModel()
    assert model.credit == 1.0
    for _ in range(5):
        model.confirm(math.log(10))
    assert model.credit < 0.1
    for _ in range(20):
        model.confirm(-0.1)
    assert model.credit > 0.9


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e5), st.floats(0, 1e4), st.floats(-1, 1e9), st.floats(0, 1)), max_size=60)
)
def test_nothing_observed_breaks_it(trace: list[tuple[float, float, float, float, float]]) -> None:
    """Whatever a node claims, predictions stay positive and finite."""
    model = SpeedModel()
    for start, read, written, seconds, trust in trace:
        model.observe(reading(start, start + read, calls=1, written=written), seconds, trust=trust)
    for demand in (bundle_demand(900, 60, 40, 3), reading(0, 1), Demand(written=1)):
        assert 0 < model.seconds(demand) < math.inf
        assert 0 < model.spread(demand) < math.inf


def test_the_error_of_predictions_is_reported() -> None:
    """Quantiles of the relative error, within the steps of the histogram."""
    error = PredictionError()
    for _ in range(90):
        error.add(1.0, 1.02)
    for _ in range(10):
        error.add(1.0, 2.0)
    assert error.quantile(0.5) < 0.1
    assert 0.9 < error.quantile(0.95) < 1.2
    assert PredictionError().quantile(0.5) == 0.0
