"""What of the log reaches the terminal."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgenode.logs import log_handler

LIBRARY = "httpx2"


@pytest.fixture
def loggers() -> Iterator[dict[str, logging.Logger]]:
    """Loggers of ours and of a library that has set its own level low."""
    found = {name: logging.getLogger(name) for name in ("edgenode.net.test", "coordinator.test", LIBRARY)}
    before = {name: logger.level for name, logger in found.items()}
    for logger in found.values():
        logger.setLevel(logging.DEBUG)
    yield found
    for name, logger in found.items():
        logger.setLevel(before[name])


@pytest.mark.parametrize(
    ("verbose", "shown"),
    [
        (0, {"edgenode.net.test WARNING", "coordinator.test WARNING", f"{LIBRARY} WARNING"}),
        (1, {f"{name} {level}" for name in ("edgenode.net.test", "coordinator.test") for level in ("DEBUG", "INFO", "WARNING")}
         | {f"{LIBRARY} WARNING"}),
        (2, {f"{name} {level}" for name in ("edgenode.net.test", "coordinator.test", LIBRARY)
             for level in ("DEBUG", "INFO", "WARNING")}),
    ],
)  # fmt: skip
def test_ours_before_that_of_libraries(loggers: dict[str, logging.Logger], verbose: int, shown: set[str]) -> None:
    """Warnings always; all of ours with one -v, all of everybody's with two. A verbose line begins with its time and level."""
    stream = io.StringIO()
    handler = log_handler(verbose, stream)
    for name, logger in loggers.items():
        logger.addHandler(handler)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logger.log(level, "%s %s", name, logging.getLevelName(level))
        logger.removeHandler(handler)
    lines = stream.getvalue().splitlines()
    if verbose:
        timed = [re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING) +\S+: (.*)", line) for line in lines]
        assert all(timed), lines
        lines = [each[2] for each in timed if each]
    assert set(lines) == shown
    assert len(lines) == len(shown)


def test_a_traceback_is_for_those_who_ask(loggers: dict[str, logging.Logger]) -> None:
    """Without --verbose an exception in the log is one line with what happened; with it all is there."""
    for verbose in (0, 1):
        stream = io.StringIO()
        handler = log_handler(verbose, stream)
        loggers[LIBRARY].addHandler(handler)
        try:
            raise ValueError("odd\nvery odd")
        except ValueError:
            loggers[LIBRARY].exception("It failed\nin the middle")
        loggers[LIBRARY].removeHandler(handler)
        assert "odd" in stream.getvalue()
        assert ("Traceback" in stream.getvalue()) == bool(verbose)
        assert verbose or len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("flags", [["--verbose"], ["-vv"]])
def test_a_verbose_command_still_prints_what_scripts_read(flags: list[str]) -> None:
    """The log goes to standard error alone, and with one -v there are lines of ours only."""
    call = [sys.executable, "-m", "coordinator", "nodes", "--json", *flags]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert isinstance(json.loads(done.stdout)["nodes"], list)
    names = {line.split()[3].rstrip(":").partition(".")[0] for line in done.stderr.splitlines() if re.match(r"\d{4}-", line)}
    assert len(flags[0]) == 3 or names <= {"edgenode", "coordinator"}
