"""A process that was forked from one that uses edgenode: it is told so, and neither crashes nor hangs."""

import os
import subprocess
import sys

import pytest

# Forks as `multiprocessing` does by default on Linux. The parent goes on, and says how the child ended.
PROGRAM = """
import asyncio, os
from coordinator import Pool
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.errors import UsageError
from edgenode.node import Node, NodeConfig

async def new_pool(pool):
    async with Pool.discover(nodes=["nobody"]):
        pass

async def same_pool(pool):
    await pool.nodes()

async def new_node(pool):
    async with Node(NodeConfig(), DeterministicEngine()):
        pass

def fork(what, pool):
    child = os.fork()
    if child == 0:
        asyncio.events._set_running_loop(None)
        try:
            asyncio.run(what(pool))
        except UsageError:
            os._exit(7)
        os._exit(8)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def main():
    pool = Pool.discover(nodes=["nobody"])
    async with pool:
        print(*[fork(what, pool) for what in (new_pool, same_pool, new_node)])
        assert await pool.nodes() == ()
    print(*[fork(what, pool) for what in (new_pool, same_pool, new_node)])

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_told() -> None:
    """While the parent's pool is open and after it, for a pool of its own, the parent's, and a node."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (done.stdout.split(), done.returncode) == (["7"] * 6, 0), done.stderr
