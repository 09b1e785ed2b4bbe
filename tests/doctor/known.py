"""Facts of a home where everything is well, to be spoilt one at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from edgenode.doctor.facts import (
    Answer,
    Facts,
    Greeting,
    Heard,
    Interface,
    Machine,
    OwnCoordinator,
    OwnNode,
    Paired,
    Port,
    Reach,
    Side,
    System,
    Target,
    Trusted,
    Way,
)
from edgenode.net.interfaces import Kind
from edgenode.trust.verdict import Verdict

NOW = datetime(2027, 3, 4, 12, 0, tzinfo=UTC)
ID = "ab" * 16
OTHER = "cd" * 16
LAN = Interface("eth0", Kind.LAN, ("192.168.1.20",), ("192.168.1.0/24",), multicast=True)
MACHINE = Machine(System.LINUX, NOW, (LAN,), heard_others=True)
GREETING = Greeting(ID, "pi", "0.1.0", 0.4, window_open=False, verdict=Verdict.TRUSTED)
PAIRED = Paired(ID, "pi", NOW + timedelta(days=80))
WORK = Port(7433, Reach.OPEN, Answer.EDGENODE, ID)
PAIRING = Port(7434, Reach.OPEN, Answer.EDGENODE, ID)
WAY = Way("192.168.1.5", "eth0", Kind.LAN, WORK, PAIRING)
TARGET = Target("pi", 7433, (WAY,), heard=True, greeting=GREETING, paired=PAIRED)
HEARD = Heard(ID, "pi", ("192.168.1.5:7433",))
COORDINATOR = Facts(
    Side.COORDINATOR, "0.1.0", MACHINE, (HEARD,), None, OwnCoordinator(nodes=1, ends=NOW + timedelta(days=900)), (TARGET,), True
)
NODE = OwnNode(
    "/home/anna/node",
    ID,
    "pi",
    running=True,
    port=7433,
    answers=(replace(WAY, address="192.168.1.20", ours=True),),
    trusted=(Trusted("anna@laptop", NOW - timedelta(days=10), NOW + timedelta(days=80)),),
    key_made=NOW - timedelta(days=10),
    engine="xllamacpp",
    models=1,
)
EDGENODE = Facts(Side.NODE, "0.1.0", MACHINE, (HEARD,), NODE)


def with_machine(facts: Facts = COORDINATOR, **changes: Any) -> Facts:
    return replace(facts, machine=replace(facts.machine, **changes))


def with_target(**changes: Any) -> Facts:
    return replace(COORDINATOR, targets=(replace(TARGET, **changes),))


def with_way(work: Reach, pairing: Reach | None = None, heard: bool = True, **changes: Any) -> Facts:
    """`pi` behind ports that answer so."""
    ports = Port(7433, work), Port(7434, pairing or work)
    way = replace(WAY, work=ports[0], pairing=ports[1], **changes)
    return with_target(ways=(way,), heard=heard, greeting=None)


def with_greeting(**changes: Any) -> Facts:
    return with_target(greeting=replace(GREETING, **changes))


def with_node(**changes: Any) -> Facts:
    return replace(EDGENODE, node=replace(NODE, **changes))
