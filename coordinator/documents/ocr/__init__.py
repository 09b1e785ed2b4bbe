"""OCR, which is an extra. What needs its packages is imported where it is known to be there."""

import importlib.util
from typing import Final

HOW_TO_GET: Final = "install what reads pictures (OCR) with: pip install 'edgenode[ocr]'"
MAX_PAGES: Final = 500
"""Of one file. A page takes some seconds here and half a minute on a small board."""
MAX_AREA: Final = 2_900_000
"""Pixels of a picture that is recognised; larger ones are made smaller first. It is A4 at 170 dots per inch. Twice as many take
twice the memory (800 MB become 1.9 GB) and three times as long, and find no more text on a page in print of usual size."""


def available() -> bool:
    """Whether the extra is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))
