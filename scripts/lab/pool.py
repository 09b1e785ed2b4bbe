"""edgenode in the lab: nodes and a coordinator, each in a host and with a data folder of its own, as a user would run them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .clock import WallClock
from .host import Host
from .namespaces import LabFailed

BIN = Path(sys.executable).parent
STAND_IN = Path(__file__).with_name("stand_in")
SECONDS = 240.0
"""Enough for anything on a busy machine; what takes longer has failed."""


@dataclass(frozen=True, slots=True)
class Told:
    """A JSON object that a command printed, and when (`time.monotonic`) it came."""

    at: float
    what: dict[str, Any]


class Output:
    """The JSON lines of a running command, as they come. What goes to its stderr is kept for when it fails."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self.process = process
        self._errors = errors
        self._told: list[Told] = []
        self._ended = False
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self, wanted: Callable[[dict[str, Any]], bool], after: float = 0.0, seconds: float = SECONDS) -> Told:
        """The first object told at `after` (`time.monotonic`) or later that is wanted. Raises `LabFailed` if none comes."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._news:
            while True:
                for told in self._told[seen:]:
                    if told.at >= after and wanted(told.what):
                        return told
                seen = len(self._told)
                if self._ended or not self._news.wait(deadline - time.monotonic()):
                    raise LabFailed(self._complaint(seconds))

    def _read(self) -> None:
        assert self.process.stdout is not None
        # The lab closes the pipe when it ends the command.
        with contextlib.suppress(ValueError, OSError):
            for line in self.process.stdout:
                told = Told(time.monotonic(), json.loads(line))
                with self._news:
                    self._told.append(told)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _complaint(self, seconds: float) -> str:
        last = json.dumps(self._told[-1].what) if self._told else "nothing"
        ending = "ended" if self._ended else f"told nothing of the kind within {seconds:.0f} s"
        errors = self._errors.read_text(encoding="utf-8", errors="replace").strip()
        return f"{self._errors.stem} of {self._errors.parent.name} {ending}. It told last: {last}. Its errors: {errors or 'none'}"


class Member:
    """The programs of one host: they share a data folder that no other host's see. With a `clock` they go by it."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder / host.name
        self.folder.mkdir(parents=True)
        self.clock: WallClock | None = None
        # Nothing of the user's, and no proxy: in the host there is only the lab, and everything usable there is used.
        foreign = ("EDGENODE_", "OPENAI_", "OLLAMA_")
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(foreign) and not key.lower().endswith("_proxy")
        }
        own = {"EDGENODE_DATA": str(self.folder / "data"), "EDGENODE_CONFIG": str(self.folder / "config.toml")}
        self.environment = kept | own

    def ask(self, command: str, *arguments: str | Path) -> dict[str, Any]:
        """Runs `edgenode` or `coordinator` with `--json` to its end and returns what it prints. Raises `LabFailed` if it fails."""
        line = (*self.program(command), *arguments, "--json")
        done = self.host.run(*line, timeout=SECONDS, env=self.environment)
        if done.returncode != 0:
            raise LabFailed(f"`{command} {' '.join(map(str, arguments))}` failed in {self.host.name}: {done.stdout}{done.stderr}")
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def begin(self, command: str, *arguments: str | Path) -> Output:
        """Starts one of them with `--json`, to go on."""
        errors = self.folder / f"{command}.err"
        line = (*self.program(command), *arguments, "--json")
        with errors.open("w", encoding="utf-8") as stderr:
            process = self.host.popen(*line, stderr=stderr, env=self.environment)
        return Output(process, errors)

    def set_clock(self, ahead: float) -> None:
        """So many seconds ahead of the right time, for what runs here and has a clock to go by."""
        assert self.clock is not None, "it goes by a clock"
        self.clock.jump(ahead)

    def program(self, command: str) -> list[str]:
        """What runs `edgenode` or `coordinator` here."""
        return [str(BIN / command)] if self.clock is None else self.clock.command(BIN / command)


class LabNode(Member):
    """`edgenode start`, called as its host. Started again it is the same node."""

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(host, folder)
        self.name = host.name
        self._engine: tuple[str | Path, ...] = ("--engine", "deterministic")
        self._output: Output | None = None
        self._crash = self.folder / "crash"

    def stand_in(self, model: Path, speed: str, pace: Path) -> None:
        """From its next start it serves the GGUF file `model` by an engine in a child process, where only the native library is
        replaced by one that answers as the deterministic engine does, at `speed` (READ:WRITE, tokens a second) and until the time
        in the file `pace` (see `stand_in`)."""
        self._engine = ("--engine", "xllamacpp", "--model", model, "--threads", "1")
        before = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(STAND_IN), *([before] if before else [])])
        self.environment |= {"PYTHONPATH": path, "LAB_SPEED": speed, "LAB_PACE": str(pace), "LAB_CRASH": str(self._crash)}

    @property
    def output(self) -> Output:
        assert self._output is not None, "it has been started"
        return self._output

    @property
    def address(self) -> str:
        """HOST:PORT by IPv4, once it serves."""
        _, _, port = str(self.output.wait(lambda told: "address" in told).what["address"]).rpartition(":")
        return f"{self.host.address}:{port}"

    @property
    def code(self) -> str:
        """The pairing code that it shows."""
        return str(self.output.wait(lambda told: bool(told.get("code"))).what["code"])

    def start(self, *options: str | Path) -> None:
        """Does not wait until it serves."""
        home = self.folder / "home"
        named = ("--home", home, "--name", self.name)
        self._output = self.begin("edgenode", "start", *named, *self._engine, *options)

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it, SIGCONT thaws it; SIGKILL ends it, and SIGTERM after a goodbye."""
        self.output.process.send_signal(number)

    def wait_ended(self) -> None:
        self.output.process.wait(timeout=SECONDS)

    def crash_engine(self) -> None:
        """A fault of native code ends the process of the engine that stands in, in the midst of the next work it has."""
        self._crash.touch()

    def spare_engine(self) -> None:
        """Takes `crash_engine` back if it had no work."""
        self._crash.unlink(missing_ok=True)


class Watch:
    """`coordinator nodes --watch`: what somebody who looks at the list of nodes sees, and when."""

    def __init__(self, coordinator: Member, *options: str | Path) -> None:
        self._output = coordinator.begin("coordinator", "nodes", "--watch", *options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Not by Ctrl-C, which is ignored by what a shell started in the background.
        self._output.process.terminate()
        self._output.process.wait(timeout=SECONDS)

    def wait(self, name: str, states: Collection[str], after: float = 0.0, address: str = "") -> Told:
        """When the node `name` was first shown in one of `states`, at `after` or later; `what` is the node, at `address` if that is
        given. Raises `LabFailed` if that does not come."""

        def is_meant(told: dict[str, Any]) -> bool:
            node = told["node"]
            return node["name"] == name and node["state"] in states and node["address"].startswith(address)

        told = self._output.wait(is_meant, after)
        return Told(told.at, told.what["node"])


def start_paired(coordinator: Member, nodes: Sequence[LabNode], *options: str | Path) -> None:
    """Starts nodes, each with an invitation of the coordinator's, and returns when all have been paired and joined."""
    for node in nodes:
        node.start("--invite", coordinator.ask("coordinator", "invite")["token"], *options)
    with Watch(coordinator) as watch:
        for node in nodes:
            watch.wait(node.name, ["joined"])
