"""The story of a run as its journal has it: which node did what and how fast, what went wrong and what was done about it, what was
sent. As facts, as JSON and as lines for a person."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from coordinator.errors import RunError
from coordinator.runs.folders import begun, list_runs
from coordinator.runs.journal import Journal
from coordinator.runs.outcome import incomplete, kept_unread, subtasks_missing
from coordinator.runs.records import KeptEvent, RequestRecord, RequestState
from coordinator.runs.sent import Sent
from coordinator.types import Citation, NodeWork, RunId, Unread
from coordinator.words import by_ocr, place, several, work_done
from edgenode.text import clean_line

QUESTION_CHARACTERS: Final = 60
# A person reads no more; --json has all that was kept.
LINES_SHOWN: Final = 200
# What concerns one node and is counted for it.
_COUNTED: Final = ("leased", "hedged", "cancelled", "lost", "retried", "rejected", "gone")
# What goes as planned is counted, not told line by line.
_UNREMARKABLE: Final = frozenset({"leased"})


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in a line. `status` is that of its answer, else "running", "interrupted", or "unreadable" with the reason in `why`."""

    run: RunId
    when: datetime
    question: str
    status: str
    nodes: tuple[str, ...]
    seconds: float
    why: str = ""
    missing: int = 0
    """Subtasks that its answer does not rest on."""
    sent: Sent = field(default_factory=Sent)
    """What it sent to a supervisor."""


@dataclass(frozen=True, slots=True)
class NodeStory:
    """What one node did. `counts` tells how often what happened to it."""

    work: NodeWork
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Story:
    summary: Summary
    answer: str
    citations: tuple[Citation, ...]
    incomplete: str
    unread: tuple[Unread, ...]
    """What the answer does not rest on, and why; empty where it rests on all."""
    sittings: int
    documents: tuple[str, ...]
    plan: dict[str, Any]
    """The numbers of the plan, empty before there is one."""
    ended: int
    """Subtasks that came to their end."""
    nodes: tuple[NodeStory, ...]
    events: tuple[KeptEvent, ...]
    passed_over: dict[str, int]
    requests: tuple[RequestRecord, ...]
    unsure: bool
    """Whether nobody knows if the request that was sent last was answered and paid for."""


def list_stories(runs: Path) -> tuple[Summary, ...]:
    """All runs kept below `runs`, oldest first. One that cannot be read is told as such and hides no other."""
    summaries = []
    for run in list_runs(runs):
        try:
            with Journal.look(runs, run) as journal, journal.sound():
                summaries.append(_summary(journal))
        except RunError as error:
            summaries.append(Summary(run, begun(run), "", "unreadable", (), 0.0, str(error)))
    return tuple(summaries)


def story_of(journal: Journal) -> Story:
    """Raises `RunError` where what was kept makes no sense."""
    with journal.sound():
        return _story(journal)


def _story(journal: Journal) -> Story:
    kept = journal.value("kept") or {}
    events = journal.events()
    counts: dict[str, Counter[str]] = {}
    for event in events:
        if event.kind in _COUNTED:
            counts.setdefault(str(event.value.get("node")), Counter())[event.kind] += 1
    summary = _summary(journal)
    requests = journal.ledger.records()
    if summary.status != "running":
        # Its coordinator died while it sent.
        requests = tuple(
            replace(each, state=RequestState.LOST) if each.state is RequestState.SENDING else each for each in requests
        )
    return Story(
        summary=summary,
        answer=str((journal.value("end") or {}).get("text", "")),
        citations=tuple(Citation(**each) for each in (journal.value("end") or {}).get("citations", ())),
        incomplete=incomplete(journal),
        unread=kept_unread(journal),
        sittings=journal.sitting,
        documents=tuple(f"{label}: {name}" for label, name in kept.get("names", {}).items()),
        plan=journal.value("plan") or {},
        ended=len(journal.ended_subtasks()),
        nodes=tuple(NodeStory(work, dict(counts.get(node, {}))) for node, work in journal.work().items()),
        events=events,
        passed_over=journal.passed_over(),
        requests=requests,
        unsure=summary.status != "running" and journal.ledger.unsure() is not None,
    )


def summary_json(summary: Summary) -> dict[str, Any]:
    return asdict(summary) | {"when": summary.when.isoformat(), "why": summary.why or None}


