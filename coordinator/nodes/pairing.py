"""Pairing and renewing from the coordinator's side: whom it trusts, and how a node gets its certificate."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from coordinator.trust.authority import Authority, coordinator_folder
from coordinator.trust.invites import Invites, OutstandingInvite
from coordinator.trust.paired import PairedNode, PairedNodes
from edgenode.errors import EdgenodeError, NetworkError, PairingError
from edgenode.net import pairing_client
from edgenode.net.pairing_client import Greeting
from edgenode.trust.certificates import Certificate, der, now_utc, parse_certificate
from edgenode.trust.frames import Introduction, SecretKind
from edgenode.trust.keys import PublicKey, fingerprint
from edgenode.trust.pairing import CoordinatorPairing, CoordinatorRenewal
from edgenode.trust.pairing_machine import PairingStopped
from edgenode.types import AuthorityId, NodeId

GREET_SECONDS: Final = 3.0
PAIR_SECONDS: Final = 30.0

Way = Callable[[CoordinatorPairing | CoordinatorRenewal], Awaitable[None]]
"""Runs one pairing or renewal with a node to its end. Raises `PairingError` or `NetworkError`."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What this coordinator is, whom it is paired with, and whom it has invited."""

    authority: Authority
    paired: PairedNodes
    invites: Invites

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """From `folder`, by default the user's; made there when there is nothing. Raises `TrustError` or `HomeError`."""
        folder = folder or coordinator_folder()
        trust = cls(Authority(folder), PairedNodes(folder), Invites(folder))
        trust.paired.make_room()
        return trust

    def sign(self, key: PublicKey) -> Certificate:
        return self.authority.sign_node(key, now_utc())

    def certificate(self) -> bytes:
        """DER of what this coordinator shows when it dials, to be asked about when it was refused."""
        return der(parse_certificate(self.authority.client_tls().certificate))


def over(address: str, node: NodeId | None) -> Way:
    """The way to the node that serves work at HOST:PORT. `node` is who must answer there, None if that is not known yet."""

    async def run(machine: CoordinatorPairing | CoordinatorRenewal) -> None:
        try:
            async with asyncio.timeout(PAIR_SECONDS):
                if isinstance(machine, CoordinatorPairing):
                    await pairing_client.pair(address, machine, node)
                else:
                    assert node is not None, "a renewal is with somebody known"
                    await pairing_client.renew(address, machine, node)
        except TimeoutError:
            raise PairingError(f"The device at {address} did not answer in time. Try again.") from None

    return run


async def greet(addresses: Sequence[str], node: NodeId | None, certificate: bytes = b"") -> tuple[str, Greeting]:
    """The first of `addresses` at which `node` answers, and what it says: of itself, and of `certificate`.

    All are asked at once, so that nobody who answers for another at one of them is in the way. Raises `NetworkError`.
    """

    async def ask(address: str) -> tuple[str, Greeting]:
        return address, await pairing_client.greet(address, certificate, node)

    error: Exception = NetworkError("It has told no address.")
    asked = [asyncio.create_task(ask(address), name=f"greet-{address}") for address in addresses]
    try:
        async with asyncio.timeout(GREET_SECONDS):
            for each in asyncio.as_completed(asked):
                try:
                    return await each
                except EdgenodeError as one:
                    error = one
    except TimeoutError:
        error = NetworkError("It did not answer in time.")
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    raise NetworkError(str(error)) from error


