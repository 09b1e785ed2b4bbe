"""What is said of a process that ended or did not start."""

import pytest

from edgenode.engines.process import ending, last_words

NATIVE = """0.00.1 W srv init: security
0.00.2 E llama_model_load: error loading model: data is not within the file bounds
0.00.3 E srv load_model: failed to load model
Traceback (most recent call last):
  File "x.py", line 3, in <module>
RuntimeError: Failed to init server.
"""


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-11, "was ended by SIGSEGV"),
        (-9, "was ended by SIGKILL (perhaps for lack of memory)"),
        (-63, "was ended by signal 63"),
        (1, "ended with status 1"),
    ],
)
def test_ending(status: int, words: str) -> None:
    """An exit status is told in words; a kill hints at memory, the usual cause."""
    assert ending(status) == words


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (NATIVE, "0.00.2 E llama_model_load: error loading model: data is not within the file bounds"),
        ("Traceback (most recent call last):\n  File x\nImportError: nothing here\n\n", "ImportError: nothing here"),
        ("loading\nalmost there.\n", "almost there"),
        ("\n \n", "it said nothing"),
        ("E failed\x1b[2J" + "x" * 5000, None),
    ],
)
def test_last_words(log: str, words: str | None) -> None:
    """The first native complaint tells the cause; else the last line; always short and clean."""
    said = last_words(log)
    assert said == words or (words is None and len(said) <= 300 and "\x1b" not in said)
