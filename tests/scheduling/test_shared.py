"""Nodes that several coordinators share: nobody is blamed for the turns of others, and all get the same time."""

import random

import pytest

from edgenode.types import AuthorityId
from tests.scheduling.shared_nodes import Coordinator, SharedPool

ANNA, BERT = AuthorityId("a" * 32), AuthorityId("b" * 32)


def at_work(
    anna: tuple[float, int], bert: tuple[float, int], silent: list[bool], seconds: float
) -> tuple[Coordinator, Coordinator]:
    """Both after so long on nodes that tell no progress or do, with more work than they can get done: what a subtask takes, and how
    many share a chunk."""
    both = Coordinator(ANNA, anna[0]), Coordinator(BERT, bert[0])
    pool = SharedPool(both, silent)
    for each, (takes, size) in zip(both, (anna, bert), strict=True):
        pool.ask(each, int(seconds * len(silent) / takes / size) + len(silent), size)
    pool.run(seconds)
    assert pool.now >= seconds
    return both


@pytest.mark.parametrize("seed", range(12))
def test_no_node_is_blamed_for_the_turns_of_others(seed: int) -> None:
    """Whatever they are asked and whether their engines tell progress, nothing is taken from nodes that are well."""
    chance = random.Random(seed)
    anna, bert = ((chance.choice((0.5, 1.0, 5.0, 30.0, 90.0)), chance.randint(1, 5)) for _ in range(2))
    both = at_work(anna, bert, [chance.random() < 0.5 for _ in range(chance.randint(1, 3))], 400.0)
    assert all(each.is_unharmed for each in both)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("anna", "bert"), [((1.0, 3), (1.0, 3)), ((30.0, 3), (0.5, 1)), ((5.0, 5), (5.0, 1)), ((0.5, 5), (20.0, 2))]
)
def test_both_get_half_of_what_they_share(anna: tuple[float, int], bert: tuple[float, int], silent: bool) -> None:
    """A long text beside short letters: by the time that the nodes worked for each."""
    both = at_work(anna, bert, [silent] * 2, 1_000.0)
    for node in both[0].served:
        served = [each.served[node] for each in both]
        assert min(served) > 0.4 * sum(served)
