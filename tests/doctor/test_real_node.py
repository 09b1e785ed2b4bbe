"""Both doctors with a real node on loopback: unpaired, paired, dropped by either side, with a wrong clock, gone."""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import coordinator.nodes.doctor
from coordinator.nodes.doctor import MAX_TARGETS, _everybody, examine
from coordinator.nodes.pairing import Trust, over, pair
from coordinator.trust.authority import KEY, coordinator_folder
from coordinator.trust.paired import PairedNode
from edgenode.doctor import surroundings
from edgenode.doctor.examine import examine_node
from edgenode.doctor.facts import Heard
from edgenode.doctor.findings import Report, Severity, render
from edgenode.doctor.folders import unusable
from edgenode.node import Node, NodeConfig
from edgenode.trust.certificates import now_utc
from edgenode.trust.frames import SecretKind
from edgenode.trust.running import running_nodes
from edgenode.types import NodeId
from tests.dial_parts import free_pair, listening
from tests.scripted_engine import ScriptedEngine


def codes(report: Report) -> set[str]:
    return {each.code for each in report.findings}


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on loopback answers at once."""
    monkeypatch.setattr(surroundings, "BROWSE_SECONDS", 0.4)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def node(home: Path) -> AsyncIterator[Node]:
    async with Node(NodeConfig(home=home, name=f"pi-{secrets.token_hex(4)}"), ScriptedEngine()) as node:
        yield node


async def paired_with(node: Node) -> Trust:
    trust = Trust.load()
    (running,) = running_nodes()
    await pair(trust, over(node.address, running.id), SecretKind.LOCAL, running.secret, running.id, node.address)
    return trust


def absent() -> PairedNode:
    """A device that dials in, and is not there now. Its name is nobody else's: nodes of other tests are told of by mDNS too."""
    id = NodeId(secrets.token_hex(16))
    return PairedNode(id, f"phone-{id[:8]}", now_utc(), "code", now_utc(), dials_in=True)


async def test_an_unpaired_node(node: Node, home: Path) -> None:
    """Both sides say that nobody is paired, and with what to type."""
    theirs, its = await asyncio.gather(examine(node.address), examine_node(home))
    name = node.description().name
    (found,) = [each for each in theirs.findings if each.code == "unpaired"]
    assert f"coordinator pair {name}" in found.remedy
    assert theirs.exit_status == 1
    assert {"unpaired", "running", "interface-limited"} <= codes(its)
    assert its.exit_status == 0, render(its)


