"""What a test may count in the log. Everything else logs there too, above all what an earlier test has left to be cleaned up."""

import logging

import pytest


def logged(caplog: pytest.LogCaptureFixture, name: str, level: int = logging.WARNING) -> list[str]:
    """The messages of at least that level that came by the logger `name` or those below it, in order."""
    own = (record for record in caplog.records if f"{record.name}.".startswith(f"{name}."))
    return [record.getMessage() for record in own if record.levelno >= level]
