"""`edgenode pair`, `trusted` and `untrust`: which coordinators this device works for."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from edgenode.commands import code
from edgenode.console import ANSWERED, Commands, add_common, add_home, print_json, say_empty
from edgenode.errors import HomeError
from edgenode.home import default_home

if TYPE_CHECKING:
    from edgenode.trust.running import RunningNode
    from edgenode.trust.store import NodeTrust


def add_to(commands: Commands) -> None:
    pair = commands.add_parser(
        "pair",
        help="show a new code, to pair this device with a coordinator",
        description="Opens the pairing window of the node that runs on this device and shows its code.",
    )
    add_home(pair)
    add_common(pair)
    pair.set_defaults(act=_pair)

    trusted = commands.add_parser("trusted", help="list the coordinators that this device works for")
    add_home(trusted)
    add_common(trusted)
    trusted.set_defaults(act=_trusted)

    untrust = commands.add_parser(
        "untrust",
        help="stop working for a coordinator, such as a lost laptop",
        description="Drops a coordinator at once and ends its work. It comes back only by a new code, or by an invitation that "
        "this device is given after that.",
    )
    untrust.add_argument("coordinator", metavar="NAME", help="its name or id, as `edgenode trusted` lists it")
    add_home(untrust)
    add_common(untrust)
    untrust.set_defaults(act=_untrust)


def _pair(options: argparse.Namespace) -> int:
    from edgenode.net.pairing_client import open_window

    node = _running(_trust(options))
    digits, seconds = asyncio.run(open_window(node))
    if options.json:
        print_json({"id": node.id, "name": node.name, "code": digits, "seconds": seconds})
    else:
        code.show(node.id, node.name, digits, seconds)
    return ANSWERED


def _trusted(options: argparse.Namespace) -> int:
    found = _trust(options).trusted()
    if options.json:
        print_json({"trusted": [
            {"id": each.authority, "name": each.name, "since": each.since.isoformat(), "via": each.via,
             "certificate_ends": each.leaf.not_valid_after_utc.isoformat()}
            for each in found]})  # fmt: skip
        return ANSWERED
    if not found:
        say_empty("This device works for no coordinator yet. Show a code with: edgenode pair")
    for each in found:
        print(
            f"{each.name}  {each.authority}  paired {each.since:%Y-%m-%d} by {each.via}, "
            f"certificate until {each.leaf.not_valid_after_utc:%Y-%m-%d}"
        )
    return ANSWERED


def _untrust(options: argparse.Namespace) -> int:
    authority, name = _trust(options).untrust(options.coordinator)
    if options.json:
        print_json({"untrusted": authority, "name": name or authority, "known": name != ""})
    elif not name:
        print(f"This device knows of no coordinator {authority} that it works for. It is shut out from now on.")
    else:
        print(f"{name} is not trusted any more. Its connections to this device end now.")
    return ANSWERED


def _trust(options: argparse.Namespace) -> "NodeTrust":
    from edgenode.trust.store import KEY, NodeTrust

    home: Path = options.home or default_home()
    # Looking must not make an identity: that is for the node which holds the home's lock.
    if not (home / KEY).exists():
        raise HomeError(
            f"No node has been started on {home} yet. Start one with: edgenode start, or name its folder with --home DIR."
        )
    return NodeTrust(home)


def _running(trust: "NodeTrust") -> "RunningNode":
    from edgenode.trust.running import running_nodes

    for node in running_nodes():
        if node.id == trust.id:
            return node
    raise HomeError("The node does not run. Start it with: edgenode start. While it is unpaired it shows a code by itself.")
