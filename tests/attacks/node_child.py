"""A node, or a coordinator that listens, in a process of its own: its memory can be measured, and nothing of the attacker's is in
it.

Started with its folder as the first argument and `coordinator` as the second if it is one; prints its id and address in a line, and
serves until its standard input ends.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from edgenode.node import Node, NodeConfig
from edgenode.types import NodeId
from tests.dial_parts import listening
from tests.scripted_engine import ScriptedEngine

ROOT = Path(__file__).resolve().parents[2]
# However busy the machine is.
SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class NodeChild:
    pid: int
    id: NodeId
    address: str
    log: Path

    @property
    def resident_bytes(self) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@asynccontextmanager
async def node_child(home: Path, ends: bool = True, kind: str = "node") -> AsyncIterator[NodeChild]:
    """A running one; its log and whatever gRPC says are in `log`. `ends`: it is alive and well when the context is left.
    `kind`: node, or coordinator."""
    log = home.with_name(home.name + ".log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.attacks.node_child", str(home), kind, stdin=-1, stdout=-1, stderr=errors, cwd=ROOT
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(SECONDS):
                id, address = (await process.stdout.readline()).decode().split()
            yield NodeChild(process.pid, NodeId(id), address, log)
        finally:
            process.stdin.close()
            async with asyncio.timeout(SECONDS):
                status = await process.wait()
            assert not ends or status == 0, log.read_text(encoding="utf-8")


async def serve(home: Path) -> None:
    async with Node(NodeConfig(home=home, name="attacked"), ScriptedEngine()) as node:
        await told_and_attacked(node.trust.id, node.address)


async def listen(folder: Path) -> None:
    """As a coordinator. Devices that come are kept and never answered."""
    async with listening(folder) as there:
        await told_and_attacked(there.trust.authority.id, there.address)


async def told_and_attacked(id: str, address: str) -> None:
    sys.stdout.write(f"{id} {address}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run((listen if sys.argv[2:] == ["coordinator"] else serve)(Path(sys.argv[1])))
