"""Prints as JSON what `coordinator doctor` finds for each host named on the command line; run in a network namespace of its own."""

import asyncio
import json
import sys

import coordinator.nodes.doctor
from coordinator.nodes.doctor import examine
from edgenode.doctor import dial, multicast
from edgenode.doctor.findings import report_json

# A busy machine may be late by seconds: what is silent is still told from what takes 3.1 s, a neighbour that is not there, and from
# what answers at once.
dial.CONNECT_SECONDS = 10.0  # type: ignore[misc]
multicast.ECHO_SECONDS = 10.0  # type: ignore[misc]
dial.HANDSHAKE_SECONDS = dial.RESOLVE_SECONDS = coordinator.nodes.doctor.GREET_SECONDS = 60.0  # type: ignore[misc]


async def main() -> None:
    hosts: list[str | None] = [None if each == "-" else each for each in sys.argv[1:]]
    reports = await asyncio.gather(*(examine(host) for host in hosts))
    json.dump([report_json(report) for report in reports], sys.stdout)


asyncio.run(main())
