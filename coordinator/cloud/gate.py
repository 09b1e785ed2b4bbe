"""The one way out of the house: every request to the supervisor is checked as bytes, written down, and only then sent."""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn

import httpx2

import edgenode
from coordinator.cloud import prices, reply
from coordinator.cloud.retry import Trouble, trouble_of
from coordinator.config import SupervisorConfig
from coordinator.errors import EgressRefused, SupervisorGarbled, SupervisorRejected, SupervisorUnsure
from coordinator.remedies import option, resume
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestState
from coordinator.types import AggregationRequest
from edgenode.text import clean_line

log = logging.getLogger(__name__)

SCHEMA_NAME = "answer"
# A reasoning model spends most of these on thinking, before the answer of a few hundred.
MAX_COMPLETION_TOKENS = 16_384
MAX_REPLY_BYTES = 4 * 2**20
CONNECT_SECONDS = 20.0
# A shorter key is a word that local servers want ("ollama", "none"). It guards nothing, and could be anywhere in a reply.
SECRET_CHARACTERS = 16


class DryRun(EgressRefused):
    """The gate was told to let nothing out. `body` is what would have been sent, to the byte."""

    def __init__(self, body: bytes) -> None:
        super().__init__("This is a dry run: the request was written down and not sent.")
        self.body = body


