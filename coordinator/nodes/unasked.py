"""Pairing with a node without anybody being asked."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, Protocol

from coordinator.nodes import pairing
from coordinator.nodes.link import Spawn
from coordinator.nodes.pairing import Trust, Way
from coordinator.trust.invites import OutstandingInvite
from edgenode.errors import EdgenodeError
from edgenode.net.dialled_in import WaitingDevice
from edgenode.trust.frames import Introduction, SecretKind
from edgenode.trust.running import RunningNode
from edgenode.types import NodeId

# Between two attempts.
AGAIN_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class Around(Protocol):
    """What it needs of the peer that is paired; see `Peer`."""

    running: RunningNode | None
    waiting: list[WaitingDevice]

    @property
    def id(self) -> NodeId: ...

    @property
    def name(self) -> str: ...

    @property
    def addresses(self) -> tuple[str, ...]: ...

    def ways(self, addresses: Sequence[str]) -> list[tuple[Way, str]]: ...

    def changed(self) -> None: ...

    def look(self, invites: Sequence[OutstandingInvite]) -> None: ...


class Unasked:
    """Of one node: by its private file, where it runs for this user on this machine, or by an invitation that it holds."""

    def __init__(self, around: Around, trust: Trust, spawn: Spawn) -> None:
        self.why = ""
        """What stood in the way at the last attempt, a sentence."""
        self._around = around
        self._trust = trust
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self._due_at = 0.0

    @property
    def is_going_on(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._due_at

    def begin(self, addresses: Sequence[str], invites: Sequence[OutstandingInvite]) -> None:
        """As `pair`, in a task; nothing while an attempt goes on, or the last was a moment ago."""
        if not self.is_going_on and self.is_due:
            self._task = self._spawn(self.pair(addresses, invites), f"pair-{self._around.name}")

    def begin_to_ask(self, invites: Sequence[OutstandingInvite]) -> None:
        """Asks the node which of `invites` it holds, and pairs by that; nothing where `begin` would do nothing."""
        if not self.is_going_on and self.is_due:
            self._task = self._spawn(self._ask_whether_invited(invites), f"invited-{self._around.name}")

    def named(self, met: Sequence[Introduction], invites: Sequence[OutstandingInvite]) -> Sequence[OutstandingInvite]:
        """See `pairing.named_invites`."""
        return pairing.named_invites(self._trust.authority.id, met, invites)

    async def pair(self, addresses: Sequence[str], invites: Sequence[OutstandingInvite]) -> None:
        """By an invitation if there are any, over connections of its own or at `addresses`, else by its private file; `why` says
        what stood in the way."""
        self._due_at = time.monotonic() + AGAIN_SECONDS
        around, running = self._around, self._around.running
        try:
            # What one of the two has dropped comes back by an invitation, and not because both run here.
            if running is not None and not invites:
                way = pairing.over(running.address, around.id)
                await pairing.pair(self._trust, way, SecretKind.LOCAL, running.secret, around.id, running.address)
            else:
                await pairing.pair_invited(self._trust, around.ways(addresses), invites, around.id)
        except EdgenodeError as error:
            self.why = str(error)
            around.changed()
            return
        logger.info("Paired with %s.", around.name)
        self.why = ""
        around.look(())

    async def _ask_whether_invited(self, invites: Sequence[OutstandingInvite]) -> None:
        self._due_at = time.monotonic() + AGAIN_SECONDS
        invited = [device.introduction for device in self._around.waiting]
        addresses: tuple[str, ...] = ()
        try:
            address, greeting = await pairing.greet(self._around.addresses, self._around.id)
        except EdgenodeError as error:
            logger.debug("Node %s was not greeted: %s", self._around.name, error)
        else:
            addresses = (address,)
            invited.append(greeting.introduction)
        if named := self.named(invited, invites):
            await self.pair(addresses, named)