async def test_a_paired_node(node: Node, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the limit to loopback is remarked on; the node is found by its name, its address and unasked."""
    await paired_with(node)
    name = node.description().name
    for attempt in range(1, 11):
        # On a machine that is busy with other tests mDNS may take longer than a doctor listens.
        monkeypatch.setattr(surroundings, "BROWSE_SECONDS", 0.4 * attempt)
        reports = await asyncio.gather(examine(name), examine(node.address), examine(), examine_node(home))
        if not any({"not-heard", "not-announced"} & codes(report) for report in reports):
            break
    for report in reports[:2]:
        # Others that share the loopback's mDNS may go by one name.
        assert codes(report) - {"same-name"} == {"reached", "multicast", "interface-limited"}, render(report)
    assert any(each.code == "reached" and name in each.what for each in reports[2].findings), render(reports[2])
    assert {"running", "paired"} <= codes(reports[3])
    # Unasked, others that share the loopback's mDNS are told of as well.
    found = [each for report in reports for each in report.findings if name in each.what]
    assert all(each.severity is Severity.OK for each in found), found


async def test_a_host_whose_node_has_an_unusual_port(node: Node) -> None:
    """A host named without a port is looked up among what is known of it."""
    await paired_with(node)
    report = await examine("127.0.0.1")
    assert any(each.code == "reached" and f":{node.port}" in each.what for each in report.findings), render(report)


async def test_a_node_that_dropped_its_coordinator(node: Node) -> None:
    """A node that no longer trusts a coordinator that has it written down is told from one never paired."""
    trust = await paired_with(node)
    node.trust.untrust(trust.authority.id)
    report = await examine(node.description().name)
    assert "no-longer-trusted" in codes(report), render(report)


async def test_a_node_that_was_removed(node: Node) -> None:
    """A coordinator that shut a node out says so, and when."""
    trust = await paired_with(node)
    trust.paired.remove(node.trust.id)
    report = await examine(node.address)
    assert "removed" in codes(report), render(report)
    assert report.exit_status == 0
    name = node.description().name
    assert [each.code for each in (await examine()).findings if name in each.what] == ["removed"]


async def test_a_removed_device_that_is_not_there() -> None:
    """It is still known by name and id that it was shut out, and how to take it back."""
    paired, away = Trust.load().paired, absent()
    paired.add(away)
    paired.remove(away.id)
    for name in (away.name, away.id):
        (found,) = [each for each in (await examine(name)).findings if each.code == "removed"]
        assert found.what.startswith(f"{name} was unpaired on")
        assert "coordinator pair" in found.remedy


async def test_who_has_the_port_for_nodes_that_dial_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that another command has is noticed."""
    trust = Trust.load()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(coordinator.nodes.doctor, "COORDINATOR_PORT", server.getsockname()[1])
        trust.paired.add(away := absent())
        (found,) = [each for each in (await examine(away.name)).findings if each.code == "dials-in"]
    assert "another coordinator command" in found.what


async def test_a_coordinator_that_is_dialled(home: Path, tmp_path: Path) -> None:
    """Whether one answers there is found out, and that is told as long as nobody does."""
    port = free_pair()
    config = NodeConfig(home=home, name=f"pi-{secrets.token_hex(4)}", join=(f"127.0.0.1:{port}",))

    async def told() -> dict[str, str]:
        found = (await examine_node(home)).findings
        return {each.code: each.what for each in found if each.code.startswith("dials")}

    async with Node(config, ScriptedEngine()):
        nobody = await told()
        assert list(nobody) == ["dials-nobody"]
        assert "nothing listens" in nobody["dials-nobody"]
        async with listening(tmp_path / "anna", port) as there:
            assert there.address in (await told())["dials"]


async def test_clocks_apart(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's clock is compared with this machine's."""
    await paired_with(node)
    monkeypatch.setattr(coordinator.nodes.doctor, "_now", lambda: time.time() - 3_600)
    (found,) = [each for each in (await examine(node.address)).findings if each.code == "clock-differs"]
    assert "60 minutes ahead" in found.what


async def test_nobody_is_there(home: Path) -> None:
    """Without a node, home or authority both doctors have something to say, and make none of them."""
    its, theirs = await asyncio.gather(examine_node(home), examine("127.0.0.1:1"))
    assert "not-running" in codes(its)
    assert "not-running" in codes(theirs)
    assert not home.exists()
    assert not (Path(home).parent / "data" / "coordinator").exists()


async def test_what_is_no_host() -> None:
    """What can be no host is a finding and not a traceback."""
    report = await examine("kitchen pi\x1b[2J!")
    (found,) = [each for each in report.findings if each.code == "name-unknown"]
    assert "\x1b" not in found.what


async def test_a_key_that_others_can_read(node: Node, home: Path) -> None:
    """A home that cannot be used is a finding with the reason."""
    (home / "key.pem").chmod(0o644)
    (found,) = [each for each in (await examine_node(home)).findings if each.code == "home-unusable"]
    assert "chmod 600" in found.what


@pytest.mark.parametrize("below", [".", "deeper/still"])
async def test_a_data_folder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    """Both doctors say what every other command would say, and make nothing."""
    file = tmp_path / "plain"
    file.write_text("mine", encoding="utf-8")
    monkeypatch.setenv("EDGENODE_DATA", str(file / below))
    theirs, its = await asyncio.gather(examine(), examine_node())
    for report, code in ((theirs, "authority-unusable"), (its, "home-unusable")):
        (found,) = [each for each in report.findings if each.code == code]
        assert f"cannot be made: {file} is a file" in found.what
        assert report.exit_status == 1


async def test_a_coordinator_that_lost_its_key(tmp_path: Path) -> None:
    """An authority without its key is told, and not taken for none."""
    Trust.load()
    (coordinator_folder() / KEY).unlink()
    (found,) = [each for each in (await examine("127.0.0.1:1")).findings if each.code == "authority-unusable"]
    assert "is missing" in found.what
    assert not (coordinator_folder() / KEY).exists()


def test_folders_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be written is told with the one to change; one that can yet be made is well, and is not made."""
    assert unusable(tmp_path / "new" / "node") == ""
    assert not (tmp_path / "new").exists()
    # Whoever runs the tests may be allowed everything.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert f"{tmp_path / 'new'} cannot be made" in unusable(tmp_path / "new")
    assert f"{tmp_path} cannot be written" in unusable(tmp_path)


def test_paired_nodes_are_looked_at_whoever_else_is_told_of(node: Node) -> None:
    """Forged records do not crowd them out."""
    crowd = [Heard(f"{number:032x}", "kitchen", ("127.0.0.1:1",)) for number in range(2 * MAX_TARGETS)]
    ours = PairedNode(NodeId("f" * 32), "pi", now_utc(), "code", now_utc(), ("127.0.0.1:7433",))
    targets = _everybody([*crowd, Heard(ours.id, "forged", ("127.0.0.1:9",))], [ours], running_nodes(), ())
    assert len(targets) == MAX_TARGETS
    assert [target.asked for target, _ in targets[:2]] == [node.description().name, "pi"]
    assert targets[1][1] == ("127.0.0.1:9", "127.0.0.1:7433")
