"""`coordinator nodes`: who is there."""

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from coordinator.commands.options import add_network, network
from edgenode.console import ANSWERED, Commands, add_common, print_json
from edgenode.text import clean_line

if TYPE_CHECKING:
    from coordinator.events import NodeInfo
    from coordinator.pool import Pool


def add_to(commands: Commands) -> None:
    nodes = commands.add_parser("nodes", help="list the nodes that are there, paired or not")
    nodes.add_argument("--watch", action="store_true", help="go on showing them as they come and go, until Ctrl-C")
    add_network(nodes)
    add_common(nodes)
    nodes.set_defaults(act=_nodes)


def _nodes(options: argparse.Namespace) -> int:
    import asyncio

    from coordinator.nodes_view import print_nodes
    from coordinator.output import node_json
    from coordinator.pool import Pool
    from coordinator.view import Terminal

    pool = Pool.discover(**network(options))
    if options.watch:
        asyncio.run(_watch(pool, options.json))
        return ANSWERED
    found, unreachable = asyncio.run(_find(pool))
    if options.json:
        print_json({"nodes": [node_json(node) for node in found], "unreachable": unreachable})
    else:
        print_nodes(Terminal(), found)
    _complain(unreachable)
    return ANSWERED


async def _find(pool: "Pool") -> tuple[tuple["NodeInfo", ...], dict[str, str]]:
    async with pool:
        found = await pool.nodes()
        return found, _unreachable(pool)


async def _watch(pool: "Pool", as_json: bool) -> None:
    from coordinator.nodes_view import watch_nodes
    from coordinator.view import Terminal

    async def settle() -> None:
        await pool.nodes()
        _complain(_unreachable(pool))

    async with pool:
        await watch_nodes(Terminal(), pool.watch(), as_json, settle=settle)


def _unreachable(pool: "Pool") -> dict[str, str]:
    return {address: why or "No node has answered there yet." for address, why in pool.unreachable.items()}


def _complain(unreachable: Mapping[str, str]) -> None:
    from coordinator.nodes_view import WHY_CHARACTERS

    for address, why in unreachable.items():
        print(f"--join {address}: {clean_line(why, WHY_CHARACTERS)}", file=sys.stderr)
