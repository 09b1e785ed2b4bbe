"""Subtitles (.srt, .vtt): what is said, with the time at which each passage begins."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coordinator.documents.builder import Builder, fold
from coordinator.documents.encodings import decode
from coordinator.documents.extract import Extract, clean
from coordinator.errors import DocumentError

_TIME: Final = re.compile(r"\s*(?:(\d+):)?(\d\d):(\d\d)[.,](\d+)\s*-->\s*(?:(\d+):)?(\d\d):(\d\d)[.,](\d+)")
_VOICE: Final = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_MARKUP: Final = re.compile(r"</?[a-zA-Z][^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
_ASIDE: Final = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|\Z)")
_END: Final = re.compile(r"[.!?…。！？]['\"”’」』)]*$")
_WIDE: Final = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")
_PASSAGE_CHARACTERS: Final = 400
_AT_ONCE: Final = 1.0
"""Seconds between a caption and the same one shown again."""


@dataclass(frozen=True, slots=True)
class _Cue:
    start: float
    """In seconds, as is `end`."""
    end: float
    text: str


def read_subtitles(data: bytes) -> Extract:
    builder = Builder()
    cues = list(_cues(clean(decode(data)).split("\n")))
    if not cues:
        raise DocumentError("it is damaged, or holds no subtitles")
    passage, began, last = "", 0.0, _Cue(0, -1, "")
    for cue in cues:
        # Captions made by machines show each line again while the next one comes.
        again = last.text and cue.text.startswith(last.text) and cue.start - last.end < _AT_ONCE
        text = cue.text.removeprefix(last.text).strip() if again else cue.text
        last = cue
        if not text:
            continue
        if not passage:
            began = cue.start
        passage += ("" if not passage or (_WIDE.match(passage[-1]) and _WIDE.match(text)) else " ") + text
        if (_END.search(passage) and len(passage) > _PASSAGE_CHARACTERS / 4) or len(passage) > _PASSAGE_CHARACTERS:
            builder.paragraph(f"{_shown(began)} {passage}")
            passage = ""
    if passage:
        builder.paragraph(f"{_shown(began)} {passage}")
    return builder.extract()


def _cues(lines: list[str]) -> Iterator[_Cue]:
    """What is shown from when to when. A cue reaches to the next one, whatever empty lines are in it."""
    starts = [(number, match) for number, line in enumerate(lines) if (match := _TIME.match(line)) is not None]
    nexts = [*[number for number, _ in starts][1:], len(lines)]
    for (number, match), following in zip(starts, nexts, strict=False):
        inside = lines[number + 1 : following]
        # The next cue's own name stands before its times.
        if (
            following < len(lines)
            and inside
            and inside[-1].strip()
            and (len(inside) == 1 or not inside[-2].strip() or inside[-1].strip().isdigit())
        ):
            inside.pop()
        blocks = re.split(r"\n\s*\n", "\n".join(inside))
        said = " ".join(block for position, block in enumerate(blocks) if not (position and _ASIDE.match(block.strip())))
        text = fold(html.unescape(_MARKUP.sub("", _VOICE.sub(r"\1: ", said))))
        first, last = match.groups()[:4], match.groups()[4:]
        yield _Cue(_seconds(*first), _seconds(*last), text)


def _seconds(hours: str | None, minutes: str, seconds: str, rest: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{rest}")


def _shown(seconds: float) -> str:
    return f"[{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}]"
