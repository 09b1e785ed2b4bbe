"""One node of the roster: what is known of it, and how it is paired and renewed without anybody being asked."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from coordinator.events import NodeInfo, NodeState
from coordinator.nodes import pairing
from coordinator.nodes.link import Link, Spawn
from coordinator.nodes.news import News, WorkStream
from coordinator.nodes.pairing import Trust, Way
from coordinator.nodes.refusal import not_paired, was_removed, why_refused
from coordinator.nodes.renewals import Renewals
from coordinator.trust.invites import OutstandingInvite
from edgenode.errors import EdgenodeError
from edgenode.net.dialled_in import WaitingDevice
from edgenode.threads import in_thread
from edgenode.trust.certificates import RENEW_BEFORE_END, now_utc
from edgenode.trust.frames import Introduction, SecretKind
from edgenode.trust.running import RunningNode
from edgenode.trust.verdict import Verdict
from edgenode.types import Frame, NodeId

# A device has a few addresses of each kind. What somebody claims by mDNS comes after what has worked.
MAX_ADDRESSES: Final = 16
MAX_KEPT: Final = 4
# Between two attempts to pair without being asked.
PAIR_AGAIN_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class Peer:
    """A node that was seen or is paired. `tell` hears of its stream, `changed` of everything that is shown; `spawn` owns tasks;
    `unheard` says why nodes that dial in do not get to this coordinator, if they do not."""

    def __init__(
        self,
        id: NodeId,
        trust: Trust,
        spawn: Spawn,
        tell: Callable[[News], None],
        changed: Callable[[], None],
        unheard: Callable[[], str] = str,
    ) -> None:
        self.id = id
        self.tell = tell
        self.changed = changed
        self.running: RunningNode | None = None
        """Its private file, while it runs on this machine for this user."""
        self.waiting: list[WaitingDevice] = []
        """Connections that it, or somebody in its name, opened and over which it waits to be paired or renewed."""
        self._trust = trust
        self._spawn = spawn
        self._unheard = unheard
        self._name = ""
        self._places: dict[str, tuple[str, ...]] = {}
        self._link: Link | None = None
        self._pairing: asyncio.Task[None] | None = None
        self._pair_at = 0.0
        self._why = ""
        self._removed = False
        self._renewals = Renewals(id, trust, spawn)

    @property
    def state(self) -> NodeState:
        return self._link.member.state if self._link is not None else NodeState.UNPAIRED

    @property
    def is_connected(self) -> bool:
        return self._link is not None and self._link.is_open

    @property
    def name(self) -> str:
        told = self._link.description if self._link is not None else None
        return (told.name if told else "") or self._name or self.id[:8]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it may be, what has worked first."""
        told = [self._link.address if self._link else ""]
        told += [address for source in ("running", "joined", "kept", "seen") for address in self._places.get(source, ())]
        return tuple(dict.fromkeys(address for address in told if address))[:MAX_ADDRESSES]

    def is_at(self, address: str) -> bool:
        """Whether it answered at HOST:PORT when a person gave that."""
        return address in self._places.get("joined", ())

    @property
    def is_undecided(self) -> bool:
        """Whether it may join in a moment, without anybody doing anything."""
        if self._link is None:
            return self._pairing is not None and not self._pairing.done()
        # Where a paired node once was is no sign that it is there now.
        return self._link.member.is_undecided and bool(self._places.keys() - {"kept"})

    @property
    def is_known(self) -> bool:
        """Whether anything still speaks for it."""
        return self._link is not None or bool(self._places)

    @property
    def is_rumour(self) -> bool:
        """Whether nothing but mDNS speaks for it."""
        return self._link is None and self._places.keys() <= {"seen"}

    @property
    def unheard(self) -> str:
        kept = self._trust.paired.get(self.id)
        return self._unheard() if kept is not None and kept.dials_in else ""

    def info(self, is_shared: bool = False) -> NodeInfo:  # whether another node goes by its name
        told = self._link.description if self._link else None
        unpaired = was_removed if self._removed else not_paired
        return NodeInfo(
            id=self.id,
            name=self.name,
            address=next(iter(self.addresses), "") or self._dials_from(),
            state=self.state,
            engine=told.engine if told else "",
            engine_state=told.engine_state if told else None,
            models=told.models if told else (),
            status=self._link.status if self._link else None,
            draining=told.draining if told else "",
            why=self._link.member.why if self._link else self._why or unpaired(self.name, self.id, is_shared),
            slots=told.slots if told else 1,
        )

    def _dials_from(self) -> str:
        host = self.waiting[-1].host if self.waiting else self._link.dialled_from if self._link else ""
        return f"dials in from {host}" if host else ""

    def found(self, source: str, name: str, addresses: Sequence[str]) -> None:
        """`source` ("seen", "running", "joined", "kept", "dialled in") says that it is there. What mDNS says does not rename a node
        that is paired."""
        before = (self._name, self._places.get(source))
        if name and (source != "seen" or self._link is None):
            self._name = name
        self._places[source] = tuple(addresses)
        if self._link is not None and source != "kept":
            self._link.sighted()
        if before != (self._name, self._places[source]):
            self.changed()

    def waits(self, device: WaitingDevice) -> None:
        self.waiting.append(device)
        self.found("dialled in", device.introduction.name, ())

    def waits_no_more(self, device: WaitingDevice) -> None:
        if device in self.waiting:
            self.waiting.remove(device)
        if not self.waiting:
            self.left("dialled in")

    def left(self, source: str) -> None:
        """`source` says that it is not there any more. A goodbye by mDNS may be somebody else's in its name."""
        self._places.pop(source, None)
        if self._link is not None and source == "seen":
            self._link.goodbye()
        self.changed()

    def look(self, invites: Sequence[OutstandingInvite]) -> None:
        """Compares with what is kept of it now, which another process may have changed: dials, hangs up, or pairs."""
        kept = self._trust.paired.get(self.id)
        if kept is not None and kept.removed is None:
            if self._link is None:
                self._why = ""
                self.found("kept", kept.name, kept.addresses[:MAX_KEPT])
                self._link = Link(self, self._trust, self._spawn)
            else:
                self._help_waiting(invites)
            return
        self.hang_up()
        invites = pairing.invites_for(self._trust, self.id, invites)
        self._removed = kept is not None
        if self._removed and not invites:
            return
        if self._may_pair():
            if self.running is not None and not self._removed:
                self._pairing = self._spawn(self._pair_unasked((), ()), f"pair-{self.name}")
            elif invites and (self.addresses or self.waiting):
                self._pairing = self._spawn(self._ask_whether_invited(invites), f"invited-{self.name}")

    def hang_up(self) -> None:
        """It is not paired, or not any more."""
        if self._link is not None:
            self._link.close("It was unpaired.")
            self._link = None
            self._places.pop("kept", None)
            self.changed()

    def take(self, stream: WorkStream) -> None:
        """A work stream that the node opened. Closed at once if the node is not paired."""
        self.look(())
        if self._link is None:
            self._spawn(stream.aclose(), f"close-{self.name}")
        else:
            self._link.take(stream)

    def send(self, frame: Frame) -> None:
        if self._link is not None:
            self._link.send(frame)

    def close(self) -> None:
        if self._link is not None:
            self._link.close("The coordinator ended.")

    # What a link asks.

    async def joined(self, dials_in: bool) -> None:
        """Keeps where it was met, and renews its certificate in good time. One that dials waits for that by itself."""
        try:
            kept = self._trust.paired.get(self.id)
            if kept is None or self._link is None:
                return
            # Only where it has proved to be: rumours are not kept.
            met = () if dials_in else tuple(dict.fromkeys((self._link.address, *kept.addresses)))[:MAX_KEPT]
            await in_thread(self._trust.paired.met, self.id, self.name, met, dials_in)
            if not dials_in and kept.certificate_ends - now_utc() < RENEW_BEFORE_END:
                await self._renewals.over(self.ways(self.addresses), self.name)
        except EdgenodeError as error:
            logger.warning("%s: %s", self.name, error)

    async def refused(self, why: str) -> str:
        """Asks the node itself, and does what helps without a person: renews a certificate that has ended, pairs anew a node of
        this user, or an invited one, that has forgotten us."""
        try:
            address, greeting = await pairing.greet(self.addresses, self.id, self._trust.certificate())
        except EdgenodeError:
            return ""
        try:
            kept = self._trust.paired.get(self.id)
            ended = greeting.verdict is Verdict.OWN_EXPIRED or (kept is not None and kept.certificate_ends <= now_utc())
            if ended and self._renewals.is_due:
                await self._renewals.over(self.ways(self.addresses), self.name)
                return ""
            if greeting.verdict is Verdict.UNKNOWN_AUTHORITY and time.monotonic() >= self._pair_at:
                invites = self._named([greeting.introduction], self._trust.invites.outstanding(now_utc()))
                if self.running is not None or invites:
                    await self._pair_unasked((address,), invites)
                    return self._why
            return why_refused(greeting.introduction, greeting.verdict, self.name, time.time())
        except EdgenodeError as error:
            logger.debug("Node %s refused (%s), and it could not be helped.", self.name, why)
            return str(error)

    # Pairing and renewing.

    def ways(self, addresses: Sequence[str]) -> list[tuple[Way, str]]:
        """How a pairing can be run with it, each with the address it is for: over connections of its own last, since it is not
        known whose they are."""
        own: list[tuple[Way, str]] = [(device.run, "") for device in self.waiting if device.is_waiting]
        return [*((pairing.over(address, self.id), address) for address in addresses), *own]

    def _may_pair(self) -> bool:
        return (self._pairing is None or self._pairing.done()) and time.monotonic() >= self._pair_at

    def _named(self, met: Sequence[Introduction], invites: Sequence[OutstandingInvite]) -> Sequence[OutstandingInvite]:
        return pairing.named_invites(self._trust.authority.id, met, invites)

    async def _ask_whether_invited(self, invites: Sequence[OutstandingInvite]) -> None:
        self._pair_at = time.monotonic() + PAIR_AGAIN_SECONDS
        invited = [device.introduction for device in self.waiting]
        addresses: tuple[str, ...] = ()
        try:
            address, greeting = await pairing.greet(self.addresses, self.id)
        except EdgenodeError as error:
            logger.debug("Node %s was not greeted: %s", self.name, error)
        else:
            addresses = (address,)
            invited.append(greeting.introduction)
        named = self._named(invited, invites)
        if named:
            await self._pair_unasked(addresses, named)

    def _help_waiting(self, invites: Sequence[OutstandingInvite]) -> None:
        """A paired device that waits needs another certificate, or has forgotten us and may have been invited again."""
        devices = [device for device in self.waiting if device.is_waiting]
        invited = [device for device in devices if self._named([device.introduction], invites)]
        # First those that are to be renewed: a pairing tries all that wait then.
        self._renewals.begin((device for device in devices if device not in invited), self.name)
        if invited and self._may_pair():
            named = self._named([device.introduction for device in invited], invites)
            self._pairing = self._spawn(self._pair_unasked((), named), f"pair-{self.name}")

    async def _pair_unasked(self, addresses: Sequence[str], invites: Sequence[OutstandingInvite]) -> None:
        """By the node's private file, else by an invitation; says in `_why` what stood in the way."""
        self._pair_at = time.monotonic() + PAIR_AGAIN_SECONDS
        try:
            # What one of the two has dropped comes back by an invitation, and not because both run here.
            if self.running is not None and not invites:
                way = pairing.over(self.running.address, self.id)
                await pairing.pair(self._trust, way, SecretKind.LOCAL, self.running.secret, self.id, self.running.address)
            else:
                await pairing.pair_invited(self._trust, self.ways(addresses), invites, self.id)
        except EdgenodeError as error:
            self._why = str(error)
            self.changed()
            return
        logger.info("Paired with %s.", self.name)
        self._why = ""
        self.look(())
