"""`coordinator doctor`: why a node is not seen."""

import argparse

from edgenode.commands.doctor import tell
from edgenode.console import Commands, add_common, add_interface


def add_to(commands: Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="say why nodes are not seen, and what to do",
        description="Examines this machine's network and the way to HOST, or to all known nodes. Exit status 1: a problem.",
    )
    doctor.add_argument("host", nargs="?", metavar="HOST", help="a node's address, host name, name or id")
    add_interface(doctor)
    add_common(doctor)
    doctor.set_defaults(act=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    import asyncio

    from coordinator.nodes.doctor import examine

    return tell(asyncio.run(examine(options.host, options.interface)), options.json)
