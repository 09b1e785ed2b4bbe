"""Real text to read and questions to ask of it, as leases like those of a run."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.real_node import BenchFailed
from coordinator.documents.chunks import make_chunks
from coordinator.minions import prompts
from coordinator.types import Document, Task
from edgenode.types import Lease, LeaseId, Subtask, SubtaskId

HANDBOOK: Final = Path(__file__).resolve().parents[1] / "demo_text"
QUESTIONS: Final = ("What must a member do, and by when?", "Who pays for it, and how much?", "Whom should a member ask or tell?")


class RealWork:
    """The first `chunks` chunks of the demo's handbook, cut to `chunk_tokens` estimated tokens at most, each with the first
    `questions` of `QUESTIONS`. Raises `BenchFailed` when the handbook has fewer chunks."""

    def __init__(self, chunks: int, chunk_tokens: int, questions: int) -> None:
        text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(HANDBOOK.glob("*.md")))
        document = Document("D1", "handbook", HANDBOOK, text)
        self._chunks = make_chunks([document], max_tokens=chunk_tokens)
        if len(self._chunks) < chunks:
            raise BenchFailed(f"The handbook has {len(self._chunks)} chunks of {chunk_tokens} tokens, and not {chunks}.")
        self.chunks = range(chunks)
        self.tasks = tuple(Task(index, question) for index, question in enumerate(QUESTIONS[:questions]))
        self._numbers = itertools.count()

    def lease(self, model: str, chunk: int, tasks: Sequence[Task] = ()) -> Lease:
        """A lease with an id of its own that asks `tasks` of a chunk, all where none are named."""
        read = self._chunks[chunk]
        schema, tokens = prompts.reply_schema(read), prompts.reply_tokens(read)
        return Lease(
            LeaseId(f"bench-{next(self._numbers)}"),
            model,
            prompts.SYSTEM,
            prompts.shared_text(read),
            tuple(
                Subtask(SubtaskId(f"{task.index}.{chunk}"), prompts.instruction(task, overview=False), schema, tokens)
                for task in tasks or self.tasks
            ),
        )

    def bundles(self, model: str) -> list[Lease]:
        """All subtasks, those of a chunk together."""
        return [self.lease(model, chunk) for chunk in self.chunks]

    def one_by_one(self, model: str) -> list[Lease]:
        """The same subtasks, each in a lease of its own, as they come where nobody looks at what they share: question by question
        over all chunks, so that another chunk is in the cache each time."""
        return [self.lease(model, chunk, [task]) for task in self.tasks for chunk in self.chunks]
