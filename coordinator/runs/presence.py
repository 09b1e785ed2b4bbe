"""Which nodes are there: what the schedule and the runs are told of their comings and goings."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from coordinator.events import NodeChanged, NodeGone, NodeInfo, NodeJoined, NodeState
from coordinator.runs.participants import Part, Participants, candidates, fitting
from coordinator.scheduling.decisions import Decision
from coordinator.scheduling.schedule import Schedule
from edgenode.types import EngineState, NodeId

log = logging.getLogger(__name__)


class Presence:
    """Runs hear of the nodes that may read for them. `apply` carries decisions out; `take_back` ends what a node that is gone
    held; nothing comes out of `guarded`."""

    def __init__(
        self,
        schedule: Schedule,
        runs: Participants,
        apply: Callable[[list[Decision]], None],
        take_back: Callable[[NodeId], None],
        guarded: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._schedule = schedule
        self._runs = runs
        self._apply = apply
        self._take_back = take_back
        self._guarded = guarded
        self._nodes: dict[NodeId, NodeInfo] = {}
        self._aside: Counter[NodeId] = Counter()

    def introduce(self, part: Part) -> None:
        """Tells a run that begins who is there."""
        for node in self._nodes.values():
            if fitting(node, part.need) is not None:
                self._runs.tell(part, NodeJoined(node))

    def up(self, node: NodeInfo, now: float) -> None:
        """A node is connected, or something about it changed."""
        before = self._nodes.get(node.id)
        if before is not None and candidates(before) == candidates(node):
            self._nodes[node.id] = node
            self._apply(self._schedule.node_resized(node.id, node.slots, now))
            if (before.state, before.draining) != (node.state, node.draining):
                for part in self._runs:
                    if fitting(node, part.need) is not None:
                        self._runs.tell(part, NodeChanged(node))
            self._refresh(node, now)
            return
        if before is not None:
            # For the schedule it is another node now. Runs are told only of what that means for them.
            still = node if node.state is NodeState.JOINED else None
            self._gone(before, "It no longer serves a model that could take the work.", now, still)
        if node.state is NodeState.JOINED:
            self._nodes[node.id] = node
            for part in self._runs:
                if fitting(node, part.need) and not (before and fitting(before, part.need)):
                    self._runs.tell(part, NodeJoined(node))
            self._join(node, now)

    def down(self, id: NodeId, why: str, now: float) -> None:
        """Its connection is over."""
        if (node := self._nodes.get(id)) is not None:
            self._gone(node, why, now)

    def move(self, schedule: Schedule, now: float) -> bool:
        """From now on `schedule` is told, first of the nodes that are there. To the runs nothing has happened. False when it has
        stumbled over one, and cannot be relied on: that node is left out until something about it changes."""
        self._schedule = schedule
        for node in tuple(self._nodes.values()):
            try:
                self._join(node, now)
                self._refresh(node, now)
            except Exception:
                log.exception("A mistake in the program leaves the node %s out.", node.name)
                del self._nodes[node.id]
                return False
        return True

    @contextmanager
    def kept_free(self, id: NodeId) -> Iterator[None]:
        """Inside, the node gets no new leases."""
        try:
            self._set_aside(id, 1)
            yield
        finally:
            self._set_aside(id, -1)

    def _set_aside(self, id: NodeId, by: int) -> None:
        self._aside[id] += by
        with self._guarded():
            if (node := self._nodes.get(id)) is not None:
                self._refresh(node, time.monotonic())

    def _join(self, node: NodeInfo, now: float) -> None:
        models, ready, rests = candidates(node), self._is_ready(node), self._rests(node)
        self._apply(self._schedule.node_joined(node.id, now, ready=ready, models=models, slots=node.slots, resting=rests))

    def _gone(self, node: NodeInfo, why: str, now: float, still: NodeInfo | None = None) -> None:
        """`still` is what has become of it, if it has not vanished."""
        del self._nodes[node.id]
        for part in self._runs:
            if fitting(node, part.need) and not (still and fitting(still, part.need)):
                self._runs.tell(part, NodeGone(node.id, node.name, why))
        self._apply(self._schedule.node_gone(node.id, why, now, vanished=still is None))
        self._take_back(node.id)

    def _refresh(self, node: NodeInfo, now: float) -> None:
        if node.state is NodeState.SUSPECT:
            self._apply(self._schedule.node_suspect(node.id, now))
        else:
            self._apply(self._schedule.node_ready(node.id, self._is_ready(node), now, resting=self._rests(node)))

    def _is_ready(self, node: NodeInfo) -> bool:
        """A node that is in doubt, drains or is kept free keeps what it holds and gets nothing new."""
        able = node.state is NodeState.JOINED and not node.draining and node.engine_state is EngineState.READY
        return able and not self._aside[node.id]

    def _rests(self, node: NodeInfo) -> bool:
        """Of one that is not ready: whether it is well, so that runs wait for it."""
        return node.engine_state is EngineState.READY and bool(node.draining or self._aside[node.id])
