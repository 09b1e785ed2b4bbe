"""Measures what a node costs beside its bare engine, and what bundles save, with a real model on this machine.

    python scripts/bench_engine.py [--model PATH] [--threads N] [--pairs N] [--repeat N] [--chunks N] [--questions N]
                                   [--chunk-tokens N] [--json]

The default engine (xllamacpp) runs in a real node, a process of its own that is reached by gRPC and mutual TLS on loopback, as
`edgenode start` runs it. The text is the demo's handbook, cut and asked as in a run: three questions of a chunk, and a reply that
quotes one of its sentences. Without --model it is the demo's model, which is fetched if it is not there.

Overhead: a lease with the questions of a chunk goes to the node, and the same requests go to the same engine's own HTTP server, one
after another, by a client that only collects what is streamed (`bench/real_node.py`). The two take turns (A B, B A, ...), before
each the engine's cache is emptied, and replies, tokens and cached tokens must be the same. The cost is what the node takes from the
engine's throughput: the median over all pairs, with an interval from order statistics (binomial, at least 95 %). The same
is told of processor time, which other programs disturb less, and which counts on a device without a core to spare.

Bundles: all questions of all chunks go to the node once with a lease for each chunk, and once with a lease for each subtask,
question by question over all chunks, as they come where nobody minds what a cache holds. What was read are the prompts' tokens that
did not come from the cache. Medians of `--repeat` turns.

Other programs on the machine disturb it: how much they used meanwhile is among the conditions.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any, Final, Self

from bench.interval import Interval, median_interval
from bench.measure import CORES, machine_seconds
from bench.real_node import (
    BareEngine,
    BenchFailed,
    RealNode,
    ThroughNode,
    bare_engine,
    processor_seconds,
    read_tokens,
    real_node,
    through_node,
)
from bench.real_work import QUESTIONS, RealWork
from demo import DATA, MODEL
from demo_processes import BIN

from coordinator.documents.chunks import TARGET_TOKENS
from edgenode.engines.choose import BATCH_TOKENS, default_threads
from edgenode.types import Completion, Lease

NAME: Final = "bench"
PACKAGES: Final = ("edgenode", "xllamacpp", "grpcio", "protobuf", "httpx2")


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


class Bench:
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
            _say(f"Pair {pair + 1} of {pairs}: bare engine {bare[-1].seconds:.2f} s, through the node {node[-1].seconds:.2f} s.")
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
            _say(
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


async def bench(options: argparse.Namespace, folder: Path) -> int:
    model = _model(options.model)
    os.environ |= {"EDGENODE_INTERFACE": "127.0.0.1", "EDGENODE_DATA": str(folder / "data")}
    began = time.monotonic()
    work = RealWork(options.chunks, options.chunk_tokens, options.questions)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(real_node(folder, NAME, model, options.threads))
        _say(f"A node with {node.model} and {options.threads} threads is started.")
        through = await stack.enter_async_context(through_node(node))
        measuring = Bench(node, through, await stack.enter_async_context(bare_engine(node)), work)
        overhead = await measuring.overhead(options.pairs)
        bundling = await measuring.bundling(options.repeat)
    conditions = _conditions(options, node, measuring.timed) | {"took": f"{time.monotonic() - began:.0f} s"}
    if options.json:
        print(json.dumps({"conditions": conditions, "overhead": asdict(overhead), "bundling": asdict(bundling)}, indent=2))
    else:
        print("; ".join(f"{name}: {value}" for name, value in conditions.items()) + ".\n")
        print(_table(overhead, bundling))
    if not overhead.texts_equal:
        _say("The node's replies, tokens or cached tokens are not those of the bare engine: its cost is not that of the same work.")
        return 1
    return 0


def _model(told: Path | None) -> Path:
    """The model's file: the one that was named, else the demo's, which is fetched where it is not there. Raises `BenchFailed`."""
    if told is not None:
        if not told.is_file():
            raise BenchFailed(f"There is no model at {told}. Name a .gguf file with --model, or leave it out for the demo's.")
        return told.resolve()
    store = DATA / "models"
    if not list(store.glob("*.gguf")):
        command = [str(BIN / "edgenode"), "pull", MODEL]
        # What it says is progress, and standard output is the result's.
        if subprocess.run(command, env=os.environ | {"EDGENODE_DATA": str(DATA)}, stdout=sys.stderr, check=False).returncode != 0:
            raise BenchFailed("The model could not be fetched; the reason stands above. Name a .gguf file with --model.")
    return min(store.glob("*.gguf"))


def _conditions(options: argparse.Namespace, node: RealNode, timed: Sequence[Timed]) -> dict[str, str]:
    prompts = [each.usage.prompt_tokens for turn in timed for each in turn.completions]
    replies = [each.usage.completion_tokens for turn in timed for each in turn.completions]
    others = [100 * each.others_share for each in timed]
    return {
        "engine": f"xllamacpp, one slot, {options.threads} threads, batches of {BATCH_TOKENS}, context of {node.context} tokens",
        "model": node.model,
        "node": "a real process, gRPC and mutual TLS on loopback",
        "requests": f"prompts of {median(prompts):.0f} tokens, replies of {median(replies):.0f} (medians), temperature 0",
        "overhead": f"{options.pairs} pairs, {options.questions} subtasks of a chunk each, in turns, cache emptied before each",
        "bundles": f"{options.chunks} chunks, {options.questions} questions each, {options.repeat} times each way",
        "machine": f"{platform.system()} {platform.machine()}, {CORES} cores",
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "other programs": f"used {median(others):.0f} % of all cores meanwhile (median), at most {max(others):.0f} %",
    }


def _table(overhead: Overhead, bundling: Bundling) -> str:
    bare, node, single, bundled = overhead.bare, overhead.node, bundling.one_by_one, bundling.bundled
    processor = f"{_told(overhead.processor_cost)} of all"
    return "\n".join(
        (
            f"| {overhead.subtasks} subtasks of a chunk, {overhead.pairs} pairs | bare engine | node | cost (interval) |",
            "| --- | --- | --- | --- |",
            f"| seconds | {bare.seconds:.2f} | {node.seconds:.2f} | {_told(overhead.cost)} |",
            f"| time beside the engine's, ms a subtask | {bare.outside_ms:.1f} | {node.outside_ms:.1f} | |",
            f"| processor time likewise, ms a subtask | {bare.processor_ms:.0f} | {node.processor_ms:.0f} | {processor} |",
            "",
            f"| {bundling.subtasks} subtasks on {bundling.chunks} chunks | one by one | as bundles | saved |",
            "| --- | --- | --- | --- |",
            f"| tokens read | {single.read_tokens:.0f} | {bundled.read_tokens:.0f} | {100 * bundling.saved_reading:.0f} % |",
            f"| seconds | {single.seconds:.1f} | {bundled.seconds:.1f} | {100 * bundling.saved_time:.0f} % |",
        )
    )


def _told(cost: Interval | None) -> str:
    if cost is None:
        return "unknown share"
    return f"{cost.median:.1f} % ({cost.low:.1f} to {cost.high:.1f}, {100 * cost.confidence:.0f} % sure)"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _at_least(least: int) -> Any:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, metavar="PATH", help="a .gguf file (default: the demo's)")
    parser.add_argument("--threads", type=_at_least(1), default=default_threads(), help="of the engine (%(default)s)")
    parser.add_argument("--pairs", type=_at_least(1), default=9, help="of measurements for the overhead (%(default)s)")
    parser.add_argument("--chunks", type=_at_least(2), default=3, help="to read (%(default)s)")
    parser.add_argument(
        "--questions", type=int, choices=range(2, len(QUESTIONS) + 1), default=3, help="of each chunk (%(default)s)"
    )
    parser.add_argument("--repeat", type=_at_least(1), default=3, help="turns for what bundles save (%(default)s)")
    parser.add_argument(
        "--chunk-tokens", type=_at_least(64), default=TARGET_TOKENS, help="estimated tokens of a chunk at most (%(default)s)"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # A shell that starts this in the background leaves Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As Ctrl-C does, which asyncio turns into a cancellation: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory() as folder:
        try:
            return asyncio.run(bench(options, Path(folder)))
        except BenchFailed as error:
            _say(str(error))
            return 1
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
