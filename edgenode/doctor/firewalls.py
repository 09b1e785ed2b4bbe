"""Firewalls by name, and the commands that let edgenode through each. Pure: what is there is found out by `system`."""

from enum import StrEnum
from typing import Final

MDNS_PORT: Final = 5353
LAST_PORT: Final = 65_535


def port_pair(port: int, joint: str = "-") -> str:
    """A work port and the pairing port after it, "7433-7434". The last of all ports has none after it."""
    return f"{port}{joint}{port + 1}" if port < LAST_PORT else str(port)


def other_port(port: int) -> int:
    """A work port to use instead of `port`."""
    return port + 100 if port + 100 < LAST_PORT else port - 100


class Firewall(StrEnum):
    UFW = "ufw"
    FIREWALLD = "firewalld"
    NFTABLES = "nftables"
    IPTABLES = "iptables"
    WINDOWS = "Windows Defender Firewall"
    MACOS = "the macOS firewall"


def allow(firewall: Firewall, port: int) -> str:
    """The command (on macOS the click) that lets in the TCP ports `port` and `port + 1` and mDNS."""
    dashed, colons = port_pair(port), port_pair(port, ":")
    match firewall:
        case Firewall.UFW:
            return f"sudo ufw allow {colons}/tcp && sudo ufw allow {MDNS_PORT}/udp"
        case Firewall.FIREWALLD:
            return f"sudo firewall-cmd --permanent --add-port={dashed}/tcp --add-port={MDNS_PORT}/udp && sudo firewall-cmd --reload"
        case Firewall.NFTABLES:
            return (
                f"sudo nft insert rule inet filter input tcp dport {dashed} accept "
                f"&& sudo nft insert rule inet filter input udp dport {MDNS_PORT} accept"
            )
        case Firewall.IPTABLES:
            return (
                f"sudo iptables -I INPUT -p tcp --dport {colons} -j ACCEPT "
                f"&& sudo iptables -I INPUT -p udp --dport {MDNS_PORT} -j ACCEPT"
            )
        case Firewall.WINDOWS:
            return (
                f"netsh advfirewall firewall add rule name=edgenode dir=in action=allow protocol=TCP localport={dashed} "
                f"& netsh advfirewall firewall add rule name=edgenode-mdns dir=in action=allow protocol=UDP localport={MDNS_PORT}"
            )
        case Firewall.MACOS:
            return f"System Settings, Network, Firewall, Options: allow Python (TCP {dashed}, UDP {MDNS_PORT})"


def allow_anywhere(port: int) -> str:
    """For a machine whose firewall is not known: what to open, and how with the two commonest tools."""
    return (
        f"open TCP {port_pair(port)} and UDP {MDNS_PORT} (with ufw: {allow(Firewall.UFW, port)}; "
        f"with firewalld: {allow(Firewall.FIREWALLD, port)})"
    )
