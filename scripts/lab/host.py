"""A host of the lab: what can be done in it and to it."""

import ipaddress
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .namespaces import COMMAND_SECONDS, checked
from .switch import Line

if TYPE_CHECKING:
    from .lab import Lab

# The kernel tells nothing of a parent that ended before it was asked to.
ENTER = 'test "$PPID" = "$0" && exec nsenter "$@"'

NETWORK = ipaddress.ip_network("10.77.0.0/24")


class Host:
    """One host of a lab: a network of its own (files and processes are shared with the machine), with one interface, eth0."""

    def __init__(self, lab: "Lab", port: int, holder: int) -> None:
        """`holder` is the process that holds the host's network namespace."""
        self._lab = lab
        self._port = port
        self._holder = holder
        self.name = f"host{port + 1}"
        self.address = str(NETWORK[port + 1])
        """The IPv4 address it has now."""
        self.link_local = f"fe80::ff:fe00:{port + 1:x}"
        """Its IPv6 address, without the zone."""

    def command(self, *arguments: str | Path) -> list[str]:
        """The argument list that runs a command within this host. The process that is started becomes the command, and the kernel
        kills it when the thread that started it ends."""
        network = f"--net=/proc/{self._holder}/ns/net"
        return ["setpriv", "--pdeathsig", "KILL", "sh", "-c", ENTER, str(os.getpid()), network, *map(str, arguments)]

    def run(
        self, *arguments: str | Path, timeout: float = COMMAND_SECONDS, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command within this host to its end.

        Raises `subprocess.TimeoutExpired`; the exit status is for the caller to look at."""
        command = self.command(*arguments)
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", timeout=timeout, env=env)

    def popen(
        self,
        *arguments: str | Path,
        stdout: int | IO[str] = subprocess.PIPE,
        stderr: int | IO[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts a command within this host. Ctrl-C on the terminal does not reach it; the lab ends it if nothing else does."""
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            encoding="utf-8",
            env=env,
            start_new_session=True,
        )
        self._lab.own(process)
        return process

    def set_line(self, line: Line) -> None:
        """Makes the line to the switch better or worse. The host cannot tell but by what arrives."""
        self._lab.order(port=self._port, line=asdict(line))

    def cut(self) -> None:
        """Nothing passes either way, and the interface still says that it is up: a cable cut behind the next switch."""
        self.set_line(Line(lost_to_host=1.0, lost_from_host=1.0))

    def mute(self) -> None:
        """What the host sends is lost; it still hears."""
        self.set_line(Line(lost_from_host=1.0))

    def deafen(self) -> None:
        """What is sent to the host is lost; it is still heard."""
        self.set_line(Line(lost_to_host=1.0))

    def heal(self) -> None:
        """Undoes `cut`, `mute`, `deafen` and `set_line`."""
        self.set_line(Line())

    def unplug(self) -> None:
        """Pulls the cable at the host: its interface loses the carrier."""
        self._lab.order(port=self._port, carrier=False)

    def plug(self) -> None:
        """Undoes `unplug`."""
        self._lab.order(port=self._port, carrier=True)

    def set_address(self, address: str) -> None:
        """Gives the host another IPv4 address in place of the one it has, as DHCP may."""
        self._configure("ip", "address", "flush", "dev", "eth0", "scope", "global")
        self.address = address
        self._add_address()

    def disable_ipv6(self) -> None:
        """Takes its IPv6 address away, for good. Connections by link-local addresses would outlive changes of the IPv4 address."""
        self._configure("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")

    def connect(self, interface: str) -> None:
        """Makes `interface` of the machine this host's eth0, with addresses, up."""
        port = self._port
        checked(["ip", "link", "set", interface, "address", f"02:00:00:00:00:{port + 1:02x}"])
        checked(["ip", "link", "set", interface, "netns", str(self._holder), "name", "eth0"])
        self._configure("ip", "link", "set", "eth0", "up")
        self._add_address()

    def _add_address(self) -> None:
        self._configure("ip", "address", "add", f"{self.address}/{NETWORK.prefixlen}", "dev", "eth0")
        # Without a route for them, multicast packets whose sender names no interface have nowhere to go.
        self._configure("ip", "route", "replace", "default", "dev", "eth0")

    def _configure(self, *command: str) -> None:
        checked(self.command(*command))
