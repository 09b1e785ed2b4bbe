"""What the tests of the cloud's room share: a request, settings, a gate, a parser."""

import json

from coordinator.cloud.gate import Gate
from coordinator.cloud.retry import RetryPolicy
from coordinator.config import SupervisorConfig
from coordinator.runs.journal import Journal
from coordinator.types import Aggregate, AggregationRequest

KEY = "sk-secret-0123456789"
SYSTEM = "Answer from the findings."
SCHEMA = '{"type": "object", "properties": {"found": {"type": "boolean"}}, "required": ["found"], "additionalProperties": false}'
REQUEST = AggregationRequest(SYSTEM, "Question: 敷金はいつ戻りますか?\n[1] D1 p. 3: 敷金は三十日以内に返還する。", SCHEMA)

# Waits of a few milliseconds: the waits themselves are tested as a table.
QUICK = RetryPolicy(first_seconds=0.001, longest_seconds=0.002)


def config(url: str, *, key: str | None = KEY, timeout_seconds: float = 120) -> SupervisorConfig:
    return SupervisorConfig("gpt-5-mini", url, key, timeout_seconds)


def gate(journal: Journal, settings: SupervisorConfig, *, budget: int = 4000, dry_run: bool = False) -> Gate:
    return Gate(settings, journal, system=SYSTEM, schema=SCHEMA, budget_characters=budget, dry_run=dry_run)


def parse(text: str) -> Aggregate:
    """A parser as the protocol has one: raises `ValueError` for what is not the schema."""
    value = json.loads(text)
    if not isinstance(value, dict) or not isinstance(value.get("found"), bool):
        raise ValueError("is not the schema")
    return Aggregate(value["found"], str(value["answer"]), tuple(number - 1 for number in value["citations"]))
