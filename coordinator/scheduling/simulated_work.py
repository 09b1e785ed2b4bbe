"""Simulated nodes at work, in a time of their own: slots, steps, prompt caches and the loading of models."""

import heapq
import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Callable

from coordinator.scheduling.simulated import HeldLease, SimulatedNode, Tokens
from edgenode.types import SubtaskId, Usage


class AtWork(ABC):
    """What is told of work, and what else happens, is for whoever inherits."""

    def __init__(self, subtasks: dict[SubtaskId, tuple[int, Tokens]], seed: int) -> None:
        self.subtasks = subtasks
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.done = 0.0
        """Tokens that were read, and written as so many times more as that takes longer."""
        self._order = itertools.count()
        self._random = random.Random(seed)

    def at(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time, next(self._order), what))

    @abstractmethod
    def _begun(self, node: SimulatedNode, lease: HeldLease) -> None:
        """The node says that it begins a subtask."""

    @abstractmethod
    def _tell(self, node: SimulatedNode, lease: HeldLease) -> None:
        """The node shows how far it is."""

    @abstractmethod
    def _finished(self, node: SimulatedNode, lease: HeldLease, subtask: SubtaskId, usage: Usage) -> None: ...

    def leave(self, node: SimulatedNode, lease: HeldLease) -> None:
        if not lease.left:
            node.queue.remove(lease)
            if lease.reads:
                node.cached.append(lease.chunk)

    def begin(self, node: SimulatedNode) -> None:
        """Whatever the node has room for."""
        for lease in node.queue:
            if lease.busy:
                continue
            others = len(node.busy)
            if others >= min(len(node.gains), lease.at_once):
                return
            self.interrupt(node)
            lease.busy = True
            node.most = max(node.most, others + 1)
            self.go(node, but=lease)
            if lease.chunk in node.cached:
                node.cached.remove(lease.chunk)
                lease.reads = True
            while len(node.cached) >= len(node.gains) - others:
                node.cached.pop(0)
            tokens = self.subtasks[lease.left[0]][1]
            lease.at = (tokens.shared if lease.reads and node.loaded in ("", lease.model) else 0, 0)
            lease.kept, lease.reads = lease.at[0], False
            wait = node.loading if node.loaded not in ("", lease.model) else 0.0
            node.loaded = lease.model
            self._begun(node, lease)
            self._take_step(node, lease, wait)

    def _take_step(self, node: SimulatedNode, lease: HeldLease, wait: float = 0.0) -> None:
        tokens = self.subtasks[lease.left[0]][1]
        read, written = lease.at
        todo = min(node.step, tokens.shared + tokens.own - read)
        out = 0
        if todo <= 0:
            todo, out = 0, min(node.step, tokens.reply - written)
        effort = (todo + node.slower * out) / node.factors.get(lease.model, 1.0)
        wobble = self._random.lognormvariate(0, node.noise) if node.noise else 1.0
        lease.piece = (self.now, wait + effort / node.read * wobble, todo, out)
        self.go(node, only=lease)

    def go(self, node: SimulatedNode, but: HeldLease | None = None, only: HeldLease | None = None) -> None:
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

    def interrupt(self, node: SimulatedNode) -> None:
        """Counts what was done of the steps in work."""
        power = node.power()
        for lease in node.busy:
            start, seconds, todo, out = lease.piece
            gone = min(seconds, (self.now - start) * power)
            if seconds > 0:
                self.done += (todo + node.slower * out) * gone / seconds
                read = int(todo * gone / seconds)
                lease.at = (lease.at[0] + read, lease.at[1])
                lease.piece = (self.now, seconds - gone, todo - read, out)
            lease.epoch += 1

    def _finish_step(self, node: SimulatedNode, lease: HeldLease) -> None:
        _, _, todo, out = lease.piece
        lease.at = (lease.at[0] + todo, lease.at[1] + out)
        self.done += todo + node.slower * out
        subtask = lease.left[0]
        tokens = self.subtasks[subtask][1]
        lease.reads = lease.at[0] >= tokens.shared
        if lease.at[0] < tokens.shared + tokens.own or lease.at[1] < tokens.reply:
            self._tell(node, lease)
            self._take_step(node, lease)
            return
        lease.left.pop(0)
        node.used[lease.model] = node.used.get(lease.model, 0) + 1
        self._finished(node, lease, subtask, Usage(tokens.shared + tokens.own, lease.kept, tokens.reply))
        if lease.left:
            shared = self.subtasks[lease.left[0]][1].shared
            lease.at = (shared if lease.reads else 0, 0)
            lease.kept = lease.at[0]
            self._begun(node, lease)
            self._take_step(node, lease)
            return
        lease.piece = (self.now, 0.0, 0, 0)
        self.interrupt(node)
        lease.busy = False
        self.leave(node, lease)
        self.go(node)
        self.begin(node)
