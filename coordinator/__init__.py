"""The side that asks: documents in, subtasks to the nodes, findings back, one request to the supervisor.

The SDK is `Pool`; `coordinator.events` and `coordinator.types` hold what it gives, `coordinator.errors` what it raises.
"""

# Not from `typing`: loading that takes a moment, in which Ctrl-C would come before the command can answer it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from coordinator.pool import Pool

__all__ = ["Pool"]


def __getattr__(name: str) -> "Any":
    # On first use: the SDK loads numpy and gRPC, which a look at a type or an error does not need.
    if name == "Pool":
        from coordinator.pool import Pool

        return Pool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
