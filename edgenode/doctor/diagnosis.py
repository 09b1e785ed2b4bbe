"""Facts in, findings out: all of a doctor's judgement, and nothing else. Pure."""

from collections.abc import Iterator

from edgenode.doctor.facts import Facts
from edgenode.doctor.findings import Finding, Report, make_report
from edgenode.doctor.machine import diagnose_machine
from edgenode.doctor.own import diagnose_coordinator, diagnose_names, diagnose_node
from edgenode.doctor.target import diagnose_target


def diagnose(facts: Facts) -> Report:
    """What is wrong and what is well, worst first. Never raises, whatever the facts."""
    return make_report(_findings(facts))


def _findings(facts: Facts) -> Iterator[Finding]:
    for target in facts.targets:
        yield from diagnose_target(target, facts)
    if facts.node is not None:
        yield from diagnose_node(facts.node, facts)
    yield from diagnose_coordinator(facts)
    yield from diagnose_names(facts)
    yield from diagnose_machine(facts)
