"""What pairing and unpairing a device do, by a command or in the SDK."""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

from coordinator.events import NodeInfo, NodeState
from coordinator.nodes import pairing
from coordinator.nodes.pairing import Trust
from coordinator.nodes.peer import Peer
from coordinator.nodes.roster import Roster
from coordinator.nodes.settling import LISTEN_SECONDS, NAMED_SECONDS
from coordinator.remedies import either, pair
from coordinator.trust.paired import PairedNode
from edgenode.errors import EdgenodeError, NetworkError, PairingError, UsageError
from edgenode.net.addresses import NODE_PORT, parse_host_port, parse_ip
from edgenode.trust.frames import RefusalReason, SecretKind
from edgenode.trust.pairing_machine import PairingStopped
from edgenode.trust.verdict import Verdict
from edgenode.trust.window import parse_code

# As `coordinator nodes` shows them, a few digits of an id tell it apart.
ID_BEGINNING: Final = 6

Ask = Callable[[NodeInfo], Awaitable[str]]
"""Gets the code that the node shows from a person."""


async def pair_node(roster: Roster, wanted: str, ask: Ask) -> PairedNode:
    """Pairs with the node that a person means by its name, its id or the beginning of it, or HOST[:PORT], also with one that had
    been unpaired. One that is joined already is left as it is. A node of the same user on this machine needs no code.

    Raises `UsageError` when there are several of that name or the code is none, `NetworkError` when the node is not there,
    `PairingError` when it will not, and what `ask` raises.
    """
    peer = await _find(roster, wanted)
    kept = roster.trust.paired.get(peer.id)
    if kept is not None and peer.is_connected:
        return kept
    kept = await _pair_by_file(roster.trust, peer) or await _pair_by_code(roster.trust, peer, ask)
    roster.look()
    return kept


def unpair(trust: Trust, name_or_id: str) -> PairedNode:
    """Shuts a device out; by its full id also one of which nothing can be read. Coordinators that are running close its streams
    within about a second. Raises `UsageError` for a device that is not paired, or several of that name."""
    return trust.paired.remove(name_or_id)


async def _pair_by_file(trust: Trust, peer: Peer) -> PairedNode | None:
    running = peer.running
    if running is None:
        return None
    try:
        way = pairing.over(running.address, peer.id)
        removal = trust.paired.removal(peer.id)
        return await pairing.pair(trust, way, SecretKind.LOCAL, running.secret, peer.id, running.address, removal=removal)
    except PairingStopped as stopped:
        # Dropped there on purpose: its owner has to open its window.
        if stopped.refusal.reason is RefusalReason.REMOVED:
            return None
        raise


async def _pair_by_code(trust: Trust, peer: Peer, ask: Ask) -> PairedNode:
    addresses: tuple[str, ...] = ()
    kept = trust.paired.get(peer.id)
    removal = kept.removed if kept is not None else None
    is_paired = kept is not None and removal is None
    open_for_codes = any(device.introduction.window_open for device in peer.waiting)
    try:
        address, greeting = await pairing.greet(peer.addresses, peer.id, trust.certificate() if is_paired else b"")
    except NetworkError:
        if not peer.waiting:
            raise
    else:
        if kept is not None and greeting.verdict is Verdict.TRUSTED:
            # Paired when the node's last answer was lost, and about to join.
            return kept
        addresses, open_for_codes = (address,), greeting.introduction.window_open
    if not open_for_codes:
        raise PairingError(f"{peer.name} is not open for pairing: run `edgenode pair` on it, and use the code that it shows.")
    code = parse_code(await ask(peer.info()))
    error: EdgenodeError = NetworkError(f"{peer.name} has hung up. It dials again by itself: try again in a moment.")
    # What was typed is tried once where the node's key has answered. Connections that wait in its name may be anybody's, and each
    # has a guess at it: only where there is no other way.
    for way, at in peer.ways(addresses)[:1] if addresses else peer.ways(()):
        try:
            return await pairing.pair(trust, way, SecretKind.CODE, code.encode("ascii"), peer.id, at, removal=removal)
        except (PairingError, NetworkError) as one:
            error = one
    raise error


async def _find(roster: Roster, wanted: str) -> Peer:
    """The one node that is meant, once there has been time to hear of others of its name."""
    address = _address(wanted)
    roster.dial_in.is_wanted = True
    if address is not None:
        roster.join(address)
    started = time.monotonic()
    while True:
        passed = time.monotonic() - started
        found = [peer for peer in roster.peers() if _is_meant(peer, wanted, address) and (peer.addresses or peer.waiting)]
        certain = address is not None or any(peer.id == wanted for peer in found)
        if found and (certain or passed >= LISTEN_SECONDS):
            # A namesake that is joined is hardly the one that somebody wants to pair.
            others = [peer for peer in found if peer.state is not NodeState.JOINED] or found
            if len(others) > 1:
                raise UsageError(
                    f"There are {len(others)} nodes called {wanted}. Give an id: "
                    + ", ".join(f"{peer.id[:12]} ({peer.info().address or 'dials in'})" for peer in others)
                )
            return others[0]
        if passed >= NAMED_SECONDS:
            why = roster.unreachable.get(address or "", "")
            told = why or f"No node called {wanted} was found. Is it on? Try its address: {pair('', 'HOST:PORT')}"
            unheard = roster.dial_in.problem
            raise NetworkError(f"{told} If it is a device that can only dial out: {unheard}" if unheard else told)
        await roster.changed(min(NAMED_SECONDS - passed, max(LISTEN_SECONDS - passed, 0.05) if found else NAMED_SECONDS))


def _is_meant(peer: Peer, wanted: str, address: str | None) -> bool:
    if address is not None:
        return peer.is_at(address)
    beginning = re.fullmatch(rf"[0-9a-f]{{{ID_BEGINNING},}}", wanted) is not None and peer.id.startswith(wanted)
    return beginning or wanted in (peer.name, peer.id)


def _address(wanted: str) -> str | None:
    """HOST:PORT if that, or an IP address alone, was given; None for what may be a name."""
    if ":" in wanted or parse_ip(wanted) is not None:
        return parse_host_port(wanted, NODE_PORT, either("coordinator pair", "pool.pair"))
    return None
