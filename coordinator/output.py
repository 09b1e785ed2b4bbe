"""What `--json` prints: the shapes that scripts rely on. Keys are added, never renamed.

One object on standard output, or nothing where a command fails, with the sentence on standard error. `ask` and `resume` print
theirs when they fail or are interrupted, too, with the sentence as "error"; only wrong usage (exit status 2) prints nothing.
"answer" is "" where there is none, and what is not known is null.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from coordinator.types import Answer, Status

if TYPE_CHECKING:
    from coordinator.events import NodeInfo


def node_json(node: "NodeInfo") -> dict[str, Any]:
    from coordinator.events import NodeState

    return {
        "id": node.id,
        "name": node.name,
        "address": node.address,
        "state": node.state.value,
        "trust": "unpaired" if node.state is NodeState.UNPAIRED else "paired",
        "why": node.why,
        "draining": node.draining,
        "status": None if node.status is None else asdict(node.status),
        "engine": node.engine or None,
        "unchecked": node.unchecked or None,
        "engine_state": node.engine_state.value if node.engine_state else None,
        "models": [
            {
                "name": model.name,
                "digest": model.digest or None,
                "quantization": model.quantization or None,
                "context_tokens": model.context_tokens,
                "parameters": model.parameters or None,
            }
            for model in node.models
        ],
    }


def answer_json(answer: Answer) -> dict[str, Any]:
    return {
        "run": answer.run,
        "status": answer.status.value,
        "answer": answer.text,
        "answered_by": answer.answered_by,
        "citations": [asdict(citation) for citation in answer.citations],
        "passages": [asdict(citation) for citation in answer.passages],
        "findings": asdict(answer.findings),
        "nodes": [asdict(node) for node in answer.nodes],
        "ledger": asdict(answer.ledger),
        "seconds": answer.seconds,
        "incomplete": answer.incomplete or None,
        "unread": [asdict(each) for each in answer.unread],
    }


NO_ANSWER: dict[str, Any] = {
    "run": None,
    "status": Status.FAILED.value,
    "answer": "",
    "answered_by": "home",
    "citations": [],
    "passages": [],
    "findings": {"answered": 0, "retrieved": 0, "abstained": 0, "rejected": 0, "failed": 0},
    "nodes": [],
    "ledger": {"requests": [], "document_characters": 0, "whole_document_tokens": 0},
    "seconds": 0.0,
    "incomplete": None,
    "unread": [],
}
