"""The key exchange, and the proofs after it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenode.errors import PairingError
from edgenode.trust.frames import (
    Answer,
    Begin,
    CertificateRequest,
    Done,
    Introduction,
    IssuedCertificate,
    PairingFrame,
    Proof,
    RefusalReason,
    Refused,
    Renew,
    SecretKind,
    frame_bytes,
)
from edgenode.trust.pake import MESSAGE_BYTES, Label, Pake, Transcript, same

ids = st.text("0123456789abcdef", min_size=32, max_size=32)
short = st.text(max_size=9)
frames: st.SearchStrategy[PairingFrame] = st.one_of(
    st.builds(
        Introduction, ids, st.text(max_size=9), st.text(max_size=9), st.floats(allow_nan=False), st.booleans(), st.tuples(ids)
    ),
    st.builds(Begin, st.sampled_from(SecretKind), st.binary(max_size=9), st.binary(max_size=9)),
    st.builds(Answer, st.binary(max_size=9)),
    st.builds(Proof, st.binary(max_size=9)),
    st.builds(Renew, ids),
    st.builds(CertificateRequest, st.binary(max_size=9), st.binary(max_size=9)),
    st.builds(IssuedCertificate, st.binary(max_size=9), st.binary(max_size=9)),
    st.just(Done()),
    st.builds(Refused, st.sampled_from(RefusalReason), st.text(max_size=9), st.floats(allow_nan=False)),
)


def keys(mine: tuple[bytes, bytes, bytes], yours: tuple[bytes, bytes, bytes]) -> tuple[bytes, bytes]:
    coordinator, node = Pake.of_coordinator(*mine), Pake.of_node(*yours)
    return coordinator.finish(node.message), node.finish(coordinator.message)


def test_one_secret_gives_one_key() -> None:
    """Both sides have the same 32 bytes, and others each time."""
    (first, again), (other, _) = (keys((b"s", b"c", b"n"), (b"s", b"c", b"n")) for _ in range(2))
    assert first == again != other
    assert len(first) == 32


@pytest.mark.parametrize("yours", [(b"t", b"c", b"n"), (b"s", b"d", b"n"), (b"s", b"c", b"m")])
def test_another_secret_or_identity_gives_another_key(yours: tuple[bytes, bytes, bytes]) -> None:
    """The secret, and who each side takes itself and the other for, must all agree."""
    first, second = keys((b"s", b"c", b"n"), yours)
    assert first != second


@settings(max_examples=60)
@given(st.one_of(st.binary(max_size=64), st.binary(min_size=MESSAGE_BYTES - 1, max_size=MESSAGE_BYTES - 1).map(lambda b: b"B" + b)))
def test_what_is_no_message_is_refused(data: bytes) -> None:
    """Garbage never raises anything but our error; a point that happens to be one gives a key that proves nothing."""
    side = Pake.of_coordinator(b"s", b"c", b"n")
    try:
        key = side.finish(data)
    except PairingError:
        return
    assert len(data) == MESSAGE_BYTES
    assert len(key) == 32


ODD = {
    "reflected": lambda own, other: own,
    "reflected and relabelled": lambda own, other: b"B" + own[1:],
    "longer": lambda own, other: other + b"x",
    "neutral element": lambda own, other: b"B\x01" + bytes(31),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_messages_are_refused(what: str) -> None:
    """Not a side's own message, nor one with something after it, nor the element that would make the key known."""
    own, other = Pake.of_coordinator(b"s", b"c", b"n"), Pake.of_node(b"s", b"c", b"n")
    with pytest.raises(PairingError):
        own.finish(ODD[what](own.message, other.message))


@given(frames, frames)
def test_each_frame_has_a_spelling_of_its_own(one: PairingFrame, other: PairingFrame) -> None:
    """Two frames are spelt alike only if they are equal, also when bytes move from one field to the next."""
    # 0.0 and -0.0 are equal to Python.
    assert (frame_bytes(one) == frame_bytes(other)) == (repr(one) == repr(other))


def test_bytes_cannot_move_between_fields() -> None:
    """The end of one field is not the beginning of the next."""
    assert frame_bytes(CertificateRequest(b"ab", b"c")) != frame_bytes(CertificateRequest(b"a", b"bc"))
    assert frame_bytes(CertificateRequest(b"a", b"b")) != frame_bytes(IssuedCertificate(b"a", b"b"))


def test_a_proof_covers_all_that_was_said() -> None:
    """Another label, key, order or frame gives another proof."""
    said, swapped, less = Transcript(), Transcript(), Transcript()
    for frame in (Answer(b"1"), Answer(b"2")):
        said.add(frame)
    for frame in (Answer(b"2"), Answer(b"1")):
        swapped.add(frame)
    less.add(Answer(b"1"))
    proofs = [said.confirm(b"k", label) for label in Label]
    proofs += [t.confirm(b"k", Label.NODE) for t in (swapped, less)]
    proofs += [said.confirm(b"l", Label.NODE), said.confirm(b"k", Label.NODE, Done())]
    assert len(set(proofs)) == len(proofs)
    assert same(less.confirm(b"k", Label.NODE, Answer(b"2")), said.confirm(b"k", Label.NODE))
    assert not same(b"", proofs[0])
