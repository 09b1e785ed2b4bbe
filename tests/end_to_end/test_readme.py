"""What the README shows runs."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fpdf import FPDF

from tests.end_to_end.pools import FACT, RunningNode

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_python_example_runs_as_it_stands(start_node: Callable[..., RunningNode], tmp_path: Path) -> None:
    """Copied out of the README into an empty folder with a lease, it finds the node and prints an answer with its page."""
    node = start_node()
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    pdf = FPDF()
    pdf.set_font("Helvetica", size=11)
    for text in ("A lease. The garden is looked after by the tenants.", f"Before we move out, the keys are returned. {FACT}"):
        pdf.add_page()
        pdf.multi_cell(0, text=text)
    pdf.output(str(tmp_path / "lease.pdf"))
    # As it stands, but for nodes of other tests that may be on the same loopback.
    only = (
        f"import functools\nfrom coordinator import Pool\nPool.discover = functools.partial(Pool.discover, nodes=[{node.name!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", only + code], cwd=tmp_path, capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert node.name in done.stdout
    assert "answered" in done.stdout
    assert re.search(r"^lease\.pdf [12] .+$", done.stdout, re.MULTILINE)
    # Other tests forge nodes on the same loopback, and of hundreds of them it is warned.
    assert [line for line in done.stderr.splitlines() if "announce themselves by mDNS" not in line] == []