class Gate:
    """Lets out requests of one form to one address, for one run.

    The form: a chat completion of two messages with the fixed system text and reply schema, whose user text has at most
    `budget_characters` characters. Anything else raises `EgressRefused`, unsent. With `dry_run` nothing is sent at all.

    Where the run's last request may have been answered and paid for without its reply, nothing is sent (`SupervisorUnsure`): only a
    person can look at the account. With `again` one did, as far as the requests go that were sent before this gate was made.
    """

    def __init__(
        self,
        config: SupervisorConfig,
        journal: Journal,
        *,
        system: str,
        schema: str,
        budget_characters: int,
        dry_run: bool = False,
        again: bool = False,
    ) -> None:
        self.config = config
        self.journal = journal
        self.dry_run = dry_run
        self._accepted = journal.ledger.unsure() if again else None
        self._system = system
        self._schema = json.loads(schema)
        self._budget = budget_characters
        self._endpoint = httpx2.URL(config.base_url + "/chat/completions")
        key = (config.api_key or "").encode()
        self._key = _spellings(key) if len(key) >= SECRET_CHARACTERS else None

    def client(self) -> httpx2.AsyncClient:
        """An HTTP client that can send nothing but through this gate. Its replies are read whole, and of bounded size."""
        try:
            return _GatedClient(self)
        except (ValueError, ImportError) as error:
            raise SupervisorRejected(
                "The environment's proxy or certificate settings (HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE) cannot be used. Mend them."
            ) from error

    def parameters(self, request: AggregationRequest) -> dict[str, Any]:
        """The body of a request in the one form that the gate lets out. Lone surrogates, which no request can carry, become "?"."""
        user = request.user.encode("utf-8", "replace").decode("utf-8")
        return _form(self.config.model, request.system, user, json.loads(request.schema))

    def check(self, method: str, url: httpx2.URL, body: bytes) -> None:
        """Raises `EgressRefused` unless this is a request that may leave."""
        if method != "POST" or url != self._endpoint:
            self._refuse("it goes to an address that is not the supervisor's")
        try:
            sent = json.loads(body, object_pairs_hook=_unique)
            user = sent["messages"][1]["content"]
        except (ValueError, TypeError, KeyError, IndexError, RecursionError):
            self._refuse("it is not of the form that aggregations have")
        if not isinstance(user, str) or sent != _form(self.config.model, self._system, user, self._schema):
            self._refuse("it is not of the form that aggregations have")
        if len(user) > self._budget:
            raise EgressRefused(
                f"The request to the supervisor holds {len(user)} characters and the limit is {self._budget}, so nothing was sent. "
                f"Allow more with {option('max_egress')}."
            )

    def replies(self, request: AggregationRequest) -> tuple[bytes, ...]:
        """What came back when this run sent the same request before, the newest first: paid for already."""
        wanted = self.parameters(request)
        return tuple(
            record.reply
            for record in reversed(self.journal.ledger.records())
            if record.reply and record.status == 200 and record.url == str(self._endpoint) and json.loads(record.body) == wanted
        )

    def _refuse(self, why: str) -> NoReturn:
        raise EgressRefused(
            f"A request was stopped because {why}. Nothing was sent. Please report this: it is a mistake in the program."
        )

    async def pass_on(self, request: httpx2.Request, send: Callable[..., Awaitable[httpx2.Response]]) -> httpx2.Response:
        """Checks, writes down, sends, and writes down what came of it. Called by the client for every request there is."""
        body = await request.aread()
        self.check(request.method, request.url, body)
        url, model = str(self._endpoint), self.config.model
        if self.dry_run:
            self.journal.ledger.begin(url, model, body, "dry_run")
            raise DryRun(body)
        unsure = self.journal.ledger.unsure()
        if unsure is not None and (self._accepted is None or unsure.id != self._accepted.id):
            when = datetime.fromtimestamp(unsure.started).astimezone()
            came = "no reply was recorded" if unsure.status is None else f"only a gateway replied, HTTP status {unsure.status}"
            raise SupervisorUnsure(
                f"Whether the supervisor answered the request of {when:%Y-%m-%d %H:%M:%S}, and charged for it, cannot be known: "
                f"{came}. Look at your account there if it matters. To ask again, and perhaps to pay again: "
                f"{resume(self.journal.run, again=True)}"
            )
        outgoing = self._outgoing(body)
        entry = self.journal.ledger.begin(url, model, body, "sending")
        log.info("Sending %d bytes to %s.", len(body), url)
        written = False

        async def trace(event: str, info: dict[str, Any]) -> None:
            # A proxy's CONNECT is traced as well, and is not our request.
            nonlocal written
            written |= event.endswith("send_request_headers.started") and info["request"].method == b"POST"

        outgoing.extensions["trace"] = trace
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                response = await self._exchange(outgoing, send)
        except BaseException as error:
            # Whatever ended it, a cancellation too: the ledger says so, and the error goes on its way. Once the first byte was
            # written the supervisor may have got the request, answered and charged.
            self.journal.ledger.end(entry, None, None, error=self._words(error), lost=written)
            if isinstance(error, TimeoutError):
                raise httpx2.ReadTimeout("no whole reply in time", request=request) from error
            raise
        # The caller's own request, by which it knows what it had asked for.
        response.request = request
        used = reply.tokens(response.content)
        usd = prices.price(model, self.config.base_url, used.prompt, used.completion, used.cached) if used.prompt else None
        # A gateway's word that there is no reply is none.
        lost = trouble_of(response.status_code, "") is Trouble.SILENT
        self.journal.ledger.end(entry, response.status_code, response.content, used.prompt, used.completion, usd, lost=lost)
        return response

    async def _exchange(self, outgoing: httpx2.Request, send: Callable[..., Awaitable[httpx2.Response]]) -> httpx2.Response:
        incoming = await send(outgoing, stream=True, auth=None, follow_redirects=False)
        body = bytearray()
        try:
            async for part in incoming.aiter_bytes():
                body += part
                if len(body) > MAX_REPLY_BYTES:
                    raise SupervisorGarbled(f"The supervisor's reply is larger than {MAX_REPLY_BYTES} bytes. Check its base URL.")
        finally:
            await incoming.aclose()
        # Its headers may be anything: only the one that is of use goes on, if it can.
        asked = incoming.headers.get("retry-after", "")
        headers = {"retry-after": asked} if asked.isascii() else {}
        return httpx2.Response(incoming.status_code, headers=headers, content=self._without_key(bytes(body)))

    def _outgoing(self, body: bytes) -> httpx2.Request:
        """A fresh request around the checked bytes: nothing of what else the caller put into its request goes along."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"edgenode/{edgenode.__version__}",
            "Idempotency-Key": self._idempotency_key(body),
        }
        if self.config.api_key is not None:
            headers["Authorization"] = f"Bearer {self.config.api_key}"
        return httpx2.Request("POST", self._endpoint, headers=headers, content=body)

    def _idempotency_key(self, body: bytes) -> str:
        """The same when a request is sent again because no reply came, by a coordinator that resumes the run too: a supervisor that
        honours it charges once. Another one after a reply, which was then of no use and should not be repeated."""
        replies = sum(record.state is RequestState.ENDED and record.status == 200 for record in self.journal.ledger.records())
        return hashlib.sha256(b"\0".join((self.journal.run.encode(), str(replies).encode(), body))).hexdigest()

    def _without_key(self, text: bytes) -> bytes:
        """Some servers repeat the key in their error; it must not get into the ledger that way, however it is escaped."""
        return text if self._key is None else self._key.sub(b"[key]", text)

    def _words(self, error: BaseException) -> str:
        if isinstance(error, asyncio.CancelledError):
            return "interrupted"
        if isinstance(error, TimeoutError):
            return f"no whole reply within {self.config.timeout_seconds:g} seconds"
        text = self._without_key(f"{type(error).__name__}: {error}".encode(errors="replace")).decode()
        return clean_line(text, 300)


class _GatedClient(httpx2.AsyncClient):
    """Everything an `httpx2.AsyncClient` sends goes through its `send`, and this one's goes through the gate."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(
            # Beside the gate's own deadline none for parts of the reply: two that end together would leave to chance what is told.
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            follow_redirects=False,
            # A kept connection may have been closed by the other side meanwhile, which would look like trouble.
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=0),
            # The user's proxies are used, but not to this machine: a proxy would carry the findings away unencrypted.
            trust_env=not gate.config.local,
            # A reply's cookies would go with the next request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
        self._gate = gate

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:  # noqa: ARG002 (see below)
        """Sends through the gate, which chooses `options` (redirects, authentication, streaming) and not the caller."""
        return await self._gate.pass_on(request, super().send)


