"""What is wrong with this machine as far as seeing others goes. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from edgenode.doctor.facts import Facts, Interface, Machine, MdnsPort, Side, System
from edgenode.doctor.findings import Finding, Severity, fine, problem, warning
from edgenode.doctor.firewalls import MDNS_PORT, allow, port_pair
from edgenode.doctor.words import listed, set_clock
from edgenode.net.addresses import COORDINATOR_PORT, NODE_PORT
from edgenode.net.interfaces import Kind

RELEASED: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""No clock that is right shows a time before this version was written."""


def diagnose_machine(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    yield from _clock(facts)
    yield from _interfaces(facts)
    yield from _surroundings(facts)
    yield from _mdns_port(facts)
    yield from _multicast(facts)
    if machine.firewall is not None and not alone(machine) and not _sure_of_multicast(facts):
        port = own_port(facts)
        yield warning(
            "firewall-on",
            f"{_capital(machine.firewall.value)} is on: unless it lets in TCP {port_pair(port)} and UDP {MDNS_PORT}, other "
            "machines do not see this one.",
            f"Let them in: {allow(machine.firewall, port)}",
        )


def own_port(facts: Facts) -> int:
    """The first of the two TCP ports at which others reach this side."""
    if facts.side is Side.COORDINATOR:
        return COORDINATOR_PORT
    return (facts.node.port if facts.node else 0) or NODE_PORT


def by_address(facts: Facts) -> str:
    """What to type where multicast does not work."""
    if facts.side is Side.NODE:
        return f"edgenode start --join COORDINATOR:{COORDINATOR_PORT}"
    return f"coordinator nodes --join NODE:{NODE_PORT}"


def usable(machine: Machine) -> tuple[Interface, ...]:
    """The interfaces that lead to other machines and are used. One that the user named is taken for such, whatever it is."""
    kinds = {Kind.LAN, Kind.LINK_LOCAL, *({Kind.VPN, Kind.CONTAINER} if machine.only else ())}
    return tuple(each for each in machine.interfaces if each.used and each.kind in kinds and each.addresses)


def multicast_works(machine: Machine) -> bool:
    """Whether nothing on this machine itself was found that keeps multicast out."""
    deaf = any(each.used and each.multicast is False for each in machine.interfaces)
    return machine.mdns_port is MdnsPort.USABLE and not deaf


def alone(machine: Machine) -> bool:
    """Whether edgenode was told to keep to an interface that leads nowhere else."""
    return bool(machine.only) and not usable(machine)


def _clock(facts: Facts) -> Iterator[Finding]:
    now = facts.machine.now
    made = facts.node.key_made if facts.node else None
    remedy = f"Set this machine's clock: {set_clock(facts.machine.system)}"
    if now < RELEASED:
        yield problem(
            "clock-wrong",
            f"This machine's clock shows {now:%Y-%m-%d %H:%M} UTC, which was before this version of edgenode existed, so that "
            "certificates seem not valid yet.",
            remedy,
        )
    elif made is not None and now < made:
        yield problem(
            "clock-wrong",
            f"This machine's clock shows {now:%Y-%m-%d %H:%M} UTC, which is before this node's key was made "
            f"({made:%Y-%m-%d %H:%M} UTC), so that certificates may seem not valid yet.",
            remedy,
        )


def _interfaces(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    if alone(machine):
        yield warning(
            "interface-limited",
            f"Only this machine itself is seen, because edgenode was told to use no other interface ({machine.only}).",
            "Leave out --interface, and unset EDGENODE_INTERFACE, to see other machines.",
        )
        return
    if usable(machine):
        names = listed(f"{each.name} ({', '.join(each.addresses)})" for each in usable(machine))
        for each in usable(machine):
            if each.kind is Kind.LINK_LOCAL:
                yield warning(
                    "no-address-given",
                    f"The network on {each.name} has given this machine no address; it goes by {each.addresses[0]}, which only "
                    "devices in the same plight understand.",
                    "Check the cable or the Wi-Fi password, and whether the router gives out addresses (DHCP).",
                )
        yield fine("interfaces", f"This machine is on the local network by {names}.")
        return
    tunnels = [each.name for each in machine.interfaces if each.kind is Kind.VPN]
    containers = [each.name for each in machine.interfaces if each.kind is Kind.CONTAINER]
    if tunnels or containers:
        what = listed([*(f"{name} (VPN)" for name in tunnels), *(f"{name} (containers)" for name in containers)])
        yield problem(
            "only-virtual-interfaces",
            f"This machine has no interface on a local network, only {what}, which other devices of the home are not on.",
            "Connect it to the home's Wi-Fi or cable, or name the interface that all devices share: --interface NAME",
        )
    else:
        yield problem(
            "no-interface",
            "This machine has no network interface with an address, so it reaches itself alone.",
            "Connect it to the home's Wi-Fi or cable (and look at: ip address).",
        )


def _surroundings(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    if alone(machine):
        return
    if machine.container:
        host = "--network host" if machine.container in {"docker", "podman"} else "the host's network"
        yield warning(
            "in-container",
            f"edgenode runs in a container ({machine.container}) with a network of its own, where neither mDNS nor other "
            "machines "
            "reach it.",
            f"Run the container with {host}, or dial out: {by_address(facts)}",
        )
    if machine.system is System.WSL:
        yield warning(
            "in-wsl",
            "edgenode runs in WSL2, whose network lies behind Windows, so that mDNS and other machines do not reach it.",
            "Write networkingMode=mirrored under [wsl2] in %USERPROFILE%\\.wslconfig and run wsl --shutdown, or dial out: "
            f"{by_address(facts)}",
        )
    if machine.system is System.TERMUX:
        yield warning(
            "on-android",
            "Android passes multicast to an app only with a lock that Termux cannot take, so mDNS may not work here.",
            f"Join by address: {by_address(facts)} (and keep it awake: termux-wake-lock)",
        )
    tunnels = [each.name for each in machine.interfaces if each.kind is Kind.VPN]
    if tunnels and usable(machine):
        unreached = [each.asked for each in facts.targets if any(way.kind is Kind.VPN for way in each.ways)]
        if unreached:
            yield warning(
                "vpn-in-the-way",
                f"The VPN interface {listed(tunnels)} carries what is meant for {listed(unreached)}, and mDNS does not pass it.",
                "Allow local network access in the VPN's settings, or switch it off and try again.",
            )


def _mdns_port(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    if machine.mdns_port is MdnsPort.TAKEN:
        holder = f" ({machine.mdns_holder})" if machine.mdns_holder else ""
        yield problem(
            "mdns-port-taken",
            f"UDP port {MDNS_PORT}, which mDNS needs, is held by another program{holder} that does not share it, so that nodes "
            "are "
            "neither announced nor found.",
            f"Stop that program (to see it: sudo ss -ulpn sport = :{MDNS_PORT}), or join by address: {by_address(facts)}",
        )
    elif machine.mdns_port is MdnsPort.FORBIDDEN:
        yield problem(
            "mdns-port-forbidden",
            f"This system does not let edgenode use UDP port {MDNS_PORT}, which mDNS needs.",
            f"Join by address: {by_address(facts)}",
        )


def _multicast(facts: Facts) -> Iterator[Finding]:
    machine = facts.machine
    tried = [each for each in machine.interfaces if each.used and each.multicast is not None]
    deaf = [each.name for each in tried if not each.multicast]
    if deaf:
        all_deaf = len(deaf) == len(tried)
        yield Finding(
            Severity.PROBLEM if all_deaf else Severity.WARNING,
            "no-multicast",
            f"Multicast does not work on {listed(deaf)}: a packet sent to a group there did not come back, so mDNS does not "
            "work on it.",
            f"Switch it on (sudo ip link set {deaf[0]} multicast on) and let UDP {MDNS_PORT} through the firewall, or join by "
            f"address: {by_address(facts)}",
        )
    if tried and not deaf and machine.mdns_port is MdnsPort.USABLE:
        yield fine("multicast", f"Multicast works on {listed(each.name for each in tried)} as far as this machine goes.")


def _sure_of_multicast(facts: Facts) -> bool:
    """Whether a coordinator has seen that answers get in, so that a firewall that is on need not worry anybody."""
    return facts.side is Side.COORDINATOR and bool(facts.heard) and facts.machine.heard_others is True


def _capital(text: str) -> str:
    return (
        text if text.startswith("Windows") else text[:1].upper() + text[1:] if text.startswith("the ") else f"The firewall {text}"
    )
