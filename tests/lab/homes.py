"""The home that the tests of chaos break: what it reads, how fast its nodes are, and what it finds when nothing happens to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.lab import Lab, unavailable
from scripts.lab.chaos import ChaosHome, Outcome
from scripts.lab.faults import Fault
from tests.end_to_end.pools import lease_text
from tests.models.gguf_files import write_gguf

# 15 chunks of three subtasks each; undisturbed, they are read in about three seconds.
SECTIONS = 30
QUESTION = "When is the deposit of the flat paid back? Who looks after the garden? What is rule 12.3 about?"
SPEEDS = ("1500:500", "1200:400", "1000:330", "800:260")


class Reading:
    """A home with a document, of which it is known what it finds in it."""

    def __init__(self, home: ChaosHome, folder: Path) -> None:
        self.home = home
        self.lease = folder / "lease.txt"
        self.lease.write_text(lease_text(SECTIONS), encoding="utf-8")
        self.healthy = home.ask(self.lease, QUESTION)

    def through(self, *faults: Fault) -> Outcome:
        """What a run comes to that these faults happen to: as much as ever, each thing once."""
        try:
            outcome = self.home.ask(self.lease, QUESTION, faults)
            assert outcome.result == self.healthy.result
        except Exception as error:
            error.add_note("\n".join(["What happened to the run:", *map(str, faults)]))
            raise
        return outcome


@contextmanager
def reading(folder: Path) -> Iterator[Reading]:
    """Skips the test, and says why, where there can be no lab."""
    if reason := unavailable():
        pytest.skip(reason)
    model = write_gguf(folder / "stand-in.gguf", context=4096)
    with Lab(len(SPEEDS) + 1) as lab:
        yield Reading(ChaosHome(lab, folder / "home", model, SPEEDS), folder)
