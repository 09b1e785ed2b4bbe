"""The large model that turns findings into an answer, asked through the `openai` package, which is known to this module alone."""

import asyncio
import contextlib
import importlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from coordinator.cloud import reply
from coordinator.cloud.gate import Gate
from coordinator.cloud.retry import RetryPolicy, Trouble, retry_after, trouble_of
from coordinator.errors import SupervisorError, SupervisorGarbled, SupervisorRejected, SupervisorUnavailable, SupervisorUnsure
from coordinator.remedies import option, resume
from coordinator.runs.records import RequestState
from coordinator.types import Aggregate, AggregationRequest, LedgerRequest
from edgenode.text import clean_line

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)


class Supervisor:
    """One supervisor for one run. Use it as an async context manager; all it sends goes through `gate`.

    `notify` is called before each further attempt, with what went wrong as a sentence and the seconds it waits until then.
    """

    def __init__(
        self, gate: Gate, policy: RetryPolicy | None = None, *, notify: Callable[[str, float], None] | None = None
    ) -> None:
        self._gate = gate
        self._policy = policy or RetryPolicy()
        self._notify = notify
        self._client: openai.AsyncOpenAI | None = None

    async def __aenter__(self) -> Self:
        # Importing takes about a second, in which the nodes' streams must go on: so not in the event loop.
        await asyncio.to_thread(_import)
        import openai

        self._client = openai.AsyncOpenAI(
            # The gate puts the real key into the request it sends. The package wants one, and would otherwise look for one.
            api_key="kept-by-the-gate",
            base_url=self._gate.config.base_url,
            # Retries are decided here, and each passes the gate.
            max_retries=0,
            http_client=self._gate.client(),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            await self._client.close()

    async def aggregate(
        self, request: AggregationRequest, parse: Callable[[str], Aggregate], *, anew: bool = False
    ) -> tuple[Aggregate, LedgerRequest]:
        """The supervisor's answer and what the request that brought it used; every attempt is in the journal's ledger.

        A usable reply to the same request that the ledger has from before is used, and nothing is sent, unless `anew`.

        `parse` reads the reply's text and raises `ValueError` when it is not the schema. Raises `EgressRefused` when the gate stops
        the request (`DryRun`, with the bytes, when it was told to stop all), `SupervisorRejected`, `SupervisorUnavailable` or
        `SupervisorGarbled` when no usable reply could be had, `SupervisorUnsure` when this or an earlier request may have been
        paid for without its reply, `RunError` when the ledger cannot be written.
        """
        for body in () if self._gate.dry_run or anew else self._gate.replies(request):
            with contextlib.suppress(ValueError):
                return parse(reply.completion_text(body)), self._gate.journal.ledger.used()[-1]
        began = time.monotonic()
        attempt = garbled = 0
        while True:
            attempt += 1
            outcome = await self._attempt(request, parse)
            if isinstance(outcome, Aggregate):
                return outcome, self._gate.journal.ledger.used()[-1]
            is_garbled = outcome.trouble is Trouble.GARBLED
            garbled += is_garbled
            elapsed = time.monotonic() - began
            wait = self._policy.wait(outcome.trouble, garbled if is_garbled else attempt, elapsed, outcome.asked, random.random())
            if wait is None:
                raise self._gave_up(outcome, attempt)
            sentence = f"The supervisor {outcome.words}."
            log.info("%s Asking again in %.1f seconds.", sentence, wait)
            if self._notify is not None:
                self._notify(sentence, wait)
            await asyncio.sleep(wait)

    async def _attempt(self, request: AggregationRequest, parse: Callable[[str], Aggregate]) -> "Aggregate | _Setback":
        import openai

        assert self._client is not None, "a Supervisor is used within its context"
        try:
            # The raw reply, because what the package makes of one that is no chat completion is not typed.
            raw = await self._client.chat.completions.with_raw_response.create(**self._gate.parameters(request))
        except openai.APIConnectionError as error:
            return self._no_reply(error.__cause__, timed_out=isinstance(error, openai.APITimeoutError))
        except openai.APIStatusError as error:
            return self._setback(error.status_code, error.response.content, error.response.headers.get("retry-after"))
        try:
            return parse(reply.completion_text(raw.http_response.content))
        except ValueError as error:
            return _Setback(Trouble.GARBLED, f"gave a reply that {clean_line(str(error), reply.MAX_MESSAGE)}")

    def _no_reply(self, cause: BaseException | None, timed_out: bool) -> "_Setback":
        """Whether anything was sent is in the ledger."""
        reason = clean_line(str(cause or ""), reply.MAX_MESSAGE) or type(cause).__name__
        if self._gate.journal.ledger.records()[-1].state is RequestState.NOT_SENT:
            return _Setback(Trouble.UNREACHABLE, f"cannot be reached ({reason})")
        if timed_out:
            return _Setback(Trouble.SILENT, f"gave no whole reply within {self._gate.config.timeout_seconds:g} seconds")
        return _Setback(Trouble.SILENT, f"broke the connection ({reason})")

    def _setback(self, status: int, body: bytes, retry_header: str | None) -> "_Setback":
        complaint = reply.complaint(body)
        trouble = trouble_of(status, complaint.code)
        if trouble is Trouble.REJECTED:
            return _Setback(trouble, self._rejection(status, complaint))
        if trouble is Trouble.OUT_OF_QUOTA:
            return _Setback(trouble, "says that this key's quota is used up: look at the plan and the billing of the account")
        said = f" ({complaint.message})" if complaint.message else ""
        if trouble is Trouble.SILENT:
            return _Setback(trouble, f"did not answer the gateway before it, which gave up with HTTP status {status}{said}")
        words = "limits how often it may be asked" if trouble is Trouble.OVERLOADED else f"failed with HTTP status {status}"
        return _Setback(trouble, words + said, retry_after(retry_header, time.time()))

    def _rejection(self, status: int, complaint: reply.Complaint) -> str:
        """What to check, for a request that will not be taken as it is."""
        config = self._gate.config
        said = f" ({complaint.message})" if complaint.message else ""
        if status == 401:
            # Its message is left out: it may repeat a part of the key.
            return (
                "does not accept the key: check OPENAI_API_KEY or the config file"
                if config.api_key
                else "wants a key: set OPENAI_API_KEY"
            )
        if status == 402:
            return f"wants to be paid first{said}: look at the billing of the account"
        if status == 403:
            wanted = f"check the key's permissions and {option('supervisor_model')}"
            return f"does not allow this key to use the model {config.model}{said}: {wanted}"
        if status in {404, 405}:
            wanted = f"check {option('supervisor_model')} and the base URL"
            return f"does not know the model {config.model}, or the address is wrong{said}: {wanted}"
        if status == 413:
            return f"finds the request too large{said}: allow less with {option('max_egress')}"
        if 300 <= status < 400:
            return "redirects to another address, which is not followed: set the base URL to the address it has now"
        text = complaint.message.lower()
        if status in {400, 422, 501} and ("response_format" in text or "json_schema" in text or "json schema" in text):
            return f"does not take a JSON schema for its reply{said}: use a model and an endpoint that do"
        return f"does not take the request, HTTP status {status}{said}: check {option('supervisor_model')} and the base URL"

    def _gave_up(self, setback: "_Setback", attempt: int) -> SupervisorError:
        host = urlsplit(self._gate.config.base_url).netloc
        tried = f" after {attempt} attempts" if attempt > 1 else ""
        run = self._gate.journal.run
        later = f"The findings are kept; go on with: {resume(run)}"
        if setback.trouble is Trouble.SILENT:
            return SupervisorUnsure(
                f"The supervisor at {host} {setback.words}{tried}. It may have charged for it all the same, so it is not asked "
                f"again by itself. The findings are kept; to ask again: {resume(run, again=True)}"
            )
        if setback.trouble in {Trouble.REJECTED, Trouble.OUT_OF_QUOTA}:
            return SupervisorRejected(f"The supervisor at {host} {setback.words}. {later}")
        if setback.trouble is Trouble.GARBLED:
            return SupervisorGarbled(
                f"The supervisor at {host} {setback.words}{tried}. Replies of no use are paid for, too, and so would be another. "
                f"Another {option('supervisor_model')} may do better. {later}"
            )
        if setback.asked is not None and setback.asked > self._policy.patience_seconds:
            until = f"{datetime.fromtimestamp(time.time() + setback.asked, UTC):%Y-%m-%d %H:%M} UTC"
            return SupervisorUnavailable(
                f"The supervisor at {host} asks to wait {setback.asked:.0f} seconds (until {until}). {later}"
            )
        return SupervisorUnavailable(
            f"The supervisor at {host} {setback.words}{tried}. Check the network and try again later. {later}"
        )


@dataclass(frozen=True, slots=True)
class _Setback:
    """An attempt that brought no usable reply. `words` complete "the supervisor ..."; `asked` is the seconds it asked to wait."""

    trouble: Trouble
    words: str
    asked: float | None = None


def _import() -> None:
    """Loads what is slow to load. Raises `SupervisorRejected` where it is not installed."""
    try:
        for name in ("openai", "genai_prices"):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SupervisorRejected(
            f"The Python package {error.name} is missing. Install it with: pip install 'edgenode[coordinator]'"
        ) from error
