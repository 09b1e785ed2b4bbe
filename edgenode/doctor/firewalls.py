"""Firewalls by name, and the commands that let edgenode through each. Pure: what is there is found out by `system`."""

from enum import StrEnum
from typing import Final

MDNS_PORT: Final = 5353


class Firewall(StrEnum):
    UFW = "ufw"
    FIREWALLD = "firewalld"
    NFTABLES = "nftables"
    IPTABLES = "iptables"
    WINDOWS = "Windows Defender Firewall"
    MACOS = "the macOS firewall"


def allow(firewall: Firewall, port: int) -> str:
    """The command (on macOS the click) that lets in the TCP ports `port` and `port + 1` and mDNS."""
    first, last = port, port + 1
    match firewall:
        case Firewall.UFW:
            return f"sudo ufw allow {first}:{last}/tcp && sudo ufw allow {MDNS_PORT}/udp"
        case Firewall.FIREWALLD:
            return (
                f"sudo firewall-cmd --permanent --add-port={first}-{last}/tcp --add-port={MDNS_PORT}/udp "
                "&& sudo firewall-cmd --reload"
            )
        case Firewall.NFTABLES:
            return (
                f"sudo nft insert rule inet filter input tcp dport {first}-{last} accept "
                f"&& sudo nft insert rule inet filter input udp dport {MDNS_PORT} accept"
            )
        case Firewall.IPTABLES:
            return (
                f"sudo iptables -I INPUT -p tcp --dport {first}:{last} -j ACCEPT "
                f"&& sudo iptables -I INPUT -p udp --dport {MDNS_PORT} -j ACCEPT"
            )
        case Firewall.WINDOWS:
            return (
                f"netsh advfirewall firewall add rule name=edgenode dir=in action=allow protocol=TCP localport={first}-{last} "
                f"& netsh advfirewall firewall add rule name=edgenode-mdns dir=in action=allow protocol=UDP localport={MDNS_PORT}"
            )
        case Firewall.MACOS:
            return f"System Settings, Network, Firewall, Options: allow Python (TCP {first}-{last}, UDP {MDNS_PORT})"


def allow_anywhere(port: int) -> str:
    """For a machine whose firewall is not known: what to open, and how with the two commonest tools."""
    return (
        f"open TCP {port}-{port + 1} and UDP {MDNS_PORT} (with ufw: {allow(Firewall.UFW, port)}; "
        f"with firewalld: {allow(Firewall.FIREWALLD, port)})"
    )
