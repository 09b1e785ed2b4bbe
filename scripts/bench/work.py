"""The benchmark's work: chunks with questions, what it demands of devices, and how soon it could be done at best."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from coordinator.minions import prompts
from coordinator.minions.plan import Bundle, Plan
from coordinator.types import Chunk, Document, Sentence, Task
from edgenode.engines.filler import as_json, fill, tokens
from edgenode.types import Subtask, SubtaskId

WRITE_PACE: Final = 0.3
"""Tokens written in the time of one read: 45 to 150 for a small model on an ordinary processor."""
SENTENCES: Final = (45, 65)
"""In a chunk, fewest and most: about 900 tokens."""
WORDS: Final = 14
TOPICS: Final = ("deposit", "heating", "garden")

Call = tuple[list[str], int]
"""Tokens of a subtask's prompt, and how many its reply has."""

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Demand:
    """What work takes at least: tokens read, with each chunk read once by one of the devices, and tokens written.

    It is what the deterministic engine charges a single device that does all bundles in order, where what a prompt has in common
    with the start of the one before comes from the prompt cache. `greeting` are the tokens that all prompts begin with: each
    further device has to read them, too, before its first chunk, and that is not counted as waste.
    """

    read: int
    written: int
    greeting: int

    @property
    def cost(self) -> float:
        return cost(self.read, self.written)


def cost(read: float, written: float) -> float:
    """In tokens read: seconds of a device that reads one token a second."""
    return read + written / WRITE_PACE


class Work:
    """`bundles` chunks of one made-up document, with the same `len(TOPICS)` questions each. The same for the same seed."""

    def __init__(self, bundles: int, seed: int) -> None:
        random_ = random.Random(seed)
        texts = [_chunk_text(random_, index) for index in range(bundles)]
        self.document = Document("D1", "benchmark.txt", Path("benchmark.txt"), "\n".join("\n".join(text) for text in texts))
        self.chunks: list[Chunk] = []
        at = 0
        for index, text in enumerate(texts):
            sentences = []
            for line in text:
                sentences.append(Sentence(at, at + len(line), line))
                at += len(line) + 1
            self.chunks.append(Chunk(index, "D1", sentences[0].start, sentences[-1].end, tuple(sentences)))
        tasks = tuple(Task(index, f"Who pays for the {topic}?") for index, topic in enumerate(TOPICS))
        self.plan = Plan("Who pays?", tasks, False, tuple(Bundle(chunk, tuple(range(len(tasks)))) for chunk in range(bundles)))
        self._schemas = [prompts.reply_schema(chunk) for chunk in self.chunks]
        calls = [self._calls(chunk) for chunk in range(bundles)]
        self.demand = _demand(calls)
        self.greatest_request = max(cost(len(prompt), written) for bundle in calls for prompt, written in bundle)
        """Cost of the largest subtask for a device that has nothing of it in its cache."""

    @property
    def subtasks(self) -> int:
        return len(self.chunks) * len(TOPICS)

    def subtask(self, task: int, chunk: int) -> Subtask:
        """As a node is asked it."""
        return Subtask(
            SubtaskId(f"{task}.{chunk}"),
            prompts.instruction(self.plan.tasks[task], overview=False),
            self._schemas[chunk],
            prompts.reply_tokens(self.chunks[chunk]),
        )

    def _calls(self, chunk: int) -> list[Call]:
        shared = prompts.shared_text(self.chunks[chunk])
        calls = []
        for task in range(len(TOPICS)):
            subtask = self.subtask(task, chunk)
            user = shared + subtask.instruction
            reply = as_json(fill(json.loads(subtask.reply_schema), user))
            calls.append((tokens(prompts.SYSTEM) + tokens(user), len(tokens(reply))))
        return calls


def ideal_seconds(cost: float, pace: float, speeds: Sequence[tuple[float, float]]) -> float:
    """How soon work of `cost` is done at best, from second 0, by devices whose speeds add up to so much from so many seconds on.

    `speeds` are (seconds, sum), ascending, the first from 0. A device of speed 1 does `pace` of the cost in a second. Infinite
    where the last sum is 0 and something is left.
    """
    for (since, speed), (until, _) in pairwise([*speeds, (float("inf"), 0.0)]):
        capacity = pace * speed * (until - since) if speed else 0.0
        if cost <= capacity:
            return since + cost / (pace * speed)
        cost -= capacity
    return float("inf")


def _demand(calls: Sequence[Sequence[Call]]) -> Demand:
    """Of the subtasks of each chunk."""
    in_order = [call for bundle in calls for call in bundle]
    first = in_order[0][0]
    read = len(first) + sum(len(prompt) - _common(before, prompt) for (before, _), (prompt, _) in pairwise(in_order))
    greeting = min((_common(first, bundle[0][0]) for bundle in calls[1:]), default=len(first))
    return Demand(read, sum(written for _, written in in_order), greeting)


def _chunk_text(random_: random.Random, index: int) -> list[str]:
    lines = []
    count = random_.randint(*SENTENCES)
    for number in range(count):
        words = ["".join(random_.choices(_LETTERS, k=4)) for _ in range(WORDS)]
        if number < len(TOPICS):
            words[WORDS // 2] = TOPICS[number]
        lines.append(f"Rule{index} " + " ".join(words) + ".")
    random_.shuffle(lines)
    return lines


def _common(one: list[str], other: list[str]) -> int:
    shared = next((at for at, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs), None)
    return min(len(one), len(other)) if shared is None else shared
