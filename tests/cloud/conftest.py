"""A run's journal for each test of the cloud's room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.runs.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.create(tmp_path / "runs") as journal:
        yield journal
