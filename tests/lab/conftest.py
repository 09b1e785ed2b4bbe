"""Fixtures of the lab's tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from scripts.lab import Lab, unavailable

MakeLab = Callable[[int], Lab]


@pytest.fixture
def make_lab() -> Iterator[MakeLab]:
    """Makes a lab with so many hosts that ends with the test, or skips the test and says why."""
    with ExitStack() as stack:

        def make(count: int) -> Lab:
            if reason := unavailable():
                pytest.skip(reason)
            return stack.enter_context(Lab(count))

        yield make
