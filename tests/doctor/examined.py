"""Prints as JSON what `coordinator doctor` finds for each host named on the command line; run in a network namespace of its own."""

import asyncio
import json
import sys

from coordinator.nodes.doctor import examine
from edgenode.doctor.findings import report_json


async def main() -> None:
    hosts: list[str | None] = [None if each == "-" else each for each in sys.argv[1:]]
    reports = await asyncio.gather(*(examine(host) for host in hosts))
    json.dump([report_json(report) for report in reports], sys.stdout)


asyncio.run(main())
