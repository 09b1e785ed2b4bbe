"""Replies are checked before anybody believes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.documents.chunks import make_chunks
from coordinator.documents.retrieval import Index
from coordinator.minions import prompts
from coordinator.minions.findings import (
    MAX_ANSWER_CHARACTERS,
    MAX_QUOTE_CHARACTERS,
    MAX_REPLY_CHARACTERS,
    MalformedReply,
    check_reply,
    retrieved_findings,
)
from coordinator.minions.plan import Plan, make_plan
from coordinator.types import (
    Abstained,
    Answered,
    Chunk,
    Document,
    Place,
    Reading,
    Rejected,
    Retrieved,
    Section,
    SectionKind,
    Sentence,
    Task,
)
from edgenode.types import NodeId

TEXT = "Lease.\fThe rent is\n  900 EUR. It is due on the ﬁrst day.\fＴｈｅ ｋｅｙｓ: ｶﾞﾚｰｼﾞ 鍵 2. The rent is 900 EUR."
STARTS = (0, TEXT.index("\f") + 1, TEXT.rindex("\f") + 1)
PAGES = tuple(Section(SectionKind.PAGE, number, start) for number, start in enumerate(STARTS, 1))
DOCUMENT = Document("D7", "lease.pdf", Path("lease.pdf"), TEXT, PAGES)
NODE = NodeId("node-1")
TASK = Task(3, "What is the rent?")


def sentence(begin: str, end: str) -> Sentence:
    start = TEXT.index(begin)
    stop = TEXT.index(end, start) + len(end)
    return Sentence(start, stop, " ".join(TEXT[start:stop].split()))


SENTENCES = (sentence("The rent", "EUR."), sentence("It is", "day."), sentence("Ｔｈｅ", "2."))
CHUNK = Chunk(5, "D7", SENTENCES[0].start, SENTENCES[-1].end, SENTENCES)


def check(quote: object, answer: object = "900") -> Answered | Abstained | Rejected:
    return check_reply(json.dumps({"quote": quote, "answer": answer}), TASK, CHUNK, DOCUMENT, NODE)


def test_chosen_sentence_is_answered_with_its_place() -> None:
    """A sentence of the chunk is verified, with its own offsets and page and the document's exact text."""
    finding = check("The rent is 900 EUR.", " 900\u202e EUR\x1b\n ")
    place = Place("D7", 2, SENTENCES[0].start, SENTENCES[0].end, "page 2")
    assert finding == Answered(3, 5, place, "The rent is\n  900 EUR.", "900 EUR", NODE)


@pytest.mark.parametrize(
    ("quote", "page", "expected"),
    [
        ("It is due on the first day.", 2, "It is due on the ﬁrst day."),
        ("due on the first", 2, "due on the ﬁrst"),
        ("The keys: ガレージ 鍵 2.", 3, "Ｔｈｅ ｋｅｙｓ: ｶﾞﾚｰｼﾞ 鍵 2."),
        ("ガレージ", 3, "ｶﾞﾚｰｼﾞ"),
        ("900 EUR. It is", 2, "900 EUR. It is"),
    ],
)
def test_quotation_after_normalisation(quote: str, page: int, expected: str) -> None:
    """A quotation that differs in width, ligatures or white space, or is only a part, is found where it stands."""
    finding = check(quote)
    assert isinstance(finding, Answered)
    assert finding.quote == TEXT[finding.place.start : finding.place.end] == expected
    assert finding.place.page == page


@pytest.mark.parametrize(
    "quote",
    ["The rent is 950 EUR.", "Lease.", "the rent is 900 eur.", "", "  ", ".", "2", "x" * (MAX_QUOTE_CHARACTERS + 1), "\ud800 rent"],
)
def test_quotation_that_is_not_there_is_rejected(quote: str) -> None:
    """An invented, trivial or overlong quotation, or one from outside the chunk, is rejected and kept clean and short."""
    finding = check(quote)
    assert isinstance(finding, Rejected)
    assert (finding.task, finding.chunk, finding.node) == (3, 5, NODE)
    assert len(finding.quote) <= MAX_QUOTE_CHARACTERS
    finding.quote.encode()


def test_null_is_an_abstention() -> None:
    """A reader that quotes nothing has abstained, whatever it answers."""
    assert check(None, "no idea") == Abstained(3, 5, NODE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The rent is 900 EUR.",
        "[]",
        "null",
        '{"quote": 7, "answer": "x"}',
        '{"quote": ["The rent is 900 EUR."], "answer": "x"}',
        '{"quote": "The rent is 900 EUR.", "answer": "cut off',
        "[" * (MAX_REPLY_CHARACTERS - 10),
        '{"quote": null, "answer": ' + "9" * 5_000 + "}",
        json.dumps({"quote": None, "answer": "x" * MAX_REPLY_CHARACTERS}),
    ],
)
def test_garbage_is_malformed(text: str) -> None:
    """Anything but the schema is one failed subtask, never another exception."""
    with pytest.raises(MalformedReply):
        check_reply(text, TASK, CHUNK, DOCUMENT, NODE)


