"""Which chunks and sentences may answer a question, by the words they share (BM25), in Japanese and in spaced languages.

The choices below were measured on a 48,000-character English speech with 76 questions and their gold evidence (24 chunks, 653
sentences), and on a Japanese lease with 27 questions (tests/documents/data); `scripts/bench_retrieval.py` measures any document
in the same way. Share of the evidence in the best 3 / 5 / 8 / 12 sentences: in the speech .77 / .81 / .85 / .88, where textbook
BM25 finds .55 / .63 / .69 / .74, in the lease .94 / .96 / 1 / 1 against .80 / .85 / .89 / .96. The best 3 are 0.7 % of the speech.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import bm25s
import numpy as np
import numpy.typing as npt

from coordinator.types import Chunk

RELEVANT_SCORE: Final = 0.3
"""Chunks below this share of the best chunk's score are not read for a pointed question.

Measured with the cap below: in the speech 17 % of the text is read and holds .98 of the evidence, in the lease 15 % and all of it.
At .5 it would be 10 % and .97, 10 % and .96. Those questions share more words with their answers than people's do, hence the
cautious choice."""

RELEVANT_SHARE: Final = 0.25
RELEVANT_LEAST: Final = 4
"""At most this share of all chunks is read for a pointed question, but a few always may be."""

# Long sentences are punished less than is usual (1.5, .75): they were cut to size already. +.06 at 3 sentences of the speech.
_K1: Final = 1.2
_B: Final = 0.4
# An answer stands among sentences about the same thing and often names it by a pronoun: a sentence inherits its chunk's score and
# a part of its neighbours'. Together they are worth +.10 to +.13 in the speech, up to +.07 in the lease.
_CHUNK_WEIGHT: Final = 1.0
_NEIGHBOUR_WEIGHT: Final = 0.5

_STEM: Final = 7
"""Letters kept of a word: brings "regulation" and "regulatory" together. +.03 at 3 sentences of the speech. Fewer letters bring
little more there and make "contract" the same as "contrary"."""

_CJK: Final = "\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TERM: Final = re.compile(rf"([{_CJK}]+)|([^\W_{_CJK}]+)")
_BROKEN_CJK: Final = re.compile(r"(?<=[\u3005-\u30ff\u3400-\u9fff])\s+(?=[\u3005-\u30ff\u3400-\u9fff])")
# A pair of hiragana that holds one of these is mostly grammar; without those pairs 3 % less of the lease is read. Dropping all
# pairs of hiragana loses words that people write so (ごみ, たばこ): .83 instead of .94 at 3 sentences.
_PARTICLES: Final = frozenset("はがをにのとでもへやかねよ")
_STOP_WORD: Final = re.compile(
    r"an?|and|are|as|at|be|been|but|by|can|could|did|do|does|for|from|had|has|have|he|her|his|how|i|if|in|into|is|its?|may|me|more|most"
    r"|my|no|not|of|on|or|our|she|should|so|such|than|that|the|their|them|then|there|these|they|this|those|to|was|we|were|what|when|where"
    r"|which|who|whom|whose|why|will|with|would|you|your|according|about|s|t|re|ve|ll"
)


@dataclass(frozen=True, slots=True)
class Hit:
    """A sentence found: `chunk` is its position in the chunks indexed, `sentence` its position in that chunk's sentences."""

    chunk: int
    sentence: int
    score: float


class Index:
    """Chunks and their sentences, searchable. Nothing is kept outside the object; it may be used by several threads."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        """`chunks` stand in the order of their documents' text, as `make_chunks` returns them."""
        self._chunks = _Scorer([terms(chunk.text) for chunk in chunks])
        self._places = [(chunk, sentence) for chunk, whole in enumerate(chunks) for sentence in range(len(whole.sentences))]
        self._sentences = _Scorer([terms(chunks[chunk].sentences[sentence].text) for chunk, sentence in self._places])
        self._chunk_of = np.array([chunk for chunk, _ in self._places], dtype=np.intp)
        beside = [(chunks[chunk].document, chunks[chunk].sentences[sentence].is_row) for chunk, sentence in self._places]
        self._go_on = np.array(
            [before[0] == after[0] and not before[1] and not after[1] for before, after in pairwise(beside)], float
        )
        """Whether a sentence and the next are about the same thing: they are prose of one document."""

    def chunk_scores(self, query: str) -> list[float]:
        """One score a chunk, none negative; all 0 where nothing of the query occurs."""
        return [float(score) for score in self._chunks.scores(query)]

    def sentences(self, query: str, limit: int) -> list[Hit]:
        """The `limit` best sentences, best first; fewer where fewer have anything to do with the query."""
        if not self._places:
            return []
        own = self._sentences.scores(query)
        scores = own + _CHUNK_WEIGHT * self._chunks.scores(query)[self._chunk_of]
        scores[1:] += _NEIGHBOUR_WEIGHT * own[:-1] * self._go_on
        scores[:-1] += _NEIGHBOUR_WEIGHT * own[1:] * self._go_on
        best = np.argsort(-scores, kind="stable")[:limit]
        places = [(self._places[position], float(scores[position])) for position in best]
        return [Hit(chunk, sentence, score) for (chunk, sentence), score in places if score > 0]

    def relevant_chunks(self, query: str) -> tuple[int, ...]:
        """Positions, ascending, of the chunks worth reading for a pointed question.

        Those that score at least RELEVANT_SCORE of the best, the best RELEVANT_SHARE of all at most (but up to RELEVANT_LEAST).
        Empty where nothing of the query occurs: retrieval then knows nothing, and all should be read.
        """
        scores = self._chunks.scores(query)
        most = max(RELEVANT_LEAST, -(-len(scores) * RELEVANT_SHARE // 1))
        best = np.argsort(-scores, kind="stable")[: int(most)]
        return tuple(sorted(int(chunk) for chunk in best if scores[chunk] > 0 and scores[chunk] >= RELEVANT_SCORE * scores.max()))


def terms(text: str) -> list[str]:
    """What is compared: words without stop words and endings; for Chinese, Japanese and Korean pairs of characters and single
    ideographs. Width and case do not matter."""
    joined = _BROKEN_CJK.sub("", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    for run, word in _TERM.findall(joined):
        if word:
            found += [] if _STOP_WORD.fullmatch(word) else [_stem(word)]
            continue
        found += [pair for pair in map("".join, pairwise(run)) if not _is_grammar(pair)]
        found += [character for character in run if "\u3400" <= character <= "\u9fff"]
    return found


def _stem(word: str) -> str:
    if not word.isalpha():
        return word
    if len(word) > 3 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word[:_STEM]


def _is_grammar(pair: str) -> bool:
    return all("\u3041" <= character <= "\u309f" for character in pair) and not _PARTICLES.isdisjoint(pair)


class _Scorer:
    """BM25 over texts given as terms."""

    def __init__(self, texts: list[list[str]]) -> None:
        self._length = len(texts)
        self._bm25: Any = None
        if any(texts):  # without a single term there is no average length to divide by
            self._bm25 = bm25s.BM25(k1=_K1, b=_B)
            self._bm25.index(texts, show_progress=False)

    def scores(self, query: str) -> npt.NDArray[np.float64]:
        known = [term for term in terms(query) if self._bm25 and term in self._bm25.vocab_dict]
        if not known:
            return np.zeros(self._length)
        return np.asarray(self._bm25.get_scores(known), dtype=np.float64)
