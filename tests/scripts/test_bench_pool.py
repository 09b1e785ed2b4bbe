"""The benchmark of pools really runs, tells what it measured on, and its yardstick is right."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts.test_demo import PATIENCE, family, none_left, read_until

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["pool", "fault", "policy", "ideal_seconds", "seconds", "efficiency", "lost", "duplicates", "wasted_share"]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's module about its work."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import bench.work

    return bench.work


def test_a_small_one() -> None:
    """Each policy gets through the killing of a node: a row for each with all its keys, and nothing is lost or counted twice."""
    sizes = ["--bundles", "16", "--seconds", "1", "--repeat", "1", "--pool", "equal", "--fault", "kill", "--json"]
    command = [sys.executable, "scripts/bench_pool.py", *sizes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    assert "deterministic" in told["conditions"]["engine"]
    assert "deterministic" in done.stderr
    assert [list(row) for row in told["scenarios"]] == [KEYS] * 3
    assert [row["policy"] for row in told["scenarios"]] == ["edgenode", "round_robin", "least_outstanding"]
    assert {(row["pool"], row["fault"]) for row in told["scenarios"]} == {("4-equal", "kill")}
    ours = told["scenarios"][0]
    assert (ours["lost"], ours["duplicates"]) == (0, 0)
    (predicted,) = told["predictions"]
    assert (predicted["pool"], predicted["fault"]) == ("4-equal", "kill")
    assert 0 < predicted["subtasks"] <= 48
    assert 0 < predicted["median"] <= predicted["ninetieth"]
    for row in told["scenarios"]:
        assert row["duplicates"] == 0
        assert row["wasted_share"] >= 0
        # One of four equal devices is gone at 30 % of the work, which on a busy machine may be later than all could be done by.
        assert 1.0 <= row["ideal_seconds"] < 1.34
        assert row["efficiency"] == pytest.approx(row["ideal_seconds"] / row["seconds"], rel=0.01)


def test_a_terminated_one_leaves_no_process() -> None:
    """SIGTERM while devices are started ends the benchmark and all of them, without a traceback."""
    with subprocess.Popen(
        [sys.executable, "scripts/bench_pool.py", "--pool", "4-equal", "--fault", "none"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        read_until(process, "Pool 4-equal")
        while len(started := family(process.pid)) < 2:  # until a device is there
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert none_left(started)


def test_ideal_time(work: ModuleType) -> None:
    """It follows the speeds that are present, and is endless when none is left."""
    assert work.ideal_seconds(100.0, 2.0, [(0.0, 10.0)]) == pytest.approx(5.0)
    assert work.ideal_seconds(100.0, 1.0, [(0.0, 10.0), (5.0, 5.0)]) == pytest.approx(15.0)
    assert work.ideal_seconds(100.0, 1.0, [(0.0, 10.0), (5.0, 0.0), (7.0, 25.0)]) == pytest.approx(9.0)
    assert work.ideal_seconds(100.0, 1.0, [(0.0, 10.0), (5.0, 0.0)]) == float("inf")


def test_demand(work: ModuleType) -> None:
    """Each chunk is read once, its questions on top, and what all prompts begin with once in all."""
    small, large = work.Work(2, seed=1), work.Work(4, seed=1)
    text = sum(len(work.tokens(chunk.text)) for chunk in large.chunks)
    assert text < large.demand.read < text + 4 * 60
    assert small.demand.cost < large.demand.cost
    assert large.demand.written == pytest.approx(2 * small.demand.written)
    assert 0 < large.demand.greeting < 100
    assert large.greatest_request > large.demand.cost / 4 / 3
