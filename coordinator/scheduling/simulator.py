"""A pool in time of its own: nodes with slots, prompt caches and models, a network with delay, and whatever befalls them.

It drives the same scheduler as real runs do, or any other policy with its interface. No product code imports it.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence

from coordinator.scheduling.decisions import (
    PROBE_PROMPT_TOKENS,
    PROBE_REPLY_TOKENS,
    PROBE_SUBTASK,
    Decision,
    GiveUp,
    Grant,
    Probe,
    Withdraw,
)
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
        self._subtasks = subtasks | {PROBE_SUBTASK: (-1, Tokens(0, PROBE_PROMPT_TOKENS, PROBE_REPLY_TOKENS))}
        self._count = len(subtasks)
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
        self._after.append((share * self._count, what))
        self._after.sort(key=lambda each: -each[0])

    # What befalls nodes.

    def join(self, id: NodeId) -> None:
        node = self.nodes[id]
        if not node.there:
            node.there = node.heard = True
            node.cached.clear()
            self._account()
            self._follow(self.policy.node_joined(id, self.now, models=node.models, slots=len(node.gains)))

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
        self._interrupt(node)
        node.pace = pace
        self._account()
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
        result.lost = self._count - len(self.settled)
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
        self._speeds.append((self.now, sum(node.read * node.pace * max(node.gains) for node in self.nodes.values() if node.there)))

    def _stop(self, id: NodeId) -> None:
        node = self.nodes[id]
        self._interrupt(node)
        node.there = False
        node.queue.clear()
        node.stay += 1
        self._account()

    def _gone(self, id: NodeId) -> None:
        if not self.nodes[id].there:
            self._follow(self.policy.node_gone(id, "It is gone.", self.now))

    def _follow(self, decisions: list[Decision] | None) -> None:
        for decision in decisions or ():
            self.result.decisions += 1
            match decision:
                case Grant(node, lease, chunk, subtasks, _, model, at_once):
                    self.at(self.now + self._delay, self._arrival(node, HeldLease(lease, chunk, list(subtasks), model, at_once)))
                case Probe(node, lease, model):
                    self.at(self.now + self._delay, self._arrival(node, HeldLease(lease, -1, [PROBE_SUBTASK], model, 1)))
                case Withdraw(node, lease, subtasks):
                    self.at(self.now + self._delay, self._cancellation(node, lease, subtasks))
                case GiveUp(subtask):
                    self.given_up.add(subtask)

    def _arrival(self, id: NodeId, lease: HeldLease) -> Callable[[], None]:
        stay = self.nodes[id].stay

        def arrive() -> None:
            node = self.nodes[id]
            if node.there and node.stay == stay:
                node.queue.append(lease)
                self._begin(node)

        return arrive

    def _cancellation(self, id: NodeId, lease: LeaseId, subtasks: tuple[SubtaskId, ...]) -> Callable[[], None]:
        def cancel() -> None:
            node = self.nodes[id]
            held = next((each for each in node.queue if each.id == lease), None)
            if not node.there or held is None:
                return
            current = held.left[0] if held.busy else None
            for subtask in subtasks or tuple(held.left):
                if subtask not in held.left or (subtask == current and node.pace == 0 and not node.heeds):
                    continue
                if subtask == current:
                    self._interrupt(node)
                    held.busy = False
                    self._go(node)
                held.left.remove(subtask)
                self._report_failure(lease, subtask)
            self._leave(node, held)
            self._begin(node)

        return cancel

    def _leave(self, node: SimulatedNode, lease: HeldLease) -> None:
        if not lease.left:
            node.queue.remove(lease)
            if lease.reads:
                node.cached.append(lease.chunk)

    def _begin(self, node: SimulatedNode) -> None:
        """Whatever the node has room for."""
        for lease in node.queue:
            if lease.busy:
                continue
            others = len(node.busy)
            if others >= min(len(node.gains), lease.at_once):
                return
            self._interrupt(node)
            lease.busy = True
            node.most = max(node.most, others + 1)
            self._go(node, but=lease)
            if lease.chunk in node.cached:
                node.cached.remove(lease.chunk)
                lease.reads = True
            while len(node.cached) >= len(node.gains) - others:
                node.cached.pop(0)
            tokens = self._subtasks[lease.left[0]][1]
            lease.at = (tokens.shared if lease.reads and node.loaded in ("", lease.model) else 0, 0)
            lease.kept, lease.reads = lease.at[0], False
            wait = node.loading if node.loaded not in ("", lease.model) else 0.0
            node.loaded = lease.model
            if not wait:
                self._tell(node, lease)
            self._take_step(node, lease, wait)

    def _take_step(self, node: SimulatedNode, lease: HeldLease, wait: float = 0.0) -> None:
        tokens = self._subtasks[lease.left[0]][1]
        read, written = lease.at
        todo = min(node.step, tokens.shared + tokens.own - read)
        out = 0
        if todo <= 0:
            todo, out = 0, min(node.step, tokens.reply - written)
        effort = (todo + node.slower * out) / node.factors.get(lease.model, 1.0)
        wobble = self._random.lognormvariate(0, node.noise) if node.noise else 1.0
        lease.piece = (self.now, wait + effort / node.read * wobble, todo, out)
        self._go(node, only=lease)

    def _go(self, node: SimulatedNode, but: HeldLease | None = None, only: HeldLease | None = None) -> None:
        """The steps in work go on at the pace that each has now."""
        power = node.power()
        for lease in [only] if only else node.busy:
            if lease is not but:
                lease.piece = (self.now, *lease.piece[1:])
                lease.epoch += 1
                if power > 0:
                    self.at(self.now + lease.piece[1] / power, self._step(node, lease, lease.epoch))

    def _step(self, node: SimulatedNode, lease: HeldLease, epoch: int) -> Callable[[], None]:
        return lambda: self._finish_step(node, lease) if lease.epoch == epoch else None

    def _interrupt(self, node: SimulatedNode) -> None:
        """Counts what was done of the steps in work."""
        power = node.power()
        for lease in node.busy:
            start, seconds, todo, out = lease.piece
            gone = min(seconds, (self.now - start) * power)
            if seconds > 0:
                self._done += (todo + node.slower * out) * gone / seconds
                read = int(todo * gone / seconds)
                lease.at = (lease.at[0] + read, lease.at[1])
                lease.piece = (self.now, seconds - gone, todo - read, out)
            lease.epoch += 1

    def _finish_step(self, node: SimulatedNode, lease: HeldLease) -> None:
        _, _, todo, out = lease.piece
        lease.at = (lease.at[0] + todo, lease.at[1] + out)
        self._done += todo + node.slower * out
        subtask = lease.left[0]
        tokens = self._subtasks[subtask][1]
        lease.reads = lease.at[0] >= tokens.shared
        if lease.at[0] < tokens.shared + tokens.own or lease.at[1] < tokens.reply:
            self._tell(node, lease)
            self._take_step(node, lease)
            return
        lease.left.pop(0)
        node.used[lease.model] = node.used.get(lease.model, 0) + 1
        id, usage = node.id, Usage(tokens.shared + tokens.own, lease.kept, tokens.reply)
        self.at(self.now + self._delay, lambda: self._outcome(id, lease.id, subtask, usage))
        if lease.left:
            shared = self._subtasks[lease.left[0]][1].shared
            lease.at = (shared if lease.reads else 0, 0)
            lease.kept = lease.at[0]
            self._tell(node, lease)
            self._take_step(node, lease)
            return
        lease.piece = (self.now, 0.0, 0, 0)
        self._interrupt(node)
        lease.busy = False
        self._leave(node, lease)
        self._go(node)
        self._begin(node)

    def _tell(self, node: SimulatedNode, lease: HeldLease) -> None:
        if node.silent:
            return
        subtask = lease.left[0]
        tokens = self._subtasks[subtask][1]
        prompt = tokens.shared + tokens.own
        read, written = (min(prompt, int(lease.at[0] * node.claims)), int(lease.at[1] * node.claims))
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