def story_json(story: Story) -> dict[str, Any]:
    return summary_json(story.summary) | {
        "answer": story.answer,
        "citations": [asdict(each) for each in story.citations],
        "incomplete": story.incomplete or None,
        "unread": [asdict(each) for each in story.unread],
        "sittings": story.sittings,
        "documents": list(story.documents),
        "plan": {key: story.plan.get(key) for key in ("context", "chunks", "chunks_read", "subtasks")} if story.plan else None,
        "subtasks_ended": story.ended,
        "nodes": [
            asdict(node.work)
            | {"tokens_per_second": _speed(node.work), "counts": {kind: node.counts.get(kind, 0) for kind in _COUNTED}}
            for node in story.nodes
        ],
        "events": [{"at": event.at, "kind": event.kind} | event.value for event in story.events],
        "events_passed_over": story.passed_over,
        "requests": [
            {"url": each.url, "model": each.model, "bytes": len(each.body), "state": each.state.value, "status": each.status,
             "error": each.error, "started": each.started, "seconds": _seconds(each), "prompt_tokens": each.prompt_tokens,
             "completion_tokens": each.completion_tokens, "usd": each.usd}
            for each in story.requests
        ],
    }  # fmt: skip


def summary_line(summary: Summary) -> str:
    """A run in one line of a list."""
    when = f"{summary.when.astimezone():%Y-%m-%d %H:%M}"
    if summary.why:
        return f"{summary.run}  {when}  {summary.status}: {summary.why}"
    nodes = f"{', '.join(summary.nodes)}, " if summary.nodes else ""
    without = f", {several(summary.missing, 'step')} not in it" if summary.missing else ""
    sent = f"sent {summary.sent.characters:,} characters, {summary.sent.money}" if summary.sent.requests else "nothing sent"
    rest = f"({nodes}{summary.seconds:.1f} s{without})"
    return f"{summary.run}  {when}  {summary.status:<11}  {sent}  {_cut(summary.question)}  {rest}"


def story_lines(story: Story) -> Iterator[str]:
    """The story for a person: the outcome, each node's part, what happened, what was sent."""
    summary = story.summary
    yield f"Run {summary.run}, begun {summary.when.astimezone():%Y-%m-%d %H:%M:%S}"
    yield f"Question: {clean_line(summary.question, 1_000)}"
    yield from (f"Document {clean_line(each)}" for each in story.documents)
    sittings = f" in {story.sittings} sittings" if story.sittings > 1 else ""
    yield f"Status: {summary.status} after {summary.seconds:.1f} s{sittings}"
    if story.answer:
        yield f"Answer: {story.answer}"
    for number, citation in enumerate(story.citations, 1):
        where = place(clean_line(citation.document), citation.page)
        yield f"[{number}] {where}, characters {citation.start}-{citation.end}{by_ocr(citation)}"
        yield f"    “{clean_line(citation.quote, 300)}”"
    if story.plan:
        subtasks = int(story.plan.get("subtasks", 0))
        read, chunks = story.plan.get("chunks_read", 0), story.plan.get("chunks", 0)
        yield f"Plan: {read} of {several(chunks, 'part')}, {several(subtasks, 'step')}, {story.ended:,} of them ended"
    if story.incomplete:
        yield story.incomplete
    if summary.status in {"interrupted", "failed", "stopped"}:
        again = f"To ask again, and perhaps to pay again, type: coordinator resume {summary.run} --again"
        yield again if story.unsure else f"Go on with: coordinator resume {summary.run}"
    yield ""
    yield "What the nodes did" if story.nodes else "No node did anything."
    for node in story.nodes:
        yield f"  {_node_line(node)}"
    told = [event for event in story.events if event.kind not in _UNREMARKABLE]
    if told:
        yield ""
        yield "What happened"
        names = _names(story)
        start = story.events[0].at
        ended = True  # what came before the first sitting
        for event in told[:LINES_SHOWN]:
            if event.kind == "sitting" and not ended:
                yield f"  {'':10}  The coordinator stopped before the run had ended"
            ended = event.kind == "ended"
            yield f"  {event.at - start:8.1f} s  {clean_line(_event_line(event, names), 600)}"
        if len(told) > LINES_SHOWN:
            yield f"  … and {len(told) - LINES_SHOWN:,} more: coordinator show {summary.run} --json"
        for kind, count in story.passed_over.items():
            yield f"  … and {count:,} more of “{kind}”, which were counted only"
    yield ""
    sent = [each for each in story.requests if each.was_sent]
    failed = [each for each in story.requests if each.state is RequestState.NOT_SENT]
    if failed:
        yield "What could not be sent"
        yield from (f"  {_request_line(each)}" for each in failed)
    yield "What was sent" if sent else "Nothing was sent."
    for each in sent:
        yield f"  {_request_line(each)}"
    if sent:
        yield f"Exactly what was sent: coordinator ledger {summary.run}"


def _summary(journal: Journal) -> Summary:
    end = journal.value("end") or {}
    status = "running" if journal.running else str(end.get("status", "interrupted"))
    question = str((journal.value("kept") or {}).get("question", ""))
    nodes = tuple(work.name for work in journal.work().values())
    return Summary(
        journal.run,
        begun(journal.run),
        question,
        status,
        nodes,
        round(journal.seconds(), 3),
        missing=subtasks_missing(journal),
        sent=Sent.of(journal.ledger.records()),
    )


