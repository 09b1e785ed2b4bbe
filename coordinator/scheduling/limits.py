"""The schedule's limits, each with its reason. Times are seconds. What is late follows from the speed model: the times here are for
when there is nothing to follow from."""

from typing import Final

from edgenode.types import FailureReason

# A subtask that failed on this many nodes is given up: it is the subtask. Where there are fewer nodes, after this many attempts
# of each.
MAX_FAILED_NODES: Final = 3
MAX_ATTEMPTS: Final = 5
# Nodes also go away or hang while they work on something without its being the cause. A subtask is given up for it after as many
# times as come by chance to one of all subtasks once in a thousand runs, by how often nodes go away with others. At the least so
# many: of a hang only the node that works on it knows, while a router that starts anew ends up to four copies of it at once.
MIN_HANGS: Final = 3
MIN_VANISHED: Final = 5
MAX_VANISHED: Final = 30
CHANCE: Final = 1e-3
# Before anything is known, one piece of work in ten is taken to end so.
PRIOR_ATTEMPTS: Final = 10
# With nobody else to give the work to, taking it back early gains nothing: an engine that tells no progress may be reading.
LEASE_SECONDS: Final = 900.0
MAX_LEASE_SECONDS: Final = 3_600.0
# How long a run waits for a node when there is none left, or when each has refused all it was offered.
PATIENCE_SECONDS: Final = 30.0
# How long a run in which nothing is in work and nothing gets anywhere goes on: nodes whose engine never comes back, or whose
# queue is always full, are as good as none.
STUCK_SECONDS: Final = 300.0
# How long for nodes that are well and rest: a phone cools down in minutes and is full again in half an hour. Whoever waits sees it,
# and may stop it any time; what nobody looks at ends at last.
RESTING_SECONDS: Final = 1_800.0
# A node that failed this often without a success in between is set aside for a while that doubles up to a minute.
FAILURES_BEFORE_PAUSE: Final = 3
PAUSE_SECONDS: Final = 2.0
MAX_PAUSE_SECONDS: Final = 60.0
# What is refused is offered again after this at the least.
REFUSAL_PAUSE_SECONDS: Final = 0.5
# Shorter silences say nothing: a busy process, Wi-Fi and a garbage collection do them by themselves.
HICCUP_SECONDS: Final = 1.0
# Later than its own prediction by this factor, or by three deviations if that is more, is overdue. The first is for the model's
# noise, the second for what is not known yet.
OVERDUE: Final = 4.0
DEVIATIONS: Final = 3.0
# Of a node that nobody has seen work three deviations are a factor of 90: more than any device that is worth waiting for.
MAX_OVERDUE: Final = 40.0
# A second lease is sent when what a node holds will last for less than so many of its gaps between two leases (a round trip and
# the start of a lease), or than the turns of others there. What is sent too early can still be taken back unread, what is sent too
# late is an idle device.
LOOKAHEAD_GAPS: Final = 3.0
GAP_SECONDS: Final = 0.05
# A gigabyte from a disk to memory takes a second or ten: what loading a model takes is learnt from the first time.
LOAD_SECONDS: Final = 5.0
# A cancelled engine stops within about a second.
STOP_SECONDS: Final = 1.0
# Of a run's tokens, so many may be read twice for nothing but a better finish.
SPARE_SHARE: Final = 0.01
# Taking over work must save this share of what is left of it; and beyond the spare tokens, of the whole run.
WORTH_TAKING: Final = 0.15
WORTH_WASTING: Final = 0.04

# Refusals for want of room, which say nothing about the node nor the subtask.
NO_ROOM: Final = frozenset({FailureReason.QUEUE_FULL, FailureReason.DRAINING, FailureReason.STOPPING})
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
