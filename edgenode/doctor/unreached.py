"""Why connecting to another machine's work port failed, by what came of it and from where to where. Pure."""

from collections.abc import Iterator

from edgenode.doctor.facts import Answer, Facts, Reach, Target, Way
from edgenode.doctor.findings import Finding, problem
from edgenode.doctor.firewalls import allow_anywhere, other_port, port_pair
from edgenode.doctor.machine import usable
from edgenode.doctor.words import listed
from edgenode.net.addresses import COORDINATOR_PORT, host_port
from edgenode.net.interfaces import Kind


def diagnose_unreached(target: Target, way: Way, name: str, facts: Facts) -> Iterator[Finding]:
    port = way.work.number
    where = f"{way.address} (TCP port {port})"
    if way.kind is Kind.CONTAINER and way.work.reach is not Reach.OPEN and not way.ours:
        yield problem(
            "container-address",
            f"{way.address} is in the network of this machine's own containers ({way.interface}), so {name} cannot be reached "
            f"there from here (TCP port {port}).",
            f"Name the address of {name} in the home's network (edgenode doctor on it shows it): coordinator doctor ADDRESS",
        )
        return
    match way.work.reach:
        case Reach.OPEN if way.work.answer is Answer.QUIET:
            yield problem(
                "mute",
                f"Something at {where} takes connections and then stays silent: a node that is overloaded, or a proxy between.",
                f"Wait half a minute and try again; if it stays so, start {name} anew: edgenode start",
            )
        case Reach.OPEN:
            yield problem(
                "other-program",
                f"Another program than edgenode answers at {where}.",
                f"Give the node another port (on {name}: edgenode start --port {other_port(port)}) and name it here: "
                f"coordinator nodes --join {host_port(way.address, other_port(port))}",
            )
        case Reach.REFUSED:
            yield problem(
                "not-running",
                f"{name} is there, but nothing listens at {where}: no node runs, or it has another port, or listens on its own "
                "loopback only.",
                f"On {name} run edgenode start (without --listen and EDGENODE_INTERFACE), and edgenode doctor shows its port.",
            )
        case Reach.REJECTED:
            yield problem(
                "firewall",
                f"{name} is there, but a firewall on it rejects what is sent to {where}.",
                f"On {name} {allow_anywhere(port)}; or let it dial out: edgenode start --join THIS-MACHINE:{COORDINATOR_PORT}",
            )
        case Reach.FORBIDDEN:
            yield problem(
                "forbidden-here",
                f"This machine itself forbids connecting to {where}: a firewall rule or a VPN's kill switch on this side.",
                f"Allow outgoing TCP {port_pair(port)} here, or allow local network access in the VPN's settings.",
            )
        case Reach.SILENT:
            yield from _silent(target, way, name, facts)
        case Reach.NO_HOST:
            yield from _nobody(way, name, facts)
        case Reach.NO_ROUTE:
            yield from _no_route(target, way, name, facts)
        case Reach.NOT_TRIED if facts.machine.only:
            yield problem(
                "not-dialled",
                f"{name} at {way.address} was not dialled, because edgenode was told to use no other interface "
                f"({facts.machine.only}).",
                "Leave out --interface, and unset EDGENODE_INTERFACE, to reach other machines.",
            )
        case Reach.NOT_TRIED:
            yield problem(
                "not-dialled",
                f"{name} at {way.address} was not dialled, because this machine is on no network now.",
                "Connect it to the home's Wi-Fi or cable (and look at: ip address).",
            )


def _silent(target: Target, way: Way, name: str, facts: Facts) -> Iterator[Finding]:
    port, allowing = way.work.number, f"On {name} {allow_anywhere(way.work.number)}"
    dial_out = f"or let it dial out: edgenode start --join THIS-MACHINE:{COORDINATOR_PORT}"
    if way.pairing.reach in {Reach.OPEN, Reach.REFUSED, Reach.REJECTED}:
        yield problem(
            "work-port-blocked",
            f"{name} can be reached at {way.address}, but a firewall drops what is sent to its TCP port {port}.",
            f"{allowing}; {dial_out}",
        )
    elif way.kind is Kind.VPN:
        yield problem(
            "vpn-in-the-way",
            f"What is sent to {name} at {way.address} port {port} goes into the VPN interface {way.interface} and is not answered.",
            "Allow local network access in the VPN's settings, or switch it off and try again.",
        )
    elif way.interface is None:
        yield problem(
            "different-subnet",
            f"{name} at {way.address} is in another network than this machine ({_networks(facts)}), and nothing comes back "
            "from its "
            f"TCP port {port}: the router between, or a firewall on {name}, drops it.",
            f"Put both on the same Wi-Fi or router, or forward TCP {port_pair(port)} in the router between; {dial_out}",
        )
    elif target.heard:
        yield problem(
            "firewall",
            f"{name} is seen by mDNS, but nothing comes back from {way.address} TCP port {port}: a firewall on it drops it.",
            f"{allowing}; {dial_out}",
        )
    else:
        yield problem(
            "firewall-or-isolation",
            f"Nothing comes back from {way.address} TCP port {port}, though it is in the network of {way.interface}: a "
            "firewall on "
            f"{name} drops it, or it is asleep, or the Wi-Fi keeps its guests apart.",
            f"{allowing}; switch off client isolation (AP isolation, guest network) in the router; {dial_out}",
        )


def _nobody(way: Way, name: str, facts: Facts) -> Iterator[Finding]:
    if way.interface is None:
        yield problem(
            "different-subnet",
            f"{name} at {way.address} is in another network than this machine ({_networks(facts)}), and a router says that it "
            "cannot be reached.",
            "Put both on the same Wi-Fi or router (not its guest network), and look up the device's address anew: "
            "edgenode doctor on it shows it.",
        )
    else:
        yield problem(
            "nobody-there",
            f"No device answers to {way.address} in the network of {way.interface}: {name} is off or asleep, has a new "
            "address, or "
            "the Wi-Fi keeps its guests apart.",
            f"Wake {name} and look up its address (edgenode doctor on it shows it), and switch off client isolation (AP "
            "isolation, guest network) in the router.",
        )


def _no_route(target: Target, way: Way, name: str, facts: Facts) -> Iterator[Finding]:
    theirs = {_family(each.address) for each in target.ways}
    ours = {_family(each) for interface in usable(facts.machine) for each in interface.addresses if not each.startswith("fe80:")}
    if len(theirs) == 1 and ours and not theirs & ours:
        yield problem(
            "no-common-protocol",
            f"{name} is known by {theirs.pop()} addresses only ({way.address}), and this machine has only {listed(sorted(ours))}.",
            f"Switch on {_family(way.address)} on this machine's network, or name an address of {name} of the other kind: "
            "coordinator doctor ADDRESS",
        )
    else:
        yield problem(
            "different-subnet",
            f"This machine has no route to {name} at {way.address}: it is in none of its networks ({_networks(facts)}).",
            "Put both on the same Wi-Fi or router (not its guest network), or name an address of it there: coordinator doctor "
            "ADDRESS",
        )


def _networks(facts: Facts) -> str:
    return listed(each for interface in usable(facts.machine) for each in interface.networks) or "none"


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"
