"""Figures that no message can carry, or no device can mean: refused where they are given, in one line."""

import pytest

from coordinator import cli as coordinator
from edgenode import cli as edgenode
from edgenode.console import Parser
from edgenode.errors import UsageError
from edgenode.types import MAX_SLOTS, MAX_UINT32

NONSENSE = ["-1", "1.5", "", " 7", "٣", "1e3", "nan", "9" * 5_000, str(2**64)]
# The last figure that is taken, for each option.
MOST = {
    "edgenode start --context": MAX_UINT32,
    "edgenode start --slots": MAX_SLOTS,
    "edgenode start --threads": 4_096,
    "edgenode start --port": 65_534,
    "edgenode start --min-battery": 100,
    "coordinator ask a b --max-egress": MAX_UINT32,
    "coordinator resume last --max-egress": MAX_UINT32,
    "coordinator nodes --listen-port": 65_534,
    "coordinator invite --days": 365,
}


def parser_of(typed: str) -> tuple[Parser, list[str]]:
    program, *arguments = typed.split()
    return (edgenode if program == "edgenode" else coordinator)._parser(), arguments


@pytest.mark.parametrize("typed", MOST)
def test_the_largest_figure_is_taken_and_the_next_is_not(typed: str) -> None:
    """The sentence names the option and what it takes."""
    parser, arguments = parser_of(typed)
    option = arguments[-1].removeprefix("--").replace("-", "_")
    assert getattr(parser.parse_args([*arguments, str(MOST[typed])]), option) == MOST[typed]
    with pytest.raises(UsageError) as caught:
        parser.parse_args([*arguments, str(MOST[typed] + 1)])
    assert arguments[-1] in str(caught.value)
    assert str(MOST[typed]) in str(caught.value)


@pytest.mark.parametrize("typed", MOST)
@pytest.mark.parametrize("value", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_one_short_line(typed: str, value: str) -> None:
    """However long what was typed is."""
    parser, arguments = parser_of(typed)
    with pytest.raises(UsageError) as caught:
        parser.parse_args([*arguments[:-1], f"{arguments[-1]}={value}"])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
