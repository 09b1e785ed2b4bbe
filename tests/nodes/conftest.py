"""What all tests of nodes have in common."""

from collections.abc import Iterator

import pytest

from coordinator import remedies
from tests.patience import be_patient


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is about how long a node may take."""
    be_patient(monkeypatch)


@pytest.fixture(autouse=True, scope="module")
def in_command_words() -> Iterator[None]:
    """Tests here read advice as the command line gives it; test_remedies reads that of the SDK."""
    with remedies.of_commands():
        yield
