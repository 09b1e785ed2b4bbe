"""`edgenode status`: what the nodes of this user on this machine are doing."""

import argparse
import time
from datetime import timedelta
from typing import Any

from edgenode.console import ANSWERED, FAILED, Commands, add_common, folder, print_json, say_empty


def add_to(commands: Commands) -> None:
    status = commands.add_parser(
        "status",
        help="tell what the node on this device is doing",
        description="Tells whom the running nodes of this user work for, what they read and how fast. Exit status 1 if none runs.",
    )
    status.add_argument("--home", type=folder, metavar="DIR", help="only the node of this home (default: all of this user)")
    add_common(status)
    status.set_defaults(act=_status)


def _status(options: argparse.Namespace) -> int:
    from edgenode.activity import line, read_activity
    from edgenode.trust.running import running_nodes
    from edgenode.trust.store import KEY, NodeTrust

    nodes = running_nodes()
    if options.home is not None:
        own = NodeTrust(options.home).id if (options.home / KEY).exists() else None
        nodes = tuple(each for each in nodes if each.id == own)
    told: list[dict[str, Any]] = [
        {"id": each.id, "name": each.name, "address": each.address, "pid": each.pid} | read_activity(each.id) for each in nodes
    ]
    if options.json:
        print_json({"nodes": told})
    for each in () if options.json else told:
        if "turns" not in each:
            print(f"{each['name']} runs at {each['address']} and does not tell what it does.")
            continue
        print(f"{each['name']} serves {each['model']} with {each['engine']} ({each['engine_state']}) at {each['address']}")
        print(f"  Now: {line(each)}")
        print(f"  Takes no work for now: {each['draining']}" if each["draining"] else "  Takes work")
        print(f"  Works for: {', '.join(each['coordinators']) or 'nobody yet; show a code with: edgenode pair'}")
        print(f"  Running for {timedelta(seconds=int(time.time() - each['started']))}")
    if not nodes:
        say_empty("No node of this user runs here. Start one with: edgenode start")
    return ANSWERED if nodes else FAILED
