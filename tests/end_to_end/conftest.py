"""Fixtures of the end-to-end tests."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.end_to_end.pools import PATIENCE, RunningNode, command, lease_text


@pytest.fixture
def lease(tmp_path: Path) -> Path:
    path = tmp_path / "lease.txt"
    path.write_text(lease_text(), encoding="utf-8")
    return path


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., RunningNode]]:
    """Starts nodes with the deterministic engine unless told otherwise; ends those still running. With `data` a node is another
    user's, as if on another machine: it does not pair by itself."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str | Path, engine: Sequence[str] = ("--engine", "deterministic"), data: Path | None = None
    ) -> RunningNode:
        name = f"node-{secrets.token_hex(4)}"
        process = subprocess.Popen(
            command("edgenode", "start", "--home", tmp_path / name, "--name", name, "--json", *engine, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | ({"EDGENODE_DATA": str(data)} if data else {}),
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return RunningNode(name, process, json.loads(line))

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
    for process in started:
        process.communicate(timeout=PATIENCE)
