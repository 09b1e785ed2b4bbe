"""A real node with a real engine: its process, its work stream, and the engine itself without the node around it."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from coordinator.events import NodeState
from coordinator.nodes.news import Down, Heard, News
from coordinator.nodes.pairing import Trust
from coordinator.nodes.roster import Roster
from edgenode.net.interfaces import LOOPBACK, scope
from edgenode.types import Completion, Failure, Lease, NodeId, Outcome, Refusal, SubtaskId, Usage

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 10.0
JOIN_SECONDS: Final = 120.0
SILENCE_SECONDS: Final = 300.0
"""A batch of the prompt on a very slow device takes less."""
TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 1


class BenchFailed(Exception):
    """The benchmark cannot go on; the text is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class RealNode:
    """A node that serves: `url` and `key` are its engine's own."""

    id: NodeId
    name: str
    model: str
    context: int
    url: str
    key: str
    process: int


@asynccontextmanager
async def real_node(folder: Path, name: str, model: Path, threads: int) -> AsyncIterator[RealNode]:
    """Starts a node that serves the file `model`, with its home in `folder`, and ends it with its engine. Raises `BenchFailed`."""
    log = folder / f"{name}.log"
    child = str(Path(__file__).with_name("real_child.py"))
    command = [sys.executable, child, str(folder / name), name, str(model), str(threads)]
    pipe = asyncio.subprocess.PIPE
    with log.open("wb") as errors:
        # A session of its own: Ctrl-C at the terminal ends the benchmark, which ends the node.
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True)
    assert process.stdin is not None, "a pipe"
    assert process.stdout is not None, "a pipe"
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await process.stdout.readline()
        except TimeoutError:
            raise BenchFailed(f"The node did not start within {START_SECONDS:.0f} seconds.") from None
        if not line:
            raise BenchFailed(f"The node could not start: {log.read_text(encoding='utf-8').strip().rpartition(chr(10))[2]}")
        told = json.loads(line)
        yield RealNode(NodeId(told["id"]), name, told["model"], told["context"], told["url"], told["key"], process.pid)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class ThroughNode:
    """Work done as a coordinator has it done: leases over the roster's work stream."""

    def __init__(self, roster: Roster, node: RealNode) -> None:
        self._roster = roster
        self._node = node
        self._news: asyncio.Queue[News] = asyncio.Queue()

    async def do(self, lease: Lease) -> list[Completion]:
        """What each subtask of `lease` came to, in order. Raises `BenchFailed`."""
        done: dict[SubtaskId, Completion] = {}
        self._roster.send(self._node.id, lease)
        while len(done) < len(lease.subtasks):
            match await self._next():
                case Heard(_, Outcome(id, subtask, Completion() as completion)) if id == lease.id:
                    done[subtask] = completion
                case Heard(_, Outcome(_, _, Failure(_, message)) | Refusal(_, _, message)):
                    raise BenchFailed(f"The node did not do the work: {message}")
                case Down(_, why):
                    raise BenchFailed(f"The node was lost: {why}")
        return [done[subtask.id] for subtask in lease.subtasks]

    async def _next(self) -> News:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                return await self._news.get()
        except TimeoutError:
            raise BenchFailed(f"The node was silent for {SILENCE_SECONDS:.0f} seconds.") from None

    def hear(self, news: News) -> None:
        self._news.put_nowait(news)


@asynccontextmanager
async def through_node(node: RealNode) -> AsyncIterator[ThroughNode]:
    """A coordinator that is paired with `node` and connected to it: gRPC over mutual TLS on loopback. Raises `BenchFailed`."""
    async with Roster(scope(LOOPBACK), Trust.load(), [node.id]) as roster:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JOIN_SECONDS):
                while not any(each.state is NodeState.JOINED for each in roster.nodes()):
                    await roster.changed(1.0)
        if not any(each.state is NodeState.JOINED for each in roster.nodes()):
            reasons = " ".join(each.why for each in roster.nodes())
            raise BenchFailed(f"The node could not be reached within {JOIN_SECONDS:.0f} seconds. {reasons}")
        through = ThroughNode(roster, node)
        with roster.listening(through.hear):
            yield through


class BareEngine:
    """The engine's own HTTP server, asked by as little as can ask it: a request is sent, its stream is read to the end and only
    then looked at. The engine is not asked to tell how far it is, so that this counts among what the node costs."""

    def __init__(self, node: RealNode, client: httpx2.AsyncClient) -> None:
        self._model = node.model
        self._client = client

    async def do(self, lease: Lease) -> list[Completion]:
        """As `ThroughNode.do`."""
        return [
            await self._ask(lease.system, lease.shared + subtask.instruction, subtask.max_reply_tokens, subtask.reply_schema)
            for subtask in lease.subtasks
        ]

    async def forget(self) -> None:
        """Leaves nothing in the engine's prompt cache but a prompt that shares no text with others."""
        await self._ask("Greet.", "Hello.", 1, '{"type": "string", "maxLength": 1}')

    async def _ask(self, system: str, user: str, tokens: int, schema: str) -> Completion:
        body = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": 0,
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": json.loads(schema)},
            },
            "cache_prompt": True,
            "chat_template_kwargs": {"enable_thinking": False},
        }
        content = bytearray()
        try:
            async with self._client.stream("POST", "/v1/chat/completions", content=json.dumps(body).encode()) as answer:
                async for data in answer.aiter_raw():
                    content += data
        except httpx2.HTTPError as error:
            raise BenchFailed(f"The engine broke off ({type(error).__name__}).") from error
        if answer.status_code != 200:
            raise BenchFailed(f"The engine refused the work (HTTP {answer.status_code}).")
        return _completion(content)


@asynccontextmanager
async def bare_engine(node: RealNode) -> AsyncIterator[BareEngine]:
    # The server drops connections that it had promised to keep, so each request has its own, as in the adapter.
    async with httpx2.AsyncClient(
        base_url=node.url,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {node.key}"},
        timeout=SILENCE_SECONDS,
        limits=httpx2.Limits(max_keepalive_connections=0),
        verify=False,  # there is no TLS on loopback, and setting it up takes a while
        trust_env=False,
    ) as client:
        yield BareEngine(node, client)


def processor_seconds(process: int) -> tuple[float, float]:
    """Processor time so far of a process and of its children; 0 where the kernel does not tell."""
    own = children = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        ticks = int(fields[11]) + int(fields[12])
        own += ticks if int(path.parent.name) == process else 0
        children += ticks if int(fields[1]) == process else 0
    return own / TICKS, children / TICKS


def _completion(content: bytes | bytearray) -> Completion:
    text: list[str] = []
    usage: dict[str, Any] = {}
    timings: dict[str, Any] = {}
    for line in content.splitlines():
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            text += [choice["delta"].get("content") or "" for choice in event["choices"]]
            usage = event.get("usage") or usage
            timings = event.get("timings") or timings
    seconds = (timings["prompt_ms"] + timings["predicted_ms"]) / 1000
    return Completion("".join(text), Usage(usage["prompt_tokens"], timings["cache_n"], usage["completion_tokens"], seconds))


def read_tokens(completions: Sequence[Completion]) -> int:
    """Tokens that the engine really read for them: those of the prompts that were not in its cache."""
    return sum(each.usage.prompt_tokens - each.usage.cached_tokens for each in completions)