def _node_line(node: NodeStory) -> str:
    work, counts = node.work, node.counts
    fresh = work.prompt_tokens - work.cached_tokens
    parts = [f"{work.name} ({work.model}, {work.engine}): {work_done(work)}"]
    if leases := counts.get("leased", 0) + counts.get("hedged", 0):
        parts.append(several(leases, "lease"))
    parts.append(f"{fresh:,} tokens read (+ {work.cached_tokens:,} from the cache), {work.completion_tokens:,} written")
    parts.append(f"{work.seconds:.1f} s at work" + (f", {speed:.0f} tokens/s" if (speed := _speed(work)) else ""))
    words = {
        "hedged": "of them hedges",
        "cancelled": "cancelled",
        "lost": "lost",
        "retried": "failed",
        "rejected": "with a quotation that is not there",
    }
    parts += [f"{counts[kind]} {word}" for kind, word in words.items() if counts.get(kind)]
    return ", ".join(parts)


def _event_line(event: KeptEvent, names: dict[str, str]) -> str:
    value = event.value
    node = names.get(value.get("node"), str(value.get("node", ""))[:8])
    match event.kind:
        case "sitting":
            return "The run begins" if value["number"] == 1 else "The run is resumed"
        case "skipped":
            return f"Skipped {value['name']}: {value['reason']}"
        case "joined":
            return f"{node} ({value['model']}, {value['engine']}) joins in"
        case "changed":
            if value["draining"]:
                return f"{node} drains: {value['draining']}"
            return f"{node} is {value['state']}" + (f": {value['why']}" if value["why"] else "")
        case "gone":
            return f"{node} is gone: {value['why']}"
        case "lost":
            return f"{several(value['subtasks'], 'step')} that {node} held went back, to be done elsewhere: {value['why']}"
        case "planned":
            before = f", {value['done']:,} of them done before" if value["done"] else ""
            chunks = f"{value['chunks_read']:,} of {several(value['chunks'], 'part')}"
            return f"Planned: {chunks}, {several(value['subtasks'], 'step')}{before}"
        case "hedged":
            where = place(value["document"], value["page"])
            return f"{node} was given {several(value['subtasks'], 'step')} on {where} that another node was late with"
        case "cancelled":
            return f"{several(value['subtasks'], 'step')} cancelled on {node}: {value['why']}"
        case "retried":
            return f"An attempt failed on {node}, to be tried again: {value['message']}"
        case "rejected":
            return f"A quotation by {node} is not in the text and was rejected"
        case "failed":
            tried = ", ".join(names.get(each, each[:8]) for each in value["nodes"])
            return f"A step was given up ({value['reason']}{f', tried by {tried}' if tried else ''}): {value['message']}"
        case "aggregating":
            where = "in the cloud" if value["by"] == "supervisor" else "at home"
            return f"{value['model']} {where} puts {several(value['findings'], 'finding')} together"
        case "trouble":
            return f"{value['message']} Asked again after {value['wait_seconds']:.0f} s."
        case "warned":
            return str(value["message"])
        case "ended":
            return f"It ends: {value['status']}"
        case _:
            return event.kind


def _request_line(request: RequestRecord) -> str:
    when = f"{datetime.fromtimestamp(request.started, UTC).astimezone():%H:%M:%S}"
    text = f"{when}  {len(request.body):,} bytes to {request.url} ({request.model})"
    if request.state is RequestState.LOST:
        came = "no reply was recorded" if request.status is None else f"only a gateway replied, HTTP status {request.status}"
        return f"{text}: {came}; whether it was answered and charged is not known"
    if request.state is RequestState.SENDING:
        return f"{text}: being sent"
    if request.status is None:
        return f"{text}: {request.error}"
    cost = f", ${request.usd:.4f}" if request.usd is not None else ""
    tokens = f", {request.prompt_tokens or 0:,} tokens in, {request.completion_tokens or 0:,} out{cost}"
    return f"{text}: HTTP status {request.status} after {_seconds(request) or 0:.1f} s{tokens if request.status == 200 else ''}"


def _names(story: Story) -> dict[str, str]:
    names = {str(node.work.id): node.work.name for node in story.nodes}
    return names | {event.value["node"]: event.value["name"] for event in story.events if event.kind == "joined"}


def _speed(work: NodeWork) -> float | None:
    """Tokens read and written for each second at work, cached ones not counted."""
    tokens = work.prompt_tokens - work.cached_tokens + work.completion_tokens
    return round(tokens / work.seconds, 1) if work.seconds > 0 else None


def _seconds(request: RequestRecord) -> float | None:
    return None if request.ended is None else round(request.ended - request.started, 3)


def _cut(question: str) -> str:
    return clean_line(question, QUESTION_CHARACTERS)