@given(
    st.text(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), lambda it: st.lists(it) | st.dictionaries(st.text(), it)).map(json.dumps)
)
def test_no_reply_breaks_the_check(text: str) -> None:
    """Whatever a node sends, the check says malformed or gives an outcome."""
    try:
        finding = check_reply(text, TASK, CHUNK, DOCUMENT, NODE)
    except MalformedReply:
        return
    assert isinstance(finding, Answered | Abstained | Rejected)


def test_answer_is_capped_and_may_not_carry_other_sentences() -> None:
    """A reader's own words are short, and do not smuggle a sentence out that it did not quote."""
    capped = check("The rent is 900 EUR.", "word " * 100)
    assert isinstance(capped, Answered)
    assert len(capped.answer) <= MAX_ANSWER_CHARACTERS
    same = check("The rent is 900 EUR.", "The rent is 900 EUR.")
    assert isinstance(same, Answered)
    assert same.answer == "The rent is 900 EUR"


def test_every_choice_of_the_schema_is_answered() -> None:
    """Whatever the reply's schema lets a model choose passes the check, at a sentence's own place, verbatim."""
    text = "第1条　賃料は月額９万円とする。\n支払いは毎月ﾂｲﾀﾁまで。\n\n| rent | 900 |\n| deposit | ﬁve |\n\n“Keys?” Yes — 2.\n" * 3
    document = Document("D1", "a.txt", Path("a.txt"), text)
    (chunk,) = make_chunks((document,), max_tokens=4_000)
    choices = json.loads(prompts.reply_schema(chunk))["properties"]["quote"]["enum"]
    assert len(choices) > 4
    places = {(each.start, each.end) for each in chunk.sentences}
    for choice in choices[:-1]:
        finding = check_reply(json.dumps({"quote": choice, "answer": ""}), TASK, chunk, document, NODE)
        assert isinstance(finding, Answered)
        assert (finding.place.start, finding.place.end) in places
        assert finding.quote == text[finding.place.start : finding.place.end]


@dataclass(frozen=True, slots=True)
class Hit:
    chunk: int
    sentence: int
    score: float


class Hits:
    """Sentences by a table: query -> hits."""

    def __init__(self, table: Mapping[str, Sequence[Hit]]) -> None:
        self._table = table

    def sentences(self, query: str, limit: int) -> list[Hit]:
        return list(self._table.get(query, ()))[:limit]


def test_retrieved_findings_are_by_task() -> None:
    """Each task's strongest sentences become findings with place, page, exact text and score; what says nothing is left out."""
    short = Chunk(1, "D7", 0, 6, (Sentence(0, 1, "L"),))
    chunks = (Chunk(0, "D7", CHUNK.start, CHUNK.end, SENTENCES), short)
    tasks = (Task(0, "rent"), Task(1, "due"))
    plan = Plan("rent and due?", tasks, False, ())
    hits = Hits({"rent": [Hit(0, 0, 3.0), Hit(0, 1, 1.0), Hit(1, 0, 0.5)], "due": [Hit(0, 1, 2.0)]})
    found = retrieved_findings(plan, chunks, {"D7": DOCUMENT}, hits)
    assert [(each.task, each.chunk, each.quote, each.score) for each in found] == [
        (0, 0, "The rent is\n  900 EUR.", 3.0),
        (0, 0, "It is due on the ﬁrst day.", 1.0),
        (1, 0, "It is due on the ﬁrst day.", 2.0),
    ]
    assert all(TEXT[each.place.start : each.place.end] == each.quote and each.place.page == 2 for each in found)


def test_retrieval_finds_the_sentence_without_any_reader() -> None:
    """With the real index the sentence that answers is the strongest finding."""
    filler = "".join(f"Clause {number}: the parties agree on matter number {number}.\n\n" for number in range(300))
    text = filler + "The security deposit is paid back within six weeks.\n\n" + filler
    document = Document("D1", "a.txt", Path("a.txt"), text)
    chunks = make_chunks((document,), max_tokens=900)
    index = Index(chunks)
    plan = make_plan("When is the security deposit paid back?", chunks, index, Reading.AUTO)
    found: tuple[Retrieved, ...] = retrieved_findings(plan, chunks, {"D1": document}, index)
    assert found[0].quote == "The security deposit is paid back within six weeks."
    assert plan.bundles[0].chunk == found[0].chunk
