"""What the events of a completion add up to, whatever a server sends."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.engines.engine import EngineProgress
from edgenode.engines.stream import LINE_BYTES, REPLY_CHARACTERS, STREAM_BYTES, EventLines, Reply, failure
from edgenode.errors import ContextExceeded, EngineError
from tests.engines.engine_server import says

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["choices", "usage", "timings", "prompt_progress", "error", "delta", "content", "finish_reason", "total"])
EVENTS = st.dictionaries(
    FIELDS, st.one_of(JSON, st.dictionaries(FIELDS, JSON), st.lists(st.dictionaries(FIELDS, JSON), max_size=2))
)


def taken(*events: Any) -> tuple[Reply, list[EngineProgress]]:
    reply = Reply()
    told = [reply.add(json.dumps(event) if isinstance(event, dict) else event) for event in events]
    return reply, [each for each in told if each is not None]


def feed_all(pieces: list[bytes]) -> list[str]:
    lines = EventLines()
    return [payload for piece in pieces for payload in lines.feed(piece)]


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=30))
def test_cuts_do_not_matter(sizes: list[int]) -> None:
    """Wherever the network cuts the stream, even inside a character, the same payloads come out."""
    data = 'event: x\r\ndata: {"a": "敷金"}\r\n\r\n: ping\n\ndata:second\n\ndata: [DONE]\n\n'.encode()
    lines, payloads = EventLines(), []
    for size in sizes:
        payloads += lines.feed(data[:size])
        data = data[size:]
    payloads += lines.feed(data)
    assert payloads == ['{"a": "敷金"}', "second", "[DONE]"]


def test_endless_line_is_refused() -> None:
    """A line that never ends is given up long before it fills the memory."""
    with pytest.raises(EngineError, match="line of more than"):
        feed_all([b"x" * 1000] * (LINE_BYTES // 1000 + 2))


def test_endless_stream_is_refused() -> None:
    """So is a stream of good lines without end."""
    with pytest.raises(EngineError, match="for one reply"):
        feed_all([b"data: x\n" * 12_500] * (STREAM_BYTES // 100_000 + 2))


def test_endless_reply_is_refused() -> None:
    """And a reply longer than any that was asked for."""
    event = {"choices": [{"delta": {"content": "x" * 1000}}]}
    with pytest.raises(EngineError, match="longer than"):
        taken(*[event] * (REPLY_CHARACTERS // 1000 + 1))


def test_llama_cpp_reply() -> None:
    """Progress of reading counts cached tokens; usage and the time of work come from the last event."""
    reply, told = taken(
        {
            "choices": [{"delta": {"role": "assistant", "content": None}}],
            "prompt_progress": {"total": 90, "cache": 20, "processed": 20},
        },
        {"choices": [{"delta": {"content": None}}], "prompt_progress": {"total": 90, "cache": 20, "processed": 90}},
        *says("{", "}"),
        {
            "choices": [],
            "usage": {"prompt_tokens": 90, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 20}},
            "timings": {"cache_n": 20, "prompt_ms": 250.0, "predicted_ms": 500.0},
        },
        "[DONE]",
    )
    assert told == [EngineProgress(90, 20, 0), EngineProgress(90, 90, 0), EngineProgress(90, 90, 1), EngineProgress(90, 90, 2)]
    assert (reply.text, reply.finished, reply.cut) == ("{}", True, False)
    usage = reply.usage(3.0)
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.seconds) == (90, 20, 2, 0.75)


def test_reply_of_a_server_that_tells_nothing() -> None:
    """Without usage the events are counted, the prompt is what was known, and the time is the caller's."""
    reply = Reply(prompt_tokens=50)
    for event in says("a", "b", "c", finish="length"):
        reply.add(json.dumps(event))
    assert (reply.cut, reply.usage(2.0).prompt_tokens, reply.usage(2.0).completion_tokens, reply.usage(2.0).seconds) == (
        True,
        50,
        3,
        2,
    )


@given(st.lists(EVENTS.map(json.dumps) | st.text(max_size=20), max_size=5))
def test_garbage_is_a_typed_error(payloads: list[str]) -> None:
    """Whatever is sent, nothing but an `EngineError` comes of it, and no count below zero."""
    reply = Reply()
    try:
        for payload in payloads:
            reply.add(payload)
    except EngineError:
        pass
    usage = reply.usage(1.0)
    assert min(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.seconds) >= 0


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"type": "exceed_context_size_error", "message": "request (6018 tokens) exceeds the available context size"}},
        {"error": {"code": "context_length_exceeded", "message": "This model's maximum context length is 2048 tokens."}},
        {"error": "the input is larger than the context window"},
    ],
)
def test_too_long_for_the_context(body: Any) -> None:
    """Each server's way to say that a text is too long is one kind of error."""
    assert isinstance(failure(400, body), ContextExceeded)


@pytest.mark.parametrize("body", [None, {}, [], {"error": None}, {"error": {"message": 3}}, {"detail": [{"msg": "x"}]}])
def test_error_without_a_reason(body: Any) -> None:
    """An error body that is none still makes a sentence."""
    assert str(failure(500, body)) == "The engine refused the work (HTTP 500): it gave no reason."


def test_reason_is_cleaned() -> None:
    """What a server says reaches a terminal without control characters and not at any length."""
    text = str(failure(400, {"error": {"message": "bad\x1b[2J\n" + "x" * 5000}}))
    assert "\x1b" not in text
    assert len(text) < 400
