"""The `coordinator` command: a thin skin over the SDK."""

from collections.abc import Sequence

from coordinator.commands import ask, devices, doctor, nodes, runs
from edgenode.console import Parser, run_command, version


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(_parser(), arguments, lambda options: int(options.act(options)))


def _parser() -> Parser:
    parser = Parser(
        prog="coordinator",
        description="Asks questions of your documents: the devices around read them, one request to a supervisor makes the answer.",
    )
    parser.add_argument("--version", action="version", version=version("coordinator"))
    commands = parser.add_commands()
    for each in (nodes, devices, ask, runs, doctor):
        each.add_to(commands)
    return parser
