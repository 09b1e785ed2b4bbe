"""Which frames of HTTP/2 come through, in whatever pieces they arrive."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.net.http2 import (
    MAX_CONTINUATIONS,
    MAX_FRAME_BYTES,
    MAX_HEADER_BLOCK_BYTES,
    PREFACE,
    Budget,
    Budgets,
    FrameCheck,
    FrameError,
)
from tests.attacks.floods import frame

BUDGETS = Budgets(data=Budget(20, 1), updates=Budget(10, 1), control=Budget(5, 1))
HEADERS, CONTINUATION, PING, END_HEADERS = 1, 9, 6, 4


def checked(*frames: bytes, budgets: Budgets = BUDGETS) -> FrameCheck:
    check = FrameCheck(budgets, 0.0)
    check.feed(PREFACE + b"".join(frames), 0.0)
    return check


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20), st.data())
def test_pieces_make_no_difference(payloads: list[bytes], data: st.DataObject) -> None:
    """Twenty frames that are within the budget pass and the next one does not, wherever the stream is cut."""
    whole = PREFACE + b"".join(frame(0, 0, 1, each) for each in payloads)
    check, at = FrameCheck(Budgets(Budget(len(payloads), 0), Budget(0, 0), Budget(0, 0)), 0.0), 0
    while at < len(whole):
        step = data.draw(st.integers(1, len(whole) - at))
        check.feed(whole[at : at + step], 0.0)
        at += step
    with pytest.raises(FrameError):
        check.feed(frame(0, 0, 1, b"x"), 0.0)


@pytest.mark.parametrize(
    "frames",
    [
        [frame(PING, 0, 0, b"12345678")] * 6,
        [frame(4, 0, 0)] * 6,
        [frame(0, 0, 1)] * 6,
        [frame(2, 0, 1, b"\0\0\0\0\x10")] * 6,
        [frame(3, 0, 1, b"\0\0\0\x08")] * 6,
        [frame(99, 0, 0, b"x")] * 6,
        [frame(HEADERS, END_HEADERS, 1, b"x")] * 6,
        [frame(8, 0, 0, b"\0\0\0\x01")] * 11,
        [frame(0, 0, 1, b"x")] * 21,
        [frame(5, END_HEADERS, 1, b"x")],
        [frame(CONTINUATION, END_HEADERS, 1, b"x")],
        [frame(HEADERS, 0, 1, b"x"), frame(PING, 0, 0, b"12345678")],
        [frame(HEADERS, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 3, b"x")],
        [frame(HEADERS, END_HEADERS, 1, b"x" * 600)] * 2,
        [struct.pack(">I", MAX_FRAME_BYTES + 1)[1:] + b"\0\0\0\0\0\x01"],
    ],
)
def test_what_no_client_of_ours_sends_is_refused(frames: list[bytes]) -> None:
    """More than the budget, or not as HTTP/2 has it."""
    with pytest.raises(FrameError):
        checked(*frames)


@pytest.mark.parametrize(("length", "passes"), [(0, MAX_CONTINUATIONS), (MAX_HEADER_BLOCK_BYTES // 4, 3)])
def test_headers_in_endless_pieces_are_refused(length: int, passes: int) -> None:
    """When they are too long, and empty ones, which never are."""
    piece = frame(CONTINUATION, 0, 1, b"x" * length)
    check = checked(frame(HEADERS, 0, 1, b"x"), *[piece] * passes, budgets=Budgets(*[Budget(1_000, 0)] * 3))
    with pytest.raises(FrameError):
        check.feed(piece, 0.0)


def test_budgets_come_back_with_time() -> None:
    """One ping a second passes for ever."""
    check = checked()
    for second in range(100):
        check.feed(frame(PING, 0, 0, b"12345678"), float(second))


@given(st.binary(max_size=400))
def test_bytes_that_are_nothing_are_refused_or_passed(data: bytes) -> None:
    """No other error, whatever comes."""
    with suppress(FrameError):
        checked(data)
