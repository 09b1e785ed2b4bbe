"""The lab itself: its hosts reach one another, its faults are what they are called, and it leaves nothing behind."""

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scripts.lab import Host, Lab, LabFailed, Line
from scripts.lab.switch import FRAMES_A_TURN
from tests.lab.conftest import MakeLab
from tests.lab.talk import GROUP

ROOT = Path(__file__).resolve().parents[2]
TALK = Path(__file__).with_name("talk.py")
SECONDS = 120.0

SLEEPER = """
import sys
sys.path.insert(0, sys.argv[1])
from scripts.lab import Lab
with Lab(2) as lab:
    children = [host.popen("sleep", "600") for host in lab.hosts]
    print(*(child.pid for child in children), flush=True)
    input()
"""


def asks(host: Host, address: str) -> bool:
    """Whether `host` gets an answer from who hears at `address`."""
    return host.run(sys.executable, TALK, "ask", address, timeout=SECONDS).returncode == 0


def says(host: Host, address: str, *texts: str) -> None:
    assert host.run(sys.executable, TALK, "say", address, *texts).returncode == 0


class Ear:
    """Hears in a host, and remembers what was heard."""

    def __init__(self, host: Host) -> None:
        self.process = host.popen(sys.executable, TALK, "hear")
        self._heard = b""
        assert self._line() == "ready"

    def hears_until(self, text: str) -> list[str]:
        """What arrives up to `text`, which must arrive; each once, for who asks and waits long for the answer asks again."""
        heard: dict[str, None] = {}
        while (line := self._line()) != text:
            heard[line] = None
        return [*heard]

    def _line(self) -> str:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self._heard:
            assert select.select([descriptor], [], [], SECONDS)[0], "nothing was heard"
            heard = os.read(descriptor, 1_000)
            assert heard, "the ear has ended"
            self._heard += heard
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()


def ended(descriptor: int) -> bool:
    """Waits for the end of the process that `os.pidfd_open` gave `descriptor` for."""
    try:
        return bool(select.select([descriptor], [], [], SECONDS)[0])
    finally:
        os.close(descriptor)


def test_hosts_reach_each_other_by_either_protocol_and_by_multicast(make_lab: MakeLab) -> None:
    """Unicast over IPv4 and link-local IPv6 is answered, multicast is heard by all others."""
    one, two, three = make_lab(3).hosts
    ears = [Ear(two), Ear(three)]
    assert asks(one, two.address)
    assert asks(one, f"{three.link_local}%eth0")
    says(one, GROUP, "to all")
    for ear in ears:
        assert ear.hears_until("to all") == ["asked"]


def test_hosts_are_fenced_in(make_lab: MakeLab) -> None:
    """A host has its own loopback and eth0, and no other way out."""
    (host,) = make_lab(1).hosts
    links = [line.split()[1:3] for line in host.run("ip", "-o", "link", "show", "up").stdout.splitlines()]
    assert [name for name, _ in links] == ["lo:", "eth0:"]
    assert "LOWER_UP" in links[1][1]


@pytest.mark.parametrize(("break_off", "mend"), [(Host.cut, Host.heal), (Host.unplug, Host.plug), (Host.mute, Host.heal)])
def test_what_is_sent_while_a_cable_is_out_never_arrives(make_lab: MakeLab, break_off: object, mend: object) -> None:
    """Cut, unplugged or muted, a host is not heard; mended, it is, without anything else being done."""
    one, two = make_lab(2).hosts
    ear = Ear(two)
    assert asks(one, two.address)
    assert callable(break_off)
    assert callable(mend)
    break_off(one)
    # To the group: what goes to one address may wait in the host itself until the address is resolved, and leave when mended.
    one.run(sys.executable, TALK, "say", GROUP, "lost")
    mend(one)
    assert asks(one, two.address)
    says(one, two.address, "found")
    assert "lost" not in ear.hears_until("found")


def test_what_waits_while_the_switch_is_busy_goes_by_what_held_when_it_was_sent(make_lab: MakeLab) -> None:
    """However much a muted host has sent before it is healed: nothing of it arrives."""
    lab = make_lab(2)
    one, two = lab.hosts
    ear = Ear(two)
    assert asks(one, two.address)
    assert lab._switch is not None
    one.mute()
    lab._switch.send_signal(signal.SIGSTOP)
    says(one, GROUP, *(f"lost {number}" for number in range(3 * FRAMES_A_TURN)))
    healing = threading.Thread(target=one.heal)
    healing.start()
    lab._switch.send_signal(signal.SIGCONT)
    healing.join()
    says(one, GROUP, "found")
    assert ear.hears_until("found") == ["asked"]


