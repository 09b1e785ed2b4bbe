"""gRPC and the zones of link-local addresses, in a network namespace with interfaces whose names look like percent escapes."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgenode.net.addresses import grpc_target

# Of two kinds, since not every kernel has both. 77: there is neither.
PREPARE = """
ip link set lo up
for name in eth0 f1b can0; do
    ip link add $name type dummy || ip link add $name type veth peer name to-$name || exit 77
    ip link set $name up && ip address add fe80::7/64 dev $name nodad || exit 77
done
exec "$0" -c "$1" "$2"
"""
TALK = """
import asyncio, pathlib, sys
import grpc
from coordinator.trust.authority import Authority
from edgenode.net.channel import make_pairing_server
from edgenode.net.pinned import pinned_channel
from tests.trusted import paired

async def talk(zone, node):
    listening = make_pairing_server(node.placeholder_tls())
    port = listening.listen(f"[fe80::7%{zone}]:0")
    await listening.start()
    async with pinned_channel(f"[fe80::7%{zone}]:{port - 1}", node.id) as (channel, _):
        try:
            await channel.unary_unary("/nothing/Here")(b"", timeout=60)
        except grpc.aio.AioRpcError as error:
            print(zone, error.code().name)
    await listening.stop(None)

async def main():
    home = pathlib.Path(sys.argv[1])
    node = paired(home / "node", Authority(home / "a"))
    for zone in ("eth0", "f1b", "can0"):
        await talk(zone, node)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("[fe80::1%f1b]:7433", "[fe80::1%25f1b]:7433"),
        ("[fe80::1%12]:7433", "[fe80::1%2512]:7433"),
        ("[fe80::1%eth0]:7433", "[fe80::1%25eth0]:7433"),
        ("[2001:db8::1]:7433", "[2001:db8::1]:7433"),
        ("192.168.1.7:7433", "192.168.1.7:7433"),
        ("pi.local:7433", "pi.local:7433"),
    ],
)
def test_targets(address: str, target: str) -> None:
    """Only the percent sign before a zone is escaped."""
    assert grpc_target(address) == target


def test_zones_that_look_like_escapes(tmp_path: Path) -> None:
    """A server listens at a link-local address of each interface, and a channel reaches it there."""
    if sys.platform != "linux" or subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        pytest.skip("No network namespace can be made here.")
    command = ["unshare", "--net", "sh", "-c", PREPARE, sys.executable, TALK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240)
    if done.returncode == 77:
        pytest.skip(f"No interface can be made here: {done.stderr.strip()}")
    assert done.stdout.split("\n") == ["eth0 UNIMPLEMENTED", "f1b UNIMPLEMENTED", "can0 UNIMPLEMENTED", ""], done.stderr
