"""The main job with a real quantized model in real engine processes. The model is tiny: what is tested is the machinery."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.pools import FACT, PATIENCE, QUESTION, RunningNode, agreed, command, lease_text, run
from tests.supervisor_server import SupervisorServer

Start = Callable[..., RunningNode]

# A real model reads for a minute, and for many where it gets a tenth of a core.
READING = 900.0


def real(model: Path) -> list[str]:
    return ["--engine", "xllamacpp", "--model", str(model), "--threads", "1"]


def children(process: int) -> list[int]:
    """The processes it started, by the kernel's list."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(each) for each in text.split()]


def cpu_ticks(process: int) -> int:
    """Hundredths of a second of processor time a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def gone(process: int) -> bool:
    """Whether a process has ended (a zombie has: it only waits to be counted)."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] in {"Z", "X"}
    except FileNotFoundError:
        return True


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come true in time"


def test_two_nodes_read_and_answer_at_home_through_a_crash(start_node: Start, real_model: Path, tmp_path: Path) -> None:
    """Found by mDNS, read by a real model over gRPC, one engine killed in mid-flight, aggregated at home; no process is left."""
    document = tmp_path / "lease.md"
    document.write_text(lease_text(8), encoding="utf-8")
    doomed, other = start_node(engine=real(real_model)), start_node(engine=real(real_model))
    (engine,) = children(doomed.process.pid)
    assert doomed.told["models"][0]["digest"]
    nodes = ("--node", doomed.name, "--node", other.name)
    asking = subprocess.Popen(
        command("coordinator", "ask", "--read", "all", *nodes, document, QUESTION),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert asking.stderr is not None
    while doomed.name not in (line := asking.stderr.readline()):
        assert line, "the run ended before the node joined in"
    # Loaded and found, it was idle: once it uses the processor it is at its first subtask.
    before = cpu_ticks(engine)
    wait_until(lambda: cpu_ticks(engine) > before + 20)
    os.kill(engine, signal.SIGKILL)
    out, err = asking.communicate(timeout=READING)
    assert asking.returncode in {0, 3}, err
    assert "Trying again" in err
    assert "SIGKILL" in err
    assert re.search(r"\b0 failed", out)
    assert run("coordinator", "ledger", "last", "--json").json["requests"] == []
    assert doomed.process.poll() is None
    # The engine is started again by its node, and the node serves with it.
    wait_until(lambda: bool(children(doomed.process.pid)))
    engines = children(doomed.process.pid) + children(other.process.pid)
    doomed.process.send_signal(signal.SIGTERM)
    other.process.kill()
    doomed.process.communicate(timeout=PATIENCE)
    other.process.communicate(timeout=PATIENCE)
    assert doomed.process.returncode == 0
    wait_until(lambda: all(gone(each) for each in engines))


def test_a_real_reader_chooses_quotations_that_are_really_there(start_node: Start, real_model: Path, tmp_path: Path) -> None:
    """Every quotation is verbatim, the second question of a chunk finds it in the prompt cache, and only findings leave."""
    document = tmp_path / "lease.md"
    document.write_text(lease_text(3), encoding="utf-8")
    node = start_node(engine=real(real_model))
    question = f"{QUESTION} Who looks after the garden in week 10?"
    with SupervisorServer() as supervisor:
        asked = run(
            "coordinator",
            "ask",
            "--json",
            "--read",
            "all",
            "--node",
            node.name,
            document,
            question,
            timeout=READING,
            **agreed(supervisor),
        )
    assert asked.status == 0, asked.err
    answer = asked.json
    assert answer["findings"]["answered"] > 0
    assert answer["findings"]["rejected"] == answer["findings"]["failed"] == 0
    (work,) = answer["nodes"]
    assert work["cached_tokens"] > 0.2 * work["prompt_tokens"]
    assert work["completion_tokens"] > 0
    (request,) = supervisor.requests
    assert FACT in request.user
    text = document.read_text(encoding="utf-8")
    for line in request.user.splitlines():
        if line.startswith("["):
            assert " ".join(json.loads(line[line.index('"') :]).split()) in " ".join(text.split())
