"""Documents into chunks: runs of whole sentences that a small model reads in one go, and how many tokens a text is."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from coordinator.documents.sentences import MAX_SENTENCE_CHARACTERS, capped, split_sentences
from coordinator.types import Chunk, Document, Row, Sentence

TARGET_TOKENS: Final = 900
"""Estimated tokens of an ordinary chunk: about 520 real ones of English prose, 720 of Japanese. Small models read short texts
better (in the MinionS paper, arXiv 2502.15964, a 3B model fell from .59 at 512 tokens to .46 at 65,000), while every chunk costs
the reading of its instructions anew."""

MIN_TOKENS: Final = 16
"""Least `max_tokens`: room for any single character and its line break."""

_MOST_TOKENS_PER_CHARACTER: Final = 4  # UTF-8's longest
_RAGGED_BREAK: Final = 0.3
"""What a break inside a paragraph costs, against a chunk's distance from its goal as a share of the goal."""
_STRETCH: Final = 1.25
"""How far past its goal a chunk may go for a better break."""

_LOWER: Final = re.compile(r"[a-z]+")
_UPPER: Final = re.compile(r"[A-Z]+")
_SPACE: Final = re.compile(r" +")
_CJK: Final = re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]+")
_EAST_ASIAN: Final = re.compile(r"[\u1100-\u11ff\u3000-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+")


def estimate_tokens(text: str) -> int:
    """About how many tokens a small model makes of `text`, rather too many than too few, without its tokenizer.

    Fitted to SmolLM2's (byte-level BPE, 49,152 entries, mostly English: one of the greediest for everything else). Estimate over
    truth on 13 materials: English prose 1.7, capitals 1.4, Japanese 1.25, tables of amounts 1.0, German 1.1, Korean 1.2, Russian
    1.8, medical shorthand 1.1, addresses of web pages 1.1, foreign names 1.0; at worst .92, serial numbers without any word.
    """
    lower, upper, spaces, cjk = (_measure(pattern, text) for pattern in (_LOWER, _UPPER, _SPACE, _CJK))
    ascii_characters = len(text.encode("ascii", "ignore"))
    other_bytes = len(text.encode("utf-8", "replace")) - ascii_characters - 3 * cjk
    single = ascii_characters - lower - upper - spaces  # digits, punctuation and line breaks: a token each
    return int(0.4 * lower + 0.6 * upper + 0.1 * spaces + single + 2.2 * cjk + other_bytes) + 1


def typical_tokens(text: str) -> int:
    """About how many tokens a large cloud model makes of `text`: what sending it whole would be billed as.

    A rule of thumb, for the comparison shown to the user: four characters a token, as providers tell for English, and one token for
    each Chinese, Japanese or Korean character, which large vocabularies reach within about a third. Digits and punctuation make
    real documents cost rather more than this, so the comparison does not flatter us.
    """
    east_asian = _measure(_EAST_ASIAN, text)
    return east_asian + -(-(len(text) - east_asian) // 4)


def make_chunks(documents: Sequence[Document], *, max_tokens: int) -> tuple[Chunk, ...]:
    """All sentences of `documents` in order as chunks of about equal size within a document, none across two documents.

    `estimate_tokens(chunk.text)` is at most `max_tokens` and ordinarily near TARGET_TOKENS. Chunks end at paragraphs or pages where
    one is near. Raises ValueError if `max_tokens` is less than MIN_TOKENS.
    """
    if max_tokens < MIN_TOKENS:
        raise ValueError(f"a chunk needs at least {MIN_TOKENS} tokens, not {max_tokens}")
    runs = ((document, run) for document in documents for run in _runs(_pieces(document, max_tokens), max_tokens))
    return tuple(
        Chunk(index, document.label, run[0].sentence.start, run[-1].sentence.end, tuple(piece.sentence for piece in run))
        for index, (document, run) in enumerate(runs)
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    sentence: Sentence
    tokens: int
    """Its own and those of the line break after it."""
    ragged: bool
    """Whether a chunk that ended with it would end inside a paragraph."""


def _pieces(document: Document, max_tokens: int) -> list[_Piece]:
    text = document.text
    sentences = [part for sentence in _sentences(document) for part in _fitting(text, sentence, max_tokens)]
    pieces: list[_Piece] = []
    for position, sentence in enumerate(sentences):
        following = sentences[position + 1].start if position + 1 < len(sentences) else None
        ragged = following is not None and text.count("\n", sentence.end, following) < 2
        pieces.append(_Piece(sentence, _line_tokens(sentence.text), ragged))
    return pieces


def _sentences(document: Document) -> Iterator[Sentence]:
    """All of a document: the sentences of its text, and each row of a table as a sentence of its own, or as several where it is
    too long."""
    at = 0
    for row in document.rows:
        yield from split_sentences(document.text, at, row.start)
        yield from _row_sentences(document, row)
        at = row.end
    yield from split_sentences(document.text, at)


def _row_sentences(document: Document, row: Row) -> Iterator[Sentence]:
    whole = _quoted(document, row.start, row.end)
    if len(whole.text) <= MAX_SENTENCE_CHARACTERS or not row.cells:
        yield whole
        return
    group: Sentence | None = None
    for cell in row.cells:
        longer = _quoted(document, group.start if group else cell.start, cell.end)
        if group is not None and len(longer.text) > MAX_SENTENCE_CHARACTERS:
            yield group
            longer = _quoted(document, cell.start, cell.end)
        group = longer
        if len(group.text) > MAX_SENTENCE_CHARACTERS:  # one long cell
            yield from split_sentences(document.text, cell.start, cell.end)
            group = None
    if group is not None:
        yield group


def _quoted(document: Document, start: int, end: int) -> Sentence:
    return Sentence(start, end, " ".join(document.quote(start, end).split()), is_row=True)


def _fitting(text: str, sentence: Sentence, max_tokens: int) -> Iterator[Sentence]:
    if _line_tokens(sentence.text) <= max_tokens:
        yield sentence
        return
    for start, end in capped(text, sentence.start, sentence.end, (max_tokens - 2) // _MOST_TOKENS_PER_CHARACTER):
        yield Sentence(start, end, " ".join(text[start:end].split()))


def _runs(pieces: list[_Piece], max_tokens: int) -> Iterator[list[_Piece]]:
    """`pieces` in runs of about equal size. The goal is set anew after each, from what is left: the last is no small remainder."""
    first, left = 0, sum(piece.tokens for piece in pieces)
    while first < len(pieces):
        goal = left / -(-left // min(TARGET_TOKENS, max_tokens))
        length, tokens = _best_length(pieces, first, goal, min(max_tokens, goal * _STRETCH))
        yield pieces[first : first + length]
        first += length
        left -= tokens


def _best_length(pieces: list[_Piece], first: int, goal: float, most: float) -> tuple[int, int]:
    """How many pieces from `first` make the best chunk, and their tokens: near `goal`, at a paragraph's end if one is near."""
    best, best_cost, tokens = (1, pieces[first].tokens), float("inf"), 0
    for position in range(first, len(pieces)):
        piece = pieces[position]
        tokens += piece.tokens
        if tokens > most:
            break
        cost = abs(tokens - goal) / goal + _RAGGED_BREAK * piece.ragged
        if cost <= best_cost:
            best, best_cost = (position - first + 1, tokens), cost
    return best


def _line_tokens(line: str) -> int:
    return estimate_tokens(line) + 1


def _measure(pattern: re.Pattern[str], text: str) -> int:
    """Characters of `text` in the matches of `pattern`."""
    return sum(map(len, pattern.findall(text)))
