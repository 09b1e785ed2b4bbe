"""What nodes have tried in vain: who may try it again, and when it is given up, or its whole run."""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from coordinator.scheduling.backlog import Run
from coordinator.scheduling.book import Book
from coordinator.scheduling.decisions import Decision
from coordinator.scheduling.holdings import Lease, Node, SubtaskState
from coordinator.scheduling.limits import (
    CHANCE,
    FAILURES_BEFORE_PAUSE,
    MAX_ATTEMPTS,
    MAX_FAILED_NODES,
    MAX_VANISHED,
    MIN_HANGS,
    MIN_VANISHED,
    PASSING,
    PATIENCE_SECONDS,
    PRIOR_ATTEMPTS,
    RESTING_SECONDS,
    STUCK_SECONDS,
)
from edgenode.types import FailureReason, NodeId, SubtaskId

# How often it is looked whether a run, or what of it waits for nodes that are not able to take it, is to be given up.
LOOK_SECONDS: Final = 1.0


class Attempts:
    """Judges subtasks by how often they failed, and where."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def failed(self, subtask: SubtaskId, node: NodeId, reason: FailureReason, message: str, now: float) -> list[Decision]:
        """The node failed the subtask. Ends in giving it up when that was once too often."""
        state = self._book.subtasks.get(subtask)
        if state is None:
            return []
        state.failed_on[node] = state.failed_on.get(node, 0) + 1
        state.last, state.failed_at = (reason, message), now
        if reason not in PASSING:
            state.final_on.add(node)
        if reason is FailureReason.ENGINE_REFUSED:
            state.run.refusal = state.last
        return self._give_up_failed(subtask, state)

    def hung(self, subtask: SubtaskId, lease: Lease, message: str, now: float) -> list[Decision]:
        """A node hung with it, maybe by chance. One that never began with it, or has done nothing since it failed last, says less
        of the subtask than of itself: that ends it only when it is so with all."""
        state, node = self._book.subtasks.get(subtask), lease.node
        if state is None:
            return []
        if not lease.begun or node.record.failures:
            self.refused(subtask, node.id, FailureReason.ENGINE_TIMEOUT, message, now)
            return []
        state.hangs += 1
        return self.lost(subtask, node.id, FailureReason.ENGINE_TIMEOUT, message, now)

    def lost(self, subtask: SubtaskId, node: NodeId, reason: FailureReason, message: str, now: float) -> list[Decision]:
        """The node went away or hung with it, maybe by chance."""
        state = self._book.subtasks.get(subtask)
        if state is None:
            return []
        state.losses += 1
        self._book.losses += 1
        state.failed_on.setdefault(node, 0)
        state.last, state.failed_at = (reason, message), now
        return self._give_up_failed(subtask, state)

    def refused(self, subtask: SubtaskId, node: NodeId, reason: FailureReason, message: str, now: float) -> None:
        """The node did not take it: that says something about the node, and ends it only when nobody takes it at all."""
        state = self._book.subtasks.get(subtask)
        if state is None:
            return
        state.refusals[node] = state.refusals.get(node, 0) + 1
        state.failed_on.setdefault(node, 0)
        state.last, state.failed_at = (reason, message), now

    def may(self, node: Node, subtask: SubtaskId, now: float) -> bool:
        """A node that failed a subtask gets it again only when the failure may pass and no other node is left to try: one that
        drains, is in doubt or does not answer is none. One that is set aside or busy is, for a while. What has failed too often
        nobody gets: those who are at it still are the last."""
        state = self._book.subtasks[subtask]
        if not state.failed_on:
            return True
        if self._too_often(state):
            return False
        if node.id not in state.failed_on:
            return True
        if self._barred(state, node.id):
            return False
        if now - state.failed_at > PATIENCE_SECONDS:
            return True
        nodes = self._book.nodes
        return not any(nodes[id].able for id in state.run.readers if id not in state.failed_on)

    def look_at(self, run: Run, now: float) -> list[Decision]:
        """Gives up what of a run nobody will ever do, all of it where nothing has moved for long."""
        run.looked_again = now + LOOK_SECONDS
        decisions = self.end_in_vain(run, now) if now > run.ends_at else []
        return decisions + self.give_up_hopeless(now, tuple(_failed(run)))

    def give_up_hopeless(self, now: float, subtasks: Iterable[SubtaskId]) -> list[Decision]:
        """Gives up those of `subtasks` that nobody will ever do."""
        decisions: list[Decision] = []
        for id in subtasks:
            state = self._book.subtasks.get(id)
            if state is not None and not state.holders and self._hopeless(state, now):
                decisions += self._book.give_up(id)
        return decisions

    def _hopeless(self, state: SubtaskState, now: float) -> bool:
        """Whether those who are there have failed it for good. Somebody else who is not able to take it, or has just left, is
        waited for, but not for ever."""
        run = state.run
        if self._too_often(state):
            return True
        if not run.readers or not any(self._barred(state, id) for id in state.failed_on):
            return False
        nodes = self._book.nodes
        if any(nodes[id].able and not self._barred(state, id) for id in run.readers):
            state.stranded_at = None
            return False
        left = [nodes[id] for id in run.readers if not self._barred(state, id)]
        just_left = self._book.readers.missing(run.need, now - PATIENCE_SECONDS)
        if not left and all(self._barred(state, id) for id in just_left):
            return True
        if state.stranded_at is None:
            state.stranded_at = now
        return now >= state.stranded_at + max((_patience(node) for node in left), default=PATIENCE_SECONDS)

    def end_in_vain(self, run: Run, now: float) -> list[Decision]:
        """Gives up all of a run that nobody is left to read; or for which those who could still read some of it have done nothing
        for long. What the others do for other runs does not matter."""
        states = [(id, state) for id, state in self._book.subtasks.items() if state.run is run]
        last = run.refusal or (FailureReason.STOPPING, "No node is left to do it.")
        if run.readers:
            nodes = [self._book.nodes[id] for id in run.readers]
            able = [node for node in nodes if run.waiting or not self._has_failed_all(run, node)]
            held = [node for node in nodes if any(lease.run is run for lease in node.leases)]
            if any(node.leases and not node.stuck for node in (*able, *held)):
                return []
            run.moved = max(run.moved, *(node.moved for node in able)) if able else run.moved
            if not able or now <= max(_waited_for(run, node) for node in able):
                return []
            last = (FailureReason.STOPPING, "No node could take it for minutes.")
            if all(node.refusals for node in able):
                last = able[0].refusal
        elif now <= run.ends_at:
            return []
        decisions: list[Decision] = []
        for id, state in states:
            state.last = last
            decisions += self._book.give_up(id)
        return decisions

    def _has_failed_all(self, run: Run, node: Node) -> bool:
        """Whether there is nothing among what failed somewhere that the node could be given yet."""
        return all(self._barred(self._book.subtasks[id], node.id) for id in _failed(run))

    def _barred(self, state: SubtaskState, node: NodeId) -> bool:
        """Whether the node has failed it for good, or as often as it is tried at all."""
        often = state.failed_on.get(node, 0) >= MAX_ATTEMPTS or state.refusals.get(node, 0) >= MAX_ATTEMPTS
        return often or node in state.final_on

    def _give_up_failed(self, subtask: SubtaskId, state: SubtaskState) -> list[Decision]:
        """Gives the subtask up when it failed too often and nobody else is at it."""
        return self._book.give_up(subtask) if not state.holders and self._too_often(state) else []

    def _too_often(self, state: SubtaskState) -> bool:
        if sum(count > 0 for count in state.failed_on.values()) >= MAX_FAILED_NODES:
            return True
        often = state.hangs >= MIN_HANGS or state.losses >= MIN_VANISHED
        return often and state.losses >= self._losses_by_chance(state)

    def _losses_by_chance(self, state: SubtaskState) -> float:
        """How often nodes may go away with one of all subtasks, judged by how often they do with the others."""
        book = self._book
        others = book.losses - state.losses
        rate = (others + 1) / (others + book.outcomes + PRIOR_ATTEMPTS)
        return min(MAX_VANISHED, math.log(CHANCE / (book.outcomes + len(book.subtasks))) / math.log(rate))


def _failed(run: Run) -> Iterator[SubtaskId]:
    """What waits after it has failed somewhere."""
    return (id for ids in run.retries.values() for id in ids)


def _waited_for(run: Run, node: Node) -> float:
    """Until when a run in which nothing is in work waits for the node to take something."""
    if node.refusals >= FAILURES_BEFORE_PAUSE:
        return run.moved + PATIENCE_SECONDS
    longest = run.moved + RESTING_SECONDS
    return longest if node.resting else min(longest, max(run.moved, node.rested) + STUCK_SECONDS)


def _patience(node: Node) -> float:
    """How long what only this node might do waits for it to be able to."""
    if node.resting:
        return RESTING_SECONDS
    return PATIENCE_SECONDS if node.ready else STUCK_SECONDS
