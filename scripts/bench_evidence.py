"""Measures how much of the evidence for known questions reaches the supervisor's request, with readers and without.

    python scripts/bench_evidence.py DOCUMENT QUESTIONS.jsonl [--picks none|random|first|gold] [--budget CHARACTERS]

Each line of QUESTIONS is {"question": "...", "evidence": [{"start": 0, "end": 10}, ...]}: the passages that answer, as character
ranges of the document's extracted text (what `coordinator text DOCUMENT` prints). No model is run: readers are stood in for.
`random` choose any sentence of each chunk they read, `first` always its first, `gold` a sentence of evidence where the chunk has
one and nothing elsewhere. Recall is the share of the evidence's characters in the request, size the request's share of the
document's characters. "Retrieval alone" fills the same budget with the retrieved sentences.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from coordinator.documents.chunks import TARGET_TOKENS, make_chunks
from coordinator.documents.ingest import read_documents
from coordinator.documents.retrieval import Index
from coordinator.minions import aggregation
from coordinator.minions.findings import retrieved_findings
from coordinator.minions.plan import Plan, make_plan
from coordinator.types import Answered, Chunk, Document, Place, Reading, Retrieved, Sentence
from edgenode.types import NodeId

Span = tuple[int, int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--picks", choices=("none", "random", "first", "gold"), default="random")
    parser.add_argument("--budget", type=int, default=4_000, help="characters that may leave (%(default)s)")
    parser.add_argument("--max-tokens", type=int, default=TARGET_TOKENS, help="of a chunk, estimated (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    documents, skipped = read_documents([arguments.document])
    if not documents:
        print(*(each.reason for each in skipped), file=sys.stderr)
        return 1
    questions = [json.loads(line) for line in arguments.questions.read_text(encoding="utf-8").splitlines()]
    chunks = make_chunks(documents, max_tokens=arguments.max_tokens)
    index = Index(chunks)
    chance = random.Random(arguments.seed)
    rows: dict[str, list[tuple[float, float, int]]] = {"retrieval alone": [], f"with picks ({arguments.picks})": []}
    for each in questions:
        gold = [(span["start"], span["end"]) for span in each["evidence"]]
        plan = make_plan(each["question"], chunks, index, Reading.AUTO)
        retrieved = retrieved_findings(plan, chunks, {document.label: document for document in documents}, index)
        picks = tuple(_picks(arguments.picks, plan, chunks, documents[0], gold, chance))
        for findings, row in zip((retrieved, retrieved + picks), rows.values(), strict=True):
            row.append(_measure(findings, each["question"], gold, arguments.budget, len(documents[0].text)))
    print(f"{arguments.document.name}: {len(questions)} questions, {len(chunks)} chunks, budget {arguments.budget} characters")
    for name, row in rows.items():
        recalls, sizes, entries = zip(*row, strict=True)
        print(f"{name:24} recall {fmean(recalls):.3f}  size {fmean(sizes):.3f}  findings {fmean(entries):.1f}")
    return 0


def _measure(
    findings: Sequence[Answered | Retrieved], question: str, gold: list[Span], budget: int, length: int
) -> tuple[float, float, int]:
    selection = aggregation.select(findings, budget, question, {})
    user = aggregation.request(question, selection).user
    places = [finding.place for finding in selection.findings]
    found = sum(_overlap(place, span) for place in places for span in gold)
    return found / sum(end - start for start, end in gold), len(user) / length, len(places)


def _picks(
    kind: str, plan: Plan, chunks: Sequence[Chunk], document: Document, gold: list[Span], chance: random.Random
) -> Iterator[Answered]:
    for bundle in plan.bundles:
        chunk = chunks[bundle.chunk]
        for task in bundle.tasks:
            sentence: Sentence | None = None
            if kind == "random":
                sentence = chance.choice(chunk.sentences)
            elif kind == "first":
                sentence = chunk.sentences[0]
            elif kind == "gold":
                evidence = [each for each in chunk.sentences if any(_overlap(each, span) for span in gold)]
                sentence = chance.choice(evidence) if evidence else None
            if sentence is not None:
                place = Place(document.label, document.page_at(sentence.start), sentence.start, sentence.end)
                yield Answered(task, chunk.index, place, document.text[sentence.start : sentence.end], "", NodeId("simulated"))


def _overlap(place: Place | Sentence, span: Span) -> int:
    return max(0, min(place.end, span[1]) - max(place.start, span[0]))


if __name__ == "__main__":
    sys.exit(main())
