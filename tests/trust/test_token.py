import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.errors import UsageError
from edgenode.trust.token import TOKEN_CHARACTERS, Invite, format_token, parse_token
from edgenode.types import AuthorityId

invites = st.builds(
    Invite,
    authority=st.binary(min_size=16, max_size=16).map(lambda data: AuthorityId(data.hex())),
    id=st.binary(min_size=4, max_size=4).map(bytes.hex),
    secret=st.binary(min_size=16, max_size=16),
)
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@given(invites, st.sampled_from([str, str.upper, str.title, lambda text: text.replace("-", " "), lambda text: f"\n {text}\t"]))
def test_a_token_comes_back(invite: Invite, change) -> None:  # type: ignore[no-untyped-def]
    """However it was copied: case, dashes and white space do not matter."""
    assert parse_token(change(format_token(invite))) == invite


def test_a_token_may_be_typed_in_full_width() -> None:
    """As a Japanese keyboard does when nobody looks."""
    invite = Invite(AuthorityId("0123456789abcdef" * 2), "01ab23cd", bytes(range(16)))
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in format_token(invite))
    assert parse_token(wide) == invite


@given(invites, st.integers(0, TOKEN_CHARACTERS - 1), st.sampled_from(LETTERS))
def test_one_wrong_letter_is_told(invite: Invite, place: int, letter: str) -> None:
    """Wherever it is: a mistyped token must not become a pairing that fails without a reason."""
    text = format_token(invite).replace("-", "")
    if text[place] == letter:
        return
    with pytest.raises(UsageError, match="mistyped"):
        parse_token(text[:place] + letter + text[place + 1 :])


@given(invites, st.integers(0, TOKEN_CHARACTERS - 2))
def test_two_swapped_letters_are_told(invite: Invite, place: int) -> None:
    """The other common slip."""
    text = format_token(invite).replace("-", "")
    if text[place] == text[place + 1]:
        return
    with pytest.raises(UsageError, match="mistyped"):
        parse_token(text[:place] + text[place + 1] + text[place] + text[place + 2 :])


@given(invites, st.integers(0, TOKEN_CHARACTERS - 1))
def test_a_token_cut_short_is_told(invite: Invite, length: int) -> None:
    """With both lengths in the sentence."""
    text = format_token(invite).replace("-", "")
    with pytest.raises(UsageError, match=f"has {length} characters and should have {TOKEN_CHARACTERS}"):
        parse_token(text[:length])


@given(st.text(max_size=120) | st.text(LETTERS + "018é", min_size=TOKEN_CHARACTERS, max_size=TOKEN_CHARACTERS))
def test_what_is_no_token_is_a_usage_error(text: str) -> None:
    """And nothing else, for any text."""
    with pytest.raises(UsageError):
        parse_token(text)


def test_errors_and_reprs_do_not_tell_the_secret() -> None:
    """They end in logs."""
    invite = Invite(AuthorityId("a" * 32), "01ab23cd", b"sixteen bytes !!")
    assert "sixteen" not in repr(invite)
    token = format_token(invite)
    for text in (token + token, token[:-1] + "1", token[:-1] + ("a" if token[-1] != "a" else "b")):
        with pytest.raises(UsageError) as told:
            parse_token(text)
        assert token[:8] not in str(told.value)
