"""A reader's own words are a hint, and no way out for the document's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.minions.echo import LATIN_RUN, Echo

DOCUMENT = "The secret code of the safe is 4711 88. The deposit is paid back within six weeks. この金庫の暗証番号は四七一一である。"
QUOTE = "The deposit is paid back within six weeks."


@pytest.mark.parametrize(
    "answer",
    [
        "The secret code of the safe is 4711 88.",
        "the SECRET code, of the safe: is",
        "It is said that the secret code of the safe is known",
        "この金庫の暗証番号は",
    ],
)
def test_the_documents_text_is_known_again(answer: str) -> None:
    """Without its full stop, in other letters, in part, within other words, in Japanese: it is a copy."""
    assert Echo(["Another document.", DOCUMENT]).copies(answer, QUOTE)


@pytest.mark.parametrize(
    "answer", ["", "six weeks", "within six weeks after moving out", "The deposit is paid back within six weeks.", "4711"]
)
def test_own_words_and_the_quotation_pass(answer: str) -> None:
    """An answer may repeat what is quoted anyway, and say a few words of its own."""
    assert not Echo([DOCUMENT]).copies(answer, QUOTE)


@given(st.text("abcdefghij ", min_size=3 * LATIN_RUN, max_size=200), st.data())
def test_no_long_run_of_a_document_passes(document: str, data: st.DataObject) -> None:
    """Whatever is cut out of it, if it has letters enough it is found."""
    start = data.draw(st.integers(0, len(document)))
    end = data.draw(st.integers(start, len(document)))
    piece = document[start:end]
    assert Echo([document]).copies(piece, "") == (len(piece.replace(" ", "")) >= LATIN_RUN)
