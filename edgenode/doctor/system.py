"""Probes of this machine: what kind of system it is, whether in a container, which firewall is on, who holds a port.

Only what any user may read. `root` is the file system's, another one in tests.
"""

import contextlib
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from edgenode.doctor.facts import System
from edgenode.doctor.firewalls import Firewall
from edgenode.text import clean_line

ROOT: Final = Path("/")
COMMAND_SECONDS: Final = 2.0
MAX_FILE_BYTES: Final = 1_000_000
MAX_PROCESSES: Final = 5_000
_CONTAINER_NETWORKS: Final = tuple(ipaddress.ip_network(each) for each in ("172.16.0.0/12", "10.88.0.0/16", "10.0.2.0/24"))


def system(root: Path = ROOT, environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> System:
    if platform == "android" or "TERMUX_VERSION" in environment:
        return System.TERMUX
    if platform == "win32":
        return System.WINDOWS
    if platform == "darwin":
        return System.MACOS
    if platform != "linux":
        return System.OTHER
    # WSL1 has Windows' own network, and so does WSL2 when it mirrors it.
    if "microsoft-standard" in _text(root / "proc/version").lower() and "mirrored" not in _said("wslinfo", "--networking-mode"):
        return System.WSL
    return System.LINUX


def isolated_container(addresses: Iterable[str], root: Path = ROOT) -> str:
    """The kind of container this runs in, if its network is one of its own; else empty. `addresses` are this machine's."""
    kind = "docker" if (root / ".dockerenv").exists() else "podman" if (root / "run/.containerenv").exists() else ""
    outside = [ip for ip in map(ipaddress.ip_address, (each.partition("%")[0] for each in addresses)) if _leads_out(ip)]
    if not kind or not all(any(ip in network for network in _CONTAINER_NETWORKS) for ip in outside):
        return ""
    # An interface whose other end is in another network namespace names an index that is not its own.
    links = [_text(path / "iflink") != _text(path / "ifindex") for path in _entries(root / "sys/class/net") if path.name != "lo"]
    return kind if all(links) else ""


def firewall(root: Path = ROOT, platform: str = sys.platform) -> Firewall | None:
    """A firewall that is on, as far as that can be known without being root."""
    if platform == "win32":
        return Firewall.WINDOWS
    if platform == "darwin":
        told = _said("/usr/libexec/ApplicationFirewall/socketfilterfw", "--getglobalstate")
        return Firewall.MACOS if "enabled" in told.lower() else None
    if "enabled=yes" in _text(root / "etc/ufw/ufw.conf").lower().replace(" ", ""):
        return Firewall.UFW
    if any(name == "firewalld" for _, name in _processes(root)):
        return Firewall.FIREWALLD
    if any(
        (root / "etc/systemd/system" / target / "nftables.service").is_symlink()
        for target in ("sysinit.target.wants", "multi-user.target.wants")
    ):
        return Firewall.NFTABLES
    if "-A INPUT" in _text(root / "etc/iptables/rules.v4"):
        return Firewall.IPTABLES
    return None


def holder_of_udp(port: int, root: Path = ROOT) -> str:
    """The programs that hold a UDP port, as far as this user may know: "resolverd, process 77". Empty where it may not."""
    sockets = {f"socket:[{inode}]" for name in ("udp", "udp6") for inode in _inodes(_text(root / "proc/net" / name), port)}
    found = []
    for pid, name in _processes(root):
        for handle in _entries(root / "proc" / str(pid) / "fd") if sockets else ():
            with contextlib.suppress(OSError):
                if str(handle.readlink()) in sockets and pid != os.getpid():
                    found.append(f"{name}, process {pid}")
                    break
    return " and ".join(found[:3])


def _inodes(table: str, port: int) -> Iterator[str]:
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) > 9 and columns[1].endswith(f":{port:04X}"):
            yield columns[9]


def _processes(root: Path) -> Iterator[tuple[int, str]]:
    numbers = sorted(int(path.name) for path in _entries(root / "proc") if path.name.isdecimal())
    for pid in numbers[:MAX_PROCESSES]:
        yield pid, clean_line(_text(root / "proc" / str(pid) / "comm"), 40) or "a program"


def _leads_out(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.version == 4 and not address.is_loopback


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _said(*command: str) -> str:
    """What a command prints; nothing where it is not there or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:MAX_FILE_BYTES].decode("utf-8", "replace")
