"""What a node is doing now, and has done since it was started: as it tells this user in a private file beside that of `running`."""

import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgenode.errors import EdgenodeError, TrustError
from edgenode.home import write_private
from edgenode.trust.private import read_private
from edgenode.trust.running import running_folder
from edgenode.types import NodeId

SECONDS: Final = 2.0
"""Between two looks. Nothing is written while nothing changes."""
MAX_FILE_BYTES: Final = 65_536

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """A lease in work, for `coordinator`. Tokens are those of the subtask that is being read."""

    coordinator: str
    prompt_tokens: int = 0
    """0 where the engine tells no progress."""
    read_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    turns: tuple[Turn, ...] = ()
    waiting: int = 0
    """Leases."""
    subtasks: int = 0
    """That were answered since the start."""
    read_tokens: int = 0
    """By them, without what was in the cache."""
    written_tokens: int = 0
    seconds: float = 0.0
    """That the engine worked for them."""

    @property
    def tokens_per_second(self) -> float | None:
        return (self.read_tokens + self.written_tokens) / self.seconds if self.seconds > 0 else None


def activity_path(node: NodeId) -> Path:
    return running_folder() / f"{node}.activity"


def write_activity(node: NodeId, values: dict[str, Any]) -> None:
    """Never raises: that a node cannot tell what it does must not keep it from doing it."""
    try:
        write_private(activity_path(node), json.dumps(values, ensure_ascii=False) + "\n")
    except (EdgenodeError, OSError) as error:
        _log.debug("What the node does cannot be written: %s", error)


def remove_activity(node: NodeId) -> None:
    with suppress(OSError):
        activity_path(node).unlink()


def read_activity(node: NodeId) -> dict[str, Any]:
    """What the node wrote last; empty where there is nothing that can be read."""
    try:
        values = json.loads(read_private(activity_path(node), MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError, TrustError):
        return {}
    return values if isinstance(values, dict) else {}


def told(activity: Activity) -> dict[str, Any]:
    speed = activity.tokens_per_second
    return asdict(activity) | {"tokens_per_second": None if speed is None else round(speed, 1)}


def line(values: dict[str, Any]) -> str:
    """What `told` tells, in one line for a person: who asks, what is read, how fast."""
    speed = f"{values['tokens_per_second']:,.0f} tokens/s" if values["tokens_per_second"] else ""
    done = f"{values['subtasks']:,} answered"
    reading = []
    for turn in values["turns"]:
        if turn["completion_tokens"]:
            what = f"writes an answer, {turn['completion_tokens']:,} tokens"
        elif turn["prompt_tokens"]:
            what = f"reads, {turn['read_tokens']:,} of {turn['prompt_tokens']:,} tokens"
        else:
            what = "reads"
        reading.append(f"{what}, for {turn['coordinator']}")
    waiting = f"{values['waiting']:,} waiting" if values["waiting"] else ""
    return "; ".join(each for each in (*(reading or ["idle"]), waiting, done, speed) if each)
