"""Replies of servers that do not hold a model to the form are read where it is certain what is meant."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.minions.reply import object_in

REPLY = {"quote": "The rent is due on the third.", "answer": "the third"}
TEXT = json.dumps(REPLY)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"\ufeff{TEXT}",
        f"<think>Maybe {{}} or {{'quote'}}?</think>\n{TEXT}",
        f"```json\n{TEXT}\n```",
        f"Here it is:\n```\n{TEXT}\n```\nI hope this helps.",
        f"The answer is {TEXT}. Anything else?",
        f'It is {{"a": 1}} and then {TEXT}',
        f"{TEXT}\n{TEXT}",
    ],
)
def test_one_meaning(text: str) -> None:
    """A byte order mark, thoughts, fences, prose and repetition do not change what is meant."""
    assert object_in(text, "quote") == REPLY


@pytest.mark.parametrize(
    "text",
    ["", "null", "[1]", "The third.", '{"answer": "the third"}', f'{TEXT} or {{"quote": "Another."}}', '{"quote": ', "{" * 1000],
)
def test_no_meaning_or_several(text: str) -> None:
    """Two that differ are as bad as none."""
    assert object_in(text, "quote") is None


@given(st.text(), st.text())
def test_prose_around_it(before: str, after: str) -> None:
    """It is found or not, but nothing else is ever taken for it."""
    assert object_in(before + TEXT + after, "quote") in (REPLY, None)
