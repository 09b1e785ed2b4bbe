"""Why this machine does not get through to another one. Pure."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from edgenode.doctor.facts import Answer, Facts, Greeting, Port, Reach, Target, Way
from edgenode.doctor.findings import Finding, Severity, fine, problem, warning
from edgenode.doctor.firewalls import LAST_PORT, MDNS_PORT, allow_anywhere, other_port
from edgenode.doctor.machine import alone, multicast_works
from edgenode.doctor.unreached import diagnose_unreached
from edgenode.doctor.words import set_clock, span
from edgenode.net.addresses import COORDINATOR_PORT, host_port, is_link_local
from edgenode.net.interfaces import Kind
from edgenode.text import typeable
from edgenode.trust.certificates import CLOCK_TOLERANCE
from edgenode.trust.verdict import Verdict

CLOCK_WARNING: Final = timedelta(minutes=5)
# Which of several addresses is talked about: the one that got furthest.
_FURTHEST: Final = (
    Reach.OPEN,
    Reach.REFUSED,
    Reach.REJECTED,
    Reach.FORBIDDEN,
    Reach.SILENT,
    Reach.NO_HOST,
    Reach.NO_ROUTE,
    Reach.NOT_TRIED,
)


def diagnose_target(target: Target, facts: Facts) -> Iterator[Finding]:
    for finding in _findings(target, facts):
        # Nobody asked: a device that is switched off, or is another family's, is no trouble of this machine's.
        foreign = target.paired is None and finding.code in {"unpaired", "not-running"}
        idle = not facts.asked and (foreign or not target.heard) and finding.severity is Severity.PROBLEM
        yield replace(finding, severity=Severity.WARNING) if idle else finding


def _findings(target: Target, facts: Facts) -> Iterator[Finding]:
    greeted = target.greeting
    # Where another device answers, what it calls itself is not what the one that was meant is called.
    meant = greeted is not None and (target.paired is None or greeted.id == target.paired.id)
    name = (greeted.name if greeted is not None and meant else "") or target.asked
    if target.paired is not None and target.paired.removed is not None:
        # Whoever shut it out does not want to be told of all else that keeps it from working.
        what = f"{name} was unpaired on {target.paired.removed:%Y-%m-%d} and is shut out, as you wanted."
        code = f" ({_code(greeted, name)})" if greeted is not None and meant else ""
        back = f"Nothing, if it is to stay so. To take it back in: coordinator pair {typeable(name, target.paired.id)}{code}"
        yield warning("removed", what, back) if facts.asked else fine("removed", what)
        return
    if target.unresolved:
        yield problem(
            "name-unknown",
            f"No address is known for {target.asked}: {target.unresolved}",
            "Give its address: on the device run edgenode doctor (or hostname -I), and here coordinator doctor ADDRESS",
        )
        return
    if not target.ways:
        yield from _without_address(target, name, facts)
        return
    best = furthest(target)
    if best.work.reach is Reach.OPEN and best.work.answer is Answer.EDGENODE:
        yield from _answers(target, best, name, facts)
    elif target.paired is not None and target.paired.dials_in:
        # Its addresses are of a time when it could be dialled.
        yield _dials_in(name, facts)
    else:
        yield from diagnose_unreached(target, best, name, facts)


def furthest(target: Target) -> Way:
    """The address at which most was reached: where edgenode answers, else where connecting got furthest. Of several the first that
    means something on other machines too."""

    def rank(way: Way) -> tuple[bool, int, bool]:
        answers = way.work.answer is Answer.EDGENODE
        return not answers, _FURTHEST.index(way.work.reach), is_link_local(host_port(way.address, way.work.number))

    return min(target.ways, key=rank)


def compatible(ours: str, theirs: str) -> bool | None:
    """Whether two versions of edgenode speak one protocol: those of one major version do, and before 1.0 those of one minor
    version. None for what is no version."""
    found = [re.match(r"(\d{1,6})\.(\d{1,6})", each) for each in (ours, theirs)]
    if None in found:
        return None
    (major, minor), (their_major, their_minor) = ((int(match[1]), int(match[2])) for match in found if match)
    return major == their_major and (major > 0 or minor == their_minor)


def _without_address(target: Target, name: str, facts: Facts) -> Iterator[Finding]:
    if target.paired is not None and target.paired.dials_in:
        yield _dials_in(name, facts)
    else:
        yield warning(
            "not-seen",
            f"{name} is not seen by mDNS and no address of it is known.",
            f"On {name} run edgenode start and edgenode doctor, or name its address here: coordinator doctor ADDRESS",
        )


def _dials_in(name: str, facts: Facts) -> Finding:
    if facts.coordinator is not None and facts.coordinator.port_taken:
        return warning(
            "dials-in",
            f"{name} serves by dialling this machine, where another coordinator command has port {COORDINATOR_PORT} and with it "
            "the devices that dial in.",
            f"Ask that command for {name}, or end it and run: coordinator nodes",
        )
    return warning(
        "dials-in",
        f"{name} serves by dialling this machine, where no coordinator command listens at port {COORDINATOR_PORT} now.",
        f"See whether it comes: coordinator nodes. If it does not, on {name} run: edgenode start --join "
        f"THIS-MACHINE:{COORDINATOR_PORT}",
    )


def _answers(target: Target, way: Way, name: str, facts: Facts) -> Iterator[Finding]:
    known = target.paired.id if target.paired else ""
    if known and way.work.id and way.work.id != known:
        yield problem(
            "another-device",
            f"Another device than {name} answers at {host_port(way.address, way.work.number)}: its key is not the one that was "
            "paired.",
            f"Look up the address of {name} (edgenode doctor on it shows it); if its home was deleted: coordinator pair "
            f"{typeable(name, known)}",
        )
        return
    problems = [
        *_pairing_port(target, way, name, facts),
        *_greeting(target, name, facts),
        *_records(target, name, facts.machine.now),
    ]
    across = way.interface is None or way.kind is Kind.VPN
    # What keeps multicast out on this machine itself is said once, and the network is not to blame.
    if not target.heard and not way.ours and not alone(facts.machine) and (across or multicast_works(facts.machine)):
        why = "mDNS does not cross from one network to another" if across else "multicast from it does not arrive here"
        problems.append(
            warning(
                "not-heard",
                f"{name} can be reached at {way.address} but is not seen by mDNS: {why}.",
                f"Name it by address: coordinator nodes --join {host_port(way.address, way.work.number)} (once it is paired its "
                f"address is remembered); in a Wi-Fi, allow multicast (UDP {MDNS_PORT}) in the router.",
            )
        )
    yield from problems
    if all(each.severity is Severity.OK for each in problems):
        version = f", version {target.greeting.version}" if target.greeting else ""
        yield fine("reached", f"{name} answers at {host_port(way.address, way.work.number)}{version}.")


def _pairing_port(target: Target, way: Way, name: str, facts: Facts) -> Iterator[Finding]:
    port = way.pairing
    if way.work.number >= LAST_PORT:
        yield problem(
            "pairing-port-blocked",
            f"{name} has the work port {way.work.number}, after which there is none for pairing.",
            f"Give it another: on {name} run edgenode start --port {other_port(way.work.number)}",
        )
        return
    if port.reach is Reach.OPEN and port.answer is Answer.EDGENODE:
        if target.greeting is None:
            yield problem(
                "no-greeting",
                f"{name} does not say who it is at {host_port(way.address, port.number)}: "
                f"{target.greet_error or 'it did not answer.'}",
                "Start it anew there (edgenode start), and if that does not help install the same version on both: this is "
                f"{facts.version}.",
            )
        return
    if port.reach is Reach.OPEN:
        what = f"Another program than edgenode answers at port {port.number} of {name}, where it should take pairings."
        remedy = f"Give the node two other ports: on {name} run edgenode start --port {other_port(way.work.number)}"
    else:
        what = (
            f"The work port {way.work.number} of {name} is open, but its pairing port, TCP {port.number}, {_said(port)}: it can "
            "neither be paired nor its certificate be renewed."
        )
        remedy = f"On {name} {allow_anywhere(way.work.number)}"
    yield problem("pairing-port-blocked", what, remedy)


def _greeting(target: Target, name: str, facts: Facts) -> Iterator[Finding]:
    greeting = target.greeting
    if greeting is None:
        return
    match compatible(facts.version, greeting.version):
        case True:
            pass
        case told:
            severity = Severity.WARNING if told is None else Severity.PROBLEM
            yield Finding(
                severity,
                "version",
                f"{name} runs edgenode {greeting.version or 'of an unknown version'} and this machine {facts.version}, which "
                "do not "
                "speak the same protocol.",
                f"Bring both to one version: pip install --upgrade edgenode (here and on {name})",
            )
    yield from _clock(greeting, name, facts)
    yield from _verdict(target, greeting, name)


def _clock(greeting: Greeting, name: str, facts: Facts) -> Iterator[Finding]:
    ahead = greeting.clock_ahead
    if ahead != ahead or abs(ahead) < CLOCK_WARNING.total_seconds():  # a clock that is not a number is no clock
        return
    far = abs(ahead) >= CLOCK_TOLERANCE.total_seconds()
    consequence = "so that certificates seem expired or not valid yet" if far else "which certificates still bear"
    yield Finding(
        Severity.PROBLEM if far else Severity.WARNING,
        "clock-differs",
        f"The clock of {name} is {span(ahead)} {'ahead of' if ahead > 0 else 'behind'} this machine's, {consequence}.",
        f"Set the clock that is wrong: here with {set_clock(facts.machine.system)}; on a Linux device with sudo timedatectl "
        "set-ntp true",
    )


def _verdict(target: Target, greeting: Greeting, name: str) -> Iterator[Finding]:
    window = _code(greeting, name)
    paired = target.paired is not None
    pair = f"coordinator pair {typeable(name, greeting.id)}"
    match greeting.verdict:
        case Verdict.UNKNOWN_AUTHORITY if paired:
            yield problem(
                "no-longer-trusted",
                f"{name} no longer trusts this coordinator: it was dropped there (edgenode untrust), or its home was deleted.",
                f"Pair anew: {pair} ({window})",
            )
        case Verdict.UNKNOWN_AUTHORITY:
            yield problem(
                "unpaired",
                f"{name} is not paired with this coordinator.",
                f"Pair it: {pair} ({window})",
            )
        case Verdict.EXPIRED | Verdict.NOT_YET_VALID as verdict:
            state = "expired" if verdict is Verdict.EXPIRED else "not valid yet"
            yield problem(
                "certificate-dates",
                f"By the clock of {name} this coordinator's certificate is {state}.",
                "Set the clocks of both (on a Linux device: sudo timedatectl set-ntp true), then run: coordinator nodes",
            )
        case Verdict.WRONG_ROLE:
            yield problem(
                "wrong-role",
                f"{name} does not take this coordinator's certificate for one of a coordinator.",
                f"Pair anew: coordinator unpair {typeable(name, greeting.id)}, then {pair}",
            )
        case Verdict.OWN_EXPIRED:
            yield warning(
                "certificate-expired",
                f"The certificate of {name} has expired or is not valid yet.",
                "It is renewed when the two meet: coordinator nodes",
            )
        case None if paired:
            yield problem(
                "trust-unreadable",
                f"{name} cannot read whom it trusts, so it lets nobody in who may have been dropped.",
                f"On {name}: edgenode trusted, which names the file",
            )
        case Verdict.TRUSTED | None:
            if not paired:
                yield problem(
                    "unpaired",
                    f"This coordinator has not paired {name}.",
                    f"Pair it: {pair} ({window})",
                )


def _code(greeting: Greeting, name: str) -> str:
    return f"{name} shows its code now" if greeting.window_open else f"on {name}: edgenode pair"


def _records(target: Target, name: str, now: datetime) -> Iterator[Finding]:
    ends = target.paired.certificate_ends if target.paired else None
    told = target.greeting is not None and target.greeting.verdict is Verdict.OWN_EXPIRED
    if ends is not None and ends < now and not told:
        yield warning(
            "certificate-expired",
            f"The certificate of {name} expired on {ends:%Y-%m-%d}.",
            "It is renewed when the two meet: coordinator nodes",
        )


def _said(port: Port) -> str:
    match port.reach:
        case Reach.REFUSED:
            return "refuses connections"
        case Reach.REJECTED:
            return "is closed by a firewall"
        case Reach.SILENT:
            return "does not answer (a firewall drops what is sent there)"
        case _:
            return "cannot be reached"
