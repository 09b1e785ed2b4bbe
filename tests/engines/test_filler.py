"""Replies made by rule fit their schema and pick what the instruction is about."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.engines.filler import fill, tokens
from edgenode.errors import EngineError

LEASE = (
    "The lease ends on 31 March.",
    "All keys are returned to the landlord on the last day.",
    "敷金は三十日以内に返還される。",
    "契約は三月に終了する。",
)
USER = "Text:\n" + "\n".join(LEASE) + "\n---\nQuestion: "


@pytest.mark.parametrize(
    ("question", "choice"),
    [
        ("When does the lease end?", LEASE[0]),
        ("To whom do I return the key?", LEASE[1]),
        ("敷金はいつ返還されますか？", LEASE[2]),
        ("契約はいつまでですか？", LEASE[3]),
        ("What is the name of the dog?", None),
        ("犬の名前は？", None),
    ],
)
def test_choice(question: str, choice: str | None) -> None:
    """The option that shares most with the question is chosen, in English and Japanese; none that shares nothing."""
    assert fill({"enum": [*LEASE, None]}, USER + question) == choice


def test_choice_without_null() -> None:
    """Where null is no option the first is taken when nothing is shared, and of equals the first."""
    assert fill({"enum": list(LEASE)}, USER + "What of the dog?") == LEASE[0]
    assert fill({"enum": ["red dog", "big dog"]}, "Which dog?") == "red dog"


def test_only_the_instruction_counts() -> None:
    """What stands before the last option, as the shared text does, has no say, however its white space is folded."""
    options = ["The cat sat down.", "The dog ran off."]
    user = "dog dog dog dog\nThe  cat sat\ndown. The dog ran off.\n\nWhere did the cat sit?"
    assert fill({"enum": [*options, None]}, user) == options[0]


def test_whole_reply() -> None:
    """A reply as readers give it: quotation chosen, answer short, numbers from their options."""
    schema = {
        "type": "object",
        "properties": {
            "quote": {"enum": [*LEASE, None]},
            "answer": {"type": ["string", "null"], "maxLength": 12},
            "citations": {"type": "array", "items": {"enum": [2, 3]}, "minItems": 1, "maxItems": 2},
            "found": {"type": "boolean"},
        },
    }
    reply = fill(schema, USER.removesuffix("Question: ") + "When does the lease end?")
    assert reply == {"quote": LEASE[0], "answer": "re: when doe", "citations": [2], "found": True}


@given(
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(0, 3),
    st.integers(0, 3),
    st.text(max_size=50),
)
def test_limits_are_kept(least: int, more: int, fewest: int, most: int, user: str) -> None:
    """Strings and arrays keep to their lengths."""
    string = fill({"type": "string", "minLength": least, "maxLength": least + more}, user)
    assert least <= len(string) <= least + more
    array = fill({"type": "array", "items": {"type": "integer", "minimum": 3}, "minItems": fewest, "maxItems": fewest + most}, user)
    assert fewest <= len(array) <= fewest + most
    assert set(array) <= {3}


@pytest.mark.parametrize("schema", [{}, [], None, {"type": "elephant"}, {"type": "string", "maxLength": "x"}, {"type": []}])
def test_schemas_it_cannot_serve(schema: Any) -> None:
    """A schema that makes no sense to it is a typed error."""
    with pytest.raises(EngineError, match="cannot fill"):
        fill(schema, "x")


def test_tokens() -> None:
    """Words, single characters of scripts without spaces, and marks count as tokens."""
    assert tokens("The rent: 1,200 dollars") == ["The", "rent", ":", "1", ",", "200", "dollars"]
    assert tokens("敷金はa") == ["敷", "金", "は", "a"]
