"""What a node says of its model's size counts as far as it can be."""

from hypothesis import given
from hypothesis import strategies as st

from coordinator.scheduling.size import UNTOLD, believed_parameters

DIGEST = "ab" * 32
COUNTS = st.integers(0, 2**64)


def test_what_cannot_be_does_not_count() -> None:
    """A claim is held to the file, and a file to the speed that was measured."""
    huge = 2**64 - 1
    assert believed_parameters(huge, 0, "", None) == UNTOLD
    assert believed_parameters(huge, 100_000_000, DIGEST, None) < 600_000_000
    assert believed_parameters(huge, huge, DIGEST, 20_000.0) == 10_000_000_000
    assert believed_parameters(8_000_000_000, 4_900_000_000, DIGEST, 900.0) == 8_000_000_000


@given(COUNTS, COUNTS, st.sampled_from(["", DIGEST]), st.none() | st.floats(0.001, 1e9))
def test_nothing_makes_a_model_larger_than_it_is_told_to_be(told: int, size: int, digest: str, speed: float | None) -> None:
    """Nor does knowing more of it."""
    believed = believed_parameters(told, size, digest, speed)
    assert 0 <= believed <= told
    assert believed_parameters(told, size, digest, None) >= believed
