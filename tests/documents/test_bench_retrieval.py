"""The benchmark that the figures in the documentation come from runs."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"


def test_the_benchmark_prints_conditions_figures_and_baseline() -> None:
    """On the lease it names what it measured and on what, and retrieval is no worse than the baseline at any size."""
    command = [
        sys.executable,
        "scripts/bench_retrieval.py",
        DATA / "lease_ja.md",
        DATA / "lease_ja_questions.jsonl",
        "--max-tokens",
        "300",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    conditions, relevant, *figures = done.stdout.splitlines()

    assert "27 questions" in conditions
    assert "recall 1.000" in relevant
    recalls = [float(line.split("recall")[1].split()[0]) for line in figures]
    assert all(ours >= baseline for ours, baseline in zip(recalls[::2], recalls[1::2], strict=True))
