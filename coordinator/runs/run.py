"""One question asked: documents in, plan, reading on the nodes, aggregation, answer. What it learns it keeps before telling it."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from coordinator.config import Config
from coordinator.documents.chunks import typical_tokens
from coordinator.documents.ingest import read_documents
from coordinator.errors import DocumentError, NoNodes, RunError
from coordinator.events import DocumentGap, DocumentRead, DocumentSkipped, Ended, RunStarted, Warned
from coordinator.minions import aggregation
from coordinator.minions.plan import split_question
from coordinator.remedies import either
from coordinator.remedies import resume as resume_by
from coordinator.runs.aggregate import Emit, aggregate, egress_budget, has_reply, supervisor_of
from coordinator.runs.dispatch import Dispatcher
from coordinator.runs.identity import Source, read_again
from coordinator.runs.journal import Journal
from coordinator.runs.outcome import (
    Kept,
    failures,
    incomplete,
    keep_answer,
    keep_failure,
    keep_stop,
    keep_unread,
    kept_answer,
    make_answer,
    resumable,
    subtasks_read,
    with_gaps,
)
from coordinator.runs.read import Confirm, Declined, OtherPlan, read
from coordinator.runs.recorder import Recorder
from coordinator.types import Answer, Document, Reading, Status
from edgenode.errors import EdgenodeError, UsageError
from edgenode.threads import in_thread


@dataclass(frozen=True, slots=True)
class Options:
    """How a question is asked. `max_egress` is in characters, None for the default share. With `again` the supervisor is asked
    although there is an answer, or an earlier request may have been paid for. A `background` run lets others read first. `nodes`
    are the only ones that the pool may use, by name or id, none for all: they are kept for who goes on with the run. `confirm` is
    asked once, before the nodes read anything."""

    reading: Reading = Reading.AUTO
    show_names: bool = False
    max_egress: int | None = None
    dry_run: bool = False
    again: bool = False
    background: bool = False
    nodes: tuple[str, ...] = ()
    confirm: Confirm | None = None


async def ask(
    dispatcher: Dispatcher, config: Config, runs: Path, question: str, paths: Sequence[Path], options: Options, emit: Emit
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
    split_question(question)
    dispatcher.expect()
    documents, skipped = await in_thread(read_documents, paths)
    if not documents:
        reasons = " ".join(f"{each.name}: {each.reason}" for each in skipped) or "The folder holds no document of a known kind."
        raise DocumentError(f"Nothing could be read. {reasons}")
    with Journal.create(runs, time.monotonic() - started) as journal:
        kept = Kept(
            question=question,
            names={document.label: document.name for document in documents},
            document_characters=sum(len(document.text) for document in documents),
            whole_document_tokens=sum(typical_tokens(document.text) for document in documents),
            show_names=options.show_names,
            max_egress=options.max_egress,
        )
        sources = [asdict(Source.of(document)) for document in documents]
        journal.set_value("asked", {"reading": options.reading.value, "sources": sources, "nodes": options.nodes})
        journal.set_value("kept", asdict(kept))
        keep_unread(journal, documents, skipped)
        tell = Recorder(journal, emit)
        tell(RunStarted(journal.run, question))
        for each in skipped:
            tell(DocumentSkipped(each.name, each.reason))
        return await _carry_on(dispatcher, config, journal, kept, options, documents, tell)


async def resume(dispatcher: Dispatcher, config: Config, runs: Path, run: str, options: Options, emit: Emit) -> Answer:
    """Goes on with a run where it was: reads what has not been read, what failed too, and aggregates. No subtask that was read is
    read again, and no reply in the ledger that is of use is paid for again.

    An answer that there is stands, unless `again`: a run that has one and left nothing unread is not touched; one from the pool is
    made anew by the pool of what is read now, one that a supervisor was paid for is not (`Answer.incomplete` tells). With `again`
    whoever is configured makes another, and a supervisor is paid for it. Raises as `ask` does, but what failed and cannot be read
    again is only told; `DocumentError` when a document that was never read to its end has changed, `SupervisorUnsure` when an
    earlier request may have been paid for.
    """
    with Journal.look(runs, run) as journal:
        if not journal.running and not options.again and not options.dry_run and (answer := _final_answer(journal)) is not None:
            emit(RunStarted(journal.run, resumable(journal).question))
            charged = ", which the supervisor charges for" if config.supervisor is not None else ""
            how = f"To have it made anew{charged}: {resume_by(journal.run, again=True)}"
            emit(Warned(f"{_ANSWERED} {how}"))
            emit(Ended(answer))
            return answer
    with Journal.open(runs, run) as journal:
        kept = resumable(journal)
        kept = replace(
            kept,
            show_names=kept.show_names or options.show_names,
            max_egress=options.max_egress if options.max_egress is not None else kept.max_egress,
        )
        tell = Recorder(journal, emit)
        tell(RunStarted(journal.run, kept.question))
        return await _carry_on(dispatcher, config, journal, kept, options, None, tell)


def _final_answer(journal: Journal) -> Answer | None:
    """The answer of a run that has nothing left to do."""
    answer = kept_answer(journal, resumable(journal))
    if answer is None or not journal.value("read", False) or _can_read_more(journal, answered=True):
        return None
    return answer if _stands(journal, answer) else None


def _stands(journal: Journal, answer: Answer) -> bool:
    """Whether an earlier answer stays the answer: what was paid for does, and what rests on all that has been read."""
    return answer.answered_by == "supervisor" or subtasks_read(journal) == journal.value("end")["subtasks"]


def _can_read_more(journal: Journal, *, answered: bool) -> bool:
    """Whether what failed is to be read again. Not before a request of which the reply is kept, or may be asked for under the
    same name, has become an answer: with more findings it would be another request, and paid for twice."""
    if not failures(journal) or journal.value("asked") is None or journal.ledger.unsure() is not None:
        return False
    return answered or not has_reply(journal)


async def _read_rest(
    dispatcher: Dispatcher,
    journal: Journal,
    kept: Kept,
    options: Options,
    documents: Sequence[Document] | None,
    tell: Recorder,
    *,
    answered: bool,
) -> str:
    """Reads what is left to be read; returns why what failed cannot be read again, where that is in the way. Where nothing else is
    left the run goes on without it. Raises as `resume` does for what was never tried."""
    whole = journal.value("read", False)
    if whole and not _can_read_more(journal, answered=answered):
        return ""
    try:
        if documents is None:
            dispatcher.expect()
            documents = await in_thread(read_again, [Source(**each) for each in journal.value("asked")["sources"]])
        for document in documents:
            tell(DocumentRead(document.label, document.name, len(document.text), document.pages))
            for gap in document.gaps:
                tell(DocumentGap(document.label, document.name, gap))
        await read(dispatcher, journal, kept.question, documents, tell, interactive=not options.background, confirm=options.confirm)
    except (DocumentError, NoNodes, OtherPlan) as error:
        if not whole:
            raise
        tell(Warned(f"What failed cannot be read again. {error}"))
        # Nodes come and go: why the subtasks failed says more.
        return "" if isinstance(error, NoNodes) else str(error)
    return ""


async def _carry_on(
    dispatcher: Dispatcher,
    config: Config,
    journal: Journal,
    kept: Kept,
    options: Options,
    documents: Sequence[Document] | None,
    tell: Recorder,
) -> Answer:
    """From wherever the run is to its answer; `documents` are None where they are to be read again if need be."""
    if config.withheld is not None and not options.dry_run:
        tell(
            Warned(
                f"The supervisor that the environment names ({config.withheld.base_url}) is not used, as nobody has agreed to it: "
                f"the local model makes the answer, and nothing leaves. Agree with {either('--cloud', 'cloud=True')}."
            )
        )
    earlier = kept_answer(journal, kept)
    standing = None if options.again or options.dry_run else earlier
    if standing is not None and standing.answered_by == "home":
        config = replace(config, supervisor=None)  # made for nothing, and for nothing anew
    try:
        if documents is None and earlier is None:
            journal.set_value("end", None)
        if supervisor_of(config, options.dry_run) is not None:
            # A question too long for the budget is refused now and not after all the reading.
            aggregation.select((), egress_budget(config, kept), kept.question, {})
        unreadable = await _read_rest(dispatcher, journal, kept, options, documents, tell, answered=earlier is not None)
        answer = None
        if standing is None or not _stands(journal, standing):
            try:
                anew = options.again and earlier is not None and earlier.answered_by == "supervisor"
                answer = await _aggregate(dispatcher, config, journal, kept, options, tell, anew=anew, passages_do=standing is None)
            except NoNodes as error:
                if standing is None:
                    raise
                tell(Warned(str(error)))
        if answer is None:
            assert standing is not None, "what does not stand was made anew"
            tell(Warned(_ANSWERED))
            answer = make_answer(journal, kept, standing.status, standing.text, standing.answered_by, standing.citations)
        answer = with_gaps(answer, incomplete(journal, unreadable))
    except Declined:
        keep_stop(journal)
        answer = make_answer(journal, kept, Status.STOPPED, "", "home", ())
    except EdgenodeError as error:
        by = "home" if config.supervisor is None else "supervisor"
        if earlier is None:  # one that there was is worth more than the failure to make another
            with contextlib.suppress(RunError):  # where the disk is full this cannot be kept either
                keep_failure(journal, by, str(error))
        tell(Ended(make_answer(journal, kept, Status.FAILED, "", by, ())))
        raise
    tell(Ended(answer))
    return answer


async def _aggregate(
    dispatcher: Dispatcher,
    config: Config,
    journal: Journal,
    kept: Kept,
    options: Options,
    tell: Recorder,
    *,
    anew: bool,
    passages_do: bool,
) -> Answer:
    sent = len(journal.ledger.used())
    answer = await aggregate(
        dispatcher,
        config,
        journal,
        kept,
        tell,
        dry_run=options.dry_run,
        again=options.again,
        anew=anew,
        passages_do=passages_do,
    )
    if answer.status is Status.DRY_RUN:
        if journal.value("end") is None:
            keep_answer(journal, answer)
        return answer
    if answer.answered_by == "supervisor" and len(answer.ledger.requests) == sent:
        tell(Warned("The supervisor had answered this very request before: its reply is used, and nothing was sent."))
    keep_answer(journal, answer)
    return answer


_ANSWERED: Final = "This run was answered before: here is that answer, and nothing was sent."
