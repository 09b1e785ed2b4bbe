"""What both command lines share: parsing that answers with sentences, exit statuses, and no traceback for bad input."""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from edgenode import __version__
from edgenode.errors import EdgenodeError, UsageError
from edgenode.home import default_home, shown
from edgenode.logs import show_logs
from edgenode.text import typed_path
from edgenode.types import MAX_UINT32

ANSWERED: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
PARTIAL: Final = 4
STOPPED: Final = 5
INTERRUPTED: Final = 130


def _nearest(typed: str, known: Iterable[str]) -> list[str]:
    """What was probably meant, if anything: one or none."""
    import difflib

    return difflib.get_close_matches(typed, list(known), n=1)


class Parser(argparse.ArgumentParser):
    """Answers wrong usage with one sentence that names what is near."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        if message.startswith("unrecognized arguments: -"):
            known = [option for parser in self.family() for option in parser._option_string_actions]  # noqa: SLF001 - our own kind
            typed = message.removeprefix("unrecognized arguments: ").split()[0]
            near = _nearest(typed, known)
            hint = f" Did you mean {near[0]}?" if near else f" A file of that name is written ./{typed}."
        raise UsageError(f"{message[:1].upper()}{message[1:]}.{hint} See: {self.prog} --help")

    def parse_known_args(self, *arguments: Any, **named: Any) -> Any:
        """Nothing is left over: a command's own parser says what it does not know, with what it does."""
        parsed, unknown = super().parse_known_args(*arguments, **named)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def add_commands(self) -> "Commands":
        """The commands of a program. Without one it prints its help."""
        self.set_defaults(act=self._help)
        return self.add_subparsers(metavar="COMMAND", parser_class=Parser)

    def _help(self, _: argparse.Namespace) -> int:
        self.print_help()
        return ANSWERED

    def family(self) -> list[argparse.ArgumentParser]:
        """This parser and those of its commands."""
        found: list[argparse.ArgumentParser] = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse offers no other way to ask
                found.extend(action.choices.values())
        return found

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            near = _nearest(str(value), known)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
            raise UsageError(f"{self.prog} does not know {value!r}. {hint}")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - argparse gives this type no public name
"""What a command adds itself to."""


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="log what happens to standard error; twice: what libraries tell, too"
    )


def add_interface(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--interface",
        metavar="NAME",
        help="network interface to use, by name or address (default: $EDGENODE_INTERFACE, else all that are usable)",
    )


def add_home(parser: argparse.ArgumentParser) -> None:
    default = shown(default_home).replace("%", "%%")
    parser.add_argument("--home", type=folder, metavar="DIR", help=f"folder of the node's identity (default: {default})")


def add_join(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--join", action="append", default=[], metavar="HOST[:PORT]", help=what)


def folder(text: str) -> Path:
    """The type of an option that takes a folder: its absolute path, `~` replaced also where the shell does not (`--home=~/x`)."""
    path = typed_path(text)
    if not text.strip() or str(path).startswith("~"):
        raise argparse.ArgumentTypeError(f"{text[:200]!r} is no folder")
    return path.absolute()


def whole(what: str, least: int = 1, most: int = MAX_UINT32, why: str = "") -> Callable[[str], int]:
    """The type of an option that takes a whole number; `what` and `why` are for the sentence that refuses another."""

    def read(text: str) -> int:
        # Looked at by its length first: Python converts no number of thousands of digits.
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what} ({least} to {most}{why})")
        return int(text)

    return read


port = whole("a port", 0, 65_534, "; the next one is used as well")


def version(program: str) -> str:
    return f"{program} {__version__}"


def print_json(value: Any) -> None:
    """Prints `value` as one line of JSON; seconds and other figures to the thousandth, money (`usd`) to the millionth."""
    print(json.dumps(_rounded(value), ensure_ascii=False), flush=True)  # noqa: T201 - this is what prints


def _rounded(value: Any, digits: int = 3) -> Any:
    match value:
        case float():
            return round(value, digits)
        case dict():
            # A request is shown as it is sent.
            return {key: each if key == "request" else _rounded(each, 6 if key == "usd" else 3) for key, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
        case _:
            return value


def say_empty(sentence: str) -> None:
    """Says that a list is empty and what to do about it: on standard error, so that a pipe gets the list alone."""
    print(sentence, file=sys.stderr)  # noqa: T201 - as above


def run_command(parser: Parser, arguments: Sequence[str] | None, act: Callable[[argparse.Namespace], int]) -> int:
    """Parses, acts, and turns every expected end into an exit status: errors into one sentence, Ctrl-C into 130 (with the
    words of the `KeyboardInterrupt`, if it has any), a closed pipe into silence."""
    _tolerant_streams()
    try:
        options = parser.parse_args(arguments)
        show_logs(getattr(options, "verbose", 0))
        # A service manager's or a shell's SIGTERM ends a command as Ctrl-C does, so that it cleans up behind itself.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        status = act(options)
        sys.stdout.flush()
        return status
    except UsageError as error:
        return _say(error, USAGE)
    except EdgenodeError as error:
        return _say(error, FAILED)
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "Interrupted.", file=sys.stderr)  # noqa: T201 - as above
        return INTERRUPTED
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            # An error of a file has its name, one of a stream has none.
            what = "The output cannot be written" if error.filename is None else f"{error.filename} cannot be used"
            whose = " Perhaps it belongs to another user." if error.filename and isinstance(error, PermissionError) else ""
            with contextlib.suppress(OSError):
                print(f"{what}: {error.strerror or error}.{whose}", file=sys.stderr)  # noqa: T201 - as above
            _drop_output()
            return FAILED
        # Whoever read our output has enough (`| head`). What is still buffered must not be flushed at exit into the closed pipe.
        _drop_output()
        return 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else FAILED


def _drop_output() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(error: EdgenodeError, status: int) -> int:
    print(error, file=sys.stderr)  # noqa: T201 - as above
    return status


def _tolerant_streams() -> None:
    # A document may hold what the terminal's encoding lacks; a question mark there beats a traceback.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
