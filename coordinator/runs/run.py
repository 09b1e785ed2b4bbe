"""One question asked: documents in, plan, reading on the nodes, aggregation, answer. What it learns it keeps before telling it."""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from coordinator.cloud.gate import DryRun, Gate
from coordinator.cloud.supervisor import Supervisor
from coordinator.config import Config, SupervisorConfig
from coordinator.documents.chunks import estimate_tokens, make_chunks, typical_tokens
from coordinator.documents.ingest import read_documents
from coordinator.documents.retrieval import Index
from coordinator.errors import DocumentError, NoNodes, RunError
from coordinator.events import (
    Aggregating,
    DocumentRead,
    DocumentSkipped,
    Ended,
    Event,
    Found,
    NodeInfo,
    NodeState,
    Planned,
    RunStarted,
    SupervisorTrouble,
    Warned,
)
from coordinator.minions import aggregation, prompts
from coordinator.minions.findings import retrieved_findings
from coordinator.minions.plan import Plan, make_plan, split_question
from coordinator.roster import Roster
from coordinator.runs.execute import Execution, ask_node, usable_model
from coordinator.runs.journal import Journal
from coordinator.types import (
    Abstained,
    Aggregate,
    Answer,
    Answered,
    Citation,
    Document,
    Failed,
    Finding,
    FindingCounts,
    Ledger,
    NodeWork,
    Reading,
    Rejected,
    Retrieved,
    Status,
)
from edgenode.engines.deterministic import NAME as DETERMINISTIC
from edgenode.errors import EdgenodeError, UsageError
from edgenode.net.client import NodeLost
from edgenode.types import Completion, Failure, LeaseId, Model, NodeId

