"""Retrieval finds what answers a question, in Japanese and English, and says nothing where it knows nothing."""

import json
from pathlib import Path

import pytest

from coordinator.documents.chunks import make_chunks
from coordinator.documents.retrieval import Hit, Index, terms
from coordinator.types import Chunk, Document

DATA = Path(__file__).parent / "data"

MANUAL = """The dishwasher stands in the kitchen. Clean its filter every month under running water.

The heating is serviced in September. A technician of the manufacturer comes to the house for it.

The alarm code must be changed after each guest. Write the new one in the book.

Batteries of the smoke detectors last ten years. Replace them all at once."""


def chunks_of(*texts: str, max_tokens: int = 60) -> tuple[Chunk, ...]:
    documents = [Document(f"D{number}", "name", Path("name"), text) for number, text in enumerate(texts, start=1)]
    return make_chunks(documents, max_tokens=max_tokens)


def found(chunks: tuple[Chunk, ...], hit: Hit) -> str:
    return chunks[hit.chunk].sentences[hit.sentence].text


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How often do I have to clean the filter of the dishwasher?", "Clean its filter every month under running water."),
        ("When is the heating serviced?", "The heating is serviced in September."),
        ("What about the ALARM CODES?", "The alarm code must be changed after each guest."),
    ],
)
def test_the_sentence_that_answers_comes_first(question: str, answer: str) -> None:
    """Case, plurals and question words do not stand in the way."""
    chunks = chunks_of(MANUAL)

    assert found(chunks, Index(chunks).sentences(question, 1)[0]) == answer


def test_a_sentence_gains_by_its_neighbours() -> None:
    """A sentence that goes on about the thing asked for comes before one that shares nothing."""
    chunks = chunks_of(MANUAL)

    second = Index(chunks).sentences("When is the heating serviced?", 2)[1]

    assert found(chunks, second).startswith("A technician")


def test_the_neighbours_are_those_of_the_same_document() -> None:
    """The first sentence of a document gains nothing by the last of the one before."""
    chunks = chunks_of("Cats sleep.", "Dogs bark.")

    assert [found(chunks, hit) for hit in Index(chunks).sentences("cats", 5)] == ["Cats sleep."]


def test_scores_are_one_a_chunk_and_never_negative() -> None:
    """The best chunk is the one with the words of the question."""
    chunks = chunks_of(MANUAL)

    scores = Index(chunks).chunk_scores("smoke detector batteries")

    assert len(scores) == len(chunks)
    assert min(scores) >= 0
    assert "smoke" in chunks[scores.index(max(scores))].text


@pytest.mark.parametrize("question", ["", "what is it?", "zyzzyva", "？？", "ですか"])
def test_a_question_without_known_words_finds_nothing(question: str) -> None:
    """No score, no sentence and no chunk, rather than arbitrary ones."""
    chunks = chunks_of(MANUAL)
    index = Index(chunks)

    assert index.chunk_scores(question) == [0.0] * len(chunks)
    assert index.sentences(question, 3) == []
    assert index.relevant_chunks(question) == ()


def test_no_chunks_are_no_trouble() -> None:
    """An index of nothing answers with nothing, and one of texts without words too."""
    assert Index(()).chunk_scores("rent") == []
    assert Index(()).sentences("rent", 3) == []
    assert Index(()).relevant_chunks("rent") == ()
    assert Index(chunks_of("... --- !!!")).relevant_chunks("rent") == ()


def test_width_case_and_broken_lines_do_not_matter_in_japanese() -> None:
    """Half-width katakana, full-width letters and a line break inside a word are the same word."""
    assert terms("ｴｱｺﾝ") == terms("エアコン")
    assert terms("ＷｉＦｉ") == terms("wifi")
    assert terms("敷\n金") == terms("敷金")


def test_relevant_chunks_are_few_but_enough() -> None:
    """Of many chunks about something else at most a quarter is read, in order of the text."""
    other = "".join(f"Item {number} of the inventory is a chair with four legs and a blue cushion.\n\n" for number in range(100))
    chunks = chunks_of(other + "The rent is 900 EUR.\n\n" + other, max_tokens=100)
    index = Index(chunks)

    relevant = index.relevant_chunks("What is the rent?")
    everywhere = index.relevant_chunks("Which cushion is on the chair?")

    assert any("rent" in chunks[at].text for at in relevant)
    assert len(relevant) <= 4
    assert list(everywhere) == sorted(everywhere)
    assert len(everywhere) <= -(-len(chunks) // 4)


def test_a_japanese_lease_is_searched_well(capsys: pytest.CaptureFixture[str]) -> None:
    """27 questions as people ask them: what is read holds all the evidence, the three best sentences most; nothing is printed."""
    text = (DATA / "lease_ja.md").read_text(encoding="utf-8")
    questions = [json.loads(line) for line in (DATA / "lease_ja_questions.jsonl").read_text(encoding="utf-8").splitlines()]
    chunks = chunks_of(text, max_tokens=300)
    index = Index(chunks)
    in_chunks, in_sentences, read = 0, 0, 0
    for question in questions:
        (start, end), *_ = [(span["start"], span["end"]) for span in question["evidence"]]
        relevant = [chunks[at] for at in index.relevant_chunks(question["question"])]
        best = [chunks[hit.chunk].sentences[hit.sentence] for hit in index.sentences(question["question"], 3)]
        in_chunks += any(chunk.start <= start and end <= chunk.end for chunk in relevant)
        in_sentences += any(sentence.start < end and start < sentence.end for sentence in best)
        read += sum(chunk.end - chunk.start for chunk in relevant)

    assert in_chunks == len(questions)
    assert in_sentences >= 0.9 * len(questions)
    assert read < 0.2 * len(text) * len(questions)
    assert capsys.readouterr() == ("", "")
