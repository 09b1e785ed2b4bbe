"""The `coordinator` command: a thin skin over the SDK."""

from collections.abc import Sequence

from coordinator.commands import ask, devices, doctor, nodes, runs
from coordinator.remedies import of_commands
from edgenode.completion import add_completion
from edgenode.console import Parser, run_command, version


def main(arguments: Sequence[str] | None = None) -> int:
    with of_commands():
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
    add_completion(commands, parser, {"run": _runs, "node": _nodes})
    return parser


def _runs() -> list[str]:
    from coordinator.config import runs_dir
    from coordinator.runs.folders import LAST, list_runs

    return [*list_runs(runs_dir()), LAST]


def _nodes() -> list[str]:
    from coordinator.trust.authority import coordinator_folder
    from coordinator.trust.paired import PairedNodes
    from edgenode.text import typeable

    return [typeable(each.name, each.id) for each in PairedNodes(coordinator_folder()).all()]
