"""What left for the supervisor, summed up: of one run, or of all that are kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from coordinator.runs.records import RequestRecord


@dataclass(frozen=True, slots=True)
class Sent:
    """Requests that were sent, or may have been. Tokens are those that replies told."""

    requests: int = 0
    characters: int = 0
    """Of the requests' bodies."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    """The sum of the prices that are known, in US dollars."""
    unpriced: int = 0
    """Requests whose price is not known, and which are not in `usd`."""

    @classmethod
    def of(cls, records: Iterable[RequestRecord]) -> Self:
        """Those of `records` that were sent."""
        sent = [each for each in records if each.was_sent]
        return cls(
            requests=len(sent),
            characters=sum(len(each.body.decode("utf-8", "replace")) for each in sent),
            prompt_tokens=sum(each.prompt_tokens or 0 for each in sent),
            completion_tokens=sum(each.completion_tokens or 0 for each in sent),
            usd=sum(each.usd or 0.0 for each in sent),
            unpriced=sum(each.usd is None for each in sent),
        )

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(
            self.requests + other.requests,
            self.characters + other.characters,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
            self.unpriced + other.unpriced,
        )

    @property
    def money(self) -> str:
        """The price as a person reads it: "$0.0123", "price not known", or both."""
        if not self.requests:
            return "$0"
        if self.unpriced == self.requests:
            return "price not known"
        return f"${self.usd:.4f}" + (f" and {self.unpriced} of unknown price" if self.unpriced else "")
