"""Tells the memory of an idle node with the test engine, in MB, and which files it is of. Linux.

python scripts/memory.py [SECONDS]
"""

import collections
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHOWN = 12


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "EDGENODE_DATA": folder, "EDGENODE_INTERFACE": "127.0.0.1"}
        command = [sys.executable, "-m", "edgenode", "start", "--engine", "deterministic"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as node:
            try:
                time.sleep(seconds)
                resident = resident_kilobytes(node.pid)
            finally:
                node.terminate()
    print(f"{sum(resident.values()) / 1000:.1f} MB resident after {seconds:g} s")
    for name, size in resident.most_common(SHOWN):
        print(f"{size / 1000:7.1f}  {name}")
    return 0


def resident_kilobytes(pid: int) -> collections.Counter[str]:
    """By the file that is mapped, or "memory" for none."""
    found: collections.Counter[str] = collections.Counter()
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if mapping := re.match(r"[0-9a-f]+-[0-9a-f]+(?: \S+){4}\s*(.*)", line):
            name = Path(mapping[1]).name if mapping[1].startswith("/") else "memory"
        elif line.startswith("Rss:"):
            found[name] += int(line.split()[1])
    return found


if __name__ == "__main__":
    sys.exit(main())
