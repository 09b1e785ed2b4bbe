"""The schedule's limits, each with its reason. Times are seconds."""

from typing import Final

from edgenode.types import FailureReason

# A subtask that failed on this many nodes is given up: it is the subtask. Where there are fewer nodes, after this many attempts.
MAX_FAILED_NODES: Final = 3
MAX_ATTEMPTS: Final = 5
# A node's engine reports its own time-outs (minutes); a lease that gets no further for longer than this is taken back all the
# same, and any lease after so long, whatever progress is claimed.
LEASE_SECONDS: Final = 900.0
MAX_LEASE_SECONDS: Final = 3_600.0
# A node that has not yet finished anything has no pace of its own to call others late by; it waits this long.
PATIENCE_WITH_OTHERS_SECONDS: Final = 30.0
# How long a run waits for a node when there is none left.
PATIENCE_SECONDS: Final = 30.0
# How long a run in which nothing is in work and nothing gets anywhere goes on: nodes whose engine never comes back, or whose
# queue is always full, are as good as none.
STUCK_SECONDS: Final = 300.0
# A node that failed this often without a success in between is set aside for a while that doubles up to a minute.
FAILURES_BEFORE_PAUSE: Final = 3
PAUSE_SECONDS: Final = 2.0
MAX_PAUSE_SECONDS: Final = 60.0
REFUSAL_PAUSE_SECONDS: Final = 0.5

# Failures that say something about the node at that moment and not about the subtask: the same node may succeed later.
PASSING: Final = frozenset(
    {
        FailureReason.ENGINE_CRASHED,
        FailureReason.ENGINE_UNAVAILABLE,
        FailureReason.ENGINE_TIMEOUT,
        FailureReason.ENGINE_ERROR,
        FailureReason.QUEUE_FULL,
        FailureReason.STOPPING,
        FailureReason.DRAINING,
        FailureReason.CANCELLED,
        FailureReason.UNSPECIFIED,
    }
)
