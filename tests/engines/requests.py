"""Requests as tests make them."""

import json
from typing import Any

from edgenode.engines.engine import EngineProgress, Request

PATIENCE = 300.0
"""Seconds for what takes a moment, on a machine that is busy with other tests."""

SENTENCES = (
    "The lease ends on 31 March.",
    'He said "keys", \\ and\nleft.',
    "敷金は三十日以内に返還される。",
    "The rent is 1,200 dollars a month.",
)


def quote_schema(*sentences: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"quote": {"enum": [*sentences, None]}, "answer": {"type": "string", "maxLength": 60}},
        "required": ["quote", "answer"],
        "additionalProperties": False,
    }


def request(user: str = "Say something.", schema: Any = None, tokens: int = 64) -> Request:
    return Request("model", "You read.", user, json.dumps(schema or quote_schema(*SENTENCES)), tokens)


def ignore(_progress: EngineProgress) -> None:
    pass
