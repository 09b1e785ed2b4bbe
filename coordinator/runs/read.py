"""The reading of a run: from the documents' texts to a finding for every subtask, from the beginning or from where it was."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from coordinator.documents.chunks import make_chunks
from coordinator.documents.retrieval import Index
from coordinator.errors import NoNodes, RunError
from coordinator.events import Estimated, Event, Found, NodeGone, NodeJoined, NodeState, Planned, Warned
from coordinator.minions import prompts
from coordinator.minions.findings import retrieved_findings
from coordinator.minions.plan import make_plan, split_question
from coordinator.nodes.roster import Roster
from coordinator.runs.dispatch import Dispatcher
from coordinator.runs.execute import Execution
from coordinator.runs.identity import fingerprint, subtask_keys
from coordinator.runs.journal import Journal
from coordinator.runs.participants import fitting
from coordinator.runs.progress import Progress
from coordinator.scheduling.decisions import Need
from coordinator.scheduling.limits import PATIENCE_SECONDS
from coordinator.types import Document, Failed, Finding, Reading, Rejected, Retrieved
from edgenode.engines.known import DETERMINISTIC
from edgenode.threads import in_thread
from edgenode.types import NodeId

# A node with a smaller context than this cannot hold a useful chunk with its instruction and reply.
MIN_CONTEXT_TOKENS: Final = 1_024
# Of the nodes that are there and take no part, so many are told of in one sentence each.
MAX_REASONS: Final = 5


# Before a person is asked whether so many parts shall be read it is worth this long to learn how fast the nodes are: each reads a
# little text of ours since it joined, which a Pi does in some seconds.
MANY_PARTS: Final = 8
PROBE_SECONDS: Final = 10.0

Confirm = Callable[[Estimated], Awaitable[bool]]
"""Whether what was estimated shall be read."""


class Declined(Exception):
    """Whoever asked does not want it read."""


class OtherPlan(RunError):
    """What is left of a run cannot be told, since this version of the program divides the work in another way."""


async def read(
    dispatcher: Dispatcher,
    journal: Journal,
    question: str,
    documents: Sequence[Document],
    tell: Callable[[Event], None],
    *,
    interactive: bool = True,
    confirm: Confirm | None = None,
) -> None:
    """Has the nodes read what has not been read, what failed too, and returns when every subtask of the plan has come to its end in
    the journal. A failure stands until its subtask ends anew.

    What the documents are cut by is kept with the plan, so that a run that is resumed with other nodes has the same chunks.
    Before anything is read `confirm` is asked whether it shall be.
    Raises `Declined` when it says no, `NoNodes`, and `OtherPlan` when this version of the program makes another plan than the one
    that began.
    """
    overhead = prompts.overhead_tokens(split_question(question))
    made: dict[str, Any] | None = journal.value("plan")
    if made is None:
        least = max(MIN_CONTEXT_TOKENS, overhead + MIN_CONTEXT_TOKENS // 2)
        context, test_engine = await _smallest_context(dispatcher.roster, least)
        made = {"context": context, "chunk_tokens": context - overhead, "test_engine": test_engine}
    chunks = await in_thread(make_chunks, documents, max_tokens=made["chunk_tokens"])
    index = await in_thread(Index, chunks)
    plan = make_plan(question, chunks, index, Reading(journal.value("asked")["reading"]))
    keys = subtask_keys(plan, chunks)
    by_label = {document.label: document for document in documents}
    if "plan" not in made:
        made |= {"plan": fingerprint(keys), "chunks": len(chunks), "chunks_read": len(plan.bundles), "subtasks": len(keys)}
        journal.set_plan(made, retrieved_findings(plan, chunks, by_label, index))
    elif made["plan"] != fingerprint(keys):
        raise OtherPlan(
            f"This edgenode divides the work in another way than the one that began the run {journal.run}, so what is left of it "
            "cannot be told. Nothing was changed: go on with the edgenode that began it, or ask the question again."
        )
    settled = journal.ended_subtasks() - journal.failed_subtasks()
    done = {place for place, key in keys.items() if key in settled}
    instructions = tuple(task.instruction for task in plan.tasks)
    tell(Planned(instructions, plan.overview, len(chunks), len(plan.bundles), len(keys), len(done)))
    off_topic = not plan.overview and not any(index.chunk_scores(question))
    if off_topic:
        tell(
            Warned(
                "No word of the question stands in the documents. Nothing here seems to be about this, unless they are in another "
                "language."
            )
        )
    for finding in journal.findings():
        if not isinstance(finding, Rejected | Failed):
            tell(Found(finding))
    if len(done) < len(keys):
        _, test_engine = await _smallest_context(dispatcher.roster, made["context"])
        if test_engine and not made["test_engine"]:
            raise NoNodes("Only nodes with the deterministic test engine are there, and the run was begun with others. Start one.")

        def record(finding: Finding) -> None:
            node = None if isinstance(finding, Retrieved | Failed) else finding.node
            work = None if node is None else execution.work.get(node)
            journal.add_finding(finding, keys[finding.task, finding.chunk], ends=not isinstance(finding, Rejected), work=work)

        execution = Execution(
            f"{journal.run}-{journal.sitting}",
            plan,
            chunks,
            by_label,
            Need(made["context"], test_engine),
            Progress(dispatcher, lambda: execution, _Attendance(tell)),
            record,
            lambda task, chunk: journal.end_subtask(keys[task, chunk]),
            done,
            journal.work(),
        )
        await _foresee(dispatcher, execution, off_topic, tell, confirm, interactive=interactive)
        await execution.run(dispatcher, interactive=interactive)
        for work in execution.work.values():
            journal.set_work(work)
    journal.set_value("read", True)
    failed = [finding for finding in journal.findings() if isinstance(finding, Failed)]
    if failed:
        why = failed[-1].message
        tell(Warned(f"{len(failed)} of {len(keys)} subtasks failed, and the answer does not rest on them. One reason: {why}"))


async def _foresee(
    dispatcher: Dispatcher,
    execution: Execution,
    off_topic: bool,
    tell: Callable[[Event], None],
    confirm: Confirm | None,
    *,
    interactive: bool,
) -> None:
    """Tells how long the reading will take, and asks whether it is wanted. Raises `Declined`."""
    if confirm is not None and execution.parts_left >= MANY_PARTS:
        await dispatcher.speed_known(execution.need, PROBE_SECONDS)
    estimate = dispatcher.foresee(execution.bundles, execution.need, interactive=interactive)
    estimated = Estimated(execution.parts_left, estimate.devices, estimate.seconds, off_topic)
    tell(estimated)
    if confirm is not None and not await confirm(estimated):
        raise Declined


async def _smallest_context(roster: Roster, least: int) -> tuple[int, bool]:
    """Tokens that fit every node that can take `least`, and whether those are nodes with the test engine. Raises `NoNodes`.

    The test engine reads nothing: its nodes are used only where there are no others, and the output says so.
    """
    await roster.settle()
    joined = [node for node in roster.nodes() if node.state is NodeState.JOINED and not node.draining]
    test_engine = all(node.engine == DETERMINISTIC for node in joined)
    need = Need(least, test_engine)
    contexts = [model.context_tokens for node in joined if (model := fitting(node, need)) is not None]
    if contexts:
        return min(contexts), test_engine
    if joined:
        raise NoNodes(
            f"No node's model can take {least} tokens at once, which this question needs. "
            "Start one with a larger context: edgenode start --context N"
        )
    raise NoNodes(_why_nobody(roster))


def _why_nobody(roster: Roster) -> str:
    """Why none can take part, and what to do about it."""
    there = [node for node in roster.nodes() if node.state is not NodeState.GONE]
    if there:
        return _reasons([f"{node.name}: {node.draining or node.why}" for node in there])
    unreachable = [f"{address}: {why}" for address, why in roster.unreachable.items() if why]
    if unreachable:
        return _reasons(unreachable)
    if roster.only:
        wanted = " or ".join(sorted(roster.only))
        others = f" Those found are {', '.join(sorted(roster.others))}." if roster.others else ""
        return f"No node named {wanted} can be reached.{others} Start it with: edgenode start --name NAME"
    if roster.nodes():
        names = ", ".join(f"{node.name} is {node.state}" for node in roster.nodes()[:MAX_REASONS])
        return f"No node can be reached: {names}. Start it again with: edgenode start"
    return "No node was found. Start one on this machine with: edgenode start"


def _reasons(reasons: Sequence[str]) -> str:
    """A line for each where there are several."""
    if len(reasons) == 1:
        return f"No node can take part. {reasons[0]}"
    more = [f"and {len(reasons) - MAX_REASONS} more"] if len(reasons) > MAX_REASONS else []
    return "\n  ".join(["No node can take part:", *reasons[:MAX_REASONS], *more])


class _Attendance:
    """Passes a run's events on, and says so when the last of its nodes has gone: what follows is silence."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._there: set[NodeId] = set()

    def __call__(self, event: Event) -> None:
        self._tell(event)
        match event:
            case NodeJoined(node):
                self._there.add(node.id)
            case NodeGone(id) if id in self._there:
                self._there.remove(id)
                if not self._there:
                    self._tell(Warned(f"No node is left. Waiting up to {PATIENCE_SECONDS:.0f} s for one to come back."))
