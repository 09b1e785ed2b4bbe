"""Reading replies that nobody vouches for, and what they cost."""

import contextlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cloud import reply
from coordinator.cloud.prices import price, price_of_whole_document
from coordinator.cloud.reply import Complaint, Tokens
from tests.supervisor_server import completion, failure

OPENAI = "https://api.openai.com/v1"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "refusal",
                    "finish_reason",
                    "usage",
                    "prompt_tokens",
                    "prompt_tokens_details",
                    "error",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_reply_breaks_the_reader(body: bytes) -> None:
    """Any bytes give a text or `ValueError`, tokens from zero on, and a clean complaint."""
    with contextlib.suppress(ValueError):
        assert reply.completion_text(body).strip()
    used = reply.tokens(body)
    assert min(used.prompt, used.cached, used.completion) >= 0
    assert reply.complaint(body).message.isprintable()


def test_nesting_without_end_is_no_reply() -> None:
    """A body that would exhaust the parser's stack is an error like any other."""
    with pytest.raises(ValueError, match="no chat completion"):
        reply.completion_text(b"[" * 200_000)


def test_what_a_completion_says() -> None:
    """Text, tokens and the tokens that were cached."""
    body = completion("hello").body
    assert reply.completion_text(body) == "hello"
    assert reply.tokens(body) == Tokens(1000, 400, 100)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, Tokens()),
        ({"prompt_tokens": "many", "completion_tokens": True}, Tokens()),
        ({"prompt_tokens": -5, "completion_tokens": 10**30}, Tokens(0, 0, reply.MAX_TOKENS)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, Tokens(5, 0, 0)),
    ],
)
def test_tokens_that_are_not_told_count_as_none(usage: Any, tokens: Tokens) -> None:
    """Missing, of another type, or absurd."""
    assert reply.tokens(json.dumps({"usage": usage}).encode()) == tokens


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (failure(429, "Too many", "insufficient_quota").body, Complaint("insufficient_quota", "Too many")),
        (b'{"error": "model not found"}', Complaint("", "model not found")),
        (b'{"error": {"type": "overloaded", "message": ["x"]}}', Complaint("overloaded", "")),
        (b'{"error": {"code": 404}}', Complaint()),
        (b"<html>", Complaint()),
    ],
)
def test_what_an_error_complains_of(body: bytes, complaint: Complaint) -> None:
    """OpenAI's form, Ollama's form, and none."""
    assert reply.complaint(body) == complaint


def test_prices_follow_model_endpoint_and_cache() -> None:
    """Known models cost in proportion to their tokens, cached ones less; what is not known has no price."""
    thousand = price("gpt-5-mini", OPENAI, 1000, 100)
    assert thousand is not None
    assert thousand > 0
    assert price("gpt-5-mini", OPENAI, 2000, 200) == pytest.approx(2 * thousand)
    cached = price("gpt-5-mini", OPENAI, 1000, 100, 400)
    assert cached is not None
    assert cached < thousand
    assert price("gpt-5-mini", OPENAI, 1000, 100, 5000) == price("gpt-5-mini", OPENAI, 1000, 100, 1000)
    assert price("no-such-model", OPENAI, 1000, 100) is None
    assert price("gpt-5-mini", "http://127.0.0.1:11434/v1", 1000, 100) is None


def test_the_price_of_sending_everything() -> None:
    """What the whole document would have cost, at OpenAI unless told; nothing to say of unknown endpoints."""
    assert price_of_whole_document("gpt-5-mini", 100_000) == price("gpt-5-mini", OPENAI, 100_000, 0)
    assert price_of_whole_document("gpt-5-mini", 100_000, "http://127.0.0.1:11434/v1") is None


def test_prices_are_read_at_home() -> None:
    """The price list works where every socket is refused, and starts no thread."""
    script = """
import sys, threading
def refuse(event, arguments):
    if event.startswith("socket."):
        raise SystemExit(event)
sys.addaudithook(refuse)
from coordinator.cloud.prices import price
print(price("gpt-5-mini", "https://api.openai.com/v1", 10, 10) is not None, threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["True", "1"], done.stderr
