"""Ways to hand work out to the nodes of a roster: edgenode's own, and two that load balancers have."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.work import Work
from coordinator.events import NodeState
from coordinator.minions import prompts
from coordinator.nodes.news import Down, Heard, News, Up
from coordinator.nodes.roster import Roster
from coordinator.runs.dispatch import Dispatcher
from coordinator.runs.execute import Execution
from coordinator.scheduling.decisions import Need
from coordinator.scheduling.speed import PredictionError
from coordinator.types import Failed, Finding, Rejected, Retrieved
from edgenode.types import Cancel, Completion, Lease, LeaseId, NodeId, Outcome, Refusal

NODE_LEASES: Final = 2
"""Requests that are on a node at once: one in work, one waiting. It refuses more."""

Count = Callable[[int, int, bool], None]
"""Told of each end of a subtask that is counted in the result: task, chunk, whether there is an outcome."""


async def edgenode(roster: Roster, work: Work, count: Count, error: Callable[[PredictionError], None]) -> None:
    """As the product does it, but without the probes that run while documents are read. The only place here that knows how a run
    is carried out. In the end `error` gets how far off its predictions were, cut off or not."""

    def record(finding: Finding) -> None:
        if not isinstance(finding, Rejected | Retrieved):
            count(finding.task, finding.chunk, not isinstance(finding, Failed))

    execution = Execution(
        "bench",
        work.plan,
        work.chunks,
        {work.document.label: work.document},
        Need(test_engine=True),
        emit=lambda _: None,
        record=record,
        close=lambda task, chunk: count(task, chunk, False),
    )
    async with Dispatcher(roster) as dispatcher:
        try:
            await execution.run(dispatcher)
        finally:
            error(dispatcher.error)


@dataclass(eq=False, slots=True)
class _Request:
    task: int
    chunk: int
    tried: set[NodeId] = field(default_factory=set)
    lease: LeaseId | None = None
    """While it is on the node."""
    deadline: float = 0.0


class Requests:
    """A client of a load balancer: each subtask is a request of its own, as many are out as there are `NODE_LEASES` for each node,
    and a request that gets no answer within `timeout` seconds on its node, or loses it, is sent to another.

    With `least` it goes to the node with the fewest requests, else to the next in turn however many are waiting there. Those that a
    node has no room for wait in its line, and that time does not count against them.
    """

    def __init__(self, roster: Roster, work: Work, count: Count, timeout: float, *, least: bool) -> None:
        self._roster = roster
        self._work = work
        self._count = count
        self._timeout = timeout
        self._least = least
        self._waiting = deque(_Request(task, bundle.chunk) for bundle in work.plan.bundles for task in bundle.tasks)
        self._models: dict[NodeId, str] = {}
        self._lines: dict[NodeId, list[_Request]] = {}
        self._numbers = itertools.count()
        self._turn = itertools.count()

    async def run(self) -> None:
        """Returns when every request was answered."""
        news: asyncio.Queue[News] = asyncio.Queue()
        with self._roster.listening(news.put_nowait):
            while self._waiting or any(self._lines.values()):
                deadline = min((request.deadline for request in self._out()), default=None)
                try:
                    async with asyncio.timeout_at(deadline):
                        self._hear(await news.get())
                except TimeoutError:
                    self._give_up_waiting()
                self._send()

    def _out(self) -> list[_Request]:
        return [request for line in self._lines.values() for request in line if request.lease is not None]

    def _hear(self, news: News) -> None:
        match news:
            case Up(node) if node.state is NodeState.JOINED:
                self._models[node.id] = node.models[0].name
                self._lines.setdefault(node.id, [])
            case Down(node):
                self._models.pop(node.id, None)
                for request in self._lines.pop(node.id, []):
                    self._again(request, node.id)
            case Heard(id, Refusal(lease) | Outcome(lease) as frame):
                for request in self._lines.get(id, []):
                    if request.lease == lease:
                        self._lines[id].remove(request)
                        if isinstance(frame, Outcome) and isinstance(frame.result, Completion):
                            self._count(request.task, request.chunk, True)
                        else:
                            self._again(request, id)
                        break

    def _give_up_waiting(self) -> None:
        now = asyncio.get_running_loop().time()
        for node, line in self._lines.items():
            for request in tuple(line):
                if request.lease is not None and request.deadline <= now:
                    self._roster.send(node, Cancel(request.lease))
                    line.remove(request)
                    self._again(request, node)

    def _again(self, request: _Request, node: NodeId) -> None:
        request.tried.add(node)
        request.lease = None
        self._waiting.append(request)

    def _send(self) -> None:
        while self._waiting and sum(map(len, self._lines.values())) < NODE_LEASES * len(self._lines):
            request = self._waiting.popleft()
            self._lines[self._choose(request)].append(request)
        for node, line in self._lines.items():
            for request in line[:NODE_LEASES]:
                if request.lease is None:
                    self._begin(node, request)

    def _choose(self, request: _Request) -> NodeId:
        nodes = [node for node in self._lines if node not in request.tried] or list(self._lines)
        if self._least:
            return min(nodes, key=lambda node: len(self._lines[node]))
        return nodes[next(self._turn) % len(nodes)]

    def _begin(self, node: NodeId, request: _Request) -> None:
        request.lease = LeaseId(f"request-{next(self._numbers)}")
        request.deadline = asyncio.get_running_loop().time() + self._timeout
        shared = prompts.shared_text(self._work.chunks[request.chunk])
        subtask = self._work.subtask(request.task, request.chunk)
        self._roster.send(node, Lease(request.lease, self._models[node], prompts.SYSTEM, shared, (subtask,)))
