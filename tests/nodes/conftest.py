"""What all tests of nodes have in common."""

import pytest

from tests.patience import be_patient


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is about how long a node may take."""
    be_patient(monkeypatch)
