"""One side of discovery in a process of its own, for tests within hosts of the lab; ends with its parent.

discovery_child.py announce ID PORT   prints "ready", then what mDNS has against it whenever that changes
discovery_child.py browse             prints "ready", then {"seen": ID, "addresses": [...]} and {"gone": ID} as they come
discovery_child.py hold               takes port 5353 for itself alone, prints "ready", and keeps it
"""

import asyncio
import json
import socket
import sys

from edgenode.net.discovery import Announcer, Browser, Sighting
from edgenode.net.interfaces import scope
from edgenode.types import NodeId


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def seen(sighting: Sighting) -> None:
    say(seen=sighting.id, name=sighting.name, addresses=sighting.addresses)


def gone(id: NodeId) -> None:
    say(gone=id)


async def main(arguments: list[str]) -> None:
    match arguments:
        case ["announce", id, port]:
            async with Announcer(NodeId(id), "kitchen", int(port), scope()) as announcer:
                say(problem=announcer.problem)
                await asyncio.Event().wait()
        case ["browse"]:
            async with Browser(scope(), seen, gone) as browser:
                say(problem=browser.problem)
                await asyncio.Event().wait()
        case ["hold"]:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
                taken.bind(("::", 5353))
                say(problem="")
                await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
