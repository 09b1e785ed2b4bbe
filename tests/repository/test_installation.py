"""What a small device installs and loads."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from coordinator.config import runs_dir
from coordinator.runs.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
# What phones and small boards can do without.
ENGINES = ("xllamacpp", "llama_cpp", "uvicorn", "numpy")
READERS = ("pypdfium2", "bm25s", "rich", "coordinator")
CLOUD = ("openai", "genai_prices")
# What takes long to load, and is for commands that do something with nodes, models or documents.
SLOW = {*ENGINES, *READERS, *CLOUD, "grpc", "google.protobuf", "zeroconf", "httpx2", "cryptography", "spake2", "segno", "tqdm"}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}  # type: ignore[index]


@pytest.mark.parametrize("module", ["edgenode", "edgenode.cli", "edgenode.node"])
def test_importing_the_device_side_is_light(module: str) -> None:
    """A fresh interpreter that imports the device's side has loaded no engine, no reader of documents and no cloud."""
    code = f"import sys, {module}; print(*sorted({set(ENGINES + READERS + CLOUD)!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (loaded.returncode, loaded.stdout.split()) == (0, []), loaded.stderr


@pytest.mark.parametrize(
    "typed",
    [
        *("coordinator --help", "coordinator --version", "coordinator runs", "coordinator runs --json", "coordinator show last"),
        *("coordinator ledger last", "coordinator ask --help", "coordinator resume --help", "coordinator nodes --help"),
        *("coordinator pair --help", "coordinator doctor --help", "coordinator forget --help", "coordinator nonsense"),
        *("edgenode --help", "edgenode --version", "edgenode start --help", "edgenode pair --help", "edgenode pull --help"),
        *("edgenode doctor --help", "edgenode peers --help", "edgenode nonsense"),
    ],
)
def test_a_look_loads_nothing_slow(typed: str) -> None:
    """Help and what is kept are there at once: no network, no trust, no engine, no reader and no table drawing is loaded."""
    with Journal.create(runs_dir()) as journal:
        journal.set_value("kept", {"question": "When?"})
    program, *arguments = typed.split()
    code = (
        f"import sys; from {program}.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*sorted({SLOW - {'coordinator'}!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "", done.stderr
    assert done.stdout or arguments == ["nonsense"]


# What a node has no use for while it waits for work: each would be in the memory of a small board for days.
FOR_LATER = {*ENGINES, *READERS, *CLOUD, "httpx2", "segno", "tqdm", "spake2", "edgenode.models.pull", "edgenode.doctor.examine"}
IDLE = """
import asyncio, sys
from edgenode.commands import start
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.node import Node, NodeConfig

async def main():
    async with Node(NodeConfig(), DeterministicEngine()):
        print(*sorted(set(sys.argv[1:]) & set(sys.modules)))

asyncio.run(main())
"""


def test_an_idle_node_has_loaded_nothing_for_later() -> None:
    """It serves and waits. `scripts/memory.py` tells what that takes."""
    done = subprocess.run([sys.executable, "-c", IDLE, *FOR_LATER], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_a_node_needs_little() -> None:
    """The base install is what a node needs to find, trust, speak and fetch; engines and readers are extras."""
    network, trust = {"grpcio", "protobuf", "zeroconf", "httpx2"}, {"cryptography", "spake2", "segno"}
    assert names(project()["dependencies"]) == network | trust | {"platformdirs", "filelock", "tqdm"}
    assert {"engine", "llama-cpp-python", "coordinator"} <= set(project()["optional-dependencies"])


def test_the_device_side_imports_only_its_install() -> None:
    """What `edgenode` imports comes with Python, with the base install, or is an engine's library in the engine's module."""
    base = names(project()["dependencies"])
    provided = {
        module for module, distributions in packages_distributions().items() if base & {name.lower() for name in distributions}
    }
    # zeroconf depends on ifaddr; xllamacpp, llama_cpp and uvicorn stand behind the engines' borders; psutil is used if it is there.
    allowed = provided | set(sys.stdlib_module_names) | {"edgenode", "ifaddr", "xllamacpp", "llama_cpp", "uvicorn", "psutil"}
    strangers = set()
    for path in (ROOT / "edgenode").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported = [node.module or ""]
            else:
                continue
            strangers |= {f"{path.name}: {name}" for name in imported if name.split(".")[0] not in allowed}
    assert strangers == set()


def test_the_coordinator_without_its_packages_says_what_to_install() -> None:
    """On a device that was installed as a node the other command is one sentence, not a traceback."""
    code = "import sys; sys.modules['rich'] = None; from coordinator.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "nodes"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip() == "The package rich is missing. Install it with: pip install 'edgenode[coordinator]'"
