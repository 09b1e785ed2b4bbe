"""How a run ended, as it is kept: its answer, and how much of what was to be read that answer rests on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from coordinator import remedies
from coordinator.errors import RunError
from coordinator.runs.journal import Journal
from coordinator.types import (
    Abstained,
    Answer,
    Answered,
    Citation,
    Document,
    Failed,
    Finding,
    FindingCounts,
    Ledger,
    Rejected,
    Retrieved,
    Skipped,
    Status,
    Unread,
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What aggregation needs of a run, as the journal keeps it."""

    question: str
    names: dict[str, str]
    """Label of each document -> its name."""
    document_characters: int
    whole_document_tokens: int
    show_names: bool
    max_egress: int | None


def make_answer(journal: Journal, kept: Kept, status: Status, text: str, by: str, citations: tuple[Citation, ...]) -> Answer:
    return Answer(
        run=journal.run,
        status=status,
        text=text,
        answered_by=by,
        citations=citations,
        findings=_count(journal.findings()),
        nodes=tuple(journal.work().values()),
        ledger=Ledger(journal.ledger.used(dry_run=status is Status.DRY_RUN), kept.document_characters, kept.whole_document_tokens),
        seconds=round(journal.seconds(), 3),
        unread=kept_unread(journal),
    )


def keep_unread(journal: Journal, documents: Sequence[Document], skipped: Sequence[Skipped]) -> None:
    """Keeps what of the files of a run could not be read."""
    files = [Unread(each.name, each.reason) for each in skipped if not each.is_copy]
    parts = [
        Unread(document.name, f"{gap.reason[0].upper()}{gap.reason[1:]}.", gap.pages)
        for document in documents
        for gap in document.gaps
    ]
    journal.set_value("unread", [asdict(each) for each in files + parts])


def kept_unread(journal: Journal) -> tuple[Unread, ...]:
    with journal.sound():
        return tuple(Unread(each["name"], each["reason"], tuple(each["pages"])) for each in journal.value("unread", ()))


def nodes_asked(runs: Path, run: str) -> tuple[str, ...]:
    """The only nodes that a run was to use, by name or id; none for all. Raises `RunError`."""
    with Journal.look(runs, run) as journal, journal.sound():
        return tuple((journal.value("asked") or {}).get("nodes", ()))


def resumable(journal: Journal) -> Kept:
    """What a run was asked. Raises `RunError` where it cannot be gone on with."""
    kept = journal.value("kept")
    if kept is None:
        raise RunError(
            f"The run {journal.run} was interrupted before anything was kept. Remove it with: {remedies.forget(journal.run)}"
        )
    if not journal.value("read", False) and journal.value("asked") is None:
        raise RunError(
            f"The run {journal.run} was interrupted in an edgenode that could not go on with one. Ask the question again."
        )
    with journal.sound():
        return Kept(**kept)


def keep_answer(journal: Journal, answer: Answer) -> None:
    """Keeps what `kept_answer` gives back. It rests on what has been read until now."""
    status = Status.ANSWERED if answer.status is Status.PARTIAL else answer.status  # what is missing is told anew each time
    end = {"status": status.value, "by": answer.answered_by, "text": answer.text}
    quoted = {"citations": [asdict(each) for each in answer.citations], "passages": [asdict(each) for each in answer.passages]}
    journal.set_value("end", end | quoted | {"subtasks": subtasks_read(journal)})


def keep_failure(journal: Journal, by: str, error: str) -> None:
    journal.set_value("end", {"status": Status.FAILED.value, "by": by, "text": "", "error": error})


def keep_stop(journal: Journal) -> None:
    """Keeps that it was not read, by the choice of whoever asked."""
    journal.set_value("end", {"status": Status.STOPPED.value, "by": "home", "text": ""})


def kept_answer(journal: Journal, kept: Kept) -> Answer | None:
    """The answer that the run was given. None where it has none, or one that was kept without its citations."""
    with journal.sound():
        end = journal.value("end") or {}
        if end.get("status") not in {Status.ANSWERED, Status.NOT_FOUND} or "citations" not in end:
            return None
        citations = tuple(Citation(**each) for each in end["citations"])
        answer = make_answer(journal, kept, Status(end["status"]), end["text"], end["by"], citations)
        answer = replace(answer, passages=tuple(Citation(**each) for each in end.get("passages", ())))
        return with_gaps(answer, incomplete(journal))


def with_gaps(answer: Answer, missing: str) -> Answer:
    """The answer with what it does not rest on: one that lacks a share of what was to be read is only partial."""
    status = Status.PARTIAL if missing and answer.status is Status.ANSWERED else answer.status
    return replace(answer, status=status, incomplete=missing)


def subtasks_read(journal: Journal) -> int:
    """Subtasks that came to their end and did not fail."""
    return len(journal.ended_subtasks()) - len(failures(journal))


def failures(journal: Journal) -> tuple[Failed, ...]:
    return tuple(finding for finding in journal.findings() if isinstance(finding, Failed))


def subtasks_missing(journal: Journal) -> int:
    """Subtasks of the plan that the run's answer does not rest on; 0 while there is no answer."""
    rests_on = (journal.value("end") or {}).get("subtasks")
    return 0 if rests_on is None else max(0, _planned(journal) - int(rests_on))


def incomplete(journal: Journal, why: str = "") -> str:
    """What the run's answer does not rest on and why, and what to do about it; empty where it rests on all that was to be read.
    `why` is what keeps the rest from being read, where that is known."""
    missing, unread, planned = subtasks_missing(journal), _planned(journal) - subtasks_read(journal), _planned(journal)
    if not missing:
        return ""
    if unread > 0:
        last = failures(journal)[-1:]
        why = why or (f"The last one failed: {last[0].message}" if last else "The coordinator stopped before it had read them.")
        how = f" When that is mended, have them read with: {remedies.resume(journal.run)}"
        return f"{missing:,} of {planned:,} parts to read were not read, and the answer does not rest on them. {why}{how}"
    anew = "" if journal.value("end")["by"] == "home" else ", which a supervisor charges for again"
    how = f"To have it made anew{anew}: {remedies.resume(journal.run, again=bool(anew))}"
    return f"{missing:,} of {planned:,} parts to read were read after this answer was made, and it does not rest on them. {how}"


def _planned(journal: Journal) -> int:
    return int((journal.value("plan") or {}).get("subtasks", 0))


def _count(findings: Sequence[Finding]) -> FindingCounts:
    def count(kind: type[Finding]) -> int:
        return sum(isinstance(finding, kind) for finding in findings)

    return FindingCounts(count(Answered), count(Retrieved), count(Abstained), count(Rejected), count(Failed))
