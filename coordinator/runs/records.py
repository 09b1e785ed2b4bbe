"""The rows of a journal: findings as JSON, and the lines of the ledger."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from coordinator.types import Abstained, Answered, Failed, Finding, Place, Rejected, Retrieved
from edgenode.types import FailureReason

_KINDS: dict[str, type[Finding]] = {kind.__name__.lower(): kind for kind in (Answered, Retrieved, Abstained, Rejected, Failed)}


class RequestState(StrEnum):
    SENDING = "sending"
    """Written down, perhaps sent, not yet ended."""
    DRY_RUN = "dry_run"
    """Written down, never sent."""
    ENDED = "ended"
    """A reply came."""
    NOT_SENT = "not_sent"
    """No connection came about, so nothing was sent; `error` tells why. The file has it as one that ended without a status."""
    LOST = "lost"
    """No reply came, or the coordinator died before one did: whether the supervisor got it, and charged for it, is not known."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One line of the ledger. `body` and `reply` are exact bytes (a reply without its compression); times are Unix seconds."""

    id: int
    url: str
    model: str
    body: bytes
    state: RequestState
    started: float
    ended: float | None
    status: int | None
    """HTTP status of the reply, None where none came."""
    reply: bytes | None
    prompt_tokens: int | None
    completion_tokens: int | None
    usd: float | None
    error: str | None

    @property
    def was_sent(self) -> bool:
        """Whether any of it may have left."""
        return self.state not in {RequestState.DRY_RUN, RequestState.NOT_SENT}


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """Something that happened in a run. `value` is what JSON gives back of the event's fields."""

    at: float
    """Unix seconds."""
    kind: str
    value: Any


def encode_finding(finding: Finding) -> tuple[str, str]:
    """A finding's kind, and its fields as JSON. In ASCII, because extracted text may hold what UTF-8 cannot: lone surrogates."""
    return type(finding).__name__.lower(), json.dumps(asdict(finding))


def decode_finding(kind: str, text: str) -> Finding:
    """What was encoded. Raises `ValueError`, `TypeError` or `KeyError` for what was not."""
    value = json.loads(text)
    if "place" in value:
        value["place"] = Place(**value["place"])
    if "reason" in value:
        value["reason"] = FailureReason(value["reason"])
    if "nodes" in value:
        value["nodes"] = tuple(value["nodes"])
    return _KINDS[kind](**value)
