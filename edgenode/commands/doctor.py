"""`edgenode doctor`: why this node is not seen."""

import argparse
from typing import TYPE_CHECKING

from edgenode.console import Commands, add_common, add_home, add_interface, print_json

if TYPE_CHECKING:
    from edgenode.doctor.findings import Report


def add_to(commands: Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="say why this node is not seen, and what to do",
        description="Examines this device's network and its node. Exit status 1 if there is a problem.",
    )
    add_home(doctor)
    add_interface(doctor)
    add_common(doctor)
    doctor.set_defaults(act=_doctor)


def tell(report: "Report", as_json: bool) -> int:
    """Prints the report; the exit status tells whether there is a problem."""
    from edgenode.doctor.findings import render, report_json

    print_json(report_json(report)) if as_json else print(render(report))
    return report.exit_status


def _doctor(options: argparse.Namespace) -> int:
    import asyncio

    from edgenode.doctor.examine import examine_node

    return tell(asyncio.run(examine_node(options.home, options.interface)), options.json)