def _spellings(key: bytes) -> re.Pattern[bytes]:
    """Finds a key as it is and with escapes of JSON (also of JSON within JSON), URLs and HTML, in whole or in part, and with white
    space or characters between that cannot be seen: whoever cleans the text would join it again."""
    hidden = rb"(?:[\x00-\x20]|\\{1,8}+(?:[bfnrt]|u00[01][0-9a-f]|u00(?:20|7f|a0|ad)|u20[0-6][0-9a-f]|ufeff)"
    hidden += rb"|%[01][0-9a-f]|%(?:20|7f)|\xc2[\xa0\xad]|\xe2\x80[\x80-\x8f\xa8-\xaf]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf){0,4}"
    return re.compile(hidden.join(_spelling(byte) for byte in key), re.IGNORECASE)


def _spelling(byte: int) -> bytes:
    """One character of the key in whichever spelling. The key's own letters count in either case: what a server has folded tells
    nearly as much."""
    code, entity = f"{byte:02x}".encode(), f"&#(?:x0{{0,4}}{byte:x}|0{{0,4}}{byte});".encode()
    plain = re.escape(bytes([byte]))
    if not plain.isalnum():
        plain = rb"\\{0,8}+" + plain
    return rb"(?:%b|\\{1,8}+(?:u00|x)%b|%%(?:25){0,2}%b|%b)" % (plain, code, code, entity)


def _form(model: str, system: str, user: str, schema: Any) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "response_format": {"type": "json_schema", "json_schema": {"name": SCHEMA_NAME, "strict": True, "schema": schema}},
        "max_completion_tokens": MAX_COMPLETION_TOKENS,
    }


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names differ: the second of two equal ones would hide what stands in the first."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice")
    return value
