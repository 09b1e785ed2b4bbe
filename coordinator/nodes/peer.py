"""One node of the roster: what is known of it, and how it is paired and renewed without anybody being asked."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from coordinator.events import NodeInfo, NodeState
from coordinator.nodes import pairing
from coordinator.nodes.link import Link, Spawn
from coordinator.nodes.news import News, WorkStream
from coordinator.nodes.pairing import Trust, Way
from coordinator.nodes.places import Places
from coordinator.nodes.refusal import not_paired, was_removed, why_refused
from coordinator.nodes.renewals import Renewals
from coordinator.nodes.unasked import Unasked
from coordinator.trust.invites import OutstandingInvite
from edgenode.errors import EdgenodeError, HomeError
from edgenode.net.dialled_in import WaitingDevice
from edgenode.threads import in_thread
from edgenode.trust.certificates import RENEW_BEFORE_END, now_utc
from edgenode.trust.running import RunningNode
from edgenode.trust.verdict import Verdict
from edgenode.types import Frame, NodeId

MAX_KEPT: Final = 4

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
        self._places = Places()
        self._link: Link | None = None
        self._unread = ""
        """Why it is not known whether it is paired, or was removed."""
        self._removed = False
        self._renewals = Renewals(id, trust, spawn)
        self._unasked = Unasked(self, trust, spawn)

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
        return self._places.addresses([self._link.address] if self._link else ())

    def is_at(self, address: str) -> bool:
        """Whether it answered at HOST:PORT when a person gave that."""
        return self._places.was_given(address)

    @property
    def is_undecided(self) -> bool:
        """Whether it may join in a moment, without anybody doing anything."""
        if self._link is None:
            return self._unasked.is_going_on
        return self._link.member.is_undecided and self._places.is_found

    @property
    def is_known(self) -> bool:
        """Whether anything still speaks for it."""
        return self._link is not None or bool(self._places)

    @property
    def is_rumour(self) -> bool:
        """Whether nothing but mDNS speaks for it."""
        return self._link is None and self._places.is_only_seen

    @property
    def unheard(self) -> str:
        kept = self._trust.paired.known(self.id)
        return self._unheard() or self._renewals.why(kept.name) if kept is not None and kept.dials_in else ""

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
            why=self._link.member.why
            if self._link
            else self._unread or self._unasked.why or unpaired(self.name, self.id, is_shared),
            slots=told.slots if told else 1,
            unchecked=told.unchecked if told else "",
        )

    def _dials_from(self) -> str:
        host = self.waiting[-1].host if self.waiting else self._link.dialled_from if self._link else ""
        return f"dials in from {host}" if host else ""

    def found(self, source: str, name: str, addresses: Sequence[str]) -> None:
        """`source` (see `Places`) says that it is there. What mDNS or a connection in its name says does not rename a node that is
        paired."""
        before = self._name
        if name and (source not in ("seen", "dialled in") or self._link is None):
            self._name = name
        is_new = self._places.put(source, addresses)
        if self._link is not None and source != "kept":
            self._link.sighted()
        if is_new or before != self._name:
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
        self._places.drop(source)
        if self._link is not None and source == "seen":
            self._link.goodbye()
        self.changed()

    def look(self, invites: Sequence[OutstandingInvite]) -> None:
        """Compares with what is kept of it now, which another process may have changed: dials, hangs up, or pairs. Hangs up
        too where that cannot be read, and begins nothing: it may have been removed."""
        unread, self._unread = self._unread, ""
        try:
            self._compare(invites)
        except HomeError as error:
            self._unread = str(error)
            self._hang_up(self._unread)
        if unread != self._unread:
            self.changed()

    def _compare(self, invites: Sequence[OutstandingInvite]) -> None:
        kept = self._trust.paired.get(self.id)
        if kept is not None and kept.removed is None:
            if self._link is None:
                self._unasked.why = ""
                self.found("kept", kept.name, kept.addresses[:MAX_KEPT])
                self._link = Link(self, self._trust, self._spawn)
            else:
                self._help_waiting(invites)
            return
        self._hang_up("It was unpaired.")
        self._places.drop("kept")
        invites = pairing.invites_for(self._trust, self.id, invites)
        self._removed = kept is not None
        if self._removed and not invites:
            return
        if self.running is not None and not self._removed:
            self._unasked.begin((), ())
        elif invites and (self.addresses or self.waiting):
            self._unasked.begin_to_ask(invites)

    def _hang_up(self, why: str) -> None:
        if self._link is not None:
            self._link.close(why)
            self._link = None
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
        self._renewals.forget()
        try:
            kept = self._trust.paired.get(self.id)
            if kept is None or self._link is None:
                return
            # Only where it has proved to be: rumours are not kept.
            met = () if dials_in else tuple(dict.fromkeys((self._link.address, *kept.addresses)))[:MAX_KEPT]
            await in_thread(self._trust.paired.met, self.id, self.name, met, dials_in)
            if not dials_in and kept.certificate_ends - now_utc() < RENEW_BEFORE_END:
                await self._renew()
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
            if kept is None or kept.removed is not None:
                # Meanwhile, by another process: `look` is about to hang up.
                return ""
            ended = greeting.verdict is Verdict.OWN_EXPIRED or kept.certificate_ends <= now_utc()
            if ended and self._renewals.is_due:
                await self._renew()
                return ""
            if greeting.verdict is Verdict.UNKNOWN_AUTHORITY and self._unasked.is_due:
                invites = self._unasked.named([greeting.introduction], self._trust.invites.outstanding(now_utc()))
                if self.running is not None or invites:
                    await self._unasked.pair((address,), invites)
                    return self._unasked.why
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

    async def _renew(self) -> None:
        """Where its key has to answer: what others who wait in its name say is nothing to tell of it."""
        await self._renewals.over((pairing.over(address, self.id) for address in self.addresses), self.name)

    def _help_waiting(self, invites: Sequence[OutstandingInvite]) -> None:
        """A paired device that waits needs another certificate, or has forgotten us and may have been invited again."""
        devices = [device for device in self.waiting if device.is_waiting]
        invited = [device for device in devices if self._unasked.named([device.introduction], invites)]
        # First those that are to be renewed: a pairing tries all that wait then.
        self._renewals.begin((device for device in devices if device not in invited), self.name)
        if invited:
            self._unasked.begin((), self._unasked.named([device.introduction for device in invited], invites))
