"""edgenode on six hosts whose network is broken in the ways that home networks break. Nodes run the deterministic test engine."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.lab import Lab, unavailable
from scripts.lab.pool import BIN, SECONDS, LabNode, Member, Watch, start_paired
from tests.end_to_end.pools import QUESTION, lease_text

NODES = 5
# Slow enough that a run is still going on when faults are noticed: a chunk takes a second or two.
SPEED = ("--speed", "1000:200")


class Home:
    """A coordinator and nodes that it is paired with, each on a host of its own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.coordinator = Member(lab.hosts[0], folder)
        self.nodes = [LabNode(host, folder) for host in lab.hosts[1:]]
        self.lease = folder / "lease.txt"
        self.lease.write_text(lease_text(), encoding="utf-8")

    def shows(self, *options: str, **states: str) -> None:
        """Returns once `coordinator nodes --watch` has shown each of these nodes in its state."""
        with Watch(self.coordinator, *options) as watch:
            for name, state in states.items():
                watch.wait(name, [state])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose nodes have been paired by invitation."""
    if reason := unavailable():
        pytest.skip(reason)
    with Lab(NODES + 1) as lab:
        home = Home(lab, tmp_path_factory.mktemp("home"))
        start_paired(home.coordinator, home.nodes, *SPEED)
        yield home


@pytest.fixture
def watch(home: Home) -> Iterator[Watch]:
    """The list of nodes, live, with all of them joined."""
    with Watch(home.coordinator) as watch:
        for node in home.nodes:
            watch.wait(node.name, ["joined"])
        yield watch


@pytest.fixture
def small_home(tmp_path: Path) -> Iterator[Home]:
    """Three hosts on which nothing runs yet."""
    if reason := unavailable():
        pytest.skip(reason)
    with Lab(3) as lab:
        yield Home(lab, tmp_path)


def test_nodes_are_found_without_configuration_and_paired_by_the_code_they_show(small_home: Home) -> None:
    """Nodes on other hosts are listed as unpaired; with the code each of them joins, and with a wrong one not."""
    for node in small_home.nodes:
        node.start()
        assert node.address
    one, two = small_home.nodes
    small_home.shows(host2="unpaired", host3="unpaired")
    small_home.coordinator.ask("coordinator", "pair", one.name, "--code", one.code)
    wrong = f"{(int(two.code.replace(' ', '')) + 1) % 100_000_000:08}"
    command = (BIN / "coordinator", "pair", two.name, "--code", wrong)
    assert small_home.coordinator.host.run(*command, timeout=SECONDS, env=small_home.coordinator.environment).returncode == 1
    small_home.shows(host2="joined", host3="unpaired")


def test_without_multicast_nodes_and_coordinator_join_by_address(small_home: Home) -> None:
    """Where multicast is blocked a node is found by its address, paired by it, and found again by itself where it was last met."""
    small_home.lab.set_multicast(False)
    one, two = small_home.nodes
    one.start()
    two.start()
    assert one.address
    assert two.address
    assert small_home.coordinator.ask("coordinator", "nodes")["nodes"] == []
    small_home.shows("--join", one.address, host2="unpaired")
    small_home.coordinator.ask("coordinator", "pair", one.address, "--code", one.code)
    small_home.shows("--join", two.address, host2="joined", host3="unpaired")
    small_home.shows(host2="joined")


def test_without_multicast_an_invited_node_dials_its_coordinator(small_home: Home) -> None:
    """A node that was told where its coordinator will be dials it again and again, is paired by its invitation, and joins."""
    small_home.lab.set_multicast(False)
    node = small_home.nodes[0]
    token = small_home.coordinator.ask("coordinator", "invite")["token"]
    node.start("--invite", token, "--join", small_home.coordinator.host.address)
    assert node.address
    with Watch(small_home.coordinator) as watch:
        watch.wait(node.name, ["joined"])


@pytest.mark.parametrize("options", [(), ("--interface", "eth0")], ids=["everywhere", "one interface"])
def test_a_node_whose_address_changes_is_joined_at_the_new_one(small_home: Home, options: tuple[str, ...]) -> None:
    """A node that gets another address from the router is found and served there, without a restart of anything."""
    moving = small_home.nodes[0]
    moving.host.disable_ipv6()
    start_paired(small_home.coordinator, [moving], *options)
    with Watch(small_home.coordinator) as watch:
        watch.wait(moving.name, ["joined"], address=moving.address)
        moving.host.set_address("10.77.0.200")
        watch.wait(moving.name, ["joined"], address="10.77.0.200:")


def test_all_nodes_join_and_a_question_is_answered(home: Home, watch: Watch) -> None:
    """A run over five hosts ends with its answer, and the output names the test engine as what it is."""
    answer = home.coordinator.ask("coordinator", "ask", home.lease, QUESTION, "--read", "all")
    assert answer["status"] == "answered"
    assert {node["engine"] for node in answer["nodes"] if node["subtasks"]} == {"deterministic"}
    text = home.lease.read_text(encoding="utf-8")
    assert answer["citations"]
    assert all(text[citation["start"] : citation["end"]] == citation["quote"] for citation in answer["citations"])
    assert sum(node["subtasks"] > 0 for node in answer["nodes"]) > 1


def test_a_run_ends_whatever_happens_to_nodes_and_they_come_back(home: Home, watch: Watch) -> None:
    """A cable cut, a killed and a frozen process and loss in one direction, all in one run: each is noticed, the run ends with its
    answer, and each node is back by itself once its trouble is over."""
    cut, killed, frozen, mute, _ = home.nodes
    command = (BIN / "coordinator", "ask", home.lease, QUESTION, "--read", "all")
    run = home.coordinator.host.popen(*command, stderr=subprocess.PIPE, env=home.coordinator.environment)
    assert run.stderr is not None
    hurry = threading.Timer(SECONDS, run.kill)
    hurry.start()
    assert any("steps done" in line for line in run.stderr)
    cut.host.cut()
    killed.send(signal.SIGKILL)
    frozen.send(signal.SIGSTOP)
    mute.host.mute()
    troubled = (cut, killed, frozen, mute)
    noticed = {node.name: watch.wait(node.name, ["suspect", "gone"]).at for node in troubled}
    answer, told = run.communicate()
    hurry.cancel()
    assert run.returncode == 0, told
    assert "[1]" in answer
    cut.host.heal()
    killed.wait_ended()
    killed.start(*SPEED)
    frozen.send(signal.SIGCONT)
    mute.host.heal()
    for node in troubled:
        watch.wait(node.name, ["joined"], noticed[node.name])


def test_who_says_goodbye_is_gone_until_started_again(home: Home, watch: Watch) -> None:
    """A node that is stopped is shown as gone, and as joined when it has been started again."""
    leaving = home.nodes[0]
    leaving.send(signal.SIGTERM)
    gone = watch.wait(leaving.name, ["gone"])
    leaving.wait_ended()
    leaving.start(*SPEED)
    watch.wait(leaving.name, ["joined"], gone.at)
