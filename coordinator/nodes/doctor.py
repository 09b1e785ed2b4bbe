"""Why this coordinator does not get through to a node: dials and greets it, and looks up what was written down about it."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from coordinator.trust.authority import CERTIFICATE, KEY, Authority, coordinator_folder
from coordinator.trust.paired import PairedNode, PairedNodes
from edgenode import __version__
from edgenode.doctor.diagnosis import diagnose
from edgenode.doctor.dial import resolve, ways
from edgenode.doctor.facts import Answer, Facts, Greeting, Heard, OwnCoordinator, Paired, Side, Target
from edgenode.doctor.findings import Report
from edgenode.doctor.folders import unusable
from edgenode.doctor.surroundings import look_around
from edgenode.errors import EdgenodeError, UsageError
from edgenode.net.addresses import COORDINATOR_PORT, NODE_PORT, host_port, parse_host_port, split_host_port
from edgenode.net.interfaces import Scope, scope
from edgenode.net.pairing_client import greet
from edgenode.net.ports import are_free
from edgenode.text import clean_line
from edgenode.threads import in_thread
from edgenode.trust.certificates import der, parse_certificate
from edgenode.trust.running import RunningNode, running_nodes
from edgenode.types import NodeId

GREET_SECONDS: Final = 4.0
# So many are dialled at once where nobody in particular was asked for.
MAX_TARGETS: Final = 16


async def examine(host: str | None = None, interface: str | None = None) -> Report:
    """What keeps this machine from working with `host`: an address, a host name, or the name or id of a node, with a port if it is
    not the usual one. None: with every node that is paired, runs here or is told of by mDNS. Takes a few seconds.

    Raises `UsageError` for what cannot be a host, `NetworkError` for an interface that is not there.
    """
    within = scope(interface)
    own, certificate, paired, removed = await in_thread(_own, within)
    around = asyncio.create_task(look_around(within, interface))
    try:
        known = await in_thread(running_nodes)
        machine, heard = await around
        told = heard, paired, known, removed
        named = _everybody(*told) if host is None else (await _named(host, *told, within),)
        targets = await asyncio.gather(*(_examined(target, addresses, certificate, heard, within) for target, addresses in named))
    finally:
        around.cancel()
    return diagnose(Facts(Side.COORDINATOR, __version__, machine, heard, None, own, tuple(targets), host is not None))


def _own(within: Scope) -> tuple[OwnCoordinator, bytes, tuple[PairedNode, ...], tuple[PairedNode, ...]]:
    """This coordinator, the DER of its certificate for dialling (empty without one), whom it is paired with, and whom it has shut
    out. Makes nothing."""
    folder = coordinator_folder()
    if why := unusable(folder):
        return OwnCoordinator(error=why), b"", (), ()
    # A certificate without its key is as far from usable as can be, and what is kept says so itself.
    if not (folder / KEY).exists() and not (folder / CERTIFICATE).exists():
        return OwnCoordinator(), b"", (), ()
    try:
        authority = Authority(folder)
        certificate = der(parse_certificate(authority.client_tls().certificate))
        nodes = PairedNodes(folder)
        paired, removed = nodes.all(), nodes.removed()
    except EdgenodeError as error:
        return OwnCoordinator(error=str(error)), b"", (), ()
    taken = not are_free(within.listen_addresses(), COORDINATOR_PORT)
    own = OwnCoordinator(nodes=len(paired), ends=authority.certificate.not_valid_after_utc, port_taken=taken)
    return own, certificate, paired, removed


def _everybody(
    heard: Sequence[Heard], paired: Sequence[PairedNode], running: Sequence[RunningNode], removed: Sequence[PairedNode]
) -> tuple[tuple[Target, tuple[str, ...]], ...]:
    """Everybody known by identity, with all addresses known of each: those of this machine and the paired ones come first, since
    anybody can make mDNS tell of as many others as he likes."""
    mine = [(str(each.id), each.name, (each.address,)) for each in running]
    ours = [(str(each.id), each.name, each.addresses) for each in paired]
    others = [(each.id, each.name, each.addresses) for each in heard]
    names: dict[str, str] = {}
    for id, name, _ in (*mine, *ours, *others):
        names.setdefault(id, name)
    addresses: dict[str, list[str]] = {id: [] for id in names}
    # Where it says that it is now comes before where it once was.
    for id, _, more in (*mine, *others, *ours):
        addresses[id].extend(more)
    records = {str(each.id): _record(each) for each in (*paired, *removed)}
    return tuple(
        (Target(names[id] or id[:8], _port(addresses[id]), paired=records.get(id)), tuple(addresses[id]))
        for id in list(names)[:MAX_TARGETS]
    )


async def _named(
    host: str,
    heard: tuple[Heard, ...],
    paired: tuple[PairedNode, ...],
    running: tuple[RunningNode, ...],
    removed: tuple[PairedNode, ...],
    within: Scope,
) -> tuple[Target, tuple[str, ...]]:
    """What the user means by `host`: a node that is known by that name or identity, else a machine of that name or address."""
    asked = host.strip()
    meant = _everybody(
        [each for each in heard if asked in {each.name, each.id}],
        [each for each in paired if asked in {each.name, each.id}],
        [each for each in running if asked in {each.name, each.id}],
        removed,
    )
    # A name may have gone to another device since, so those that were shut out come last.
    for target, addresses in meant or _everybody((), [each for each in removed if asked in {each.name, each.id}], (), removed):
        return replace(target, asked=clean_line(asked, 60)), addresses
    try:
        name, port = split_host_port(parse_host_port(asked, NODE_PORT, "coordinator doctor"))
    except UsageError:
        return Target(clean_line(asked, 60), NODE_PORT, unresolved="no node of that name is known, and it is no host name."), ()
    found, why = await resolve(name, within)
    places = tuple(host_port(address, port) for address in found)
    if parse_host_port(asked, 1, "coordinator doctor") != parse_host_port(asked, NODE_PORT, "coordinator doctor"):
        # No port was given: what is known to be there may have another than the usual one.
        told = [(each.address,) for each in running] + [each.addresses for each in heard] + [each.addresses for each in paired]
        places = tuple(dict.fromkeys(one for each in told for one in each if split_host_port(one)[0] in found)) or places
    return Target(name, _port(places), unresolved="" if found else why), places


async def _examined(
    target: Target, addresses: tuple[str, ...], certificate: bytes, heard: tuple[Heard, ...], within: Scope
) -> Target:
    tried = await ways(addresses, within)
    ids = {way.work.id or way.pairing.id for way in tried} - {""}
    known = {each.id for each in heard}
    told = target.paired.id in known if target.paired else bool(ids & known)
    told = told or any(set(each.addresses) & set(addresses) for each in heard)
    target = replace(target, ways=tried, heard=told)
    best = next((way for way in tried if way.pairing.answer is Answer.EDGENODE), None)
    if best is None:
        return target
    asked = _now()
    try:
        async with asyncio.timeout(GREET_SECONDS):
            greeting = await greet(host_port(best.address, best.work.number), certificate)
    except TimeoutError:
        return replace(target, greet_error=f"it did not answer within {GREET_SECONDS:.0f} s.")
    except EdgenodeError as error:
        return replace(target, greet_error=str(error))
    said = greeting.introduction
    # Asked and answered within milliseconds, or within the deadline: far less than matters here.
    clock_ahead = said.time - (asked + _now()) / 2
    record = target.paired or await in_thread(_paired, said.id)
    shown = Greeting(said.id, said.name, said.version, clock_ahead, said.window_open, greeting.verdict)
    return replace(target, greeting=shown, paired=record)


def _now() -> float:
    return time.time()


def _paired(id: NodeId) -> Paired | None:
    """What is written down about a node, also about one that was removed."""
    try:
        found = PairedNodes(coordinator_folder()).get(id)
    except EdgenodeError:
        return None
    return None if found is None else _record(found)


def _record(node: PairedNode) -> Paired:
    return Paired(node.id, node.name, node.certificate_ends, node.removed, node.dials_in)


def _port(addresses: Iterable[str]) -> int:
    for address in addresses:
        return split_host_port(address)[1]
    return NODE_PORT
