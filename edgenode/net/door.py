"""Who comes to a work port: those that do not get in are noticed, and those that do are held to a rate."""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from edgenode.net.once import LogOnce
from edgenode.net.rates import RateLimit
from edgenode.types import AuthorityId

# So many connections in a minute that nobody came through with are told. A coordinator dials all of a node's addresses at once, and
# drops all but one.
KNOCKS: Final = 20
KNOCKS_SECONDS: Final = 60.0
# A handshake may take three seconds; the first call follows at once.
SETTLED_SECONDS: Final = 5.0
KNOCKS_LIMIT: Final = 256
# Connections remembered, so that each counts once.
PASSED_LIMIT: Final = 256
# Calls of one coordinator, at once and a second: it makes two for each connection, and one for each further address of the node.
CALLS: Final = (200.0, 10.0)

logger = logging.getLogger(__name__)


class Door:
    """One for all addresses of a port. gRPC says of a failed handshake neither that it was nor whose, so connections that began are
    set against those that made a call. `knock` is called in a thread of gRPC's, everything else on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._once = LogOnce(logger, clock)
        self._knocks: deque[float] = deque()
        self._passed: OrderedDict[str, None] = OrderedDict()
        self._calls = RateLimit(*CALLS)

    def knock(self) -> None:
        """A connection begins."""
        if len(self._knocks) < KNOCKS_LIMIT:
            self._knocks.append(self._clock())

    def passed(self, peer: str) -> None:
        """A call came from `peer`, which is another for each connection."""
        if peer in self._passed:
            self._passed.move_to_end(peer)
            return
        self._passed[peer] = None
        if len(self._passed) > PASSED_LIMIT:
            self._passed.popitem(last=False)
        if self._knocks:
            self._knocks.pop()

    def look(self) -> None:
        """Tells, once, when many came who did not get in. To be called every few seconds: only then can it be known."""
        now = self._clock()
        while self._knocks and now - self._knocks[0] >= KNOCKS_SECONDS:
            self._knocks.popleft()
        if sum(now - knock >= SETTLED_SECONDS for knock in tuple(self._knocks)) >= KNOCKS:
            self._once.warning("Somebody", "connects again and again without a certificate that is accepted here.")

    def may_call(self, authority: AuthorityId) -> bool:
        """Counts a call of a coordinator of `authority`."""
        return self._calls.allow(authority, self._clock())
