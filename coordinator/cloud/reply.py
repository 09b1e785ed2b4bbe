"""What a supervisor's reply says, read from its bytes. PURE. Not trusted: anything may be missing or of another type."""

import json
from dataclasses import dataclass
from typing import Any

from edgenode.text import clean_line

MAX_TOKENS = 1_000_000_000
MAX_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the supervisor says it used; all 0 where it does not say."""

    prompt: int = 0
    cached: int = 0
    """Of the prompt tokens, those that came from its cache."""
    completion: int = 0


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error reply says, both empty where it does not say. `message` is one clean line."""

    code: str = ""
    message: str = ""


def completion_text(body: bytes) -> str:
    """The text of a chat completion. Raises `ValueError` with what is wrong, as words that complete "the reply ..."."""
    choices = _object(_json(body)).get("choices")
    if not isinstance(choices, list) or not choices:
        raise ValueError("is no chat completion")
    choice = _object(choices[0])
    message = _object(choice.get("message"))
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        raise ValueError(f"is a refusal: {clean_line(refusal, MAX_MESSAGE)!r}")
    if choice.get("finish_reason") == "content_filter":
        raise ValueError("was cut off by the supervisor's content filter")
    if choice.get("finish_reason") == "length":
        raise ValueError("was cut off at its length limit")
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise ValueError("is empty")
    return content


def tokens(body: bytes) -> Tokens:
    usage = _object(_object(_json(body)).get("usage"))
    details = _object(usage.get("prompt_tokens_details"))
    return Tokens(_count(usage.get("prompt_tokens")), _count(details.get("cached_tokens")), _count(usage.get("completion_tokens")))


def complaint(body: bytes) -> Complaint:
    """What an error reply complains of, in the form that OpenAI gave it and most servers took over."""
    error = _object(_json(body)).get("error")
    if isinstance(error, str):
        return Complaint(message=clean_line(error, MAX_MESSAGE))
    error = _object(error)
    code = error.get("code") or error.get("type")
    message = error.get("message")
    return Complaint(
        clean_line(code, 80) if isinstance(code, str) else "",
        clean_line(message, MAX_MESSAGE) if isinstance(message, str) else "",
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return min(value, MAX_TOKENS) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
