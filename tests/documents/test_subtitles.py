"""Subtitles of all makers: what is said, by whom and when."""

import pytest

from coordinator.documents.subtitles import read_subtitles


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "1\n00:00:01,000 --> 00:00:02,000 X1:1 X2:2\n{\\an8}One\n\ntwo.\n\n2\n00:00:03,000 --> 00:00:04,000\nThree.\n",
            "One two. Three.",
        ),
        ("1\n00:00:01,000 --> 00:00:02,000\nOne.\n2\n00:00:03,000 --> 00:00:04,000\nTwo.\n", "One. Two."),
        ("1\n00:00:01,000 --> 00:00:02,000\nNo.\n\n2\n00:00:20,000 --> 00:00:21,000\nNo.\n", "No. No."),
        ("1\n00:00:01,000 --> 00:00:02,000\n元栓は\n\n2\n00:00:03,000 --> 00:00:04,000\n黄色です。\n", "元栓は黄色です。"),
        (
            (
                "WEBVTT\n\nNOTE secret\n\nSTYLE\n::cue{}\n\nid\n00:01.000 --> 00:02.000 align:start\n"
                "<v Roger>In <c.x>York</c> &amp; here.\n\nNOTE no\n"
            ),
            "Roger: In York & here.",
        ),
    ],
)
def test_captions(source: str, text: str) -> None:
    """Empty lines inside a caption, none between two, words said twice, Japanese without spaces, voices; notes are not said."""
    assert read_subtitles(source.encode()).text == f"[0:00:01] {text}"
