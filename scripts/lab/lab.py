"""The lab: its hosts, its switch, and their life."""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .host import Host
from .namespaces import LabFailed, hold_namespace, kill_within, network_of, open_tap

MAX_HOSTS = 100
"""Hosts have the addresses from .1 to this; those above are free for address changes."""

COMMANDS = ("ip", "nsenter", "setpriv", "sh", "unshare")
STOP_SECONDS = 60.0


@functools.cache
def unavailable() -> str:
    """Why no lab can be made on this machine, as a sentence; empty where one can."""
    if sys.platform != "linux":
        return "The lab of hosts needs Linux's network namespaces."
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        return f"The lab of hosts needs the commands {', '.join(missing)} (packages iproute2 and util-linux)."
    if os.geteuid() != 0:
        return "The lab of hosts needs root, to make network namespaces."
    try:
        with Lab(1):
            return ""
    except (LabFailed, OSError) as error:
        return f"The lab of hosts cannot be made here: {error}"


class Lab:
    """`count` hosts on one switch, usable within the context. `seed` decides which frames are lost where some are.

    Raises `LabFailed` on entering where `unavailable()` tells why, and from the hosts when the switch is gone."""

    def __init__(self, count: int, *, seed: int = 0) -> None:
        if not 1 <= count <= MAX_HOSTS:
            raise ValueError(f"a lab has 1 to {MAX_HOSTS} hosts, not {count}")
        self.hosts: tuple[Host, ...] = ()
        self._count = count
        self._seed = seed
        self._holders: list[subprocess.Popen[bytes]] = []
        self._owned: list[subprocess.Popen[str]] = []
        self._switch: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def set_multicast(self, passes: bool) -> None:
        """Whether the switch lets multicast pass. ARP and IPv6's neighbour discovery always do, or nothing would."""
        self.order(multicast=passes)

    def own(self, process: subprocess.Popen[str]) -> None:
        """Ends `process` with the lab."""
        self._owned.append(process)

    def order(self, **order: object) -> None:
        """Has the switch carry out an order before this returns. Hosts give them; see `switch`."""
        assert self._switch is not None
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._switch.stdin.write(json.dumps(order).encode() + b"\n")
        if self._switch.stdout.readline() != b"done\n":
            raise LabFailed("The lab's switch has ended.")

    def _start(self) -> None:
        self._holders = [hold_namespace() for _ in range(self._count)]
        self.hosts = tuple(Host(self, port, holder.pid) for port, holder in enumerate(self._holders))
        devices: list[int] = []
        try:
            for host in self.hosts:
                interface = f"lab{os.getpid()}-{len(devices)}"
                devices.append(open_tap(interface))
                host.connect(interface)
            self._switch = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("switch.py")), str(self._seed), *map(str, devices)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,  # what could not be written to a dead one is not tried again when its pipe is closed
                pass_fds=devices,
                start_new_session=True,
            )
        finally:
            for device in devices:
                os.close(device)
        self.set_multicast(True)

    def _stop(self) -> None:
        holders = {holder.pid for holder in self._holders}
        # Never the machine's own network, whatever went wrong: everything in there would be killed.
        networks = {network_of(holder) for holder in holders} - {None, network_of("self")}
        for process in self._owned:
            process.kill()  # one that was stopped at once may not have entered its host
        deadline = time.monotonic() + STOP_SECONDS
        while kill_within(networks, holders) and time.monotonic() < deadline:
            time.sleep(0.01)
        for process in self._owned:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for child in [*self._holders, *([self._switch] if self._switch is not None else [])]:
            child.kill()
            with child:
                pass
        self.hosts, self._holders, self._owned, self._switch = (), [], [], None
