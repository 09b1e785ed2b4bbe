"""Children of the demo: started, shown, and always stopped again."""

import contextlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
"""Where the project's commands are: beside the Python that runs this."""

COMMAND_SECONDS = 60.0
STOP_SECONDS = 20.0
TICK_SECONDS = 0.2
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoFailed(Exception):
    """The demo cannot go on; the text says why."""


def take_signals() -> None:
    """Makes Ctrl-C raise `KeyboardInterrupt`, and requests to stop `SystemExit`, so that whatever runs is stopped in order."""
    # A shell that starts this in the background leaves Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _stop_asked)
    signal.signal(signal.SIGHUP, _stop_asked)


def say(text: str = "") -> None:
    print(text, flush=True)


def run(command: list[str], environment: Mapping[str, str]) -> int:
    """Runs one of the project's commands in the repository's folder on this terminal, and returns its exit status."""
    children: list[subprocess.Popen[bytes]] = []
    try:
        with uninterrupted():
            children.append(subprocess.Popen([str(BIN / command[0]), *command[1:]], env=environment, cwd=ROOT))
        return children[0].wait()
    except KeyboardInterrupt:
        # The terminal sent Ctrl-C to the child as well: it may say its own last word.
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=STOP_SECONDS)
        raise
    finally:
        stop(children)


def capture(command: list[str], environment: Mapping[str, str], doing: str, began: float) -> str:
    """Runs one of the project's commands and returns what it prints, while a clock ticks on the terminal."""
    children: list[subprocess.Popen[str]] = []
    deadline = time.monotonic() + COMMAND_SECONDS
    try:
        with uninterrupted():
            pipe = subprocess.PIPE
            program = [str(BIN / command[0]), *command[1:]]
            children.append(subprocess.Popen(program, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, encoding="utf-8"))
        while True:
            try:
                printed, complaint = children[0].communicate(timeout=TICK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise DemoFailed(f"`{shlex.join(command)}` did not end within {COMMAND_SECONDS:.0f} seconds.") from None
                _tick(f"   {doing} ... {time.monotonic() - began:.1f} s")
    finally:
        _tick("")
        stop(children)
    if children[0].returncode != 0:
        raise DemoFailed(f"`{shlex.join(command)}` failed: {complaint.strip()}")
    return printed


def stop(children: Sequence[subprocess.Popen[bytes] | subprocess.Popen[str]]) -> None:
    """Asks all children that still run to end, and kills those that have not after `STOP_SECONDS`. A node's engine dies with it."""
    with uninterrupted():
        running = [child for child in children if child.poll() is None]
        for child in running:
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in running:
            try:
                child.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts off Ctrl-C and requests to stop until the context ends, so that every child that was started is known and stopped."""
    asked: list[int] = []
    previous = {number: signal.signal(number, lambda number, _frame: asked.append(number)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if asked:
            signal.raise_signal(asked[0])


def _tick(text: str) -> None:
    """Rewrites the terminal's last line; says nothing in a pipe."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)


def _stop_asked(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
