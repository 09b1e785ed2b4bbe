"""Network namespaces and TAP devices that end by themselves.

A namespace here has no name and is held by a process that waits for the end of its stdin: the kernel drops it when that process and
those within are gone. A TAP device goes with the last descriptor of it. So nothing is left of a lab whose process was killed, and
two labs on one machine do not meet.
"""

import contextlib
import os
import signal
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .switch import TUNSETCARRIER

COMMAND_SECONDS = 60.0

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000

# Duplicate address detection would keep link-local addresses unusable for a second or two.
PREPARE = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; ip link set lo up"
HOLD = f"{{ {PREPARE}; }} 2>&1; echo held; exec cat"


class LabFailed(Exception):
    """The lab cannot be made or does not obey; the text says why."""


def hold_namespace() -> subprocess.Popen[bytes]:
    """Starts the process that holds a new network namespace until its stdin ends, which the end of this process brings about."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert holder.stdout is not None
    said = b""
    while line := holder.stdout.readline():
        if line == b"held\n":
            return holder
        said += line
    with holder:
        holder.kill()
    raise LabFailed(f"no network namespace could be made ({said.decode(errors='replace').strip()})")


def open_tap(interface: str) -> int:
    """A new TAP device without a carrier, which exists while the descriptor returned is open."""
    import fcntl  # not on Windows

    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LabFailed(f"/dev/net/tun cannot be opened ({error.strerror})") from error
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TAP | IFF_NO_PI))
        fcntl.ioctl(device, TUNSETCARRIER, struct.pack("i", False))
    except OSError as error:
        os.close(device)
        raise LabFailed(f"no TAP device could be made ({error.strerror})") from error
    return device


def checked(command: Sequence[str]) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=COMMAND_SECONDS,
    )
    if done.returncode != 0:
        raise LabFailed(f"`{' '.join(command)}` failed ({done.stdout.strip()})")


def network_of(process: int | str) -> str | None:
    """Names the network namespace of a process ("self" is this one); None when there is none, as of a zombie."""
    try:
        return str(Path(f"/proc/{process}/ns/net").readlink())
    except OSError:
        return None


def kill_within(networks: set[str | None], spared: set[int]) -> bool:
    """Kills all processes within network namespaces but those `spared`; whether there were any."""
    found = False
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) not in spared and network_of(entry.name) in networks:
            found = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)
    return found
