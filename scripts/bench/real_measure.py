"""What is measured on a real node and its engine: what the node costs, and what bundles save."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Self

from bench.interval import Interval, median_interval
from bench.measure import CORES, machine_seconds
from bench.real_node import BareEngine, RealNode, ThroughNode, processor_seconds, read_tokens
from bench.real_work import RealWork
from edgenode.types import Completion, Lease


@dataclass(frozen=True, slots=True)
class Timed:
    """Some leases done one after another. `outside_ms` is the time beside the engine's own for reading and writing, for each
    subtask. Of processor time `beside_seconds` is what this process and the node's used, `all_seconds` that and the engine's, and
    `others_share` what other programs used of all cores; all three are 0 where the kernel does not tell."""

    completions: list[Completion]
    seconds: float
    outside_ms: float
    beside_seconds: float
    all_seconds: float
    others_share: float

    @property
    def replies(self) -> list[tuple[str, int, int, int]]:
        """What must be the same however the engine was asked."""
        usages = ((each.text, each.usage) for each in self.completions)
        return [(text, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) for text, usage in usages]


@dataclass(frozen=True, slots=True)
class Side:
    """One of two ways to have the same work done: medians. `read_tokens` are those that the engine really read, `outside_ms` and
    `processor_ms` the time and the processor time beside the engine's, for each subtask, the latter a mean: its clock is coarse."""

    seconds: float
    read_tokens: float
    outside_ms: float
    processor_ms: float

    @classmethod
    def of(cls, turns: Sequence[Timed]) -> Self:
        return cls(
            round(median(each.seconds for each in turns), 3),
            median(read_tokens(each.completions) for each in turns),
            round(median(each.outside_ms for each in turns), 1),
            round(mean(1000 * each.beside_seconds / len(each.completions) for each in turns), 1),
        )


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the node takes from the bare engine's throughput, in per cent, below 0 where it was faster by chance: `cost` by the time
    taken (`each_cost` in each pair), and `processor_cost` by what it and the coordinator use of the processor beyond what the bare
    client uses, as if there were no core to spare; None where the kernel does not tell."""

    pairs: int
    subtasks: int
    bare: Side
    node: Side
    cost: Interval
    processor_cost: Interval | None
    each_cost: list[float]
    texts_equal: bool


@dataclass(frozen=True, slots=True)
class Bundling:
    """What bundles save of what the same subtasks take one by one, as shares. `texts_equal` is the share of replies that are the
    same both ways."""

    repeats: int
    chunks: int
    subtasks: int
    one_by_one: Side
    bundled: Side
    saved_reading: float
    saved_time: float
    texts_equal: float


class RealBench:
    """All measurements on one node and its engine."""

    def __init__(self, node: RealNode, through: ThroughNode, bare: BareEngine, work: RealWork) -> None:
        self._node = node
        self._through = through
        self._bare = bare
        self._work = work
        self.timed: list[Timed] = []

    async def overhead(self, pairs: int) -> Overhead:
        # Once for nothing: what is loaded or made at first use is not what a request costs.
        for way in (self._through, self._bare):
            await way.do(self._work.lease(self._node.model, 0, self._work.tasks[:1]))
        bare: list[Timed] = []
        node: list[Timed] = []
        for pair in range(pairs):
            turns: list[tuple[ThroughNode | BareEngine, list[Timed]]] = [(self._bare, bare), (self._through, node)]
            for way, kept in turns if pair % 2 == 0 else reversed(turns):
                kept.append(await self._time(way, [self._work.lease(self._node.model, pair % len(self._work.chunks))]))
            say(f"Pair {pair + 1} of {pairs}: bare engine {bare[-1].seconds:.2f} s, through the node {node[-1].seconds:.2f} s.")
        both = list(zip(bare, node, strict=True))
        costs = [_cost(one.seconds, other.seconds) for one, other in both]
        # The engine's own is as much again as other programs disturb its caches, so it counts as the same in both.
        used = [_cost(one.all_seconds, one.all_seconds + other.beside_seconds - one.beside_seconds) for one, other in both]
        return Overhead(
            pairs=pairs,
            subtasks=len(self._work.tasks),
            bare=Side.of(bare),
            node=Side.of(node),
            cost=median_interval(costs),
            processor_cost=median_interval(used) if all(each.all_seconds for each in bare) else None,
            each_cost=costs,
            texts_equal=all(one.replies == other.replies for one, other in both),
        )

    async def bundling(self, repeats: int) -> Bundling:
        model = self._node.model
        single: list[Timed] = []
        bundled: list[Timed] = []
        for repeat in range(repeats):
            turns = [(self._work.one_by_one, single), (self._work.bundles, bundled)]
            for leases, kept in turns if repeat % 2 == 0 else reversed(turns):
                kept.append(await self._time(self._through, leases(model)))
            say(
                f"Repeat {repeat + 1} of {repeats}: one by one {single[-1].seconds:.1f} s, {read_tokens(single[-1].completions)} "
                f"tokens read; as bundles {bundled[-1].seconds:.1f} s, {read_tokens(bundled[-1].completions)} tokens."
            )
        before, after = Side.of(single), Side.of(bundled)
        return Bundling(
            repeats=repeats,
            chunks=len(self._work.chunks),
            subtasks=len(single[0].completions),
            one_by_one=before,
            bundled=after,
            saved_reading=round(1 - after.read_tokens / before.read_tokens, 3),
            saved_time=round(1 - median(two.seconds / one.seconds for one, two in zip(single, bundled, strict=True)), 3),
            texts_equal=round(self._equal(single[0].completions, bundled[0].completions), 3),
        )

    def _equal(self, single: Sequence[Completion], bundled: Sequence[Completion]) -> float:
        """Share of the subtasks whose replies are the same; the two lists are in their own orders."""
        chunks, tasks = len(self._work.chunks), len(self._work.tasks)
        same = [
            single[task * chunks + chunk].text == bundled[chunk * tasks + task].text
            for task in range(tasks)
            for chunk in range(chunks)
        ]
        return sum(same) / len(same)

    async def _time(self, way: ThroughNode | BareEngine, leases: Sequence[Lease]) -> Timed:
        await self._bare.forget()
        completions: list[Completion] = []
        before = self._used()
        began = time.perf_counter()
        for lease in leases:
            completions += await way.do(lease)
        seconds = time.perf_counter() - began
        machine, client, node, engine = (now - then for now, then in zip(self._used(), before, strict=True))
        self.timed.append(
            Timed(
                completions,
                seconds,
                outside_ms=1000 * (seconds - sum(each.usage.seconds for each in completions)) / len(completions),
                beside_seconds=client + node if engine else 0.0,
                all_seconds=client + node + engine if engine else 0.0,
                others_share=max(0.0, machine - client - node - engine) / (seconds * CORES),
            )
        )
        return self.timed[-1]

    def _used(self) -> tuple[float, float, float, float]:
        """Processor time so far: of all programs, this process, the node and its engine."""
        return (machine_seconds(), time.process_time(), *processor_seconds(self._node.process))


def _cost(bare: float, node: float) -> float:
    """The throughput that the node costs, in per cent, from what the bare engine and the node took for the same."""
    return round(100 * (1 - bare / node), 2) if node else 0.0


def say(text: str) -> None:
    """What goes on: standard output is the result's."""
    print(text, file=sys.stderr, flush=True)
