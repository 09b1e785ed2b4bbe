"""Quotations are found where they stand."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordinator.minions.quotation import fold, locate, normalise

# Characters whose normalisation expands, contracts, composes or is white space, among ordinary ones.
TRICKY = "aeosT1 \n\t\u00a0\u3000\u2028ﬁﬀ①㍿㈱１Ａｶｷﾊﾞﾟか\u3099é\u0301\u0316\u0308¨…㎡Åᄀ\u1161\u11a8각\u09c7\u09be।。"
TEXTS = st.text(alphabet=st.one_of(st.sampled_from(TRICKY), st.characters(codec="utf-8")), max_size=60)


def whole(text: str, position: int) -> bool:
    """Whether nothing that normalises together spans `position`: what stands before it and after it normalise by themselves, and no
    mark is cut from the character that bears it, composed or not."""
    nfkc = unicodedata.normalize
    if 0 < position < len(text) and unicodedata.combining(nfkc("NFKD", text[position])[0]):
        return False
    return nfkc("NFKC", text) == nfkc("NFKC", text[:position]) + nfkc("NFKC", text[position:])


@given(TEXTS, st.data())
@example("a ¨b", None)
@example("000\u0301", None)
def test_any_range_is_located(text: str, data: st.DataObject | None) -> None:
    """Any range of a text that cuts no composed character is found, at a place that is equal after normalisation."""
    edges = [position for position in range(len(text) + 1) if whole(text, position)]
    start, end = sorted((data.draw(st.sampled_from(edges)), data.draw(st.sampled_from(edges)))) if data else (0, len(text))
    quote = text[start:end]
    place = locate(quote, text, 0, len(text))
    if not normalise(quote):
        assert place is None
        return
    assert place is not None
    assert normalise(text[place[0] : place[1]]) == normalise(quote)
    assert place[1] <= end


@given(TEXTS, st.data())
def test_normalised_range_is_located(text: str, data: st.DataObject) -> None:
    """A model that writes the quotation in its normalised form is understood as well."""
    edges = [position for position in range(len(text) + 1) if whole(text, position)]
    start, end = sorted((data.draw(st.sampled_from(edges)), data.draw(st.sampled_from(edges))))
    quote = normalise(text[start:end])
    place = locate(quote, text, 0, len(text))
    assert (place is None) == (not quote)
    if place:
        assert normalise(text[place[0] : place[1]]) == quote


@given(TEXTS, TEXTS)
def test_located_place_holds_the_quotation(quote: str, text: str) -> None:
    """What is located really holds the quotation, whatever the two texts are."""
    place = locate(quote, text, 0, len(text))
    if place is not None:
        assert 0 <= place[0] < place[1] <= len(text)
        assert normalise(quote) in unicodedata.normalize("NFKC", fold(unicodedata.normalize("NFKC", text)))


@pytest.mark.parametrize(
    ("quote", "text", "expected"),
    [
        ("first", "the ﬁrst day", "ﬁrst"),
        ("2026", "令和（２０２６）年", "２０２６"),
        ("ガス代", "（ｶﾞｽ代）", "ｶﾞｽ代"),
        ("ｶﾞｽ代", "ガス代", "ガス代"),
        ("may leave", "you may\n   leave now", "may\n   leave"),
        ("café", "the cafe\u0301 door", "cafe\u0301"),
        ("cafe\u0301", "the café door", "café"),
        ("25 m2", "is 25 ㎡ large", "25 ㎡"),
        ("株式", "㈱ 株式", "株式"),
        ("(株", "a㈱b", "㈱"),
        ("각", "x\u1100\u1161\u11a8y", "\u1100\u1161\u11a8"),
    ],
)
def test_known_places(quote: str, text: str, expected: str) -> None:
    """Ligatures, full width, half-width katakana with voiced marks, combining marks and folded white space map back exactly."""
    place = locate(quote, text, 0, len(text))
    assert place is not None
    assert text[place[0] : place[1]] == expected


def test_only_within_the_range() -> None:
    """What stands outside the range, or across its edge, is not found."""
    text = "one two one three"
    assert locate("one", text, 4, len(text)) == (8, 11)
    assert locate("three", text, 0, 14) is None
    assert locate("two one", text, 0, 9) is None
