"""The `edgenode` command: a thin skin over the node, its trust and the model store."""

from collections.abc import Sequence

from edgenode.commands import doctor, models, peers, start, status, trust
from edgenode.completion import add_completion
from edgenode.console import Parser, run_command, version


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(_parser(), arguments, lambda options: int(options.act(options)))


def _parser() -> Parser:
    parser = Parser(prog="edgenode", description="Makes this device a node: it reads for coordinators with a model of its own.")
    parser.add_argument("--version", action="version", version=version("edgenode"))
    commands = parser.add_commands()
    for each in (start, status, trust, peers, doctor, models):
        each.add_to(commands)
    add_completion(commands, parser, {"model": _models})
    return parser


def _models() -> list[str]:
    from edgenode.home import models_dir
    from edgenode.models.names import SUFFIX

    folder = models_dir()
    return [each.stem for each in folder.iterdir() if each.suffix == SUFFIX] if folder.is_dir() else []
