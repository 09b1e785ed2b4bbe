"""`coordinator nodes`: who is there."""

import argparse
import asyncio

from coordinator.commands.options import add_network, network
from coordinator.events import NodeInfo
from coordinator.nodes_view import print_nodes, watch_nodes
from coordinator.output import node_json
from coordinator.pool import Pool
from coordinator.view import Terminal
from edgenode.console import ANSWERED, Commands, add_common, print_json


def add_to(commands: Commands) -> None:
    nodes = commands.add_parser("nodes", help="list the nodes that are there, paired or not")
    nodes.add_argument("--watch", action="store_true", help="go on showing them as they come and go, until Ctrl-C")
    add_network(nodes)
    add_common(nodes)
    nodes.set_defaults(act=_nodes)


def _nodes(options: argparse.Namespace) -> int:
    pool = Pool.discover(**network(options))
    if options.watch:
        asyncio.run(_watch(pool, options.json))
        return ANSWERED
    found = asyncio.run(_find(pool))
    if options.json:
        print_json({"nodes": [node_json(node) for node in found]})
    else:
        print_nodes(Terminal(), found)
    return ANSWERED


async def _find(pool: Pool) -> tuple[NodeInfo, ...]:
    async with pool:
        return await pool.nodes()


async def _watch(pool: Pool, as_json: bool) -> None:
    async with pool:
        await watch_nodes(Terminal(), pool.watch(), as_json)
