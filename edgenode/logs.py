"""What a command shows of the log: warnings as plain lines or, with `--verbose`, all that happens, with time and level."""

import logging
import sys
from typing import Final, TextIO

OURS: Final = ("edgenode", "coordinator")


def show_logs(verbose: int) -> None:
    """Sends log records to standard error: warnings and errors; with `verbose` 1 all of ours, with 2 all of the libraries', too."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, handlers=[log_handler(verbose, sys.stderr)])


def log_handler(verbose: int, stream: TextIO) -> logging.Handler:
    """Writes to `stream` what `show_logs` shows."""

    def is_shown(record: logging.LogRecord) -> bool:
        # Here and not by levels of loggers, since a library may set its own to whatever it likes.
        ours = record.name.partition(".")[0] in OURS
        return verbose > 1 or record.levelno >= logging.WARNING or (verbose > 0 and ours)

    handler = logging.StreamHandler(stream)
    verbose_line = logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")
    handler.setFormatter(verbose_line if verbose else _Plain())
    handler.addFilter(is_shown)
    return handler


class _Plain(logging.Formatter):
    """One line a record. Of an exception it has what happened, and `--verbose` has where."""

    def format(self, record: logging.LogRecord) -> str:
        lines = [record.getMessage()]
        if record.exc_info and record.exc_info[1] is not None:
            lines = [*lines[0].splitlines()[:1], f"{record.exc_info[0].__name__}: {record.exc_info[1]}. More with --verbose."]
        return " ".join(" ".join(lines).split())
