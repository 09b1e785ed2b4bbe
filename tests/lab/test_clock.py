"""The lab's wall clock: jumps are seen by a program that runs, and by nothing but its wall clock."""

import datetime
import json
import subprocess
import time
from pathlib import Path

from scripts.lab.clock import WallClock

PROGRAM = """
import json, sys, time
from datetime import UTC, datetime
right = datetime.fromtimestamp(0, UTC)
for line in sys.stdin:
    told = [time.time(), time.time_ns(), datetime.now(UTC).isoformat(), time.monotonic(), isinstance(right, datetime), sys.argv]
    print(json.dumps(told), flush=True)
"""


def test_jumps_are_seen_by_a_program_that_runs(tmp_path: Path) -> None:
    """Right at first, then ahead, then behind: `time` and `datetime` agree, and the monotonic clock is left alone."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    clock = WallClock(tmp_path / "clock")
    command = [*clock.command(program), "an argument"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for ahead in (0.0, 18_000.0, -18_000.0, 0.0):
            clock.jump(ahead)
            before, before_monotonic = time.time(), time.monotonic()
            process.stdin.write("\n")
            process.stdin.flush()
            seconds, nanoseconds, told, monotonic, same, arguments = json.loads(process.stdout.readline())
            assert before + ahead <= seconds <= nanoseconds / 1e9 + 1e-3
            assert seconds <= datetime.datetime.fromisoformat(told).timestamp() + 1 <= time.time() + ahead + 1
            assert before_monotonic <= monotonic <= time.monotonic()
            assert same
            assert arguments == [str(program), "an argument"]
        process.stdin.close()
