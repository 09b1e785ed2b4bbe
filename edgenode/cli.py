"""The `edgenode` command: a thin skin over the node, its trust and the model store."""

from collections.abc import Sequence

from edgenode.commands import doctor, models, peers, start, status, trust
from edgenode.console import Parser, run_command, version


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(_parser(), arguments, lambda options: int(options.act(options)))


def _parser() -> Parser:
    parser = Parser(prog="edgenode", description="Makes this device a node: it reads for coordinators with a model of its own.")
    parser.add_argument("--version", action="version", version=version("edgenode"))
    commands = parser.add_commands()
    for each in (start, status, trust, peers, doctor, models):
        each.add_to(commands)
    return parser
