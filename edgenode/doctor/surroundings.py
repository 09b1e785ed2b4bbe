"""Looks around: this machine's interfaces and their multicast, and the nodes that mDNS tells of. All at once, a few seconds."""

import asyncio
import os
from typing import Final

from edgenode.doctor import multicast, system
from edgenode.doctor.facts import Heard, Interface, Machine, MdnsPort
from edgenode.doctor.firewalls import MDNS_PORT
from edgenode.net.discovery import Browser, Sighting
from edgenode.net.interfaces import VARIABLE, Scope, interfaces
from edgenode.threads import in_thread
from edgenode.trust.certificates import now_utc
from edgenode.types import NodeId

# A node answers the first question within 0.2 s, or the second one, which comes after a second.
BROWSE_SECONDS: Final = 1.8
MAX_HEARD: Final = 64


async def look_around(scope: Scope, interface: str | None) -> tuple[Machine, tuple[Heard, ...]]:
    """This machine as far as seeing others goes, and the nodes that mDNS tells of.

    `interface` is what the user named on the command line, None where `scope` follows the environment. Never raises.
    """
    links, others, heard, firewall, kind, port = await asyncio.gather(
        _interfaces(scope),
        _others(scope),
        _browse(scope),
        in_thread(system.firewall),
        in_thread(system.system),
        in_thread(multicast.mdns_port),
    )
    holder = await in_thread(system.holder_of_udp, MDNS_PORT) if port is MdnsPort.TAKEN else ""
    addresses = [address for each in links for address in each.addresses]
    machine = Machine(
        system=kind,
        now=now_utc(),
        interfaces=links,
        only=_only(interface),
        container=await in_thread(system.isolated_container, addresses),
        mdns_port=port,
        mdns_holder=holder,
        heard_others=others,
        firewall=firewall,
    )
    return machine, heard


async def _interfaces(scope: Scope) -> tuple[Interface, ...]:
    used = {each.name: each for each in scope.interfaces()}
    spoken = scope.multicast()
    came_back = await asyncio.gather(*(multicast.comes_back(address, index) for address, index in spoken))
    found = []
    for each in interfaces():
        if not each.up or not each.addresses:
            continue
        shown = used.get(each.name, each)
        tried = [(":" in address, back) for (address, index), back in zip(spoken, came_back, strict=True) if index == each.index]
        # mDNS over IPv4 is what everybody speaks; IPv6 is asked where there is nothing else.
        told = [back for six, back in tried if not six] or [back for _, back in tried]
        works = any(told) if told else None
        networks = tuple(str(network) for network in shown.networks)
        found.append(Interface(each.name, each.kind, shown.addresses, networks, each.name in used, works))
    return tuple(found)


async def _others(scope: Scope) -> bool | None:
    if scope.is_loopback:
        return None
    return await multicast.hears_others(address for address, _ in scope.multicast() if ":" not in address)


async def _browse(scope: Scope) -> tuple[Heard, ...]:
    found: dict[NodeId, Heard] = {}

    def seen(sighting: Sighting) -> None:
        if sighting.id in found or len(found) < MAX_HEARD:
            found[sighting.id] = Heard(sighting.id, sighting.name, sighting.addresses)

    def gone(id: NodeId) -> None:
        found.pop(id, None)

    async with Browser(scope, seen, gone):
        await asyncio.sleep(BROWSE_SECONDS)
    return tuple(found.values())


def _only(interface: str | None) -> str:
    told = os.environ.get(VARIABLE)
    return f"--interface {interface}" if interface is not None else f"{VARIABLE}={told}" if told else ""
