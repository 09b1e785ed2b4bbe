"""The request for the answer, and its reply."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.documents.chunks import estimate_tokens
from coordinator.minions import aggregation
from coordinator.types import Aggregate, Place, Retrieved


def selection_of(count: int, quote: str = "The tenant pays.") -> aggregation.Selection:
    found = [
        Retrieved(0, at // 20, Place("D1", 1, at * 400, at * 400 + 300), f"{at}: {quote}", float(at + 1)) for at in range(count)
    ]
    return aggregation.select(found, 1_000_000, "Who pays?", {})


def test_request_is_question_and_findings() -> None:
    """System text and schema are the fixed ones, whatever is asked; the rest is the question and the findings."""
    request = aggregation.request("Who pays?", selection_of(2))
    assert (request.system, request.schema) == (aggregation.SYSTEM, aggregation.SCHEMA)
    assert request.user == (
        'Question: Who pays?\n\nFindings:\n[1]  D1, page 1: "0: The tenant pays."\n[2]  D1, page 1: "1: The tenant pays."'
    )


def test_schema_is_accepted_by_strict_servers() -> None:
    """Every property is required, nothing else is allowed, and no keyword is used that strict mode does not know."""
    schema = json.loads(aggregation.SCHEMA)
    assert schema["required"] == list(schema["properties"]) == ["found", "answer", "citations"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["citations"] == {"type": "array", "items": {"type": "integer"}}
    assert set(schema) == {"type", "required", "additionalProperties", "properties"}


def test_home_schema_bounds_everything() -> None:
    """A small model can only cite findings that there are, and cannot write for ever."""
    properties = json.loads(aggregation.home_schema([1, 2]))["properties"]
    assert list(properties) == ["found", "answer", "citations"]
    assert properties["citations"] == {"type": "array", "items": {"enum": [1, 2]}, "minItems": 1, "maxItems": 2}
    longest = {"found": False, "answer": "賃" * properties["answer"]["maxLength"], "citations": [9_999] * 3}
    assert estimate_tokens(json.dumps(longest, ensure_ascii=False)) <= aggregation.HOME_REPLY_TOKENS


def test_home_request_holds_the_strongest() -> None:
    """A small model sees a few strong findings, numbered as in the selection, the question last; it can cite no other."""
    request = aggregation.home_request("Who pays?", selection_of(40))
    lines = request.user.splitlines()
    assert lines[-1] == "Question: Who pays?"
    assert [line.split()[0] for line in lines[:-2]] == [f"[{number}]" for number in range(29, 41)]
    assert json.loads(request.schema)["properties"]["citations"]["items"]["enum"] == list(range(29, 41))
    long = aggregation.home_request("Who pays?", selection_of(40, "The tenant pays. " * 30))
    assert len(long.user) < aggregation.HOME_CHARACTERS + 100
    assert len(long.user.splitlines()) > 3


def reply(found: object = True, answer: object = "The tenant.", citations: object = (2, 1, 2)) -> str:
    return json.dumps({"found": found, "answer": answer, "citations": citations})


def test_replies() -> None:
    """Citations become positions without repetition; an answer is one block, without what steers a terminal."""
    assert aggregation.parse(reply(), 2) == Aggregate(True, "The tenant.", (1, 0))
    assert aggregation.parse(reply(answer=" A.\x1b[31m\r\n\nB\u202e. "), 2).answer == "A.(31m B."
    assert aggregation.parse(reply(False, "Nothing on rent.", [7]), 2) == Aggregate(False, "Nothing on rent.", ())
    assert aggregation.parse(reply(False, "", []), 0) == Aggregate(False, "", ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The tenant [1].",
        "[]",
        '{"found": true, "answer": "x"}',
        reply("true"),
        reply(1),
        reply(answer=None),
        reply(answer=" \n\u202e"),
        reply(citations=[]),
        reply(citations=[0]),
        reply(citations=[3]),
        reply(citations=[-1]),
        reply(citations=[True]),
        reply(citations=[1.0]),
        reply(citations=["1"]),
        reply(citations=1),
        reply(False, citations=["x"]),
        "[" * 50_000,
        reply(answer="x" * 200_000),
    ],
)
def test_what_is_not_the_schema_is_refused(text: str) -> None:
    """Anything but the schema, numbers that no finding has and answers that cite nothing are no answer."""
    with pytest.raises(ValueError, match=r"^[a-z]"):
        aggregation.parse(text, 2)


@given(
    st.text(max_size=200) | st.builds(reply, st.booleans(), st.text(), st.lists(st.integers(-2, 9) | st.floats())),
    st.integers(0, 5),
)
def test_no_reply_breaks_the_parser(text: str, count: int) -> None:
    """Whatever comes back is either refused or an answer that cites what was sent."""
    try:
        aggregate = aggregation.parse(text, count)
    except ValueError:
        return
    assert bool(aggregate.citations) == aggregate.found
    assert all(0 <= position < count for position in aggregate.citations)