async def pair(
    trust: Trust,
    way: Way,
    kind: SecretKind,
    secret: bytes,
    node: NodeId,
    address: str = "",
    sign: Callable[[PublicKey], Certificate] | None = None,
    removal: datetime | None = None,
) -> PairedNode:
    """Pairs with `node` at the end of `way` and keeps it; one that was removed only after the removal that is given, since somebody
    wants it back who knows of that. `sign` is called once the node has proved the secret. Raises `PairingError`, also where it is
    removed meanwhile, and `NetworkError`.

    It is kept before it is sent its certificate: if the connection breaks before its answer comes, the two are paired as soon as
    they meet, and a node that did not get so far says that it does not trust this coordinator.
    """
    kept: PairedNode | None = None
    before: PairedNode | None = None

    def issue(key: PublicKey) -> Certificate:
        nonlocal kept, before
        assert machine.introduction is not None, "met"
        leaf = (sign or trust.sign)(key)
        met = PairedNode(
            id=NodeId(fingerprint(key)),
            name=machine.introduction.name,
            since=begun,
            via=kind.value,
            certificate_ends=leaf.not_valid_after_utc,
            addresses=(address,) if address else (),
            dials_in=not address,
        )
        before = trust.paired.add(met, removal)
        kept = met
        return leaf

    begun = now_utc()
    machine = CoordinatorPairing(kind, secret, trust.authority.certificate, issue, node)
    try:
        await way(machine)
    except PairingStopped as stopped:
        if kept is not None and stopped.told:
            trust.paired.put_back(kept, before)
        raise
    assert kept is not None, "a way ends with a result or raises"
    if not trust.paired.is_paired(kept.id):
        raise PairingError(f"{kept.name} was unpaired while it was being paired.")
    return kept


def named_invites(
    authority: AuthorityId, introductions: Iterable[Introduction], invites: Iterable[OutstandingInvite]
) -> tuple[OutstandingInvite, ...]:
    """Those of `invites` that a node claims to hold. A connection that it opened is good for one attempt, so only the right one
    is to be tried; all of them for a node that does not say which it is."""
    told = {each.invitation for each in introductions if authority in each.invited_by}
    return tuple(invite for invite in invites if invite.id in told or "" in told)


def invites_for(trust: Trust, node: NodeId, invites: Iterable[OutstandingInvite]) -> tuple[OutstandingInvite, ...]:
    """Those of `invites` by which `node` may be paired: not taken by another, and, if it was removed, made after that."""
    removal = trust.paired.removal(node)
    return tuple(each for each in invites if each.taken_by in {None, node} and (removal is None or removal in each.after))


async def pair_invited(
    trust: Trust, ways: Sequence[tuple[Way, str]], invites: Sequence[OutstandingInvite], node: NodeId
) -> PairedNode:
    """Pairs with a node that says that it was invited, by the first of `ways` (each with its address) that works. `invites` are
    those that it may hold, see `named_invites`. Raises `PairingError` and `NetworkError`."""
    removal = trust.paired.removal(node)
    error: EdgenodeError = PairingError("There is no invitation that could have been meant, or the device hung up.")
    for invite in invites_for(trust, node, invites):

        def sign(key: PublicKey, invite: OutstandingInvite = invite) -> Certificate:
            # Taken here and nowhere else, so that of two devices with one token only the first gets in. Used up when that one says
            # that it has its certificate: if the connection breaks before, it may try again.
            if not invites_for(trust, node, (invite,)) or not trust.invites.take(invite.id, node):
                raise PairingError("The invitation has been used by another device: make one for each.")
            return trust.sign(key)

        for way, address in ways:
            try:
                kept = await pair(trust, way, SecretKind.INVITE, invite.secret, node, address, sign, removal)
            except (PairingError, NetworkError) as one:
                error = one
            else:
                trust.invites.use(invite.id)
                return kept
    raise error


async def renew(trust: Trust, way: Way, node: NodeId) -> None:
    """Gives a paired node its next certificate. Raises `PairingError`, also for one that is not paired, and `NetworkError`."""

    def sign(key: PublicKey) -> Certificate:
        # At the last moment, since the device may take as long as it likes to ask.
        if not trust.paired.is_paired(node):
            raise PairingError("It was unpaired.")
        return trust.sign(key)

    if not trust.paired.is_paired(node):
        raise PairingError("It was unpaired.")
    machine = CoordinatorRenewal(trust.authority.certificate, sign, node)
    await way(machine)
    assert machine.result is not None, "a way ends with a result or raises"
    trust.paired.renewed(node, machine.result.leaf.not_valid_after_utc)
