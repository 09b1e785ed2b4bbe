"""Processes that were forked from one which used gRPC: in these gRPC crashes or waits for ever, so they are told instead."""

import os

from edgenode.errors import UsageError

_used_in: int | None = None


def use_grpc() -> None:
    """Called before gRPC is used. Raises `UsageError` in a process that was forked from one which had used it."""
    global _used_in
    if _used_in is None:
        _used_in = os.getpid()
    elif _used_in != os.getpid():
        raise UsageError(
            "This process was forked from one that uses edgenode already, and gRPC does not survive that. Start it another way, "
            'such as multiprocessing.get_context("spawn"), or fork before edgenode is used.'
        )
