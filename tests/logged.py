"""What a test finds in the log."""

from logging import WARNING, LogRecord

import pytest


def ours(caplog: pytest.LogCaptureFixture) -> list[LogRecord]:
    """What the product's own loggers told since the test began. Others speak when they like: asyncio, for one, of what an earlier
    test left, once Python happens to collect it."""
    return [record for record in caplog.records if record.name.partition(".")[0] in ("edgenode", "coordinator")]


def logged(caplog: pytest.LogCaptureFixture, name: str, level: int = WARNING) -> list[str]:
    """The messages of at least that level that came by the logger `name` or those below it, in order."""
    own = (record for record in caplog.records if f"{record.name}.".startswith(f"{name}."))
    return [record.getMessage() for record in own if record.levelno >= level]