def test_one_way_loss_is_one_way(make_lab: MakeLab) -> None:
    """A muted host hears and is not heard; a deaf one is heard and does not hear."""
    one, two = make_lab(2).hosts
    ears = Ear(one), Ear(two)
    assert asks(one, two.address)
    assert asks(two, one.address)
    one.mute()
    says(one, two.address, "from the mute")
    says(two, one.address, "to the mute")
    assert ears[0].hears_until("to the mute") == ["asked"]
    one.deafen()
    says(one, two.address, "from the deaf")
    says(two, one.address, "to the deaf")
    assert ears[1].hears_until("from the deaf") == ["asked"]
    one.heal()
    says(one, two.address, "bye")
    says(two, one.address, "bye")
    assert [ear.hears_until("bye") for ear in ears] == [[], []]


def test_a_bad_line_loses_some(make_lab: MakeLab) -> None:
    """On a slow line that loses half, trying again gets through."""
    one, two = make_lab(2).hosts
    ear = Ear(two)
    one.set_line(Line(lost_to_host=0.3, lost_from_host=0.3, delay=0.02, jitter=0.01))
    assert asks(one, two.address)
    assert ear.process.poll() is None


def test_multicast_is_blocked_and_unicast_fine(make_lab: MakeLab) -> None:
    """With multicast off nothing sent to the group arrives, and hosts that never met still find each other's addresses."""
    lab = make_lab(2)
    one, two = lab.hosts
    ear = Ear(two)
    lab.set_multicast(False)
    says(one, GROUP, "to all")
    assert asks(one, two.address)
    assert asks(one, f"{two.link_local}%eth0")
    lab.set_multicast(True)
    says(one, GROUP, "to all again")
    assert ear.hears_until("to all again") == ["asked"]


def test_an_address_changes(make_lab: MakeLab) -> None:
    """A host that gets another address answers at that and no longer at the old one."""
    one, two = make_lab(2).hosts
    Ear(two)
    old = two.address
    assert asks(one, old)
    two.set_address("10.77.0.200")
    assert asks(one, "10.77.0.200")
    assert f"{old}/" not in two.run("ip", "address").stdout
    two.disable_ipv6()
    assert two.link_local not in two.run("ip", "address").stdout
    assert asks(one, two.address)


def test_a_lab_ends_though_a_process_in_it_was_killed_or_stopped(make_lab: MakeLab) -> None:
    """Killed, frozen and orphaned processes within the hosts do not keep a lab from ending, and end with it."""
    lab = make_lab(2)
    with lab.hosts[0].popen("sleep", "600") as killed:
        killed.kill()
    frozen = lab.hosts[0].popen("sleep", "600")
    frozen.send_signal(signal.SIGSTOP)
    orphan = os.pidfd_open(int(lab.hosts[1].run("sh", "-c", "sleep 600 >&- 2>&- & echo $!").stdout))
    lab.__exit__(None, None, None)
    assert frozen.returncode == -signal.SIGKILL
    assert ended(orphan)


def test_a_lab_ends_after_an_exception(make_lab: MakeLab) -> None:
    """An exception within the context passes, and what ran in the hosts is gone."""
    make_lab(1)
    children: list[subprocess.Popen[str]] = []

    def fail() -> None:
        with Lab(1) as lab:
            children.append(lab.hosts[0].popen("sleep", "600"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert children[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_nothing_outlives_the_process_that_made_the_lab(make_lab: MakeLab, name: str) -> None:
    """However that process is ended, all in the hosts ends, and the hosts with it."""
    make_lab(1)
    command = [sys.executable, "-c", SLEEPER, str(ROOT)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as owner:
        assert owner.stdout is not None
        children = [int(each) for each in owner.stdout.readline().split()]
        helpers = [int(each) for each in Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()]
        assert len(helpers) == 5  # a holder and a sleeper for each host, and the switch
        all_of_it = [os.pidfd_open(each) for each in {*children, *helpers}]
        owner.send_signal(signal.Signals[name])
        owner.wait(timeout=SECONDS)
    assert all(ended(each) for each in all_of_it)


def test_two_labs_do_not_meet(make_lab: MakeLab) -> None:
    """Two labs on one machine use the same addresses and hear nothing of each other."""
    first, second = make_lab(2).hosts, make_lab(2).hosts
    ear = Ear(first[1])
    says(second[0], GROUP, "elsewhere")
    says(second[0], second[1].address, "elsewhere")
    assert asks(first[0], first[1].address)
    assert ear.hears_until("asked") == []


def test_a_lab_whose_switch_died_says_so(make_lab: MakeLab) -> None:
    """Orders to a dead switch fail with a sentence."""
    lab = make_lab(1)
    assert lab._switch is not None
    lab._switch.kill()
    lab._switch.wait()
    with pytest.raises(LabFailed, match="switch has ended"):
        lab.hosts[0].cut()
