"""How a long job on a model file shows that it moves."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class PullProgress:
    """`done_bytes` of `total_bytes` (None where nobody knows) of one step. `what` names the step and starts with a verb in -ing."""

    done_bytes: int
    total_bytes: int | None
    what: str


Report = Callable[[PullProgress], None]


def silent(_: PullProgress) -> None:
    """Reports to nobody."""


def readable_size(count: int) -> str:
    """`count` bytes as people say it, in powers of ten as shops and download pages do: "98.4 MB"."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.95 or (unit == "bytes" and count < 1000):
            return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@contextmanager
def progress_bar(stream: TextIO | None = None) -> Iterator[Report]:
    """Yields a report that draws a bar a step on `stream` (standard error unless told).

    Where `stream` is no terminal, each step is one line when it starts and one when it is done.
    """
    target = sys.stderr if stream is None else stream
    display: _Bars | _Lines = _Bars(target) if target.isatty() else _Lines(target)
    try:
        yield display.report
    except BaseException:
        display.close(finished=False)
        raise
    display.close(finished=True)


class _Bars:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._what = ""
        self._bar: tqdm[NoReturn] | None = None

    def report(self, progress: PullProgress) -> None:
        from tqdm import tqdm  # not needed by a node that only serves

        if self._bar is None or progress.what != self._what:
            self.close(finished=True)
            self._what = progress.what
            self._bar = tqdm(
                desc=progress.what,
                total=progress.total_bytes,
                initial=progress.done_bytes,
                unit="B",
                unit_scale=True,
                file=self._stream,
                dynamic_ncols=True,
            )
        self._bar.total = progress.total_bytes
        self._bar.update(progress.done_bytes - self._bar.n)

    def close(self, *, finished: bool) -> None:  # noqa: ARG002 - a bar stays as it stands either way
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: PullProgress | None = None

    def report(self, progress: PullProgress) -> None:
        if self._last is None or progress.what != self._last.what:
            self.close(finished=True)
            size = f" ({readable_size(progress.total_bytes)})" if progress.total_bytes else ""
            self._say(f"{progress.what}{size} ...")
        self._last = progress

    def close(self, *, finished: bool) -> None:
        if self._last is not None and finished:
            self._say(f"{self._last.what}: done, {readable_size(self._last.done_bytes)}.")
        self._last = None

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
