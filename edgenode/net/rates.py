"""How often strangers may ask. Pure: the time comes in."""

from collections import OrderedDict
from typing import Final

HOSTS: Final = 256
OVERALL: Final = 4


class RateLimit:
    """`per_second` requests of each host, and `burst` at once; of all hosts together `OVERALL` times that, since addresses cost
    nothing. Remembers the last `HOSTS` hosts."""

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._rate = per_second
        self._overall = (burst * OVERALL, 0.0)
        self._hosts: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hosts)

    def allow(self, host: str, now: float) -> bool:
        mine, told = self._hosts.pop(host, (self._burst, now))
        left = min(self._burst, mine + (now - told) * self._rate)
        overall, since = self._overall
        shared = min(self._burst * OVERALL, overall + (now - since) * self._rate * OVERALL)
        allowed = left >= 1.0 and shared >= 1.0
        self._hosts[host] = (left - allowed, now)
        self._overall = (shared - allowed, now)
        while len(self._hosts) > HOSTS:
            self._hosts.popitem(last=False)
        return allowed
