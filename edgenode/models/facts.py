"""What was once learnt of a model file: its header and its digest, remembered so that gigabytes are not hashed at each start."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from edgenode.errors import ModelFileError
from edgenode.models.gguf import GgufHeader, read_header
from edgenode.models.progress import PullProgress, Report
from edgenode.text import clean_line

BLOCK_BYTES = 1 << 20
MAX_NOTE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Facts:
    header: GgufHeader
    digest: str
    """Lower-case hex SHA-256 of the whole file."""


class Notebook:
    """A folder with one small note for each file, valid as long as the file's size and time of change stay as noted.

    A note that is missing, damaged or cannot be written costs time and nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, path: Path) -> Facts | None:
        """What is known of `path` without reading it; None when it is not known, or has changed since."""
        try:
            status = path.stat()
            with self._note(path).open("rb") as file:
                note = json.loads(file.read(MAX_NOTE_BYTES))
            if note["size"] != status.st_size or note["mtime_ns"] != status.st_mtime_ns:
                return None
            facts = Facts(GgufHeader(**note["header"]), note["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return facts if re.fullmatch("[0-9a-f]{64}", str(facts.digest)) else None

    def header(self, path: Path) -> GgufHeader:
        """The header of `path`, without hashing the file. Raises `ModelFileError`."""
        known = self.recall(path)
        return known.header if known else read_header(path)

    def learn(self, path: Path, report: Report) -> Facts:
        """The header and digest of `path`, hashing the file if need be. Raises `ModelFileError`."""
        known = self.recall(path)
        if known:
            return known
        header = read_header(path)
        try:
            before = path.stat()
            digest = digest_of(path, report, f"Checking {clean_line(path.name)}")
            after = path.stat()
        except OSError as error:
            raise ModelFileError(f"{clean_line(str(path))} cannot be read: {error.strerror or error}.") from error
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ModelFileError(f"{clean_line(str(path))} is being written by another program. Try again when that is done.")
        self.note(path, Facts(header, digest))
        return Facts(header, digest)

    def note(self, path: Path, facts: Facts) -> None:
        """Remembers `facts` for `path` as it is now."""
        with contextlib.suppress(OSError):
            status = path.stat()
            content = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "digest": facts.digest}
            write_json(self._note(path), {**content, "header": dataclasses.asdict(facts.header)})

    def forget(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            self._note(path).unlink()

    def _note(self, path: Path) -> Path:
        # By a hash of the path: models outside the store are noted too, and any length of name fits.
        return self._folder / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]}.json"


def digest_of(path: Path, report: Report, what: str) -> str:
    """Lower-case hex SHA-256 of the file at `path`. Raises `OSError`."""
    hasher = hashlib.sha256()
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
            done += len(block)
            report(PullProgress(done, total, what))
    return hasher.hexdigest()


def write_json(path: Path, content: object) -> None:
    """Writes a small file whole or not at all, also when several processes do. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        half.write_text(json.dumps(content), encoding="utf-8")
        half.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            half.unlink()
        raise
