"""Measures how much of the evidence for known questions retrieval finds in a document, against how much of it is taken.

    python scripts/bench_retrieval.py DOCUMENT QUESTIONS.jsonl [--max-tokens N]

Each line of QUESTIONS is {"question": "...", "evidence": [{"start": 0, "end": 10}, ...]}: the passages that answer, as character
ranges of the document's extracted text (what `coordinator text DOCUMENT` prints). Recall is the share of the evidence's characters
that is taken, size the share of the document's. The baseline is BM25 with its usual settings over plain words (pairs of
characters where there are no spaces) on the same pieces.
"""

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import bm25s

from coordinator.documents.chunks import TARGET_TOKENS, make_chunks
from coordinator.documents.ingest import read_documents
from coordinator.documents.retrieval import RELEVANT_SCORE, RELEVANT_SHARE, Index

Span = tuple[int, int]

CHUNKS = (1, 2, 3, 4, 6)
SENTENCES = (3, 5, 8, 12)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--max-tokens", type=int, default=TARGET_TOKENS, help="of a chunk, estimated (%(default)s)")
    arguments = parser.parse_args()
    documents, skipped = read_documents([arguments.document])
    if len(documents) != 1:
        sys.exit(" ".join(file.reason for file in skipped) or "one document at a time")
    text = documents[0].text
    asked = [json.loads(line) for line in arguments.questions.read_text(encoding="utf-8").splitlines()]
    questions = [
        (entry["question"], {at for span in entry["evidence"] for at in range(span["start"], span["end"])}) for entry in asked
    ]
    chunks = make_chunks(documents, max_tokens=arguments.max_tokens)
    began = time.perf_counter()
    index = Index(chunks)
    built = time.perf_counter() - began
    print(
        f"{arguments.document.name}: {len(text)} characters, {len(chunks)} chunks of at most {arguments.max_tokens} tokens, "
        f"{sum(len(chunk.sentences) for chunk in chunks)} sentences, {len(questions)} questions; "
        f"Python {platform.python_version()}, bm25s {version('bm25s')}; index built in {built:.2f} s"
    )

    def show(name: str, take: Callable[[str], Iterable[Span]]) -> None:
        recalls, sizes = [], []
        for question, evidence in questions:
            taken = {at for start, end in take(question) for at in range(start, end)}
            recalls.append(len(taken & evidence) / len(evidence))
            sizes.append(len(taken) / len(text))
        print(f"{name:34} recall {fmean(recalls):.3f}   size {fmean(sizes):.3f}   largest {max(sizes):.3f}")

    def chunks_at(positions: Iterable[int]) -> list[Span]:
        return [(chunks[at].start, chunks[at].end) for at in positions]

    def best_chunks(scores: Callable[[str], list[float]], question: str, count: int) -> list[Span]:
        return chunks_at(top(scores(question), count))

    def best_sentences(question: str, count: int) -> list[Span]:
        found = [chunks[hit.chunk].sentences[hit.sentence] for hit in index.sentences(question, count)]
        return [(sentence.start, sentence.end) for sentence in found]

    plain_chunks = plain([chunk.text for chunk in chunks])
    quotable = [sentence for chunk in chunks for sentence in chunk.sentences]
    plain_sentences = plain([sentence.text for sentence in quotable])

    def plain_best(question: str, count: int) -> list[Span]:
        return [(quotable[at].start, quotable[at].end) for at in top(plain_sentences(question), count)]

    show(f"relevant chunks ({RELEVANT_SCORE}, {RELEVANT_SHARE})", lambda question: chunks_at(index.relevant_chunks(question)))
    for count in CHUNKS:
        show(f"best {count} chunks", partial(best_chunks, index.chunk_scores, count=count))
        show(f"  baseline, {count} chunks", partial(best_chunks, plain_chunks, count=count))
    for count in SENTENCES:
        show(f"best {count} sentences", partial(best_sentences, count=count))
        show(f"  baseline, {count} sentences", partial(plain_best, count=count))
    return 0


def plain(texts: list[str]) -> Callable[[str], list[float]]:
    """Textbook BM25 over `texts`: the baseline."""
    bm25 = bm25s.BM25()
    bm25.index([plain_terms(text) for text in texts], show_progress=False)

    def scores(query: str) -> list[float]:
        known = [term for term in plain_terms(query) if term in bm25.vocab_dict]
        return [float(score) for score in bm25.get_scores(known)] if known else [0.0] * len(texts)

    return scores


def plain_terms(text: str) -> list[str]:
    words = re.findall(r"[a-z0-9]+|[^\W_a-z0-9]+", text.lower())
    return [part for word in words for part in ([word] if word.isascii() else [word[at : at + 2] for at in range(len(word))])]


def top(scores: list[float], count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda at: -scores[at])[:count]


if __name__ == "__main__":
    sys.exit(main())
