"""Whether a reader's own words are really the document's: only verified quotations may leave the house."""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

# Letters and digits in a row, punctuation, case and spaces aside. Twenty are about four words: fewer are shared by chance, and a
# name or a sum that an answer rightly holds is shorter. A Japanese character says about as much as three Latin letters.
LATIN_RUN: Final = 20
OTHER_RUN: Final = 8


class Echo:
    """The texts of a run's documents, folded once for many look-ups."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(_folded(text) for text in texts)

    def copies(self, answer: str, quote: str) -> bool:
        """Whether `answer` holds a run of the documents' text that is not in `quote`."""
        quoted = _folded(quote)
        return any(run not in quoted and any(run in text for text in self._texts) for run in _runs(_folded(answer)))


def _folded(text: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())


def _runs(folded: str) -> Iterator[str]:
    for start in range(len(folded)):
        short = folded[start : start + OTHER_RUN]
        if len(short) == OTHER_RUN and not short.isascii():
            yield short
        run = folded[start : start + LATIN_RUN]
        if len(run) == LATIN_RUN:
            yield run
