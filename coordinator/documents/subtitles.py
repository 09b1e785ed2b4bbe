"""Subtitles (.srt, .vtt): what is said, with the time at which each passage begins."""

import re
from typing import Final

from coordinator.documents.builder import Builder, fold
from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, clean
from coordinator.errors import DocumentError

_TIME: Final = re.compile(r"\s*(?:(\d+):)?(\d\d):(\d\d)[.,]\d+\s*-->")
_MARKUP: Final = re.compile(r"</?[a-zA-Z][^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
_END: Final = re.compile(r"[.!?…。！？]['\"”’」』)]*$")
_PASSAGE_CHARACTERS: Final = 400


def read_subtitles(data: bytes) -> Extract:
    builder = Builder()
    passage, began, last = "", "", ""
    cues = 0
    for block in re.split(r"\n\s*\n", clean(decode(data))):
        lines = block.strip().split("\n")
        at = next((position for position, line in enumerate(lines[:2]) if _TIME.match(line)), None)
        if at is None:
            continue  # a header, a note, a style
        cues += 1
        match = _TIME.match(lines[at])
        assert match is not None, "it has just matched"
        text = fold(_MARKUP.sub("", " ".join(lines[at + 1 :])))
        # Captions made by machines show each line again while the next one comes.
        if not text or text == last:
            continue
        text, last = text.removeprefix(last).strip() if last and text.startswith(last) else text, text
        began = began or f"[{int(match[1] or 0)}:{match[2]}:{match[3]}]"
        passage = f"{passage} {text}".strip()
        if (_END.search(passage) and len(passage) > _PASSAGE_CHARACTERS / 4) or len(passage) > _PASSAGE_CHARACTERS:
            builder.paragraph(f"{began} {passage}")
            passage, began = "", ""
    if not cues:
        raise DocumentError("it is damaged, or holds no subtitles")
    if passage:
        builder.paragraph(f"{began} {passage}")
    return builder.extract()
