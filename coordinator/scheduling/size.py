"""How many weights a model may be believed to have: what a node says of itself makes it no better than what is seen of it."""

from typing import Final

BITS_OF_A_WEIGHT: Final = 1.5
"""Of the smallest quantizations there are: a file holds no more weights than that."""
OPERATIONS_PER_SECOND: Final = 4e14
"""More than any device of a home does, with two for each weight and token: what reads faster has fewer weights."""
UNTOLD: Final = 32_000_000_000
"""Where neither the size of a file is told nor its digest, a model counts as no larger than what home devices mostly run."""


def believed_parameters(told: int, size_bytes: int, digest: str, tokens_per_second: float | None) -> int:
    """Weights that count, of a model that is told to have `told`: no more than its file can hold and its speed allows, which is
    None where it was not measured."""
    bounds = [told]
    if size_bytes:
        bounds.append(int(size_bytes * 8 / BITS_OF_A_WEIGHT))
    if not (size_bytes and digest):
        bounds.append(UNTOLD)
    if tokens_per_second is not None:
        bounds.append(int(OPERATIONS_PER_SECOND / (2 * tokens_per_second)))
    return min(bounds)
