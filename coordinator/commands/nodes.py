"""`coordinator nodes`: who is there."""

import argparse
import asyncio
import sys

from coordinator.events import NodeInfo
from coordinator.output import node_json
from coordinator.pool import Pool
from edgenode.console import ANSWERED, Commands, add_common, add_interface, print_json


def add_to(commands: Commands) -> None:
    nodes = commands.add_parser("nodes", help="list the nodes that are there")
    add_interface(nodes)
    add_common(nodes)
    nodes.set_defaults(act=_nodes)


def _nodes(options: argparse.Namespace) -> int:
    async def find() -> tuple[NodeInfo, ...]:
        async with Pool.discover(interface=options.interface) as pool:
            return await pool.nodes()

    found = asyncio.run(find())
    if options.json:
        print_json({"nodes": [node_json(node) for node in found]})
    elif not found:
        if sys.stdout.isatty():
            print("No node was found. Start one on this machine with: edgenode start")
    else:
        rows = [("NAME", "ADDRESS", "STATE", "ENGINE", "MODEL", "DIGEST")]
        for node in found:
            for position, model in enumerate(node.models or (None,)):
                head = (node.name, node.address, node.state.value, node.engine) if position == 0 else ("", "", "", "")
                rows.append((*head, model.name if model else "-", model.digest[:12] or "-" if model else "-"))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return ANSWERED
