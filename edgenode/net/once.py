"""Warnings about peers, each told once: whoever knocks a thousand times must not fill the log."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from edgenode.text import clean_line

LIMIT: Final = 64
FORGET_SECONDS: Final = 3_600.0
HOST_CHARACTERS: Final = 80


class LogOnce:
    """Warns once for each (who, why) in an hour. Strangers choose who they are, so the last `LIMIT` are remembered, and beyond that
    many at once new ones are told at that rate an hour only: one in a minute, so that nobody is silenced by others for long."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._left, self._since = float(LIMIT), clock()
        self._more_told = clock() - FORGET_SECONDS

    def warning(self, who: str, why: str) -> None:
        """Logs "who: why". `who` is a host or an identity without anything that changes with each connection, such as a port;
        both have been cleaned."""
        now = self._clock()
        while self._told and now - next(iter(self._told.values())) >= FORGET_SECONDS:
            self._told.popitem(last=False)
        if (who, why) in self._told:
            return
        self._left = min(float(LIMIT), self._left + (now - self._since) * LIMIT / FORGET_SECONDS)
        self._since = now
        if self._left < 1.0:
            if now - self._more_told >= FORGET_SECONDS:
                self._more_told = now
                self._logger.warning("Many peers are being refused; from now on only one in a minute is listed.")
            return
        self._left -= 1.0
        self._told[(who, why)] = now
        if len(self._told) > LIMIT:
            self._told.popitem(last=False)
        self._logger.warning("%s: %s", who, why)


def peer_host(peer: str) -> str:
    """The host in what gRPC calls a peer ("ipv4:127.0.0.1:50374", "ipv6:%5Bfe80::1%252%5D:50374"), without the port, which is
    another for each connection."""
    address = unquote(peer.partition(":")[2].rpartition(":")[0])
    return clean_line(address.strip("[]"), HOST_CHARACTERS) or "unknown"
