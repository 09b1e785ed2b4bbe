"""Renewing the certificate of a paired node, by whichever side dialled."""

import logging
import time
from collections.abc import Iterable
from typing import Final

from coordinator.nodes import pairing
from coordinator.nodes.link import Spawn
from coordinator.nodes.pairing import Trust, Way
from edgenode.errors import EdgenodeError, NetworkError
from edgenode.net.dialled_in import WaitingDevice
from edgenode.trust.pairing_machine import PairingStopped
from edgenode.types import NodeId

# One that waits all the same is not helped by it: its clock may be far off, or a person has to pair it.
SETTLED_SECONDS: Final = 60.0
BROKEN_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class Renewals:
    """Of one paired node. Not all who wait in its name are it, so each is helped for itself, and pauses are for the hosts that they
    dial from: an imposter that is silent, or replays what it once heard, is not in the node's way."""

    def __init__(self, id: NodeId, trust: Trust, spawn: Spawn) -> None:
        self.why = ""
        """What one that waited said when it was last refused, a sentence."""
        self._id = id
        self._trust = trust
        self._spawn = spawn
        self._going_on: set[WaitingDevice] = set()
        self._pauses: dict[str, float] = {}
        self._due_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether to dial it for that: what did not help is not repeated at each dial."""
        return time.monotonic() >= self._due_at

    async def over(self, ways: Iterable[tuple[Way, str]], name: str) -> None:
        """By the first of `ways` that works. Raises `PairingError` and `NetworkError`."""
        self._due_at = time.monotonic() + SETTLED_SECONDS
        error: EdgenodeError = NetworkError("It has told no address.")
        for way, _ in ways:
            try:
                await pairing.renew(self._trust, way, self._id)
            except EdgenodeError as one:
                error = one
            else:
                logger.info("The certificate of %s was renewed.", name)
                return
        raise error

    def begin(self, devices: Iterable[WaitingDevice], name: str) -> None:
        """Begins with those that wait and have not been begun with."""
        now = time.monotonic()
        self._pauses = {host: until for host, until in self._pauses.items() if until > now}
        for device in devices:
            if device.host not in self._pauses and device not in self._going_on:
                self._going_on.add(device)
                self._spawn(self._renew(device, name), f"renew-{name}")

    async def _renew(self, device: WaitingDevice, name: str) -> None:
        pause = SETTLED_SECONDS
        try:
            await pairing.renew(self._trust, device.run, self._id)
        except EdgenodeError as error:
            logger.info("%s waits to be paired or renewed, in vain: %s", name, error)
            if not isinstance(error, PairingStopped):
                pause = BROKEN_SECONDS
            elif error.told:
                self.why = str(error)
        else:
            self.why = ""
        finally:
            self._going_on.discard(device)
        self._pauses[device.host] = time.monotonic() + pause
