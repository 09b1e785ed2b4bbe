"""An answer is compared with the quotations that it rests on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.minions.support import supporting, unsupported


@pytest.mark.parametrize(
    ("answer", "quotation"),
    [
        ("The meeting is on Tuesday.", "We meet each Tuesday evening."),
        ("It costs 1,200 euros.", "The price is EUR 1200."),
        ("It costs 1.180 Euro.", "Die Miete beträgt 1,180 Euro."),
        ("Within six weeks.", "It is paid back within 6 weeks."),
        ("家賃は270,000円です。", "家賃は二十七万円とする。"),
        ("27万円です。", "家賃は270,000円とする。"),
        ("三十日以内です。", "退去の日から30日以内に返還する。"),
        ("Ask Ms Vogel.", "Keys are with Ms Vogel."),
        ("12.50 percent", "a rate of 12.5 percent"),
    ],
)
def test_the_same_said_in_another_form_is_supported(answer: str, quotation: str) -> None:
    """Numbers compare by value, days and names by their words."""
    assert unsupported(answer, [quotation], "") == ()


@pytest.mark.parametrize(
    ("answer", "quotation", "missing"),
    [
        ("The meeting is on Monday.", "We meet each Tuesday evening.", ("Monday",)),
        ("It costs 1,300 euros.", "The price is EUR 1200.", ("1300",)),
        ("家賃は280,000円です。", "家賃は二十七万円とする。", ("280000",)),
        ("金曜です。", "会議は火曜日に行う。", ("金曜",)),
        ("Ask Ms Meier.", "Keys are with Ms Vogel.", ("Meier",)),
    ],
)
def test_what_no_quotation_says_is_named(answer: str, quotation: str, missing: tuple[str, ...]) -> None:
    """A day, a number or a name that stands nowhere in the quotation is found."""
    assert unsupported(answer, [quotation], "") == missing


def test_what_the_question_says_needs_no_quotation() -> None:
    """An answer may repeat its question."""
    assert unsupported("In 2027 Ms Vogel pays.", ["She pays."], "Does Ms Vogel pay in 2027?") == ()


def test_another_quotation_is_cited_where_the_cited_one_does_not_hold_the_answer() -> None:
    """The first that holds it by itself; none where there is none."""
    quotations = ("The hall is closed.", "We meet on Tuesday.")
    assert supporting("On Tuesday.", (1,), quotations, "") == (1,)
    assert supporting("On Tuesday.", (0,), quotations, "") == (1,)
    assert supporting("On Monday.", (1,), quotations, "") == ()


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_quotation_supports_itself(text: str, question: str) -> None:
    """What is copied from a quotation is in it."""
    assert unsupported(text, [text], question) == ()
