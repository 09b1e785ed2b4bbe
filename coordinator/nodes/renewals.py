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
from edgenode.trust.frames import RefusalReason
from edgenode.trust.pairing_machine import PairingStopped
from edgenode.types import NodeId

# One that waits all the same is not helped by it: its clock may be far off, or a person has to pair it.
SETTLED_SECONDS: Final = 60.0
BROKEN_SECONDS: Final = 2.0
# It hangs up when it has said why, and who is there still says it again when the pause is over.
CLAIM_SECONDS: Final = 2 * SETTLED_SECONDS

CLAIMS: Final = {
    RefusalReason.REMOVED: "it has dropped this coordinator: if so, run `edgenode pair` on it, and pair it by the code it shows.",
    RefusalReason.NOT_PAIRED: "it does not know this coordinator: if so, pair it again.",
}

logger = logging.getLogger(__name__)


class Renewals:
    """Of one paired node. Not all who wait in its name are it, so each is helped for itself, and pauses are for the hosts that they
    dial from: an imposter that is silent, or replays what it once heard, is not in the node's way."""

    def __init__(self, id: NodeId, trust: Trust, spawn: Spawn) -> None:
        self._id = id
        self._trust = trust
        self._spawn = spawn
        self._going_on: set[WaitingDevice] = set()
        self._pauses: dict[str, float] = {}
        self._due_at = 0.0
        self._claim: tuple[RefusalReason, str] | None = None
        self._claimed_until = 0.0

    def why(self, name: str) -> str:
        """Why one that waits as the node `name` was not renewed, a sentence, if it has said so lately. That is anybody's claim, and
        none of its own words."""
        if self._claim is None or time.monotonic() >= self._claimed_until:
            return ""
        reason, host = self._claim
        return f"Somebody at {host} says in the name of {name} that {CLAIMS[reason]}"

    def forget(self) -> None:
        """What was claimed, once the node itself has come."""
        self._claim = None

    @property
    def is_due(self) -> bool:
        """Whether to dial it for that: what did not help is not repeated at each dial."""
        return time.monotonic() >= self._due_at

    async def over(self, ways: Iterable[Way], name: str) -> None:
        """By the first of `ways` that works. Raises `PairingError` and `NetworkError`."""
        self._due_at = time.monotonic() + SETTLED_SECONDS
        error: EdgenodeError = NetworkError("It has told no address.")
        for way in ways:
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
            logger.info("Somebody at %s waits as %s to be paired or renewed, in vain: %s", device.host, name, error)
            if not isinstance(error, PairingStopped):
                pause = BROKEN_SECONDS
            elif error.told and error.refusal.reason in CLAIMS:
                self._claim = error.refusal.reason, device.host
                self._claimed_until = time.monotonic() + CLAIM_SECONDS
        else:
            self.forget()
        finally:
            self._going_on.discard(device)
        self._pauses[device.host] = time.monotonic() + pause
