"""Nodes that only dial out and are not let in, or do not let this coordinator in: what either side says of it."""

from pathlib import Path

import pytest

from coordinator.events import NodeState
from coordinator.nodes.pairing import Trust
from coordinator.nodes.roster import Roster
from coordinator.trust.paired import PairedNode
from edgenode.net.interfaces import scope
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import now_utc
from tests.dial_parts import free_pair
from tests.nodes.test_roster import Deaf, is_joined, seen, unique
from tests.scripted_engine import ScriptedEngine
from tests.trusted import paired


@pytest.fixture
def port() -> int:
    return free_pair()


async def test_a_coordinator_that_was_dropped_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """The device waits there to be paired and has told it: that is said in place of that it does not come, and not once it has come
    again."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    monkeypatch.setattr("coordinator.nodes.roster.running_nodes", tuple)  # as if the device were another
    name, trust = unique("phone"), Trust.load()
    its = paired(tmp_path, trust.authority)
    leaf = its.trusted()[0].leaf
    trust.paired.add(PairedNode(its.id, name, now_utc(), "code", leaf.not_valid_after_utc, (), True))
    its.untrust(trust.authority.id)
    async with Roster(scope("127.0.0.1"), trust, [name], listen_port=port) as roster:
        async with Node(NodeConfig(home=tmp_path, name=name, join=(f"127.0.0.1:{port}",)), ScriptedEngine()):
            told = await seen(roster, lambda info: "dropped this coordinator" in info.why)
            assert told.state is NodeState.SUSPECT
            assert "edgenode pair" in told.why
            its.trust(trust.authority.certificate, leaf, "code", its.removal(trust.authority.id))
            await seen(roster, is_joined)
        gone = await seen(roster, lambda info: info.state is NodeState.GONE)
        assert "no address of it is known" in gone.why
