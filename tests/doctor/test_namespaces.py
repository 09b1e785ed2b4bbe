"""The doctor in networks that are really broken: two hosts of their own, each a network namespace, joined by a cable.

A firewall that drops is a routing rule that swallows the answers of a port: no tool is needed for that but `ip`.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# For whatever must come to an end, however busy the machine is.
SECONDS = 300
HOLDER = """
import socket, sys
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken.bind(("", 5353))
print("held", flush=True)
sys.stdin.read()
"""
PREFIX = f"h7-{os.getpid() % 10_000}"
HERE, THERE, ALONE, NEAR, FAR = (f"{PREFIX}-{letter}" for letter in "abcde")

Findings = dict[str, dict[str, str]]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=SECONDS)


def join(one: str, other: str, address: str, others: tuple[str, ...]) -> None:
    """A cable from eth0 of a namespace to eth1 of another, or of itself."""
    ip("link", "add", "eth0", "netns", one, "type", "veth", "peer", "name", "eth1", "netns", other)
    ip("-n", one, "address", "add", address, "dev", "eth0")
    for each in others:
        ip("-n", other, "address", "add", each, "dev", "eth1")
    ip("-n", one, "link", "set", "eth0", "up")
    ip("-n", other, "link", "set", "eth1", "up")


@pytest.fixture(scope="module")
def hosts() -> Iterator[None]:
    if shutil.which("ip") is None:
        pytest.skip("There is no `ip` here, which makes network namespaces.")
    made = []
    try:
        try:
            for name in (HERE, THERE, ALONE, NEAR, FAR):
                ip("netns", "add", name)
                made.append(name)
                ip("-n", name, "link", "set", "lo", "up")
            join(HERE, THERE, "10.87.0.1/24", tuple(f"10.87.0.{n}/24" for n in (2, 3, 4, 6)))
            join(ALONE, ALONE, "10.86.0.1/24", ())
            join(NEAR, FAR, "10.85.0.1/24", tuple(f"10.85.0.{n}/24" for n in (2, 3, 4)))
            ip("-n", HERE, "route", "add", "10.98.0.0/24", "via", "10.87.0.2")
            for rule in (
                ("from", "10.85.0.3", "ipproto", "tcp", "sport", "7434", "blackhole"),
                ("from", "10.85.0.4", "ipproto", "tcp", "blackhole"),
                ("from", "10.87.0.3", "ipproto", "tcp", "blackhole"),
                ("from", "10.87.0.4", "ipproto", "tcp", "sport", "7433", "blackhole"),
            ):
                ip("-n", FAR if "10.85" in rule[1] else THERE, "rule", "add", "pref", "10", *rule)
            ip("-n", HERE, "rule", "add", "pref", "10", "to", "10.87.0.6", "ipproto", "tcp", "prohibit")
            # No group can be joined there.
            knob = "/proc/sys/net/ipv4/igmp_max_memberships"
            ip("netns", "exec", ALONE, "sh", "-c", f"echo 0 > {knob}")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"Network namespaces cannot be made here: {error.stderr.strip()}")
        yield
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=SECONDS)


def outside(folder: Path) -> dict[str, str]:
    """An environment in which all interfaces are used: those of a namespace lead nowhere else."""
    kept = {name: value for name, value in os.environ.items() if name != "EDGENODE_INTERFACE"}
    return kept | {"EDGENODE_DATA": str(folder), "PYTHONPATH": str(ROOT)}


def examined(namespace: str, folder: Path, *asked: str) -> list[Findings]:
    """For each host asked of, the findings by their code."""
    command = ["ip", "netns", "exec", namespace, sys.executable, str(ROOT / "tests/doctor/examined.py"), *asked]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS, env=outside(folder))
    return [{each["code"]: each for each in report["findings"]} for report in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def seen_here(hosts: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    """One look from a host at all the others, each out of reach in its own way."""
    asked = (
        "10.87.0.2",
        "10.87.0.3",
        "10.87.0.4",
        "10.87.0.6",
        "10.87.0.9",
        "10.98.0.5",
        "10.99.0.5",
        "fd00::5",
        "pi.invalid",
        "-",
    )
    return dict(zip(asked, examined(HERE, tmp_path_factory.mktemp("data"), *asked), strict=True))


@pytest.mark.parametrize(
    ("host", "code", "what"),
    [
        ("10.87.0.2", "not-running", "10.87.0.2 (TCP port 7433)"),
        ("10.87.0.3", "firewall-or-isolation", "10.87.0.3 TCP port 7433"),
        ("10.87.0.4", "work-port-blocked", "TCP port 7433"),
        ("10.87.0.6", "forbidden-here", "This machine itself"),
        ("10.87.0.9", "nobody-there", "eth0"),
        ("10.98.0.5", "different-subnet", "nothing comes back"),
        ("10.99.0.5", "different-subnet", "no route to 10.99.0.5"),
        ("fd00::5", "no-common-protocol", "IPv6 addresses only"),
        ("pi.invalid", "name-unknown", "pi.invalid does not resolve"),
        ("-", "nothing-heard", "no mDNS of any other device arrives"),
    ],
)
def test_each_way_of_being_out_of_reach(seen_here: dict[str, Findings], host: str, code: str, what: str) -> None:
    """Dropped, refused, forbidden, unroutable and absent are told apart by real packets."""
    assert code in seen_here[host], seen_here[host]
    assert what in seen_here[host][code]["what"]
    # That nothing is heard may as well be because nobody speaks.
    assert seen_here[host][code]["severity"] == ("warning" if code == "nothing-heard" else "problem")
    assert "interfaces" in seen_here[host]
    assert "multicast" in seen_here[host]


def test_port_5353_held_and_no_multicast(hosts: None, tmp_path: Path) -> None:
    """A program that does not share port 5353 is named, and an interface where multicast fails as well."""
    command = ["ip", "netns", "exec", ALONE, sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        (found,) = examined(ALONE, tmp_path, "10.86.0.9")
        holder.communicate(timeout=SECONDS)
    assert "process" in found["mdns-port-taken"]["what"]
    assert "eth0" in found["no-multicast"]["what"]


@pytest.fixture
def far_node(hosts: None, tmp_path: Path) -> Iterator[None]:
    """A node that serves on the far host, at the usual ports."""
    command = ["ip", "netns", "exec", FAR, sys.executable, "-m", "edgenode", "start", "--engine", "deterministic", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=outside(tmp_path / "far")) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("{")
            yield
        finally:
            process.terminate()


def test_a_node_on_another_host(far_node: None, tmp_path: Path) -> None:
    """It is heard by multicast and greeted over the cable; where a firewall shuts its pairing port or all of it, that is told."""
    for _ in range(10):
        whole, shut, cut = examined(NEAR, tmp_path, "10.85.0.2", "10.85.0.3", "10.85.0.4")
        # On a busy machine mDNS may take longer than a doctor listens.
        if "not-heard" not in whole and "firewall" in cut:
            break
    assert {code for code, each in whole.items() if each["severity"] == "problem"} == {"unpaired"}, whole
    assert "not-heard" not in whole
    assert "TCP 7434" in shut["pairing-port-blocked"]["what"]
    assert "is seen by mDNS" in cut["firewall"]["what"]
