"""What a reader is told, and the form of its reply."""

import json
from pathlib import Path

from coordinator.documents.chunks import estimate_tokens, make_chunks
from coordinator.minions import prompts
from coordinator.minions.findings import MAX_ANSWER_CHARACTERS
from coordinator.types import Chunk, Document, Sentence, Task


def chunk_of(*sentences: str) -> Chunk:
    parts, at = [], 0
    for text in sentences:
        parts.append(Sentence(at, at + len(text), text))
        at += len(text) + 1
    return Chunk(0, "D1", 0, at, tuple(parts))


def choices(chunk: Chunk) -> list[str | None]:
    loaded = json.loads(prompts.reply_schema(chunk))
    enum: list[str | None] = loaded["properties"]["quote"]["enum"]
    return enum


def test_chunk_comes_first_and_once() -> None:
    """What a chunk's tasks have in common stands before what differs, so that the prompt cache holds it."""
    chunk = chunk_of("The rent is 900 EUR.", "It is due on the 1st.")
    shared = prompts.shared_text(chunk)
    assert "The rent is 900 EUR.\nIt is due on the 1st.\n" in shared
    assert shared.endswith("\n")
    assert prompts.instruction(Task(0, "What is the rent?"), overview=False) == "Question: What is the rent?"
    assert "What is the rent?" in prompts.instruction(Task(0, "What is the rent?"), overview=True)


def test_schema_offers_the_chunks_sentences() -> None:
    """The quotation is one of the chunk's own sentences, each once, or null; the answer is bounded; quotation comes first."""
    chunk = chunk_of("The rent is 900 EUR.", "1.", "賃料は月額九万円とする。", "The rent is 900 EUR.")
    schema = json.loads(prompts.reply_schema(chunk))
    assert list(schema["properties"]) == schema["required"] == ["quote", "answer"]
    assert schema["additionalProperties"] is False
    assert choices(chunk) == ["The rent is 900 EUR.", "賃料は月額九万円とする。", None]
    assert schema["properties"]["answer"] == {"type": "string", "maxLength": MAX_ANSWER_CHARACTERS}


def test_chunk_without_quotable_sentences() -> None:
    """Where nothing can be quoted a reader can only abstain."""
    assert choices(chunk_of("1.", "—")) == [None]


def test_reply_tokens_hold_the_longest_reply() -> None:
    """Whatever sentence is chosen, sentence and answer fit the tokens allowed; what could not fit cannot be chosen."""
    for sentence in ("The tenant gives notice. ", "賃借人は退去の一箇月前までに書面で通知する。", "12/05/2026 4,711.00 ", "🏠🔑"):
        longest = (sentence * 300)[:300]
        chunk = chunk_of("Yes, we do.", longest)
        tokens = prompts.reply_tokens(chunk)
        assert tokens <= prompts.MAX_REPLY_TOKENS
        for choice in choices(chunk):
            answer = (sentence * 300)[:MAX_ANSWER_CHARACTERS]
            reply = json.dumps({"quote": choice, "answer": answer}, ensure_ascii=False)
            assert estimate_tokens(reply) <= tokens
    assert longest not in choices(chunk)


def test_reply_tokens_of_short_sentences_are_few() -> None:
    """A node is not told to reserve for a long sentence that the chunk does not have."""
    assert prompts.reply_tokens(chunk_of("The rent is due on the first day of each month.")) < prompts.MAX_REPLY_TOKENS / 4


def test_overhead_leaves_room_for_everything_else() -> None:
    """A chunk cut to a context less the overhead fits that context with system text, longest instruction and reply."""
    text = "The tenant pays the rent on the first day of each month. 賃借人は毎月一日に賃料を支払う。\n\n" * 200
    document = Document("D1", "lease.txt", Path("lease.txt"), text)
    tasks = (Task(0, "Who pays?"), Task(1, "By when must the rent be paid, and into which account? " * 6))
    context = 2_048
    for chunk in make_chunks((document,), max_tokens=context - prompts.overhead_tokens(tasks)):
        for task in tasks:
            for overview in (False, True):
                prompt = prompts.SYSTEM + prompts.shared_text(chunk) + prompts.instruction(task, overview)
                assert estimate_tokens(prompt) + prompts.reply_tokens(chunk) <= context


def test_overhead_leaves_a_small_context_most_of_its_room() -> None:
    """An ordinary question leaves nearly a chunk of ordinary size in a context of 2,048 tokens."""
    assert 2_048 - prompts.overhead_tokens((Task(0, "What must we do before we move out, and by when?"),)) > 850
