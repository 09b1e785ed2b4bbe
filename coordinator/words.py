"""Counts and places as a person reads them."""

from coordinator.types import NodeWork


def work_done(node: NodeWork) -> str:
    """Steps of reading, writing the answer, or both."""
    done = [several(node.subtasks, "step")] if node.subtasks or not node.aggregations else []
    return " and ".join([*done, *(["the answer"] if node.aggregations else [])])


def several(count: int, what: str) -> str:
    """ "1 page", "1,200 pages"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def place(document: str, page: int | None) -> str:
    """ "lease.pdf p. 3", or the document alone where it has no pages."""
    return f"{document} p. {page}" if page else document
