"""When discovery has come to rest, and whether a node that was asked for may still come."""

from collections.abc import Collection, Sequence
from typing import Final

from coordinator.events import NodeState
from coordinator.nodes.peer import Peer

# mDNS answers a browser's first question within 0.2 s, but a node that announced itself less than a second before keeps silent
# then, and answers the second question, which comes after one second.
LISTEN_SECONDS: Final = 1.6
SETTLE_SECONDS: Final = 0.4
DISCOVER_SECONDS: Final = 4.0
# Nodes that dial try every 5 s while their coordinator is away.
DIAL_IN_SECONDS: Final = 7.0
# Nodes that were asked for by name or address are waited for longer than those that may happen to be there.
NAMED_SECONDS: Final = 10.0


def is_missing(wanted: Collection[str], peers: Sequence[Peer], passed: float) -> bool:
    """Whether a node that was asked for, by name or id, may still come `passed` seconds after the start: one that is there and
    refuses, or is not paired, is not waited for."""
    for name in wanted:
        called = [peer for peer in peers if name in (peer.id, peer.name)]
        if not called or any(peer.is_undecided for peer in called) or passed < LISTEN_SECONDS:
            if not any(peer.state is NodeState.JOINED for peer in called):
                return True
        elif all(peer.state is NodeState.GONE for peer in called):
            return True
    return False


def rest(peers: Sequence[Peer], is_missing: bool, dials_in: bool, started: float, changed: float, now: float) -> float:
    """Seconds for which discovery goes on if nothing changes any more, 0 or less once it has come to rest. It `started` and last
    `changed` at those times; `dials_in` tells that a paired node can only dial."""
    limit = NAMED_SECONDS if is_missing else DIAL_IN_SECONDS if dials_in else DISCOVER_SECONDS
    left = started + limit - now
    quiet = max(changed + SETTLE_SECONDS, started + LISTEN_SECONDS) - now
    is_waiting = is_missing or any(peer.is_undecided for peer in peers)
    is_anybody_there = any(peer.state in (NodeState.JOINED, NodeState.UNPAIRED) for peer in peers)
    if quiet > 0:
        return min(left, quiet)
    return left if is_waiting or not is_anybody_there else 0.0
