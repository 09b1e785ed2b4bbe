"""What the doctor reads of a system's files, with file systems made for it."""

import socket
from pathlib import Path

import pytest

from edgenode.doctor import multicast
from edgenode.doctor.facts import System
from edgenode.doctor.firewalls import Firewall
from edgenode.doctor.system import firewall, holder_of_udp, isolated_container, system


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("platform", "environment", "version", "expected"),
    [
        ("linux", {}, "Linux version 6.1.0-18-amd64", System.LINUX),
        ("linux", {}, "Linux version 5.15.90.1-microsoft-standard-WSL2", System.WSL),
        ("linux", {"TERMUX_VERSION": "0.118"}, "Linux version 5.10", System.TERMUX),
        ("android", {}, "", System.TERMUX),
        ("darwin", {}, "", System.MACOS),
        ("win32", {}, "", System.WINDOWS),
        ("freebsd14", {}, "", System.OTHER),
    ],
)
def test_kinds_of_system(tmp_path: Path, platform: str, environment: dict[str, str], version: str, expected: System) -> None:
    """WSL2 and Termux are told apart from the Linux that they are."""
    write(tmp_path, {"proc/version": version})
    assert system(tmp_path, environment, platform) is expected


def test_a_container_with_a_network_of_its_own(tmp_path: Path) -> None:
    """Docker with its usual network is told; with the host's network, or an address of the home's, it is none of our business."""
    write(tmp_path, {".dockerenv": "", "sys/class/net/eth0/ifindex": "2", "sys/class/net/eth0/iflink": "7"})
    assert isolated_container(["127.0.0.1", "172.17.0.3", "fe80::1%eth0"], tmp_path) == "docker"
    assert isolated_container(["192.168.1.9"], tmp_path) == ""
    write(tmp_path, {"sys/class/net/eth0/iflink": "2"})
    assert isolated_container(["172.17.0.3"], tmp_path) == ""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"etc/ufw/ufw.conf": "# comment\nENABLED=yes\nLOGLEVEL=low\n"}, Firewall.UFW),
        ({"etc/ufw/ufw.conf": "ENABLED=no\n"}, None),
        ({"proc/77/comm": "firewalld\n", "proc/78/comm": "bash\n"}, Firewall.FIREWALLD),
        ({"etc/iptables/rules.v4": "*filter\n-A INPUT -p tcp -j DROP\n"}, Firewall.IPTABLES),
    ],
)
def test_firewalls(tmp_path: Path, files: dict[str, str], expected: Firewall | None) -> None:
    """Each firewall is known by what any user may read of it."""
    write(tmp_path, files)
    assert firewall(tmp_path, "linux") is expected


def test_nftables_as_a_service(tmp_path: Path) -> None:
    """nftables counts when it is started with the system."""
    folder = tmp_path / "etc/systemd/system/sysinit.target.wants"
    folder.mkdir(parents=True)
    (folder / "nftables.service").symlink_to("/usr/lib/systemd/system/nftables.service")
    assert firewall(tmp_path, "linux") is Firewall.NFTABLES


def test_who_holds_a_port(tmp_path: Path) -> None:
    """The holder of a UDP port is found by way of its open files; what may not be read is left out."""
    line = "  1: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000  0  0 4242 2 0000 0\n"
    write(tmp_path, {"proc/net/udp": "header\n" + line, "proc/77/comm": "resolv\x1b[31mer\n", "proc/78/comm": "bash\n"})
    for pid, target in ((77, "socket:[4242]"), (78, "socket:[1]")):
        (tmp_path / f"proc/{pid}/fd").mkdir()
        (tmp_path / f"proc/{pid}/fd/3").symlink_to(target)
    assert holder_of_udp(5353, tmp_path) == "resolv [31mer, process 77"
    assert holder_of_udp(53, tmp_path) == ""


async def test_multicast_on_loopback() -> None:
    """A datagram to a group of our own comes back on loopback, and none on an address that is nobody's."""
    assert await multicast.comes_back("127.0.0.1", socket.if_nametoindex("lo"))
    assert not await multicast.comes_back("192.0.2.1", 0)
