"""A pool in time of its own: nodes with slots, prompt caches and models, a network with delay, and whatever befalls them.

It drives the same scheduler as real runs do, or any other policy with its interface. No product code imports it.
"""

import heapq
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
from coordinator.scheduling.simulated_work import AtWork
from edgenode.types import FailureReason, LeaseId, NodeId, SubtaskId, Usage


class Simulation(AtWork):
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
        super().__init__(subtasks | {PROBE_SUBTASK: (-1, Tokens(0, PROBE_PROMPT_TOKENS, PROBE_REPLY_TOKENS))}, seed)
        self.policy = policy
        self.nodes = {node.id: node for node in nodes}
        self.result = Result()
        self.settled: dict[SubtaskId, int] = {}
        self.given_up: set[SubtaskId] = set()
        self._count = len(subtasks)
        self._delay = delay
        self._speeds: list[tuple[float, float]] = []
        self._after: list[tuple[float, Callable[[], None]]] = []
        chunks = {chunk: tokens.shared for chunk, tokens in subtasks.values()}
        slower = nodes[0].slower
        self.demand = sum(chunks.values()) + sum(tokens.own + slower * tokens.reply for _, tokens in subtasks.values())

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
            self.follow(self.policy.node_joined(id, self.now, models=node.models, slots=len(node.gains)))

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
                self.follow(self.policy.node_suspect(id, self.now))

        self.at(self.now + min(3.0, seconds), suspect)
        self.at(self.now + min(6.0, seconds), lambda: self._gone(id))
        self.at(self.now + seconds + 0.2, lambda: self.join(id))

    def set_pace(self, id: NodeId, pace: float) -> None:
        """1 as usual, .1 slowed to a tenth, 0 stalled with its heartbeat going on."""
        node = self.nodes[id]
        self.interrupt(node)
        node.pace = pace
        self._account()
        self.go(node)

    # Running.

    def run(self, limit: float = 1e6) -> Result:
        while not self.policy.finished and self.now < limit:
            wake = self.policy.wakes_at
            time = self.events[0][0] if self.events else float("inf")
            if wake <= time:
                if wake == float("inf"):
                    break
                self.now = max(self.now, wake)
                self.follow(self.policy.tick(self.now))
                # A wake that is not used up must not hold time still.
                if self.policy.wakes_at <= self.now:
                    self.now += 1e-4
                continue
            self.step()
        return self._judge()

    def step(self) -> None:
        """The next event. There is one."""
        self.now, _, what = heapq.heappop(self.events)
        self.result.events += 1
        what()

    def _judge(self) -> Result:
        result = self.result
        result.seconds = self.now
        result.lost = self._count - len(self.settled)
        result.duplicates = sum(count - 1 for count in self.settled.values())
        result.wasted_share = self.done / self.demand - 1
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
        self.interrupt(node)
        node.there = False
        node.queue.clear()
        node.stay += 1
        self._account()

    def _gone(self, id: NodeId) -> None:
        if not self.nodes[id].there:
            self.follow(self.policy.node_gone(id, "It is gone.", self.now))

    def follow(self, decisions: list[Decision] | None) -> None:
        """Carries out what was decided."""
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
                self.begin(node)

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
                    self.interrupt(node)
                    held.busy = False
                    self.go(node)
                held.left.remove(subtask)
                self._report_failure(lease, subtask)
            self.leave(node, held)
            self.begin(node)

        return cancel

    def _begun(self, node: SimulatedNode, lease: HeldLease) -> None:
        self._report_progress(node, lease, 0, 0, 0)

    def _tell(self, node: SimulatedNode, lease: HeldLease) -> None:
        if node.silent:
            return
        tokens = self.subtasks[lease.left[0]][1]
        prompt = tokens.shared + tokens.own
        self._report_progress(node, lease, prompt, min(prompt, int(lease.at[0] * node.claims)), int(lease.at[1] * node.claims))

    def _report_progress(self, node: SimulatedNode, lease: HeldLease, prompt: int, read: int, written: int) -> None:
        subtask = lease.left[0]
        self.at(
            self.now + self._delay,
            lambda: self.follow(self.policy.progress(lease.id, subtask, prompt, read, written, self.now)) if node.heard else None,
        )

    def _finished(self, node: SimulatedNode, lease: HeldLease, subtask: SubtaskId, usage: Usage) -> None:
        self.at(self.now + self._delay, lambda: self._outcome(node.id, lease.id, subtask, usage))

    def _outcome(self, id: NodeId, lease: LeaseId, subtask: SubtaskId, usage: Usage) -> None:
        if not self.nodes[id].heard:
            return
        decisions = self.policy.settled(lease, subtask, self.now, usage)
        if decisions is not None:
            self.settled[subtask] = self.settled.get(subtask, 0) + 1
            self.follow(decisions)
            while self._after and len(self.settled) >= self._after[-1][0]:
                self._after.pop()[1]()

    def _report_failure(self, lease: LeaseId, subtask: SubtaskId) -> None:
        self.at(
            self.now + self._delay,
            lambda: self.follow(self.policy.failed(lease, subtask, FailureReason.CANCELLED, "Cancelled.", self.now)),
        )
