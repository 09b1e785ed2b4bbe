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
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.interrupts import end_on_signals
from bench.interval import Interval
from bench.measure import CORES
from bench.real_measure import Bundling, Overhead, RealBench, Timed, say
from bench.real_node import BenchFailed, RealNode, bare_engine, real_node, through_node
from bench.real_work import QUESTIONS, RealWork
from demo import DATA, MODEL
from demo_processes import BIN

from coordinator.documents.chunks import TARGET_TOKENS
from edgenode.engines.choose import BATCH_TOKENS
from edgenode.engines.known import default_threads

NAME: Final = "bench"
PACKAGES: Final = ("edgenode", "xllamacpp", "grpcio", "protobuf", "httpx2")


async def bench(options: argparse.Namespace, folder: Path) -> int:
    model = _model(options.model)
    os.environ |= {"EDGENODE_INTERFACE": "127.0.0.1", "EDGENODE_DATA": str(folder / "data")}
    began = time.monotonic()
    work = RealWork(options.chunks, options.chunk_tokens, options.questions)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(real_node(folder, NAME, model, options.threads))
        say(f"A node with {node.model} and {options.threads} threads is started.")
        through = await stack.enter_async_context(through_node(node))
        measuring = RealBench(node, through, await stack.enter_async_context(bare_engine(node)), work)
        overhead = await measuring.overhead(options.pairs)
        bundling = await measuring.bundling(options.repeat)
    conditions = _conditions(options, node, measuring.timed) | {"took": f"{time.monotonic() - began:.0f} s"}
    if options.json:
        print(json.dumps({"conditions": conditions, "overhead": asdict(overhead), "bundling": asdict(bundling)}, indent=2))
    else:
        print("; ".join(f"{name}: {value}" for name, value in conditions.items()) + ".\n")
        print(_table(overhead, bundling))
    if not overhead.texts_equal:
        say("The node's replies, tokens or cached tokens are not those of the bare engine: its cost is not that of the same work.")
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
    end_on_signals()
    with tempfile.TemporaryDirectory() as folder:
        try:
            return asyncio.run(bench(options, Path(folder)))
        except BenchFailed as error:
            say(str(error))
            return 1
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
