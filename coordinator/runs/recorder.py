"""Writes down what happens in a run as it happens: the events that the live view sees, those that tell its story."""

import logging
from collections.abc import Callable
from typing import Any

from coordinator.errors import RunError
from coordinator.events import (
    Aggregating,
    Cancelled,
    DocumentGap,
    DocumentSkipped,
    Ended,
    Event,
    Found,
    Leased,
    Lost,
    NodeChanged,
    NodeGone,
    NodeJoined,
    NodeState,
    Planned,
    Retried,
    RunStarted,
    SupervisorTrouble,
    Warned,
)
from coordinator.runs.journal import Journal
from coordinator.types import Failed, Rejected
from edgenode.text import clean_line
from edgenode.types import NodeId

log = logging.getLogger(__name__)

MAX_WORDS = 500


class Recorder:
    """Called with each event: keeps it if it matters afterwards, then passes it on.

    A story that cannot be written down ends no run: the findings and the ledger are what must be kept, and they are written by
    others, who do raise.
    """

    def __init__(self, journal: Journal, emit: Callable[[Event], None]) -> None:
        self._journal = journal
        self._emit = emit
        self._told: dict[NodeId, tuple[NodeState, bool]] = {}
        self._broken = False

    def __call__(self, event: Event) -> None:
        row = self._row(event)
        if row is not None and not self._broken:
            kind, fields = row
            words = {key: clean_line(value, MAX_WORDS) if isinstance(value, str) else value for key, value in fields.items()}
            try:
                self._journal.add_event(kind, words)
            except RunError as error:
                self._broken = True
                log.warning("What happens from here on is not written down. %s", error)
        self._emit(event)

    def _row(self, event: Event) -> tuple[str, dict[str, Any]] | None:
        match event:
            case RunStarted():
                return "sitting", {"number": self._journal.sitting}
            case DocumentSkipped(name, reason):
                return "skipped", {"name": name, "reason": reason}
            case DocumentGap(_, name, gap):
                return "skipped", {"name": name, "reason": f"{gap.reason[0].upper()}{gap.reason[1:]}."}
            case NodeJoined(node):
                self._told[node.id] = (node.state, bool(node.draining))
                model = node.models[0].name if node.models else ""
                return "joined", {"node": node.id, "name": node.name, "model": model, "engine": node.engine}
            case NodeChanged(node):
                # A battery that falls by another percent is no news.
                told = (node.state, bool(node.draining))
                if self._told.get(node.id) == told:
                    return None
                self._told[node.id] = told
                state = {"state": node.state.value, "why": node.why, "draining": node.draining}
                return "changed", {"node": node.id, "name": node.name, **state}
            case NodeGone(id, name, why):
                return "gone", {"node": id, "name": name, "why": why}
            case Planned(tasks, overview, chunks, chunks_read, subtasks, done):
                numbers = {"chunks": chunks, "chunks_read": chunks_read, "subtasks": subtasks, "done": done}
                return "planned", {"tasks": len(tasks), "overview": overview, **numbers}
            case Leased(node, lease, document, page, subtasks, hedge):
                # Hedges are rare and tell of trouble; they are not to be crowded out.
                where = {"document": document, "page": page}
                return "hedged" if hedge else "leased", {"node": node, "lease": lease, **where, "subtasks": subtasks}
            case Cancelled(node, lease, subtasks, why):
                return "cancelled", {"node": node, "lease": lease, "subtasks": subtasks, "why": why}
            case Lost(node, lease, subtasks, why):
                return "lost", {"node": node, "lease": lease, "subtasks": subtasks, "why": why}
            case Retried(node, message):
                return "retried", {"node": node, "message": message}
            case Found(Rejected(task, chunk, _, node)):
                return "rejected", {"node": node, "task": task, "chunk": chunk}
            case Found(Failed(task, chunk, reason, message, nodes)):
                return "failed", {"task": task, "chunk": chunk, "reason": reason.value, "message": message, "nodes": list(nodes)}
            case Aggregating(by, model, findings):
                return "aggregating", {"by": by, "model": model, "findings": findings}
            case SupervisorTrouble(message, wait):
                return "trouble", {"message": message, "wait_seconds": round(wait, 3)}
            case Warned(message):
                return "warned", {"message": message}
            case Ended(answer):
                return "ended", {"status": answer.status.value, "by": answer.answered_by}
            case _:
                return None
