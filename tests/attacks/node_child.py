"""A node in a process of its own, so that its memory can be measured and nothing of the attacker's is in it.

Started with its home as the only argument; prints its id and address in a line, serves until its standard input ends.
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
async def node_child(home: Path, ends: bool = True) -> AsyncIterator[NodeChild]:
    """A running one; its log and whatever gRPC says are in `log`. `ends`: it is alive and well when the context is left."""
    log = home.with_name(home.name + ".log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.attacks.node_child", str(home), stdin=-1, stdout=-1, stderr=errors, cwd=ROOT
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
        sys.stdout.write(f"{node.trust.id} {node.address}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run(serve(Path(sys.argv[1])))
