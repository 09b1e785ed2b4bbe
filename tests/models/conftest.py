from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenode.models.store import Store
from tests.models.file_server import FileServer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer().running() as running:
        yield running
