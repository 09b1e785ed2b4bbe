"""Chunks are whole sentences of one document, of a size that a small model reads well."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.documents.chunks import MIN_TOKENS, TARGET_TOKENS, estimate_tokens, make_chunks, typical_tokens
from coordinator.documents.sentences import split_sentences
from coordinator.types import Cell, Document, Row, Section, SectionKind

LEASE = (Path(__file__).parent / "data" / "lease_ja.md").read_text(encoding="utf-8")
PROSE = "The tenant shall pay the rent on the first day of each month. Late payments bear interest, which is due at once.\n\n" * 200


def document(text: str, label: str = "D1", page_starts: tuple[int, ...] = ()) -> Document:
    sections = tuple(Section(SectionKind.PAGE, number, start) for number, start in enumerate(page_starts, 1))
    return Document(label, f"{label}.txt", Path(f"{label}.txt"), text, sections)


@given(
    st.lists(st.text(st.sampled_from("ab. 。\n\n家🙂1|"), max_size=1200), max_size=3),
    st.integers(MIN_TOKENS, 1500),
)
def test_all_sentences_are_in_the_chunks_in_order(texts: list[str], max_tokens: int) -> None:
    """No text is lost, no chunk is too large, and none reaches across documents."""
    documents = [document(text, f"D{number}") for number, text in enumerate(texts)]

    chunks = make_chunks(documents, max_tokens=max_tokens)

    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    for whole in documents:
        own = [chunk for chunk in chunks if chunk.document == whole.label]
        sentences = [sentence for chunk in own for sentence in chunk.sentences]
        assert "".join("".join(sentence.text.split()) for sentence in sentences) == "".join(whole.text.split())
        assert all(before.end <= after.start for before, after in pairwise(sentences))
    for chunk in chunks:
        assert estimate_tokens(chunk.text) <= max_tokens
        assert (chunk.start, chunk.end) == (chunk.sentences[0].start, chunk.sentences[-1].end)


def test_chunks_are_about_equal_and_near_the_target() -> None:
    """A long text gives chunks that fill most of the target, the last one too."""
    sizes = [estimate_tokens(chunk.text) for chunk in make_chunks([document(PROSE)], max_tokens=3000)]

    assert len(sizes) > 5
    assert min(sizes) > 0.7 * TARGET_TOKENS
    assert max(sizes) <= 1.25 * TARGET_TOKENS


@pytest.mark.parametrize("repetitions", [17, 18, 19, 20, 21, 36, 37, 38])
def test_the_last_chunk_is_no_small_remainder(repetitions: int) -> None:
    """Text a little longer than a chunk is shared out rather than leaving a line over."""
    text = PROSE[: len(PROSE) // 200 * repetitions]

    sizes = [estimate_tokens(chunk.text) for chunk in make_chunks([document(text)], max_tokens=1000)]

    assert min(sizes) > 0.6 * max(sizes)


def test_chunks_end_with_paragraphs() -> None:
    """Where paragraphs are short, no chunk begins inside one."""
    chunks = make_chunks([document(PROSE)], max_tokens=1000)

    assert all(chunk.sentences[0].text.startswith("The tenant") for chunk in chunks)


def test_a_sentence_goes_on_over_a_page() -> None:
    """A page may end in the middle of a sentence, which stays one quotation on the page where it begins."""
    text = "It runs on over the page. The next one is there."
    made = document(text, page_starts=(0, text.index("over")))

    (chunk,) = make_chunks([made], max_tokens=100)

    assert [sentence.text for sentence in chunk.sentences] == ["It runs on over the page.", "The next one is there."]
    assert [made.page_at(sentence.start) for sentence in chunk.sentences] == [1, 2]


def table(*rows: tuple[str, ...], names: tuple[str, ...]) -> Document:
    text, found = "Before.\n\n", []
    for row in rows:
        start, cells = len(text), []
        for name, value in zip(names, row, strict=True):
            cells.append(Cell(len(text), len(text) + len(value), name))
            text += f"{value}  "
        found.append(Row(start, cells[-1].end, tuple(cells)))
        text += "\n"
    return Document("D1", "t.pdf", Path("t.pdf"), f"{text}\nAfter.", (), tuple(found))


def test_a_row_of_a_table_is_a_quotation_with_its_columns_names() -> None:
    """A row is one sentence, whatever stops its cells hold, and says what its numbers are."""
    made = table(("Jan. 1. Rent", "410.20"), ("Feb.", "395.75"), names=("Month", "EUR"))

    (chunk,) = make_chunks([made], max_tokens=500)

    assert [sentence.text for sentence in chunk.sentences] == [
        "Before.",
        "Month: Jan. 1. Rent | EUR: 410.20",
        "Month: Feb. | EUR: 395.75",
        "After.",
    ]
    assert made.text[chunk.sentences[2].start : chunk.sentences[2].end].split() == ["Feb.", "395.75"]


def test_a_long_row_is_several_quotations_each_with_the_rows_label() -> None:
    """A record of forty columns is more than a quotation: each piece of it says which record it is of, and none is lost."""
    values = tuple(f"value {number} of it" for number in range(40))
    made = table(("Flat 7", *values), names=("flat", *(f"column {number}" for number in range(40))))

    sentences = [sentence.text for chunk in make_chunks([made], max_tokens=1000) for sentence in chunk.sentences[1:-1]]

    assert all(text.startswith("flat: Flat 7 | ") and len(text) < 400 for text in sentences)
    assert all(any(f"column {number}: {value}" in text for text in sentences) for number, value in enumerate(values))


def test_a_sentence_larger_than_a_chunk_is_cut_further() -> None:
    """300 Japanese characters do not fit 100 tokens, and are not dropped for it."""
    text = "賃" * 300

    chunks = make_chunks([document(text)], max_tokens=100)

    assert "".join(chunk.text.replace("\n", "") for chunk in chunks) == text


def test_ordinary_chunks_hold_the_documents_own_sentences() -> None:
    """With room enough, chunking leaves sentences as the splitter made them."""
    chunks = make_chunks([document(LEASE)], max_tokens=1000)

    assert tuple(sentence for chunk in chunks for sentence in chunk.sentences) == split_sentences(LEASE)


def test_too_little_room_is_an_error() -> None:
    """A limit that not even one character fits is the caller's mistake."""
    with pytest.raises(ValueError, match="at least"):
        make_chunks([], max_tokens=MIN_TOKENS - 1)


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        (
            "Die Kündigungsfrist beträgt drei Monate zum Ende eines Kalendervierteljahres; die Kündigung bedarf der Schriftform. "
            * 10,
            451,
        ),
        ("NOTWITHSTANDING ANYTHING TO THE CONTRARY HEREIN, LESSEE SHALL INDEMNIFY LESSOR PURSUANT TO § 12(b)(iii). " * 10, 431),
        ("Pt. prescribed amoxicillin-clavulanate 875/125 mg BID x10d; follow-up w/ otolaryngology re: cholesteatoma. " * 10, 442),
        ("모든 사람은 평등하다. " * 20, 481),
        ("Съешь ещё этих мягких французских булок. " * 10, 392),
        ("ZX81QK-77F3-0A9C GB29NWBK60161331926819 " * 20, 721),
    ],
)
def test_the_estimate_is_near_what_was_measured(text: str, measured: int) -> None:
    """Against SmolLM2's own tokenizer: at most 10 % too few, at most twice too many."""
    assert 0.9 * measured <= estimate_tokens(text) <= 2 * measured


@given(st.text(), st.text())
def test_the_estimate_grows_with_the_text(one: str, other: str) -> None:
    """Parts never count less than the whole, so that a sum of parts is a safe bound."""
    assert estimate_tokens(one + other) <= estimate_tokens(one) + estimate_tokens(other)


def test_the_usual_count_for_a_cloud_model() -> None:
    """Four Latin characters a token, one Japanese."""
    assert typical_tokens("abcdefgh") == 2
    assert typical_tokens("賃貸借契約") == 5
    assert typical_tokens("") == 0
