"""A run's journal for each test of the cloud's room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import remedies
from coordinator.runs.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.create(tmp_path / "runs") as journal:
        yield journal


@pytest.fixture(autouse=True, scope="module")
def in_command_words() -> Iterator[None]:
    """Tests here read advice as the command line gives it; test_remedies reads that of the SDK."""
    with remedies.of_commands():
        yield
