"""What tests of this room share."""

from collections.abc import Iterator

import pytest

from coordinator import remedies


@pytest.fixture(autouse=True, scope="module")
def in_command_words() -> Iterator[None]:
    """Tests here read advice as the command line gives it; test_remedies reads that of the SDK."""
    with remedies.of_commands():
        yield