# The budget of what leaves the house: this share of the documents' characters, and never less than this many characters.
EGRESS_SHARE: Final = 0.05
EGRESS_FLOOR: Final = 4_000
# A node with a smaller context than this cannot hold a useful chunk with its instruction and reply.
MIN_CONTEXT_TOKENS: Final = 1_024
# Nodes asked for the aggregation at home before it is given up.
HOME_TRIES: Final = 3

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How a question is asked. `max_egress` is in characters, None for the default share."""

    reading: Reading = Reading.AUTO
    show_names: bool = False
    max_egress: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """What aggregation needs of a run, as the journal keeps it."""

    question: str
    names: dict[str, str]
    """Label of each document -> its name."""
    document_characters: int
    whole_document_tokens: int
    show_names: bool
    max_egress: int | None
    seconds: float
    """Time spent until the reading was done."""
    nodes: tuple[dict[str, Any], ...] = ()


async def ask(
    roster: Roster, config: Config, runs: Path, question: str, paths: Sequence[Path], options: Options, emit: Emit
) -> Answer:
    """Asks one question of some documents. The last event is `Ended`, also when it fails after the run has begun.

    Raises `UsageError`, `DocumentError` (nothing could be read), `NoNodes`, `SupervisorError`, `EgressRefused`, `RunError`.
    """
    started = time.monotonic()
    question = question.strip()
    if not question:
        raise UsageError("There is no question. Give it last, in quotation marks.")
    tasks = split_question(question)
    documents, skipped = await asyncio.to_thread(read_documents, paths)
    if not documents:
        reasons = " ".join(f"{each.name}: {each.reason}" for each in skipped) or "The folder holds no document of a known kind."
        raise DocumentError(f"Nothing could be read. {reasons}")
    with Journal.create(runs) as journal:
        emit(RunStarted(journal.run, question))
        for document in documents:
            emit(DocumentRead(document.label, document.name, len(document.text), len(document.page_starts) or None))
        for each in skipped:
            emit(DocumentSkipped(each.name, each.reason))
        kept = _Kept(
            question=question,
            names={document.label: document.name for document in documents},
            document_characters=sum(len(document.text) for document in documents),
            whole_document_tokens=sum(typical_tokens(document.text) for document in documents),
            show_names=options.show_names,
            max_egress=options.max_egress,
            seconds=0.0,
        )
        journal.set_value("kept", asdict(kept))
        try:
            overhead = prompts.overhead_tokens(tasks)
            context, test_engine = await _smallest_context(roster, overhead)
            chunks = await asyncio.to_thread(make_chunks, documents, max_tokens=context - overhead)
            index = await asyncio.to_thread(Index, chunks)
            plan = make_plan(question, chunks, index, options.reading)
            work = await _read(roster, journal, plan, chunks, documents, index, context, test_engine, emit)
            kept = replace(kept, seconds=time.monotonic() - started, nodes=tuple(asdict(each) for each in work))
            journal.set_value("kept", asdict(kept))
            journal.set_value("read", True)
            answer = await _aggregate(roster, config, journal, kept, options.dry_run, emit)
        except EdgenodeError:
            kept = replace(kept, seconds=time.monotonic() - started)
            emit(Ended(_answer(journal, kept, Status.FAILED, "", "home" if config.supervisor is None else "supervisor", ())))
            raise
    emit(Ended(answer))
    return answer


async def resume(roster: Roster, config: Config, runs: Path, run: str, options: Options, emit: Emit) -> Answer:
    """Aggregates again what a run has found, without reading anything again. Raises as `ask` does."""
    with Journal.open(runs, run) as journal:
        if not journal.value("read", False):
            raise RunError(f"The run {run} was interrupted while the documents were being read. Ask the question again.")
        kept = _Kept(**journal.value("kept"))
        kept = replace(
            kept,
            show_names=kept.show_names or options.show_names,
            max_egress=options.max_egress if options.max_egress is not None else kept.max_egress,
        )
        emit(RunStarted(journal.run, kept.question))
        try:
            answer = await _aggregate(roster, config, journal, kept, options.dry_run, emit)
        except EdgenodeError:
            emit(Ended(_answer(journal, kept, Status.FAILED, "", "home" if config.supervisor is None else "supervisor", ())))
            raise
    emit(Ended(answer))
    return answer


async def _smallest_context(roster: Roster, overhead: int) -> tuple[int, bool]:
    """Tokens that fit every node worth using, and whether those are nodes with the test engine. Raises `NoNodes`.

    The test engine reads nothing: its nodes are used only where there are no others, and the output says so.
    """
    await roster.settle()
    joined = [node for node in roster.nodes() if node.state is NodeState.JOINED]
    test_engine = all(node.engine == DETERMINISTIC for node in joined)
    joined = [node for node in joined if test_engine or node.engine != DETERMINISTIC]
    least = max(MIN_CONTEXT_TOKENS, overhead + MIN_CONTEXT_TOKENS // 2)
    contexts = [model.context_tokens for node in joined if (model := usable_model(node.models, least)) is not None]
    if contexts:
        return min(contexts), test_engine
    if joined:
        raise NoNodes(
            f"No node's model can take {least} tokens at once, which this question needs. Start one with a larger --context."
        )
    raise NoNodes("No node was found. Start one on this machine with: edgenode start")


async def _read(
    roster: Roster,
    journal: Journal,
    plan: Plan,
    chunks: Sequence[Any],
    documents: Sequence[Document],
    index: Index,
    context: int,
    test_engine: bool,
    emit: Emit,
) -> tuple[NodeWork, ...]:
    by_label = {document.label: document for document in documents}
    subtasks = sum(len(bundle.tasks) for bundle in plan.bundles)
    emit(Planned(tuple(task.instruction for task in plan.tasks), plan.overview, len(chunks), len(plan.bundles), subtasks))
    for finding in retrieved_findings(plan, chunks, by_label, index):
        journal.add_finding(finding)
        emit(Found(finding))
    execution = Execution(journal.run, plan, chunks, by_label, roster, context, test_engine, emit, journal.add_finding)
    await execution.run()
    failed = [finding for finding in journal.findings() if isinstance(finding, Failed)]
    if subtasks and len(failed) == subtasks:
        raise NoNodes(f"Nothing could be read on any node. The last failure: {failed[-1].message}")
    if failed:
        emit(
            Warned(
                f"{len(failed)} of {subtasks} subtasks failed; the answer does not rest on them. One reason: {failed[-1].message}"
            )
        )
    return tuple(execution.work.values())


async def _aggregate(roster: Roster, config: Config, journal: Journal, kept: _Kept, dry_run: bool, emit: Emit) -> Answer:
    findings = [finding for finding in journal.findings() if isinstance(finding, Answered | Retrieved)]
    budget = kept.max_egress or config.max_egress or max(EGRESS_FLOOR, round(kept.document_characters * EGRESS_SHARE))
    # The file's own name and not its path, which tells more than the user meant to show.
    shown = {label: Path(name).name for label, name in kept.names.items()} if kept.show_names else {}
    selection = aggregation.select(findings, budget, kept.question, shown)
    supervisor = config.supervisor
    if dry_run and supervisor is None:
        supervisor = SupervisorConfig()
    by = "home" if supervisor is None else "supervisor"
    if not selection.entries:
        # Nothing to show to anybody: the honest answer needs no request.
        return _answer(journal, kept, Status.NOT_FOUND, "", "home", ())
    started = time.monotonic()
    if supervisor is None:
        aggregate = await _aggregate_at_home(roster, journal, kept, selection, emit)
    else:
        request = aggregation.request(kept.question, selection)
        emit(Aggregating(by, supervisor.model, len(selection.entries), request))
        gate = Gate(
            supervisor, journal, system=aggregation.SYSTEM, schema=aggregation.SCHEMA, budget_characters=budget, dry_run=dry_run
        )
        parse = functools.partial(aggregation.parse, count=len(selection.entries))
        try:
            async with Supervisor(gate, notify=lambda message, wait: emit(SupervisorTrouble(message, wait))) as client:
                aggregate, _ = await client.aggregate(request, parse)
        except DryRun:
            return _answer(journal, kept, Status.DRY_RUN, "", by, ())
    kept = replace(kept, seconds=kept.seconds + time.monotonic() - started)
    status = Status.ANSWERED if aggregate.found else Status.NOT_FOUND
    cited = tuple(
        Citation(kept.names[finding.place.document], finding.place.page, finding.place.start, finding.place.end, finding.quote)
        for finding in (selection.entries[position].finding for position in aggregate.citations)
    )
    # What a small model says beside "not found" is of no use (measured: nonsense each time); a supervisor says what is missing.
    text = aggregate.answer if aggregate.found or by == "supervisor" else ""
    return _answer(journal, kept, status, text, by, cited)


async def _aggregate_at_home(
    roster: Roster, journal: Journal, kept: _Kept, selection: aggregation.Selection, emit: Emit
) -> Aggregate:
    """The best models of the pool, one after another until one gives a usable reply. Raises `NoNodes`."""
    request = aggregation.home_request(kept.question, selection)
    needed = estimate_tokens(request.system + request.user) + aggregation.HOME_REPLY_TOKENS
    await roster.settle()
    able = [
        (node, model)
        for node in roster.nodes()
        if node.state is NodeState.JOINED and (model := usable_model(node.models, needed)) is not None
    ]
    if any(node.engine != DETERMINISTIC for node, _ in able):
        able = [(node, model) for node, model in able if node.engine != DETERMINISTIC]
    able.sort(key=lambda pair: -pair[1].parameters)
    trouble = "no node is there whose model could take it"
    for number, (node, model) in enumerate(able[:HOME_TRIES]):
        emit(Aggregating("home", model.name, len(selection.entries), request))
        lease = LeaseId(f"{journal.run}-home-{number}")
        try:
            reply = await ask_node(
                roster, node, model, lease, request.system, request.user, request.schema, aggregation.HOME_REPLY_TOKENS
            )
        except NodeLost as error:
            trouble = str(error)
            continue
        if isinstance(reply, Failure):
            trouble = reply.message
            continue
        try:
            aggregate = aggregation.parse(reply.text, len(selection.entries))
        except ValueError as error:
            trouble = f"the reply of {node.name} was not what was asked for ({error})"
            continue
        _account(journal, node, model, reply)
        return aggregate
    raise NoNodes(
        f"The findings could not be put together at home: {trouble} They are kept; try again with: coordinator resume {journal.run}"
    )


def _account(journal: Journal, node: NodeInfo, model: Model, reply: Completion) -> None:
    """Adds the aggregation at home to what the nodes did in this run."""
    raw: list[dict[str, Any]] = journal.value("kept")["nodes"]
    work = {NodeId(each["id"]): NodeWork(**each) for each in raw}
    before = work.get(node.id) or NodeWork(node.id, node.name, model.name, node.engine)
    work[node.id] = replace(
        before,
        prompt_tokens=before.prompt_tokens + reply.usage.prompt_tokens,
        cached_tokens=before.cached_tokens + reply.usage.cached_tokens,
        completion_tokens=before.completion_tokens + reply.usage.completion_tokens,
        seconds=before.seconds + reply.usage.seconds,
    )
    journal.set_value("kept", journal.value("kept") | {"nodes": [asdict(each) for each in work.values()]})


def _answer(journal: Journal, kept: _Kept, status: Status, text: str, by: str, citations: tuple[Citation, ...]) -> Answer:
    return Answer(
        run=journal.run,
        status=status,
        text=text,
        answered_by=by,
        citations=citations,
        findings=_count(journal.findings()),
        nodes=tuple(NodeWork(**each) for each in journal.value("kept")["nodes"]),
        ledger=Ledger(journal.ledger(), kept.document_characters, kept.whole_document_tokens),
        seconds=round(kept.seconds, 3),
    )


def _count(findings: Sequence[Finding]) -> FindingCounts:
    def count(kind: type[Finding]) -> int:
        return sum(isinstance(finding, kind) for finding in findings)

    return FindingCounts(count(Answered), count(Retrieved), count(Abstained), count(Rejected), count(Failed))
