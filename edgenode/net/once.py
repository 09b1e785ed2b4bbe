"""Warnings about peers, each told once: whoever knocks a thousand times must not fill the log."""

import logging
import time
from collections.abc import Callable
from typing import Final

LIMIT: Final = 64
FORGET_SECONDS: Final = 3_600.0


class LogOnce:
    """Warns once for each (who, why) in an hour, and of at most `LIMIT` of them: strangers choose who they are."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._told: set[tuple[str, str]] = set()
        self._since = clock()
        self._full = False

    def warning(self, who: str, why: str) -> None:
        """Logs "who: why". `who` is a host or an identity without anything that changes with each connection, such as a port;
        both have been cleaned."""
        if self._clock() - self._since >= FORGET_SECONDS:
            self._told.clear()
            self._since, self._full = self._clock(), False
        if (who, why) in self._told or self._full:
            return
        if len(self._told) >= LIMIT:
            self._full = True
            self._logger.warning("Many peers are being refused; no more of them are listed for a while.")
            return
        self._told.add((who, why))
        self._logger.warning("%s: %s", who, why)


def peer_host(peer: str) -> str:
    """The host in what gRPC calls a peer ("ipv4:127.0.0.1:50374", "ipv6:%5B::1%5D:50374"), without the port, which is another
    for each connection."""
    address = peer.partition(":")[2].rpartition(":")[0]
    return address.replace("%5B", "").replace("%5D", "").strip("[]") or "unknown"
