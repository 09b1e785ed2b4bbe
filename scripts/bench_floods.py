"""Floods the two ports of a node, and the two where a coordinator listens for nodes that dial in, with every kind of HTTP/2 frame
that is cheap to send, and prints what that costs the process.

    python scripts/bench_floods.py [--seconds 60] [--connections 16] [--rest 60] [--only KIND] [--port PORT]

The flooded process is a node without a model, or a coordinator that only listens. "more" is the most that its resident memory was
above what it was before the flood; "after" is the least above that in the rest, which ends early once memory is back. Each flood
meets a new process. At a work port the flooder has a good certificate: a paired coordinator, or a paired node, gone wrong.
"""

import argparse
import asyncio
import platform
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from coordinator.nodes.pairing import Trust
from edgenode.net.channel import pairing_address
from edgenode.net.dial_out import PAIR_METHOD, WORK_METHOD
from tests.attacks.floods import FLOODS, flood
from tests.attacks.node_child import NodeChild, node_child
from tests.trusted import paired

PATHS = {
    "work": "/edgenode.v1.NodeService/Work",
    "pairing": "/edgenode.v1.PairingService/Pair",
    "dial-in": WORK_METHOD,
    "dial-in-pairing": PAIR_METHOD,
}
MB = 1_000_000


async def measure(kind: str, port: str, seconds: float, connections: int, rest: float) -> tuple[float, float, float, int]:
    """Resident MB before, the most above that, above that after the rest; and bytes that were taken."""
    with tempfile.TemporaryDirectory() as folder:
        home, coordinator = Path(folder) / "node", Path(folder) / "coordinator"
        trust = Trust.load(coordinator)
        node = paired(home, trust.authority, trust.paired)
        to_node = port in ("work", "pairing")
        async with node_child(home) if to_node else node_child(coordinator, kind="coordinator") as child:
            await asyncio.sleep(2.0)
            before = most = child.resident_bytes
            address = pairing_address(child.address) if port.endswith("pairing") else child.address
            tls = None
            if not port.endswith("pairing"):
                tls = trust.authority.client_tls() if to_node else node.client_tls(trust.authority.id)
            flooding = asyncio.create_task(asyncio.to_thread(flood, address, kind, PATHS[port], seconds, connections, tls))
            while not flooding.done():
                most = max(most, child.resident_bytes)
                await asyncio.sleep(0.1)
            after = await settled(child, rest, before)
            return before / MB, (most - before) / MB, (after - before) / MB, await flooding


async def settled(child: NodeChild, rest: float, before: int) -> int:
    """The least resident memory within `rest` seconds; no longer than until it is as before."""
    least = child.resident_bytes
    for _ in range(int(rest)):
        if least <= before + MB:
            break
        await asyncio.sleep(1.0)
        least = min(least, child.resident_bytes)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rest", type=float, default=60.0)
    parser.add_argument("--only", choices=sorted(FLOODS), action="append")
    parser.add_argument("--port", choices=sorted(PATHS), action="append")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {options.connections} connections, {options.seconds:g} s")
    print(f"{'port':15} {'flood':16} {'before':>7} {'more':>7} {'after':>7} {'sent MB':>8}")
    for port in options.port or PATHS:
        for kind in options.only or FLOODS:
            before, more, after, taken = asyncio.run(measure(kind, port, options.seconds, options.connections, options.rest))
            print(f"{port:15} {kind:16} {before:7.1f} {more:7.1f} {after:7.1f} {taken / MB:8.0f}", flush=True)


if __name__ == "__main__":
    main()
