"""Fetches one file over HTTP into a `.part` file that a later call can resume."""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from edgenode import __version__
from edgenode.errors import PullError
from edgenode.models.facts import write_json
from edgenode.models.foreign import describe
from edgenode.models.gguf import MAGIC, Announced, read_beginning
from edgenode.models.progress import PullProgress, Report
from edgenode.models.sources import is_allowed, is_loopback, shown_url
from edgenode.text import clean_line

if TYPE_CHECKING:
    import httpx2

MAX_BYTES = 1 << 40
# Vocabularies of 260,000 words take about 12 MB.
MAX_HEADER_BYTES = 256 << 20
MAX_REDIRECTS = 10
MAX_RETRY_AFTER = 60.0
MAX_VALIDATOR = 500
BLOCK_BYTES = 1 << 16
ROOM_CHECK_BYTES = 64 << 20
PROGRESS_BYTES = 1 << 20
"""A connection that brought this much before it broke starts the count of attempts anew."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for. Pauses double from `first_pause` up to `longest_pause` seconds."""

    attempts: int = 5
    first_pause: float = 0.5
    longest_pause: float = 15.0
    connect_seconds: float = 20.0
    silence_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server says of a file before it sends it."""

    total_bytes: int | None
    validator: str
    """Strong ETag, or else the time of the last change; empty where the server tells neither, and nothing can be resumed."""
    digest: str
    """SHA-256 that Hugging Face tells of large files; empty elsewhere."""


class _Broken(Exception):
    """This attempt failed, the next may not. Carries what happened, for a sentence, and how long the server asked to wait."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Download:
    """The file at `url`, on its way into `folder` as `<key>.part` beside `<key>.json`, which remembers what the server had offered.

    `room` is called with the bytes still to come and raises when the disk cannot take them. `trusted` says that the server is
    Hugging Face, whose headers tell the digest. A whole part file is only known to be as long as the server said: check it.
    """

    def __init__(self, url: str, folder: Path, room: Callable[[int], None], *, trusted: bool = False, patience: Patience) -> None:
        self.url = url
        # The address itself may hold a key, so only its hash is written down.
        self.key = hashlib.sha256(url.encode()).hexdigest()[:32]
        self.part = folder / f"{self.key}.part"
        self._memory = folder / f"{self.key}.json"
        self._room = room
        self._trusted = trusted
        self._patience = patience
        self._local = is_loopback(url)

    def run(self, report: Report, decline: Callable[[Offer], bool]) -> Offer:
        """Fetches the file or the rest of it, unless `decline` says that what is offered is not wanted.

        Raises `PullError` (unreachable, refused, not a model, too large), `ModelFileError` (a model's header that cannot be) and
        `OSError` (the disk). What was fetched stays for the next call, also when this one is interrupted; of a file whose length
        the server does not tell nothing stays.
        """
        try:
            return self._run(report, decline)
        except BaseException:
            if self._memory.exists() and self._recall().get("total") is None:
                self.discard()
            raise

    def _run(self, report: Report, decline: Callable[[Offer], bool]) -> Offer:
        patience = self._patience
        with self._client() as client:
            failures = 0
            while True:
                before = self._have()
                try:
                    return self._attempt(client, report, decline)
                except _Broken as broken:
                    failures = 1 if self._have() - before >= PROGRESS_BYTES else failures + 1
                    if failures >= patience.attempts:
                        raise PullError(f"{self._where()} could not be fetched: {broken}. {self._resumable()}") from broken
                    pause = min(patience.first_pause * 2 ** (failures - 1), patience.longest_pause)
                    time.sleep(max(pause, min(broken.wait, MAX_RETRY_AFTER)))

    def remembered_digest(self, offer: Offer) -> str:
        """The digest that this very file (same address, same validator) had when it was fetched before, or ""."""
        memory = self._recall()
        return str(memory.get("digest", "")) if offer.validator and memory.get("validator") == offer.validator else ""

    def finish(self, offer: Offer, digest: str) -> None:
        """Notes the digest of the complete file, so that an unchanged file is not fetched again."""
        self._remember(offer, digest)

    def discard(self) -> None:
        """Deletes what was fetched and what is known of it."""
        self.part.unlink(missing_ok=True)
        self._memory.unlink(missing_ok=True)

    def _client(self) -> "httpx2.Client":
        import httpx2  # a node that only serves does without

        timeout = httpx2.Timeout(self._patience.silence_seconds, connect=self._patience.connect_seconds)
        try:
            # A proxy has no way to this device's own loopback.
            return httpx2.Client(timeout=timeout, trust_env=not self._local, headers={"User-Agent": f"edgenode/{__version__}"})
        except (ImportError, ValueError, OSError) as error:
            raise PullError(
                f"The proxy or certificates that the environment names cannot be used: {clean_line(str(error))}"
            ) from error

    def _attempt(self, client: "httpx2.Client", report: Report, decline: Callable[[Offer], bool]) -> Offer:
        import httpx2

        memory = self._recall()
        validator, total = str(memory.get("validator", "")), memory.get("total")
        have = self._have() if validator else 0
        if isinstance(total, int) and total > 0:
            # The last byte is always asked for again: a whole part file then needs no special case.
            have = min(have, total - 1)
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        try:
            with self._open(client, headers) as (response, linked):
                offer = _offer(response, linked)
                if decline(offer):
                    return offer
                if response.status_code != 206:
                    have = 0
                elif _range_start(response) != have or (total is not None and offer.total_bytes != total):
                    self.discard()
                    raise _Broken("the server sent another part than the one asked for")
                if offer.total_bytes is not None:
                    if offer.total_bytes > MAX_BYTES:
                        raise PullError(f"{self._where()} is larger than any model. Check the address.")
                    self._room(offer.total_bytes - have)
                self._save(response, have, offer, report)
                return offer
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise _Broken(_reason(error, self._patience)) from error
        except httpx2.InvalidURL as error:
            raise PullError(f"{self._where()} is not a valid address: {clean_line(str(error))}.") from error

    @contextmanager
    def _open(self, client: "httpx2.Client", headers: dict[str, str]) -> "Iterator[tuple[httpx2.Response, str]]":
        """Follows redirects by hand: each hop is checked, and Hugging Face tells the digest on the first."""
        url, linked = self.url, ""
        for _ in range(MAX_REDIRECTS):
            with client.stream("GET", url, headers=headers) as response:
                if self._trusted and url == self.url:
                    linked = _sha256(response.headers.get("x-linked-etag", "")) or _sha256(response.headers.get("etag", ""))
                if not response.has_redirect_location:
                    self._check_status(response)
                    yield response, linked
                    return
                url = self._next_hop(url, response.headers["location"])
        raise PullError(f"{self._where()} leads from one address to the next without end. Check it in a browser.")

    def _next_hop(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            allowed = is_allowed(target) and (self._local or not is_loopback(target))
        except ValueError:
            allowed = False
        if not allowed:
            raise PullError(f"{self._where()} leads to an address that is not https. Nothing was fetched.")
        return target

    def _check_status(self, response: "httpx2.Response") -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status == 416:
            self.discard()
            raise _Broken("the file on the server has become shorter")
        if status in _BUSY:
            wait = response.headers.get("retry-after", "")
            raise _Broken(f"the server is busy or broken (HTTP {status})", float(wait) if re.fullmatch("[0-9]{1,6}", wait) else 0.0)
        if status in (404, 410):
            raise PullError(f"There is no file at {self._where()} (HTTP {status}). Check owner, repository and file name.")
        if status in (401, 403):
            raise PullError(
                f"{self._where()} is not open to everybody, or does not exist (HTTP {status}). If it asks to accept a licence, "
                "download it in a browser and give `edgenode pull` the path."
            )
        raise PullError(f"{self._where()} could not be fetched: the server answered with HTTP {status}. Check the address.")

    def _save(self, response: "httpx2.Response", have: int, offer: Offer, report: Report) -> None:
        what = f"Downloading {clean_line(urlsplit(self.url).path.rpartition('/')[2]) or 'a model'}"
        with self.part.open("r+b" if have else "wb") as file:
            if have:
                file.seek(have)
                file.truncate()
            else:
                self._remember(offer)
            total = offer.total_bytes
            report(PullProgress(have, total, what))
            next_check = have + ROOM_CHECK_BYTES
            announced: Announced | None = None
            next_look = have + BLOCK_BYTES
            for block in response.iter_raw(BLOCK_BYTES):
                if not have and not block.startswith(MAGIC):
                    raise PullError(f"What {self._where()} gives is {describe(block)}. Name the address of the .gguf file itself.")
                file.write(block)
                have += len(block)
                if total is None and announced is None and have >= next_look:
                    # What the server does not tell, the model's header does. Looked for each time twice as much is there.
                    next_look = 2 * have
                    file.flush()
                    announced = self._announced(have)
                    self._room(max(0, announced.least_bytes - have) if announced else 0)
                least = total or (announced.least_bytes if announced else None)
                report(PullProgress(have, least, what))
                if have >= next_check:
                    next_check = have + ROOM_CHECK_BYTES
                    self._room(max(0, (least or 0) - have))
                if have > (total or (announced.most_bytes if announced else MAX_BYTES)):
                    self.discard()
                    raise PullError(f"{self._where()} sends more than was announced. Check the address.")
        if total is None and have:
            announced = announced or read_beginning(self.part, self._where())
            total = announced.least_bytes if announced else have + 1
        if have < (total or 0):
            raise _Broken("the connection broke")
        if not have:
            raise PullError(f"What {self._where()} gives is an empty file. Name the address of the .gguf file itself.")

    def _announced(self, have: int) -> Announced | None:
        """What the model's header says of its length; None while the `have` bytes that are there end within it."""
        announced = read_beginning(self.part, self._where())
        if announced is None and have > MAX_HEADER_BYTES:
            raise PullError(f"{self._where()} sends a header that is larger than any model's. Check the address.")
        if announced is not None and announced.least_bytes > MAX_BYTES:
            raise PullError(f"{self._where()} is larger than any model. Check the address.")
        return announced

    def _have(self) -> int:
        with contextlib.suppress(OSError):
            return self.part.stat().st_size
        return 0

    def _recall(self) -> dict[str, object]:
        with contextlib.suppress(OSError, ValueError):
            memory = json.loads(self._memory.read_text(encoding="utf-8"))
            if isinstance(memory, dict):
                return memory
        return {}

    def _remember(self, offer: Offer, digest: str = "") -> None:
        write_json(self._memory, {"validator": offer.validator, "total": offer.total_bytes, "digest": digest})

    def _resumable(self) -> str:
        kept = self._have() and self._recall().get("validator")
        return "Call again to go on where it stopped." if kept else "Check the connection and the address, then call again."

    def _where(self) -> str:
        return shown_url(self.url)


def _offer(response: "httpx2.Response", digest: str) -> Offer:
    total = response.headers.get("content-length", "")
    if response.status_code == 206:
        total = response.headers.get("content-range", "").rpartition("/")[2]
    etag = response.headers.get("etag", "")
    # A weak ETag may stand for different bytes. The time of the last change is what plain file servers offer.
    validator = etag if etag.startswith('"') else response.headers.get("last-modified", "")
    if len(validator) > MAX_VALIDATOR or not (validator.isascii() and validator.isprintable()):
        validator = ""
    return Offer(int(total) if re.fullmatch("[0-9]{1,18}", total) else None, validator, digest)


def _range_start(response: "httpx2.Response") -> int | None:
    match = re.match(r"bytes ([0-9]{1,18})-", response.headers.get("content-range", ""))
    return int(match[1]) if match else None


def _sha256(etag: str) -> str:
    match = re.fullmatch(r'(?:W/)?"?([0-9a-fA-F]{64})"?', etag)
    return match[1].lower() if match else ""


def _reason(error: Exception, patience: Patience) -> str:
    import httpx2

    if isinstance(error, httpx2.ConnectTimeout):
        return f"nobody answered for {patience.connect_seconds:g} seconds"
    if isinstance(error, httpx2.TimeoutException):
        return f"the server was silent for {patience.silence_seconds:g} seconds"
    if isinstance(error, httpx2.ConnectError):
        return f"the server cannot be reached ({clean_line(str(error))})"
    return "the connection broke"
