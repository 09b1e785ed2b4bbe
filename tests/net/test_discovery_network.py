"""Finding one another on a network whose addresses, cables and ports change. Skipped, with the reason, where no lab can be made."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.lab import Host, Lab, unavailable

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("discovery_child.py")
SECONDS = 180.0
ID = "a1" * 16


class Child:
    """A program of discovery_child.py in a host, and what it says."""

    def __init__(self, host: Host, *arguments: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EDGENODE_")}
        self.process = host.popen(
            sys.executable, CHILD, *arguments, stderr=subprocess.DEVNULL, env={**kept, "PYTHONPATH": str(ROOT)}
        )
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.problem: str = self.until(lambda line: "problem" in line)["problem"]

    def until(self, right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next line that is right."""
        while True:
            line = self._said.get(timeout=SECONDS)
            if right(line):
                return line

    def finds(self, first: str, *others: str) -> None:
        """Waits until the node is told of with these addresses, `first` before all others."""
        self.until(lambda line: line.get("seen") == ID and line["addresses"][0] == first and {*others} <= {*line["addresses"]})

    def forget(self) -> None:
        """Drops what was said until now."""
        while not self._said.empty():
            self._said.get_nowait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(json.loads(line))


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts: the first is to be found, the second looks."""
    if reason := unavailable():
        pytest.skip(reason)
    with Lab(2) as lab:
        one, other = lab.hosts
        yield one, other


def configure(host: Host, *command: str) -> None:
    done = host.run("ip", *command)
    assert done.returncode == 0, done.stderr


def zoned(host: Host) -> str:
    return f"[{host.link_local}%eth0]:7433"


def test_an_address_that_changes_and_a_cable_that_is_pulled(hosts: tuple[Host, Host]) -> None:
    """A node is found at its IPv4 and its link-local address, at its new one when that changes, and again with its cable."""
    one, other = hosts
    browser = Child(other, "browse")
    node = Child(one, "announce", ID, "7433")
    browser.finds(f"{one.address}:7433", zoned(one))
    one.set_address("10.77.0.201")
    browser.finds("10.77.0.201:7433", zoned(one))
    one.unplug()
    one.set_address("10.77.0.202")
    browser.forget()
    one.plug()
    browser.finds("10.77.0.202:7433", zoned(one))
    for child in (node, browser):
        child.kill()


def test_a_node_that_returns_without_a_goodbye(hosts: tuple[Host, Host]) -> None:
    """A node that was killed is told of again when it is back, though its records are all still remembered."""
    one, other = hosts
    browser = Child(other, "browse")
    node = Child(one, "announce", ID, "7433")
    browser.finds(f"{one.address}:7433", zoned(one))
    node.kill()
    browser.forget()
    node = Child(one, "announce", ID, "7433")
    browser.finds(f"{one.address}:7433", zoned(one))
    for child in (node, browser):
        child.kill()


def test_no_network_at_first_and_ipv6_alone(hosts: tuple[Host, Host]) -> None:
    """A node and a browser that start without a network find each other once there is one, even if it has IPv6 alone."""
    one, other = hosts
    for host in hosts:
        configure(host, "link", "set", "eth0", "down")
        configure(host, "address", "flush", "dev", "eth0")
    browser, node = Child(other, "browse"), Child(one, "announce", ID, "7433")
    for host in hosts:
        configure(host, "link", "set", "eth0", "up")
    browser.finds(zoned(one))
    for child in (node, browser):
        child.kill()


def test_a_port_that_is_taken_and_freed(hosts: tuple[Host, Host]) -> None:
    """A node starts though another program has port 5353 for itself, says so, and is found when that ends."""
    one, other = hosts
    holder = Child(one, "hold")
    browser, node = Child(other, "browse"), Child(one, "announce", ID, "7433")
    assert "5353" in node.problem
    holder.kill()
    browser.finds(f"{one.address}:7433", zoned(one))
    for child in (node, browser):
        child.kill()
