"""One mDNS responder, kept on the interfaces of a scope while those change, the machine sleeps, or port 5353 is taken."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

# The package names these at its top for its users, but not among what it exports.
from zeroconf import (  # type: ignore[attr-defined]
    DNSAddress,
    DNSNsec,
    DNSPointer,
    DNSRecord,
    DNSService,
    DNSText,
    Error,
    RecordUpdate,
    RecordUpdateListener,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edgenode.net.addresses import Network
from edgenode.net.interfaces import Scope
from edgenode.threads import in_thread

TICK_SECONDS: Final = 1.0
LOOK_TICKS: Final = 2
# A clock that went further than this between two ticks: the machine slept, or the program was stopped.
SLEPT_SECONDS: Final = 5.0
# A fresh IPv6 address can be sent from a second or two after it appeared; some interfaces never do multicast.
MAX_JOIN_TICKS: Final = 64
CLOSE_SECONDS: Final = 3.0
# Ours hold one name of 200 bytes; anybody may send one of 8,900.
TEXT_BYTES: Final = 512
# A node tells eight addresses at most. With all strangers that a subclass takes in, this stays below the number of records at which
# zeroconf lets go of those that others need.
RECORDS_OF_NAME: Final = 12

_CLASS_IN: Final = 1

logger = logging.getLogger(__name__)
# Its warnings quote packets as they came; what matters of them is said here in a sentence, once.
logging.getLogger("zeroconf").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a scope is at one moment."""

    multicast: tuple[tuple[str, int], ...]
    """An address and its interface's index for each interface and IP version that mDNS is spoken on."""
    addresses: tuple[str, ...]
    networks: tuple[Network, ...]
    loopback: bool


class Responder(RecordUpdateListener):
    """A zeroconf instance as long as it is entered. Entering never fails for want of a network or a port: `problem` says what is
    wrong, and it goes on trying. Subclasses are told what happens, on the event loop.

    zeroconf keeps whatever anybody tells, up to ten thousand records of any size; here only what a subclass needs is left there.
    """

    def __init__(self, scope: Scope, clock: Callable[[], float] = time.time) -> None:
        self._scope = scope
        self._clock = clock
        self._surroundings = Surroundings((), (), (), True)
        self._zeroconf: AsyncZeroconf | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._problem = ""
        self._came: list[DNSRecord] = []
        self._join_at = 0
        self._join_wait = LOOK_TICKS

    @property
    def problem(self) -> str:
        """Why mDNS does not work now, a sentence; empty while it does."""
        return self._problem

    async def __aenter__(self) -> Self:
        self._surroundings = _look(self._scope)
        await self._reopen()
        self._ticker = asyncio.create_task(self._keep(), name="mdns")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        if self._zeroconf is not None:
            zeroconf, self._zeroconf = self._zeroconf, None
            await _close(zeroconf)

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:  # noqa: ARG002 - zeroconf's
        """Called by zeroconf for each packet, before its cache has the records."""
        self._came += (update.new for update in records)
        self._hear(records)

    def async_update_records_complete(self) -> None:
        """Called by zeroconf after a packet, once its cache has the records."""
        came, self._came = self._came, []
        if self._zeroconf is None:
            return
        self._heard_all(self._zeroconf)
        cache = self._zeroconf.zeroconf.cache
        for record in came:
            crowded = not self._is_shared(record) and len(cache.entries_with_name(record.name)) > RECORDS_OF_NAME
            if crowded or not _is_ours(record) or not self._needs(record):
                # One that has left the cache already must not be removed again: it would be counted twice.
                if cache.get(record) is not None:
                    cache.async_remove_records((record,))
                _empty(record)

    def _needs(self, record: DNSRecord) -> bool:
        """Whether to keep it, now that its packet has been taken in."""
        raise NotImplementedError

    def _is_shared(self, record: DNSRecord) -> bool:
        """Whether many others have records of its name."""
        raise NotImplementedError

    def _hear(self, records: list[RecordUpdate]) -> None:
        """A packet has come whose records are not in the cache yet."""

    def _heard_all(self, zeroconf: AsyncZeroconf) -> None:
        """The packet's records are in the cache."""

    async def _opened(self, zeroconf: AsyncZeroconf) -> None:
        """A new instance is there, with an empty cache."""

    async def _moved(self, zeroconf: AsyncZeroconf) -> None:
        """Interfaces or addresses have changed, or the machine has slept."""

    def _ticked(self, zeroconf: AsyncZeroconf, tick: int) -> None:
        """Another `TICK_SECONDS` have gone by."""

    async def _keep(self) -> None:
        tick = 0
        before = self._clock()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            tick += 1
            now = self._clock()
            slept, before = abs(now - before - TICK_SECONDS) > SLEPT_SECONDS, now
            try:
                if slept or tick % LOOK_TICKS == 0:
                    await self._look_again(tick, slept)
                if self._zeroconf is not None:
                    self._ticked(self._zeroconf, tick)
            except Exception as error:
                # Discovery is worth going on with whatever happened once.
                self._tell(f"mDNS has failed on {self._where}: {error}.")
                logger.debug("mDNS has failed", exc_info=True)

    async def _look_again(self, tick: int, slept: bool) -> None:
        seen = await in_thread(_look, self._scope)
        known, self._surroundings = self._surroundings, seen
        if self._zeroconf is None:
            await self._reopen()
            return
        moved = (seen.multicast, seen.addresses) != (known.multicast, known.addresses)
        if moved:
            self._join_at, self._join_wait = tick, LOOK_TICKS
            # What went and came back as the same address has lost its memberships: it is left before it is joined.
            await self._zeroconf.async_update_interfaces(_addresses(set(known.multicast) & set(seen.multicast)))
        if moved or (self._missing(self._zeroconf) and tick >= self._join_at):
            if not moved:
                self._join_wait = min(self._join_wait * 2, MAX_JOIN_TICKS)
            self._join_at = tick + self._join_wait
            await self._zeroconf.async_update_interfaces(_addresses(seen.multicast))
            self._judge(self._zeroconf)
        if moved or slept:
            await self._moved(self._zeroconf)

    async def _reopen(self) -> None:
        if not self._surroundings.multicast:
            self._tell("There is no network interface that mDNS could use now.")
            return
        try:
            zeroconf = AsyncZeroconf(interfaces=_addresses(self._surroundings.multicast))
        except OSError as error:
            self._tell(f"mDNS cannot be used on {self._where}: {error.strerror}. Is port 5353 taken by another program?")
            return
        except (Error, RuntimeError) as error:  # an address that has gone in this very moment
            self._tell(f"mDNS cannot be used on {self._where}: {error}.")
            return
        try:
            await zeroconf.zeroconf.async_wait_for_start()
            zeroconf.zeroconf.async_add_listener(self, None)
            await self._opened(zeroconf)
        except BaseException as error:
            await _close(zeroconf)
            if not isinstance(error, Error | OSError):
                raise
            self._tell(f"mDNS cannot be used on {self._where}: {error}.")
            return
        self._zeroconf = zeroconf
        self._judge(zeroconf)

    def _judge(self, zeroconf: AsyncZeroconf) -> None:
        if not self._surroundings.multicast:
            self._tell("There is no network interface that mDNS could use now.")
        elif self._missing(zeroconf) == len(self._surroundings.multicast):
            self._tell(f"mDNS cannot be used on {self._where}: no multicast there.")
        else:
            self._tell("")

    def _missing(self, zeroconf: AsyncZeroconf) -> int:
        """How many of the addresses that mDNS should be spoken from have no socket."""
        return len(self._surroundings.multicast) - len(zeroconf.zeroconf.engine.senders)

    def _tell(self, problem: str) -> None:
        """Logs a problem when it begins, and its end; not each time it is met again."""
        if problem and not self._problem:
            logger.warning("%s Other devices may not be found until that changes; this is tried again and again.", problem)
        elif self._problem and not problem:
            logger.info("mDNS works again on %s.", self._where)
        self._problem = problem

    @property
    def _where(self) -> str:
        return ", ".join(address for address, _ in self._surroundings.multicast) or "this machine"


