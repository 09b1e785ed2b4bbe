"""Whatever the facts, there is a diagnosis, and it is only fine when nothing is wrong."""

from dataclasses import fields

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgenode.doctor.diagnosis import diagnose
from edgenode.doctor.facts import (
    Answer,
    Dialled,
    Facts,
    Greeting,
    Heard,
    Interface,
    Machine,
    MdnsPort,
    OwnCoordinator,
    OwnNode,
    Paired,
    Port,
    Reach,
    Target,
    Trusted,
    Way,
)
from edgenode.doctor.findings import Severity, render, report_json
from edgenode.doctor.target import furthest
from edgenode.trust.verdict import Verdict
from tests.doctor.known import ID, OTHER

addresses = st.sampled_from(["127.0.0.1", "192.168.1.5", "10.0.0.7", "fd00::5", "fe80::1%eth0"])
names = st.text(max_size=6) | st.just("pi")
ids = st.sampled_from(["", ID, OTHER])
dates = st.datetimes(timezones=st.timezones())
ports = st.builds(Port, st.integers(1, 65_534), st.sampled_from(Reach), st.none() | st.sampled_from(Answer), ids)
ways = st.builds(Way, address=addresses, work=ports, pairing=ports)
some_ways = st.lists(ways, max_size=3).map(tuple)
greetings = st.builds(Greeting, id=ids, name=names, version=st.sampled_from(["0.1.0", "2.0", "x"]), clock_ahead=st.floats())
pairings = st.none() | st.builds(Paired, id=ids, name=names, certificate_ends=st.none() | dates, removed=st.none() | dates)
targets = st.builds(
    Target, asked=names, ways=some_ways, greeting=st.none() | greetings, paired=pairings, unresolved=st.just("") | names
)
interfaces = st.builds(
    Interface,
    name=names,
    addresses=st.lists(addresses, max_size=2).map(tuple),
    networks=st.lists(st.sampled_from(["192.168.1.0/24", "fd00::/64"]), max_size=2).map(tuple),
)
machines = st.builds(Machine, now=dates, interfaces=st.lists(interfaces, max_size=3).map(tuple))
nodes = st.builds(
    OwnNode,
    home=names,
    id=ids,
    name=names,
    error=st.just("") | names,
    port=st.integers(0, 65_534),
    answers=some_ways,
    dials=st.lists(st.builds(Dialled, names, st.integers(1, 65_535), some_ways, st.just("") | names), max_size=2).map(tuple),
    trusted=st.lists(st.builds(Trusted, names, dates, dates), max_size=2).map(tuple),
    key_made=st.none() | dates,
    battery_percent=st.none() | st.floats(0, 100),
)
some_facts = st.builds(
    Facts,
    version=st.just("0.1.0"),
    machine=machines,
    heard=st.lists(st.builds(Heard, ids, names, st.just(())), max_size=3).map(tuple),
    node=st.none() | nodes,
    coordinator=st.none() | st.builds(OwnCoordinator, error=st.just("") | names, ends=st.none() | dates),
    targets=st.lists(targets, max_size=3).map(tuple),
)


def wrong(facts: Facts) -> bool:
    """Some of what cannot be well, said without the diagnosis."""
    machine, node = facts.machine, facts.node
    targets = [each for each in facts.targets if not (each.paired and each.paired.removed)]
    return (
        machine.mdns_port is not MdnsPort.USABLE
        or any(each.used and each.multicast is False for each in machine.interfaces)
        or any(each.unresolved for each in targets)
        or any(each.ways and furthest(each).work.reach is not Reach.OPEN for each in targets)
        or any(each.ways and furthest(each).work.answer is not Answer.EDGENODE for each in targets)
        or any(each.ways and each.greeting is not None and each.greeting.verdict not in {Verdict.TRUSTED, None} for each in targets)
        or any(each.ways and each.greeting is not None and abs(each.greeting.clock_ahead) >= 300 for each in targets)
        or (node is not None and bool(node.error or not node.running or not node.trusted or not node.engine or not node.models))
        or (facts.coordinator is not None and bool(facts.coordinator.error))
    )


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_facts)
def test_any_facts_give_findings(facts: Facts) -> None:
    """No facts raise; what is wrong has a remedy, and "fine" is said only where it is."""
    report = diagnose(facts)
    for each in report.findings:
        assert each.code
        assert each.what
        assert bool(each.remedy) is (each.severity is not Severity.OK)
    if wrong(facts):
        assert not report.fine, render(report)
    assert len(report_json(report)["findings"]) == len(report.findings)


def test_the_strategies_know_every_fact() -> None:
    """Facts that are added later are looked at here too: `st.builds` fills in only what has no default."""
    assert {each.name for each in fields(Facts)} == {
        "side",
        "version",
        "machine",
        "heard",
        "node",
        "coordinator",
        "targets",
        "asked",
    }
