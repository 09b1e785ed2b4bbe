"""What is said when nobody can read."""

from coordinator.runs.read import MAX_REASONS, _reasons


def test_reasons_of_several_nodes_have_a_line_each() -> None:
    """One follows on; several are a list that ends."""
    assert _reasons(["A: It hums."]) == "No node can take part. A: It hums."
    assert _reasons(["A: It hums.", "B: It drains."]) == "No node can take part:\n  A: It hums.\n  B: It drains."
    many = _reasons([f"{number}: It hums." for number in range(MAX_REASONS + 2)]).splitlines()
    assert many[-1] == "  and 2 more"
    assert len(many) == MAX_REASONS + 2
