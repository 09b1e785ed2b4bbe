"""From a run's findings to its answer: what is selected, who is asked, what is kept of it."""

import contextlib
import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from coordinator.cloud.gate import DryRun, Gate
from coordinator.cloud.reply import completion_text
from coordinator.cloud.supervisor import Supervisor
from coordinator.config import Config, SupervisorConfig
from coordinator.errors import EgressRefused, NoNodes, NotPutTogether
from coordinator.events import Aggregating, Event, SupervisorTrouble, Warned
from coordinator.minions import aggregation
from coordinator.minions.support import supporting
from coordinator.remedies import resume
from coordinator.runs.dispatch import Dispatcher
from coordinator.runs.home import aggregate_at_home
from coordinator.runs.journal import Journal
from coordinator.runs.outcome import Kept, make_answer
from coordinator.types import Aggregate, Answer, Answered, Citation, Failed, Retrieved, Status
from edgenode.text import clean_line

# The budget of what leaves the house: this share of the documents' characters, and never less than this many characters.
EGRESS_SHARE: Final = 0.05
EGRESS_FLOOR: Final = 4_000
# Characters to select from for a model at home, which sees the strongest of them: nothing leaves, but its context is small.
HOME_BUDGET: Final = 8_000
# Of a "not found" at home, the findings that are shown all the same: a small model may have missed what they say.
STRONGEST_SHOWN: Final = 5
FEW_DOCUMENTS: Final = 5
"""Of so many each was chosen for the question, and one that has nothing to say to it is told."""

Emit = Callable[[Event], None]


def supervisor_of(config: Config, dry_run: bool) -> SupervisorConfig | None:
    """Who aggregates: the supervisor that is configured, for a dry run the one that would be, or None for the pool."""
    return config.supervisor or (SupervisorConfig(model=config.model) if dry_run else None)


def egress_budget(config: Config, kept: Kept) -> int:
    """Characters that may leave the house, besides the fixed prompt."""
    return kept.max_egress or config.max_egress or max(EGRESS_FLOOR, round(kept.document_characters * EGRESS_SHARE))


def has_reply(journal: Journal) -> bool:
    """Whether the ledger has a reply that was paid for and says what was asked for, to whichever request."""
    for record in journal.ledger.records():
        if record.status == 200 and record.reply:
            with contextlib.suppress(ValueError):
                aggregation.parse(completion_text(record.reply), sys.maxsize)
                return True
    return False


async def aggregate(
    dispatcher: Dispatcher,
    config: Config,
    journal: Journal,
    kept: Kept,
    emit: Emit,
    *,
    dry_run: bool = False,
    again: bool = False,
    anew: bool = False,
    passages_do: bool = False,
) -> Answer:
    """Selects from what was found, has it put together, and makes the answer of it.

    Where the pool cannot make an answer, the outcome is the passages that fit best if `passages_do`, else `NotPutTogether`.
    A usable reply to the same request that is in the ledger is used again and not paid for again, unless `anew`. Where an earlier
    request may have been paid for without its reply, none is sent unless `again`.
    """
    findings = [finding for finding in journal.findings() if isinstance(finding, Answered | Retrieved)]
    # The file's own name and not its path, which tells more than the user meant to show.
    shown = {label: Path(name).name for label, name in kept.names.items()} if kept.show_names else {}
    supervisor = supervisor_of(config, dry_run)
    by = "home" if supervisor is None else "supervisor"
    budget = HOME_BUDGET + len(kept.question) if supervisor is None else egress_budget(config, kept)
    selection = aggregation.select(findings, budget, kept.question, shown)
    failed = [finding for finding in journal.findings() if isinstance(finding, Failed)]
    if not findings and failed:
        raise NoNodes(
            f"Nothing was found, and {len(failed)} steps failed. The last failure: {failed[-1].message} "
            f"When nodes are there again, go on with: {resume(journal.run)}"
        )
    if not findings:
        # Nothing to show to anybody: the honest answer needs no request.
        return make_answer(journal, kept, Status.NOT_FOUND, "", "home", ())
    if not selection.entries:
        raise EgressRefused(
            f"None of the {len(findings)} findings fits into the {budget} characters that may leave, so nothing was sent. "
            f"Allow more with: {resume(journal.run, max_egress=True)}"
        )
    if 1 < len(kept.names) <= FEW_DOCUMENTS:
        placed = {entry.finding.place.document for entry in selection.entries}
        if left := [clean_line(name, 200) for label, name in kept.names.items() if label not in placed]:
            emit(Warned(f"Nothing of {', '.join(left)} seems to be about the question: the answer does not rest on it."))
    if supervisor is None:
        request = aggregation.home_request(kept.question, selection)
        try:
            reply = await aggregate_at_home(dispatcher, journal, request, len(selection.entries), emit)
        except NotPutTogether as error:
            if not passages_do:
                raise
            emit(Warned(str(error)))
            reply = Aggregate(False, "", ())
        reply = _held(reply, selection, kept.question)
    else:
        request = aggregation.request(kept.question, selection)
        emit(Aggregating(by, supervisor.model, len(selection.entries), request))
        gate = Gate(
            supervisor,
            journal,
            system=aggregation.SYSTEM,
            schema=aggregation.SCHEMA,
            budget_characters=budget,
            dry_run=dry_run,
            again=again,
        )
        parse = functools.partial(aggregation.parse, count=len(selection.entries))
        try:
            async with Supervisor(gate, notify=lambda message, wait: emit(SupervisorTrouble(message, wait))) as client:
                reply, _ = await client.aggregate(request, parse, anew=anew)
        except DryRun:
            return make_answer(journal, kept, Status.DRY_RUN, "", by, ())
    status = Status.ANSWERED if reply.found else Status.NOT_FOUND
    entries = [selection.entries[position] for position in reply.citations]
    if not reply.found and by == "home":
        entries = sorted(selection.entries, key=lambda entry: entry.strength)[:STRONGEST_SHOWN]
    cited = tuple(_citation(kept.names[entry.finding.place.document], entry) for entry in entries)
    # What a small model says beside "not found" is of no use (measured: nonsense each time); a supervisor says what is missing.
    text = reply.answer if reply.found or by == "supervisor" else ""
    answer = make_answer(journal, kept, status, text, by, cited)
    if by == "home" and reply.found:
        strongest = sorted(selection.entries, key=lambda entry: entry.strength)[:STRONGEST_SHOWN]
        others = (_citation(kept.names[entry.finding.place.document], entry) for entry in strongest)
        answer = replace(answer, passages=tuple(each for each in others if each not in cited))
    return answer


def _held(reply: Aggregate, selection: aggregation.Selection, question: str) -> Aggregate:
    """A local model's answer with citations that hold its numbers, names and days; "not found" where no quotation does: a wrong
    answer above a verified quotation is worse than none."""
    if not reply.found:
        return reply
    order = sorted(range(len(selection.entries)), key=lambda position: selection.entries[position].strength)
    quotations = [selection.entries[position].finding.quote for position in order]
    cited = supporting(reply.answer, [order.index(position) for position in reply.citations], quotations, question)
    return replace(reply, citations=tuple(order[position] for position in cited)) if cited else Aggregate(False, "", ())


def _citation(name: str, entry: aggregation.Entry) -> Citation:
    finding, place = entry.finding, entry.finding.place
    words = entry.answer or (finding.answer if isinstance(finding, Answered) else "")
    return Citation(name, place.page, place.start, place.end, finding.quote, place.where, words, place.by_ocr, place.confidence)
