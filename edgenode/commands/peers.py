"""`edgenode peers`: which other nodes this device sees."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from edgenode.console import ANSWERED, Commands, add_common, add_interface, folder, print_json, say_empty
from edgenode.types import NodeId

if TYPE_CHECKING:
    from edgenode.net.discovery import Sighting
    from edgenode.net.interfaces import Scope

# As long as a coordinator listens: a node that has just announced itself answers only the second question, a second later.
LISTEN_SECONDS = 1.6


def add_to(commands: Commands) -> None:
    peers = commands.add_parser(
        "peers",
        help="list the other nodes that this device sees",
        description="Lists the nodes that mDNS tells of. What it tells is a rumour: names and addresses are checked by nobody.",
    )
    peers.add_argument(
        "--home", type=folder, metavar="DIR", help="leave out only the node of this home (default: all of this device)"
    )
    add_interface(peers)
    add_common(peers)
    peers.set_defaults(act=_peers)


def _peers(options: argparse.Namespace) -> int:
    from edgenode.net.interfaces import scope

    own = _own(options.home)
    seen = asyncio.run(_listen(scope(options.interface)))
    others = sorted((each for each in seen if each.id not in own), key=lambda each: (each.name, each.id))
    if options.json:
        print_json({"peers": [{"id": each.id, "name": each.name, "addresses": each.addresses} for each in others]})
        return ANSWERED
    if not others:
        say_empty("No other node was seen. To find out why: edgenode doctor")
    for each in others:
        print(f"{each.name}  {each.id}  {', '.join(each.addresses)}")
    return ANSWERED


def _own(home: Path | None) -> set[NodeId]:
    """Who is no other: the node of `home`, or where none was named all that run on this device, whatever their homes are."""
    from edgenode.trust.running import running_nodes
    from edgenode.trust.store import KEY, NodeTrust

    if home is None:
        return {each.id for each in running_nodes()}
    return {NodeTrust(home).id} if (home / KEY).exists() else set()


async def _listen(within: "Scope") -> "tuple[Sighting, ...]":
    from edgenode.net.discovery import Browser

    found: dict[NodeId, Sighting] = {}

    def seen(sighting: "Sighting") -> None:
        found[sighting.id] = sighting

    def gone(id: NodeId) -> None:
        found.pop(id, None)

    async with Browser(within, seen, gone):
        await asyncio.sleep(LISTEN_SECONDS)
    return tuple(found.values())
