"""Completion for shells: a script for each, which asks the program itself what can follow the words that were typed."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from edgenode.console import ANSWERED, Commands, Parser
from edgenode.errors import EdgenodeError

Values = Mapping[str, Callable[[], Iterable[str]]]
"""What an argument can be, by the name of its destination in argparse. Where nothing is known the shell offers files."""

WORDS: Final = "words"
_SCRIPTS: Final = {
    "bash": """_{0}() {{
  local IFS=$'\\n'
  COMPREPLY=($({0} completion words "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null))
}}
complete -o default -F _{0} {0}""",
    "zsh": """_{0}() {{
  local -a found
  found=(${{(f)"$({0} completion words "${{(@)words[2,CURRENT]}}" 2>/dev/null)"}})
  if (( $#found )); then compadd -a found; else _files; fi
}}
compdef _{0} {0}""",
    "fish": "complete -c {0} -a '({0} completion words (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'",
}


def add_completion(commands: Commands, parser: Parser, values: Values) -> None:
    completion = commands.add_parser(
        "completion",
        help="print a script that completes commands, options and names in a shell",
        description=f'Prints a script for a shell. bash, in ~/.bashrc: eval "$({parser.prog} completion bash)". zsh, in ~/.zshrc '
        f'after compinit: eval "$({parser.prog} completion zsh)". fish: {parser.prog} completion fish > '
        f"~/.config/fish/completions/{parser.prog}.fish",
    )
    completion.add_argument("shell", metavar="bash|zsh|fish", choices=[*_SCRIPTS, WORDS])
    completion.add_argument("typed", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    def act(options: argparse.Namespace) -> int:
        found = (
            candidates(parser, options.typed, values) if options.shell == WORDS else [_SCRIPTS[options.shell].format(parser.prog)]
        )
        for each in found:
            print(each)  # noqa: T201 - for the shell
        return ANSWERED

    completion.set_defaults(act=act)


def candidates(parser: argparse.ArgumentParser, typed: list[str], values: Values) -> list[str]:
    """What the last of the words `typed` after the program's name can become; none where the shell should offer files."""
    *before, word = typed or [""]
    if before:
        commands = _commands(parser)
        if before[0] not in commands:
            return []
        found = _of_command(commands[before[0]], before[1:], word, values)
    else:
        found = _options(parser) if word.startswith("-") else list(_commands(parser))
    return sorted({each for each in found if each.startswith(word)})


def _of_command(parser: argparse.ArgumentParser, before: list[str], word: str, values: Values) -> list[str]:
    options = parser._option_string_actions  # noqa: SLF001 - argparse offers no other way to ask
    if before and (option := options.get(before[-1])) is not None and option.nargs != 0:
        return _values(option, values)
    if word.startswith("-"):
        return _options(parser)
    taken = 0
    for at, each in enumerate(before):
        follows = at > 0 and (option := options.get(before[at - 1])) is not None and option.nargs != 0
        taken += not each.startswith("-") and not follows
    positionals = [each for each in parser._actions if not each.option_strings]  # noqa: SLF001 - as above
    return _values(positionals[taken], values) if taken < len(positionals) else []


def _values(action: argparse.Action, values: Values) -> list[str]:
    if action.choices is not None:
        return [str(each) for each in action.choices if each != WORDS]
    try:
        return list(values[action.dest]()) if action.dest in values else []
    except (EdgenodeError, OSError):
        return []


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [each for each in parser._option_string_actions if each.startswith("--")]  # noqa: SLF001 - as above


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - as above
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            return action.choices
    return {}