async def _close(zeroconf: AsyncZeroconf) -> None:
    """Says goodbye for what is registered, whatever state the sockets are in, and gives them back however long that takes."""
    with contextlib.suppress(Error, OSError):
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await zeroconf.async_unregister_all_services()
        finally:
            await zeroconf.async_close()


def _is_ours(record: DNSRecord) -> bool:
    """Whether it is of a kind and class that are used here and of a size that ours have."""
    if record.class_ != _CLASS_IN:
        return False
    if isinstance(record, DNSText):
        return len(record.text) <= TEXT_BYTES
    return isinstance(record, DNSPointer | DNSService | DNSAddress)


def _empty(record: DNSRecord) -> None:
    """Lets go of what may be large in a record that was removed: zeroconf's list of what ends when holds on to a hundred of those,
    and more. An NSEC record of one packet becomes megabytes."""
    if isinstance(record, DNSText):
        record.text = b""
    elif isinstance(record, DNSNsec):
        record.rdtypes = []


async def publish(zeroconf: AsyncZeroconf, info: AsyncServiceInfo) -> None:
    """Announces `info`, for the first time or anew, without waiting for its repetitions. Nobody is asked whether the name is free
    (1 ms instead of 1.2 s): it is random."""
    registered = zeroconf.zeroconf.registry.async_get_info_name(info.name)
    if registered is None:
        sending = await zeroconf.async_register_service(info, cooperating_responders=True)
    else:
        sending = await zeroconf.async_update_service(info)
    asyncio.ensure_future(sending).add_done_callback(_settled)


def _settled(sending: "asyncio.Future[Any]") -> None:
    if not sending.cancelled() and sending.exception() is not None:
        logger.debug("An announcement was not sent: %s", sending.exception())


def _look(scope: Scope) -> Surroundings:
    return Surroundings(scope.multicast(), scope.addresses(), scope.networks(), scope.is_loopback)


def _addresses(multicast: Iterable[tuple[str, int]]) -> list[str]:
    return [address for address, _ in multicast]
