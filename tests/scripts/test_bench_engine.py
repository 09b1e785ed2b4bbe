"""The benchmark of the real engine really runs, tells what it measured on, and leaves nothing behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scripts.test_demo import PATIENCE, family, none_left, read_until

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "scripts/bench_engine.py"
# A real model reads for a minute, and for many where it gets a tenth of a core.
READING = 900.0
SMALLEST = ["--pairs", "1", "--chunks", "2", "--questions", "2", "--repeat", "1", "--chunk-tokens", "64", "--threads", "1"]


@pytest.fixture(scope="module")
def interval() -> ModuleType:
    """The benchmark's module about medians."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import bench.interval

        return bench.interval


def test_a_small_one(real_model: Path) -> None:
    """The node says what its bare engine says, bundles save reading, and the conditions are told."""
    command = [sys.executable, SCRIPT, "--model", str(real_model), *SMALLEST, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=READING)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    assert list(told) == ["conditions", "overhead", "bundling"]
    assert "xllamacpp" in told["conditions"]["engine"]
    assert told["conditions"]["model"] == real_model.stem
    assert "other programs" in told["conditions"]
    overhead = told["overhead"]
    assert overhead["texts_equal"] is True
    assert (overhead["pairs"], overhead["subtasks"], len(overhead["each_cost"])) == (1, 2, 1)
    assert list(overhead["cost"]) == ["median", "low", "high", "confidence"]
    for side in (overhead["bare"], overhead["node"]):
        assert list(side) == ["seconds", "read_tokens", "outside_ms", "processor_ms"]
        assert min(side["seconds"], side["read_tokens"], side["outside_ms"]) > 0
    assert overhead["bare"]["read_tokens"] == overhead["node"]["read_tokens"]
    cost = 1 - overhead["bare"]["seconds"] / overhead["node"]["seconds"]
    assert overhead["cost"]["median"] == pytest.approx(100 * cost, abs=0.5)
    bundling = told["bundling"]
    assert (bundling["repeats"], bundling["chunks"], bundling["subtasks"]) == (1, 2, 4)
    single, bundled = bundling["one_by_one"], bundling["bundled"]
    assert 0 < bundled["read_tokens"] < single["read_tokens"]
    assert bundling["saved_reading"] == pytest.approx(1 - bundled["read_tokens"] / single["read_tokens"], abs=0.001)
    assert bundling["texts_equal"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_one_leaves_no_process(real_model: Path, number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM while the engine reads ends the benchmark, its node and the engine."""
    command = [sys.executable, SCRIPT, "--model", str(real_model)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", start_new_session=True
    ) as process:
        read_until(process, "is started")
        started = family(process.pid)
        assert len(started) >= 2, "the node and its engine"
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert none_left(started)


def test_no_model(tmp_path: Path) -> None:
    """A model that is not there is said in a sentence."""
    command = [sys.executable, SCRIPT, "--model", str(tmp_path / "none.gguf")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.startswith("There is no model at ")
    assert "Traceback" not in done.stderr


def test_a_damaged_model(tmp_path: Path) -> None:
    """Why the node cannot start is passed on as the node's sentence."""
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    command = [sys.executable, SCRIPT, "--model", str(tmp_path / "broken.gguf")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.startswith("The node could not start: ")
    assert "broken.gguf" in done.stderr
    assert "Traceback" not in done.stderr


def test_interval_of_seven(interval: ModuleType) -> None:
    """Seven values: all of them span the interval, which is then good for 1 - 2 / 2^7."""
    found = interval.median_interval([3.0, 1.0, 2.0, 7.0, 5.0, 6.0, 4.0])
    assert (found.median, found.low, found.high) == (4.0, 1.0, 7.0)
    assert found.confidence == pytest.approx(1 - 2 / 2**7)


def test_interval_of_nine(interval: ModuleType) -> None:
    """Of nine values the outermost are left out: 1 - 2 x (1 + 9) / 2^9."""
    found = interval.median_interval([float(value) for value in range(9)])
    assert (found.low, found.high) == (1.0, 7.0)
    assert found.confidence == pytest.approx(1 - 20 / 2**9)


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=60))
def test_interval(interval: ModuleType, values: list[float]) -> None:
    """The interval holds the median, is among the values, and is sure enough wherever six or more make that possible."""
    found = interval.median_interval(values)
    assert found.low <= found.median <= found.high
    assert {found.low, found.high} <= set(values)
    assert found.confidence >= 0.95 or len(values) < 6
