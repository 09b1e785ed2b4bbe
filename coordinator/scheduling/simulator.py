"""A pool in time of its own: nodes with one slot and a prompt cache, a network with delay, and whatever befalls them.

It drives the same scheduler as real runs do, or any other policy with its interface. No product code imports it.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence

from coordinator.scheduling.decisions import Decision, GiveUp, Grant, Withdraw
from coordinator.scheduling.simulated import HeldLease, Policy, Result, SimulatedNode, Tokens
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId, Usage


class Simulation:
    """One run on a pool. Set it up with `join_at` and `at`, then `run`."""

    def __init__(
        self,
        policy: Policy,
        subtasks: dict[SubtaskId, tuple[int, Tokens]],
        nodes: Sequence[SimulatedNode],
        *,
        seed: int = 0,
        delay: float = 0.001,
    ) -> None:
        self.policy = policy
        self.nodes = {node.id: node for node in nodes}
        self.now = 0.0
        self.result = Result()
        self.settled: dict[SubtaskId, int] = {}
        self.given_up: set[SubtaskId] = set()
        self._subtasks = subtasks
        self._delay = delay
        self._random = random.Random(seed)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._speeds: list[tuple[float, float]] = []
        self._done = 0.0
        self._after: list[tuple[float, Callable[[], None]]] = []
        chunks = {chunk: tokens.shared for chunk, tokens in subtasks.values()}
        slower = nodes[0].slower
        self.demand = sum(chunks.values()) + sum(tokens.own + slower * tokens.reply for _, tokens in subtasks.values())

    def at(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (time, next(self._order), what))

    def when_done(self, share: float, what: Callable[[], None]) -> None:
        """`what` happens when so much of the subtasks is settled."""
        self._after.append((share * len(self._subtasks), what))
        self._after.sort(key=lambda each: -each[0])

    # What befalls nodes.

    def join(self, id: NodeId) -> None:
        node = self.nodes[id]
        if not node.there:
            node.there = node.heard = True
            node.cached = None
            self._account()
            self._follow(self.policy.node_joined(id, self.now, models=node.models, slots=node.slots))

    def kill(self, id: NodeId, notice: float = 0.005) -> None:
        """It vanishes with all it holds; its stream breaks at once."""
        self._stop(id)
        self.at(self.now + notice, lambda: self._gone(id))

    def sleep(self, id: NodeId, seconds: float) -> None:
        """Frozen with its stream open: suspect after 3 s, given up after 6, and another stay when it wakes."""
        self._stop(id)
        node = self.nodes[id]
        node.heard = False

        def suspect() -> None:
            if not node.heard:
                self._follow(self.policy.node_suspect(id, self.now))

        self.at(self.now + min(3.0, seconds), suspect)
        self.at(self.now + min(6.0, seconds), lambda: self._gone(id))
        self.at(self.now + seconds + 0.2, lambda: self.join(id))

    def set_pace(self, id: NodeId, pace: float) -> None:
        """1 as usual, .1 slowed to a tenth, 0 stalled with its heartbeat going on."""
        node = self.nodes[id]
        if node.busy and node.there:
            self._interrupt(node)
        node.pace = pace
        self._account()
        if node.there and node.busy:
            self._go(node)

    # Running.

    def run(self, limit: float = 1e6) -> Result:
        while not self.policy.finished and self.now < limit:
            wake = self.policy.wakes_at
            time = self._heap[0][0] if self._heap else float("inf")
            if wake <= time:
                if wake == float("inf"):
                    break
                self.now = max(self.now, wake)
                self._follow(self.policy.tick(self.now))
                # A wake that is not used up must not hold time still.
                if self.policy.wakes_at <= self.now:
                    self.now += 1e-4
                continue
            self.now, _, what = heapq.heappop(self._heap)
            self.result.events += 1
            what()
        return self._judge()

    def _judge(self) -> Result:
        result = self.result
        result.seconds = self.now
        result.lost = len(self._subtasks) - len(self.settled)
        result.duplicates = sum(count - 1 for count in self.settled.values())
        result.wasted_share = self._done / self.demand - 1
        left, since, speed = self.demand, 0.0, 0.0
        for time, after in [*self._speeds, (self.now, 0.0)]:
            if speed * (time - since) >= left:
                break
            left -= speed * (time - since)
            since, speed = time, after
        result.ideal_seconds = min(self.now, since + left / speed) if speed else self.now
        return result

    def _account(self) -> None:
        self._speeds.append((self.now, sum(node.read * node.pace for node in self.nodes.values() if node.there)))

    def _stop(self, id: NodeId) -> None:
        node = self.nodes[id]
        if node.busy:
            self._interrupt(node)
        node.there = node.busy = False
        node.queue.clear()
        node.epoch += 1
        node.stay += 1
        self._account()

    def _gone(self, id: NodeId) -> None:
        if not self.nodes[id].there:
            self._follow(self.policy.node_gone(id, "It is gone.", self.now))

    def _follow(self, decisions: list[Decision] | None) -> None:
        for decision in decisions or ():
            self.result.decisions += 1
            match decision:
                case Grant():
                    self.at(self.now + self._delay, self._arrival(decision))
                case Withdraw(node, lease, subtasks):
                    self.at(self.now + self._delay, self._cancellation(node, lease, subtasks))
                case GiveUp(subtask):
                    self.given_up.add(subtask)

    def _arrival(self, grant: Grant) -> Callable[[], None]:
        stay = self.nodes[grant.node].stay

        def arrive() -> None:
            node = self.nodes[grant.node]
            if node.there and node.stay == stay:
                node.queue.append(HeldLease(grant.lease, grant.chunk, list(grant.subtasks)))
                if not node.busy:
                    self._begin(node)

        return arrive

    def _cancellation(self, id: NodeId, lease: LeaseId, subtasks: tuple[SubtaskId, ...]) -> Callable[[], None]:
        def cancel() -> None:
            node = self.nodes[id]
            held = next((each for each in node.queue if each.id == lease), None)
            if not node.there or held is None:
                return
            current = held.left[0] if held is node.queue[0] and node.busy and held.left else None
            for subtask in subtasks or tuple(held.left):
                if subtask not in held.left or (subtask == current and node.pace == 0):
                    continue
                if subtask == current:
                    self._interrupt(node)
                    node.busy = False
                held.left.remove(subtask)
                self._report_failure(lease, subtask)
            if not held.left:
                node.queue.remove(held)
            if not node.busy:
                self._begin(node)

        return cancel

    def _begin(self, node: SimulatedNode) -> None:
        if not node.queue:
            return
        lease = node.queue[0]
        tokens = self._subtasks[lease.left[0]][1]
        node.at = (tokens.shared if node.cached == lease.chunk else 0, 0)
        node.cached, node.kept = None, node.at[0]
        node.busy = True
        self._tell(node)
        self._take_step(node)

    def _take_step(self, node: SimulatedNode) -> None:
        tokens = self._subtasks[node.queue[0].left[0]][1]
        read, written = node.at
        todo = min(node.step, tokens.shared + tokens.own - read)
        out = 0
        if todo <= 0:
            todo, out = 0, min(node.step, tokens.reply - written)
        effort = todo + node.slower * out
        wobble = self._random.lognormvariate(0, node.noise) if node.noise else 1.0
        node.piece = (self.now, effort / node.read * wobble, todo, out)
        self._go(node)

    def _go(self, node: SimulatedNode) -> None:
        """The step in work goes on at the node's pace."""
        _, seconds, todo, out = node.piece
        node.piece = (self.now, seconds, todo, out)
        node.epoch += 1
        if node.pace > 0:
            epoch = node.epoch
            self.at(self.now + seconds / node.pace, lambda: self._finish_step(node) if node.epoch == epoch else None)

    def _interrupt(self, node: SimulatedNode) -> None:
        """Counts what was done of the step in work."""
        start, seconds, todo, out = node.piece
        gone = min(seconds, (self.now - start) * node.pace)
        if seconds > 0:
            self._done += (todo + node.slower * out) * gone / seconds
            node.at = (node.at[0] + int(todo * gone / seconds), node.at[1])
            node.piece = (self.now, seconds - gone, todo - int(todo * gone / seconds), out)
        node.epoch += 1

    def _finish_step(self, node: SimulatedNode) -> None:
        if not node.there:
            return
        _, _, todo, out = node.piece
        node.at = (node.at[0] + todo, node.at[1] + out)
        self._done += todo + node.slower * out
        lease = node.queue[0]
        subtask = lease.left[0]
        chunk, tokens = self._subtasks[subtask]
        if node.at[0] >= tokens.shared:
            node.cached = chunk
        if node.at[0] < tokens.shared + tokens.own or node.at[1] < tokens.reply:
            self._tell(node)
            self._take_step(node)
            return
        lease.left.pop(0)
        prompt = tokens.shared + tokens.own
        id, usage = node.id, Usage(prompt, node.kept, tokens.reply)
        self.at(self.now + self._delay, lambda: self._outcome(id, lease.id, subtask, usage))
        if not lease.left:
            node.queue.pop(0)
        node.busy = False
        self._begin(node)

    def _tell(self, node: SimulatedNode) -> None:
        if node.silent:
            return
        lease = node.queue[0]
        subtask = lease.left[0]
        tokens = self._subtasks[subtask][1]
        prompt = tokens.shared + tokens.own
        read, written = (min(prompt, int(node.at[0] * node.claims)), int(node.at[1] * node.claims))
        self.at(
            self.now + self._delay,
            lambda: self._follow(self.policy.progress(lease.id, subtask, prompt, read, written, self.now)) if node.heard else None,
        )

    def _outcome(self, id: NodeId, lease: LeaseId, subtask: SubtaskId, usage: Usage) -> None:
        if not self.nodes[id].heard:
            return
        decisions = self.policy.settled(lease, subtask, self.now, usage)
        if decisions is not None:
            self.settled[subtask] = self.settled.get(subtask, 0) + 1
            self._follow(decisions)
            while self._after and len(self.settled) >= self._after[-1][0]:
                self._after.pop()[1]()

    def _report_failure(self, lease: LeaseId, subtask: SubtaskId) -> None:
        self.at(
            self.now + self._delay,
            lambda: self._follow(self.policy.failed(lease, subtask, FailureReason.CANCELLED, "Cancelled.", self.now)),
        )
