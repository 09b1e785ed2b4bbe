"""Leases that have come to the time by which their node should have been heard of: renewed, or taken back."""

from coordinator.scheduling.attempts import Attempts
from coordinator.scheduling.book import Book
from coordinator.scheduling.decisions import Decision, Renew
from coordinator.scheduling.holdings import Lease, Node
from coordinator.scheduling.limits import (
    FAILURES_BEFORE_PAUSE,
    LEASE_SECONDS,
    MAX_LEASE_SECONDS,
    MAX_PAUSE_SECONDS,
    PAUSE_SECONDS,
)
from coordinator.scheduling.placement import Placement


class Overdue:
    """Judges leases by what the speed model foresaw, and nodes by how often that ended badly."""

    def __init__(self, book: Book, attempts: Attempts, placement: Placement) -> None:
        self._book = book
        self._attempts = attempts
        self._placement = placement

    def look_at(self, lease: Lease, now: float) -> list[Decision]:
        """A lease has come to the time by which its node should have been heard of."""
        if lease.id not in self._book.leases or lease.stuck or not lease.running:
            return []
        if now < lease.due:
            self._book.wakes.add(lease.due, lease)
            return [Renew(lease.node.id, lease.id, lease.due)]
        if now >= lease.limit and not lease.extended and now - lease.at < lease.step + 1.0:
            # It takes much longer than foreseen but gets on: believed once.
            lease.extended = True
            lease.limit = min(now + 3 * max(lease.left, lease.predicted), lease.started + MAX_LEASE_SECONDS)
            lease.look(lease.at)
            self._book.wakes.add(lease.due, lease)
            return [Renew(lease.node.id, lease.id, lease.due)]
        patient = now - lease.at < LEASE_SECONDS and now - lease.started < MAX_LEASE_SECONDS
        if patient and lease.wanted and not self._others(lease, now):
            lease.due = now + max(1.0, min(60.0, lease.step))
            self._book.wakes.add(lease.due, lease)
            return []
        return self._expire(lease, now)

    def _others(self, lease: Lease, now: float) -> bool:
        """Whether somebody else could take what it still wants: then its run is open, and knows who is there."""
        nodes = self._book.nodes
        return any(nodes[id] is not lease.node and nodes[id].usable(now) for id in lease.run.readers)

    def _expire(self, lease: Lease, now: float) -> list[Decision]:
        """Takes everything back from a node that is overdue. It gets nothing more until it has answered, nor for a while."""
        why = "The node showed no progress." if lease.begun else "The node did not begin with it."
        node = lease.node
        self._placement.changed()
        decisions: list[Decision] = []
        for each in node.leases:
            each.stuck = True
            current = next(iter(each.awaited))
            wanted = tuple(each.wanted)
            decisions += self._book.withdraw(each, wanted, why)
            if each is lease and current in wanted:
                # Devices hang by themselves, too, several at once when a room gets hot.
                decisions += self._attempts.hung(current, lease, why, now)
                decisions += self._book.requeue(lease, (current,), why)
            decisions += self._book.requeue(each, wanted, why)
        if lease.begun:
            lease.run.moved = now
            # One that hangs may well answer that it has stopped, and hang with the next thing that it is given.
            node.record.failures = max(node.record.failures, FAILURES_BEFORE_PAUSE - 1)
            self.set_aside(node, now)
        return decisions

    def set_aside(self, node: Node, now: float) -> None:
        """The node failed once more: after several times it gets nothing for a while."""
        node.record.failures += 1
        if node.record.failures >= FAILURES_BEFORE_PAUSE:
            pause = PAUSE_SECONDS * 2 ** min(10, node.record.failures - FAILURES_BEFORE_PAUSE)
            self.pause(node, min(MAX_PAUSE_SECONDS, pause), now)

    def pause(self, node: Node, seconds: float, now: float) -> None:
        """The node gets nothing so long."""
        if now + seconds > node.record.paused_until:
            node.record.paused_until = now + seconds
            self._book.wakes.add(node.record.paused_until, node)
            self._placement.changed()

    def end_pause(self, node: Node, now: float) -> None:
        """If the node was set aside until now, the pool has one more."""
        if 0 < node.record.paused_until <= now:
            node.record.paused_until = 0.0
            self._placement.changed()
