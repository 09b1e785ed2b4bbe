"""Options that several commands share: where the nodes are looked for."""

import argparse
from typing import Any

from edgenode.console import add_interface, add_join, port
from edgenode.net.addresses import COORDINATOR_PORT


def add_network(parser: argparse.ArgumentParser) -> None:
    add_join(parser, "a node's address, where mDNS does not find it (again for more)")
    parser.add_argument(
        "--listen-port",
        type=port,
        metavar="PORT",
        help=f"wait there, and at the next port, for devices that only dial out (default: {COORDINATOR_PORT}, while there are any)",
    )
    add_interface(parser)


def network(options: argparse.Namespace) -> dict[str, Any]:
    """What was told by `add_network`, as `Pool.discover` takes it."""
    return {"interface": options.interface, "join": options.join, "listen_port": options.listen_port}
