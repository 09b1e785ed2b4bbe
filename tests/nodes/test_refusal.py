"""The sentences that say why a node does not join."""

import pytest

from coordinator.nodes.refusal import not_paired, release, was_removed, why_refused
from edgenode import __version__
from edgenode.text import typeable
from edgenode.trust.frames import Introduction
from edgenode.trust.verdict import Verdict
from edgenode.types import NodeId

ID = NodeId("0123456789abcdef" * 2)
NOW = 1_800_000_000.0
DAY = 86_400.0


def met(ahead: float = 0.0, version: str = __version__) -> Introduction:
    return Introduction(ID, "kitchen-pi", version, NOW + ahead, False)


@pytest.mark.parametrize(
    ("verdict", "ahead", "told"),
    [
        (Verdict.EXPIRED, 400 * DAY, "1 year ahead of"),
        (Verdict.NOT_YET_VALID, -30 * DAY, "30 days behind"),
        (Verdict.TRUSTED, -3 * DAY, "3 days behind"),
        (Verdict.OWN_EXPIRED, 0.0, "coordinator pair kitchen-pi"),
        (Verdict.UNKNOWN_AUTHORITY, 0.0, "run edgenode pair on it, then coordinator pair kitchen-pi"),
        (Verdict.WRONG_ROLE, 0.0, "takes this for another node"),
        (None, 0.0, "run edgenode trusted on it"),
    ],
)
def test_each_verdict_has_its_remedy(verdict: Verdict | None, ahead: float, told: str) -> None:
    """What is wrong, and what to do about it, in one sentence that names the device."""
    why = why_refused(met(ahead), verdict, "kitchen-pi", NOW)
    assert told in why
    assert why.startswith(("kitchen-pi", "The clock of kitchen-pi", "The certificates that kitchen-pi"))


def test_a_version_that_is_too_different_is_said() -> None:
    """When nothing else is wrong; releases that understand each other are not mentioned."""
    assert "Update the older" in why_refused(met(version="99.1"), Verdict.TRUSTED, "", NOW)
    assert why_refused(met(), Verdict.TRUSTED, "", NOW) == ""


@pytest.mark.parametrize(("one", "other"), [("0.1.0", "0.1.9"), ("1.2.0", "1.9.3")])
def test_releases_that_fit(one: str, other: str) -> None:
    """Only the first number counts, below 1 the first two."""
    assert release(one) == release(other)
    assert release("0.1.0") != release("0.2.0") != release("1.0")


@pytest.mark.parametrize("name", ["x; rm -rf ~", "$(reboot)", "two words", "-f", "`id`", ""])
def test_what_is_to_be_typed_is_safe_to_paste(name: str) -> None:
    """A stranger chooses his device's name: in a command it is replaced by the id."""
    assert typeable(name, ID) == ID
    assert not_paired(name, ID) == f"It is not paired: coordinator pair {ID}"
    assert was_removed("küche.pi-2", ID).endswith("coordinator pair küche.pi-2")
