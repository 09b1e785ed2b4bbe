"""One question asked: documents in, plan, reading on the nodes, aggregation, answer. What it learns it keeps before telling it."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from coordinator.config import Config
from coordinator.documents.chunks import make_chunks, typical_tokens
from coordinator.documents.ingest import read_documents
from coordinator.documents.retrieval import Index
from coordinator.errors import DocumentError, NoNodes, RunError
from coordinator.events import (
    DocumentRead,
    DocumentSkipped,
    Ended,
    Found,
    NodeState,
    Planned,
    RunStarted,
    Warned,
)
from coordinator.minions import aggregation, prompts
from coordinator.minions.echo import Echo
from coordinator.minions.findings import retrieved_findings
from coordinator.minions.plan import Plan, make_plan, split_question
from coordinator.nodes.roster import Roster
from coordinator.runs.aggregate import Emit, Kept, aggregate, egress_budget, make_answer, supervisor_of
from coordinator.runs.execute import Execution, usable_model
from coordinator.runs.journal import Journal
from coordinator.types import (
    Answer,
    Document,
    Failed,
    NodeWork,
    Reading,
    Status,
)
from edgenode.engines.deterministic import NAME as DETERMINISTIC
from edgenode.errors import EdgenodeError, UsageError
from edgenode.threads import in_thread

# A node with a smaller context than this cannot hold a useful chunk with its instruction and reply.
MIN_CONTEXT_TOKENS: Final = 1_024
# Of the nodes that are there and take no part, so many are told of in one sentence each.
MAX_REASONS: Final = 5


@dataclass(frozen=True, slots=True)
class Options:
    """How a question is asked. `max_egress` is in characters, None for the default share."""

    reading: Reading = Reading.AUTO
    show_names: bool = False
    max_egress: int | None = None
    dry_run: bool = False


async def ask(
    roster: Roster, config: Config, runs: Path, question: str, paths: Sequence[Path], options: Options, emit: Emit
) -> Answer:
    """Asks one question of some documents. The last event is `Ended`, also when it fails after the run has begun.

    Raises `UsageError`, `DocumentError` (nothing could be read), `NoNodes`, `SupervisorError`, `EgressRefused`, `RunError`.
    """
    started = time.monotonic()
    question = question.strip()
    if any("\ud800" <= character <= "\udfff" for character in question):
        raise UsageError("The question holds bytes that are no text in this terminal's encoding. Type it in a UTF-8 terminal.")
    if not question:
        raise UsageError("There is no question. Give it last, in quotation marks.")
    tasks = split_question(question)
    documents, skipped = await in_thread(read_documents, paths)
    if not documents:
        reasons = " ".join(f"{each.name}: {each.reason}" for each in skipped) or "The folder holds no document of a known kind."
        raise DocumentError(f"Nothing could be read. {reasons}")
    with Journal.create(runs) as journal:
        emit(RunStarted(journal.run, question))
        for document in documents:
            emit(DocumentRead(document.label, document.name, len(document.text), len(document.page_starts) or None))
        for each in skipped:
            emit(DocumentSkipped(each.name, each.reason))
        kept = Kept(
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
            if supervisor_of(config, options.dry_run) is not None:
                # A question too long for the budget is refused now and not after all the reading.
                aggregation.select((), egress_budget(config, kept), question, {})
            overhead = prompts.overhead_tokens(tasks)
            context, test_engine = await _smallest_context(roster, overhead)
            chunks = await in_thread(make_chunks, documents, max_tokens=context - overhead)
            index = await in_thread(Index, chunks)
            plan = make_plan(question, chunks, index, options.reading)
            work = await _read(roster, journal, plan, chunks, documents, index, context, test_engine, emit)
            kept = replace(kept, seconds=time.monotonic() - started, nodes=tuple(asdict(each) for each in work))
            journal.set_value("kept", asdict(kept))
            answer = await aggregate(roster, config, journal, kept, options.dry_run, emit)
        except EdgenodeError:
            kept = replace(kept, seconds=time.monotonic() - started)
            emit(Ended(make_answer(journal, kept, Status.FAILED, "", "home" if config.supervisor is None else "supervisor", ())))
            raise
    emit(Ended(answer))
    return answer


async def resume(roster: Roster, config: Config, runs: Path, run: str, options: Options, emit: Emit) -> Answer:
    """Aggregates again what a run has found, without reading anything again. Raises as `ask` does."""
    with Journal.open(runs, run) as journal:
        if not journal.value("read", False):
            raise RunError(f"The run {run} was interrupted while the documents were being read. Ask the question again.")
        kept = Kept(**journal.value("kept"))
        kept = replace(
            kept,
            show_names=kept.show_names or options.show_names,
            max_egress=options.max_egress if options.max_egress is not None else kept.max_egress,
        )
        emit(RunStarted(journal.run, kept.question))
        try:
            answer = await aggregate(roster, config, journal, kept, options.dry_run, emit)
        except EdgenodeError:
            emit(Ended(make_answer(journal, kept, Status.FAILED, "", "home" if config.supervisor is None else "supervisor", ())))
            raise
    emit(Ended(answer))
    return answer


async def _smallest_context(roster: Roster, overhead: int) -> tuple[int, bool]:
    """Tokens that fit every node worth using, and whether those are nodes with the test engine. Raises `NoNodes`.

    The test engine reads nothing: its nodes are used only where there are no others, and the output says so.
    """
    await roster.settle()
    joined = [node for node in roster.nodes() if node.state is NodeState.JOINED and not node.draining]
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
    raise NoNodes(_why_nobody(roster))


def _why_nobody(roster: Roster) -> str:
    """Why none can take part, and what to do about it."""
    there = [node for node in roster.nodes() if node.state is not NodeState.GONE]
    if there:
        reasons = " ".join(f"{node.name}: {node.draining or node.why}" for node in there[:MAX_REASONS])
        return f"No node can take part. {reasons}"
    unreachable = " ".join(f"{address}: {why}" for address, why in roster.unreachable.items() if why)
    if unreachable:
        return f"No node can take part. {unreachable}"
    if roster.only:
        wanted = " or ".join(sorted(roster.only))
        others = f" Those found are {', '.join(sorted(roster.others))}." if roster.others else ""
        return f"No node named {wanted} can be reached.{others} Start it with: edgenode start --name NAME"
    if roster.nodes():
        names = ", ".join(f"{node.name} is {node.state}" for node in roster.nodes()[:MAX_REASONS])
        return f"No node can be reached: {names}. Start it again with: edgenode start"
    return "No node was found. Start one on this machine with: edgenode start"


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
    echo = await in_thread(Echo, [document.text for document in documents])
    execution = Execution(journal.run, plan, chunks, by_label, roster, echo, context, test_engine, emit, journal.add_finding)
    await execution.run()
    journal.set_value("read", True)
    failed = [finding for finding in journal.findings() if isinstance(finding, Failed)]
    if failed:
        why = failed[-1].message
        emit(Warned(f"{len(failed)} of {subtasks} subtasks failed, and the answer does not rest on them. One reason: {why}"))
    return tuple(execution.work.values())
