"""Twenty random schedules of faults, the first ten: each run ends with all that the healthy one finds. The test's id has the seed;
where one fails the schedule is told."""

from collections.abc import Iterator

import pytest

from scripts.lab.faults import make_schedule
from tests.lab.homes import SPEEDS, Reading, reading


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """A home, mended after each schedule."""
    with reading(tmp_path_factory.mktemp("home")) as home:
        yield home


@pytest.mark.parametrize("seed", range(10))
def test_a_run_ends_as_a_healthy_one_whatever_happens(home: Reading, seed: int) -> None:
    """Each finding of the healthy run is there once, and so are the answer and its citations."""
    home.through(*make_schedule(seed, len(SPEEDS)))
