"""Each fault by itself, in the middle of a run whose nodes keep their engines in processes of their own: the run goes on, and ends
with all that the healthy one finds."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from coordinator.runs.journal import Journal
from scripts.lab.chaos import RUN_SECONDS, Outcome
from scripts.lab.faults import COORDINATOR, Fault, Kind
from tests.lab.homes import QUESTION, SPEEDS, Reading, reading

EVERYBODY = range(len(SPEEDS) + 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """A home, mended after each run."""
    with reading(tmp_path_factory.mktemp("home")) as home:
        yield home


def events(outcome: Outcome, kind: str) -> Sequence[dict[str, Any]]:
    return [each for each in outcome.story["events"] if each["kind"] == kind]


@pytest.mark.parametrize("kind", [Kind.KILL, Kind.CUT, Kind.FREEZE])
def test_a_run_goes_on_without_the_fastest_node(home: Reading, kind: Kind) -> None:
    """Killed, cut off or frozen for good at a fifth of the work: others do what it held."""
    outcome = home.through(Fault(kind, 1, 0.2, None))
    node = home.home.node(1).name
    done = {each["name"]: each["subtasks"] for each in outcome.story["nodes"]}
    assert done[node] < max(done.values())


def test_a_run_goes_on_over_bad_lines(home: Reading) -> None:
    """Of what each node sends and is sent a tenth is lost, and the rest takes half a second there and back."""
    home.through(*(Fault(Kind.BAD_LINE, victim, 0.2, None) for victim in EVERYBODY[1:]))


def test_a_node_that_returns_with_another_address_gets_work_again(home: Reading) -> None:
    """Off the network at a fifth of the work, back at another address: it joins again in the same run and reads on, alone, for the
    others are frozen until it has."""
    moved = Fault(Kind.MOVE, 1, 0.2, None)
    frozen = [Fault(Kind.FREEZE, victim, 0.2, None) for victim in EVERYBODY[2:]]
    lab, name = home.home, home.home.node(1).name
    before: list[int] = []
    after: list[int] = []

    def told(journal: Journal) -> None:
        if after or len(journal.ended_subtasks()) < 9:
            return
        done = next((work.subtasks for work in journal.work().values() if work.name == name), 0)
        if not before:
            for fault in (moved, *frozen):
                lab.inflict(fault)
            lab.relieve(moved)
            before.append(done)
        # What it had sent before it went may have come just now: that is two leases at most.
        elif done > before[0] + 6:
            after.append(done)
            for fault in frozen:
                lab.relieve(fault)

    old = lab.node(1).host.address
    outcome = lab.ask(home.lease, QUESTION, told=told)
    assert after, "it did no more work"
    assert lab.node(1).host.address != old
    assert outcome.result == home.healthy.result


def test_a_run_goes_on_though_clocks_jump(home: Reading) -> None:
    """The clocks of all hosts go five hours ahead in the midst of the run, and then five hours behind: no lease, no connection and
    no certificate ends for it, and the journal keeps counting time. On a busy machine a node may be silent for seconds by itself; a
    jump, which is the same for all, would leave none as it was."""
    jumps = ((Kind.AHEAD, 0.2), (Kind.BEHIND, 0.5))
    outcome = home.through(*(Fault(kind, victim, at, None) for kind, at in jumps for victim in EVERYBODY))
    joined = {each["node"] for each in events(outcome, "joined")}
    assert joined - {each["node"] for kind in ("gone", "changed", "lost", "retried") for each in events(outcome, kind)}
    assert 0 < outcome.story["seconds"] < RUN_SECONDS


def test_a_run_goes_on_through_an_engine_that_crashes(home: Reading) -> None:
    """A fault of native code in one engine's process while others read: its work is tried again, and its node stays."""
    outcome = home.through(Fault(Kind.CRASH, 1, 0.2, None))
    (crashed,) = {each["node"] for each in events(outcome, "retried") if "SIGSEGV" in each["message"]}
    assert crashed not in [each["node"] for each in events(outcome, "gone")]


def test_a_run_goes_on_after_its_coordinator_was_killed_twice(home: Reading) -> None:
    """Killed and resumed at a fifth and at a half of the work: what had ended is not asked again."""
    outcome = home.through(*(Fault(Kind.KILL, COORDINATOR, at, None) for at in (0.2, 0.5)))
    assert outcome.story["sittings"] == 3
    done = [each["done"] for each in events(outcome, "planned")]
    assert done[0] == 0
    assert done[1] >= 0.2 * outcome.subtasks
    assert done[2] >= 0.5 * outcome.subtasks


def test_an_answer_is_put_together_though_all_nodes_die_over_it(home: Reading) -> None:
    """All are killed while one of them makes the answer, and started again: it is made then, and nothing is read again."""
    lab = home.home
    for _ in range(5):  # on a busy machine the answer may be there before this has looked
        killed: list[Fault] = []

        def told(journal: Journal, killed: list[Fault] = killed) -> None:
            if not killed and any(event.kind == "aggregating" for event in journal.events()):
                killed += [Fault(Kind.KILL, victim, 1.0, None) for victim in EVERYBODY[1:]]
                for fault in killed:
                    lab.inflict(fault)
            elif killed:
                for fault in killed:
                    if fault in lab.in_force:
                        lab.relieve(fault)

        outcome = lab.ask(home.lease, QUESTION, told=told)
        assert outcome.result == home.healthy.result
        if len(events(outcome, "aggregating")) > 1:
            return
    raise AssertionError("the nodes were never killed in time")
