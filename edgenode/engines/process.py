"""One engine process: started, told apart from a failed start, watched, stopped. `child` keeps one running."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final, Self

from edgenode.engines.child_main import Orders, encode_orders
from edgenode.errors import EngineError
from edgenode.text import clean_line

START_SECONDS: Final = 600.0
STOP_SECONDS: Final = 3.0
LOG_BYTES: Final = 4 * 1024 * 1024
_WORDS_BYTES: Final = 16 * 1024


def module_command(module: str) -> tuple[str, ...]:
    """The command of a child main in this package. `-P`: what lies in the current folder must not be imported for it."""
    return (sys.executable, "-P", "-m", module)


class EngineProcess:
    """A process that follows the protocol of `child_main`, in a session of its own: Ctrl-C on the terminal reaches the node alone,
    which then stops its engine in its own time."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, key: str) -> None:
        self._process = process
        self._log = log
        self.key = key
        """The API key, made for this start alone."""
        self.port = 0

    @classmethod
    async def start(cls, command: Sequence[str], orders: Orders, log: Path, seconds: float = START_SECONDS) -> Self:
        """Starts it and returns when it serves. `log` gets what the library prints. Raises `EngineError` with its last words."""
        orders = replace(orders, key=secrets.token_urlsafe(32))
        try:
            with _new_log(log) as file:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    start_new_session=True,
                )
        except OSError as error:
            raise EngineError(
                f"The engine cannot be started: {error.strerror or error} ({error.filename or command[0]})."
            ) from error
        child = cls(process, log, orders.key)
        try:
            async with asyncio.timeout(seconds):
                child.port = await child._hello(orders)
        except TimeoutError:
            await child.stop()
            raise EngineError(f"The engine did not load its model within {seconds:g} seconds; its log is {log}.") from None
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def wait(self) -> str:
        """Waits for its end and tells it, for the middle of a sentence: "ended by SIGSEGV"."""
        return ending(await self._process.wait())

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def trim_log(self) -> None:
        """Empties the log once it has grown large: a node may run for months, on little storage."""
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > LOG_BYTES:
                os.truncate(self._log, 0)

    async def stop(self) -> None:
        """Ends it: asks by closing its input, then by SIGTERM, then kills. Takes a few seconds at the very most."""
        assert self._process.stdin is not None, "piped"
        self._process.stdin.close()
        for insist in (self.terminate, self.kill, None):
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes as the process ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
                return
            if insist is not None:
                insist()

    async def _hello(self, orders: Orders) -> int:
        assert self._process.stdin is not None, "piped"
        assert self._process.stdout is not None, "piped"
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(encode_orders(orders))
            await self._process.stdin.drain()
        try:
            line = await self._process.stdout.readline()
        except ValueError:  # longer than a line may be
            line = b"?"
        if not line:
            raise EngineError(f"The engine {await self.wait()} before it served: {self._last_words()} (its log is {self._log}).")
        port = _port(line)
        if port is None:
            raise EngineError(f"The engine's process did not say where it serves; its log is {self._log}.")
        return port

    def _last_words(self) -> str:
        try:
            with self._log.open("rb") as file:
                text = file.read(_WORDS_BYTES).decode("utf-8", "replace")
        except OSError:
            text = ""
        return last_words(text)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, number)
                else:
                    self._process.send_signal(number)


def ending(status: int) -> str:
    """The end of a process in words, from its exit status as `subprocess` gives it: negative for a signal."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}" + (" (perhaps for lack of memory)" if name == "SIGKILL" else "")


def last_words(log: str) -> str:
    """The line of a log that says best why the engine did not start: the first complaint of the native library, which names the
    cause where later ones only pass it on; without one, the last line."""
    lines = [clean_line(line, 300) for line in log.partition("Traceback (most recent call last)")[0].splitlines()]
    complaints = [line for line in lines if "error" in line.lower() or "failed" in line.lower()]
    rest = [clean_line(line, 300) for line in log.splitlines() if line.strip()]
    return (complaints or rest[-1:] or ["it said nothing"])[0].rstrip(".")


def _new_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Appended to, so that the file can be cut short while the process writes.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return open(os.open(path, flags, 0o600), "wb")  # noqa: PTH123 - a descriptor has no Path.open


def _port(line: bytes) -> int | None:
    try:
        told: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    port = told.get("port") if isinstance(told, dict) else None
    return port if isinstance(port, int) and 0 < port < 65_536 else None
