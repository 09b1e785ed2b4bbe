"""Counts and places as a person reads them."""

import math

from coordinator.types import Citation, NodeWork, Place


def work_done(node: NodeWork) -> str:
    """Steps of reading, writing the answer, or both."""
    done = [several(node.subtasks, "step")] if node.subtasks or not node.aggregations else []
    return " and ".join([*done, *(["the answer"] if node.aggregations else [])])


def several(count: int, what: str) -> str:
    """ "1 page", "1,200 pages"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def about(seconds: float) -> str:
    """How long something takes that is not known exactly: "a few seconds", "about 40 seconds", "about 6 minutes"."""
    if seconds < 8:
        return "a few seconds"
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} seconds"
    if seconds < 5_400:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {several(round(seconds / 3_600), 'hour')}"


def place(document: str, page: int | None) -> str:
    """ "lease.pdf p. 3", or the document alone where it has no pages."""
    return f"{document} p. {page}" if page else document


def by_ocr(place: Place | Citation) -> str:
    """ ", by OCR (88 % sure)", to be put behind a place; empty where its text is the document's own."""
    if not place.by_ocr:
        return ""
    return ", by OCR" if place.confidence is None else f", by OCR ({math.floor(100 * place.confidence)} % sure)"
