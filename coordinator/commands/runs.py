"""`coordinator runs`, `show`, `ledger`, `forget` and `text`: what was asked, what came of it, what a run sent and kept."""

import argparse
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coordinator.config import runs_dir
from coordinator.errors import DocumentError, RunBusy
from coordinator.runs.database import forget, forget_all
from coordinator.runs.folders import RUN_HELP, list_runs, no_runs
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestState
from coordinator.runs.sent import Sent
from coordinator.story import list_stories, story_json, story_lines, story_of, summary_json, summary_line
from coordinator.types import Document
from coordinator.words import several
from edgenode.console import ANSWERED, FAILED, Commands, add_common, print_json, say_empty
from edgenode.errors import UsageError
from edgenode.text import clean_line


def add_to(commands: Commands) -> None:
    listing = commands.add_parser("runs", help="list the runs that are kept, the newest last")
    add_common(listing)
    listing.set_defaults(act=_runs)

    show = commands.add_parser("show", help="tell the story of a run: which node did what, and what went wrong")
    show.add_argument("run", metavar="RUN", help=RUN_HELP)
    add_common(show)
    show.set_defaults(act=_show)

    ledger = commands.add_parser("ledger", help="show exactly what a run sent to the supervisor, and what came back")
    ledger.add_argument("run", metavar="RUN", nargs="?", help=RUN_HELP)
    ledger.add_argument("--all", action="store_true", help="sum up what all runs that are kept have sent, and what it cost")
    add_common(ledger)
    ledger.set_defaults(act=_ledger)

    remove = commands.add_parser("forget", help="delete all that a run kept", description="Deletes all that a run, or many, kept.")
    remove.add_argument("run", metavar="RUN", nargs="?", help="the run's whole id")
    which = remove.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="all runs; those at work are left alone")
    which.add_argument("--older-than", type=_age, metavar="AGE", help="all runs begun longer ago than that: 12h, 30d, 8w")
    remove.add_argument("--yes", action="store_true", help="do not ask before --all deletes everything, for scripts")
    add_common(remove)
    remove.set_defaults(act=_forget)

    text = commands.add_parser("text", help="print the text of a document, which the offsets of citations refer to")
    text.add_argument("document", metavar="DOCUMENT", type=Path)
    add_common(text)
    text.set_defaults(act=_text)


def _runs(options: argparse.Namespace) -> int:
    stories = list_stories(runs_dir())
    if options.json:
        print_json({"runs": [summary_json(each) for each in stories]})
        return ANSWERED
    if not stories:
        say_empty(no_runs())
    _print(summary_line(each) for each in stories)
    return ANSWERED


def _show(options: argparse.Namespace) -> int:
    with Journal.look(runs_dir(), options.run) as journal, journal.sound():
        story = story_of(journal)
        told = story_json(story)
        lines = tuple(story_lines(story))
    print_json(told) if options.json else _print(lines)
    return ANSWERED


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _ledger(options: argparse.Namespace) -> int:
    if options.all == (options.run is not None):
        raise UsageError("Name a run, or give --all for the sum of all: coordinator ledger last, coordinator ledger --all")
    return _totals(options) if options.all else _requests(options)


def _totals(options: argparse.Namespace) -> int:
    stories = list_stories(runs_dir())
    months: dict[str, Sent] = {}
    for each in stories:
        month = f"{each.when.astimezone():%Y-%m}"
        months[month] = months.get(month, Sent()) + each.sent
    total = sum(months.values(), Sent())
    unread = [each for each in stories if each.status == "unreadable"]
    if options.json:
        print_json({
            "runs": len(stories), "unreadable": [each.run for each in unread], **asdict(total),
            "months": [{"month": month} | asdict(sent) for month, sent in months.items()]})  # fmt: skip
        return ANSWERED
    if not stories:
        say_empty(no_runs())
        return ANSWERED
    for month, sent in months.items():
        print(f"{month}  {_sum(sent)}")
    print(f"{several(len(stories), 'run')}, those that are kept here: {_sum(total)}")
    for each in unread:
        print(f"Not in the sum: {each.run}, which cannot be read. {each.why}", file=sys.stderr)
    return ANSWERED


def _sum(sent: Sent) -> str:
    if not sent.requests:
        return "nothing was sent"
    tokens = f"{sent.prompt_tokens:,} tokens in, {sent.completion_tokens:,} out"
    return f"{several(sent.requests, 'request')}, {sent.characters:,} characters, {tokens}, {sent.money}"


def _requests(options: argparse.Namespace) -> int:
    with Journal.look(runs_dir(), options.run) as journal:
        requests = journal.ledger.records()
    if options.json:
        print_json({"run": journal.run, "requests": [
            {"url": each.url, "model": each.model, "state": each.state, "status": each.status, "error": each.error,
             "prompt_tokens": each.prompt_tokens, "completion_tokens": each.completion_tokens, "usd": each.usd,
             "body": each.body.decode("utf-8", "replace"), "reply": each.reply.decode("utf-8", "replace") if each.reply else None}
            for each in requests]})  # fmt: skip
        return ANSWERED
    if not any(each.was_sent for each in requests):
        print("Nothing was sent in this run.")
    for number, each in enumerate(requests, 1):
        sent = f"{each.state}, HTTP status {each.status or 'none'}"
        if not each.was_sent:
            sent = "not sent (dry run)" if each.state is RequestState.DRY_RUN else "not sent"
        print(f"Request {number} to {each.url}, {len(each.body):,} bytes, {sent}{': ' + each.error if each.error else ''}")
        print(_pretty(each.body))
        if each.reply:
            print(f"Reply {number}, {len(each.reply):,} bytes")
            print(_pretty(each.reply))
    return ANSWERED


def _pretty(body: bytes) -> str:
    """For a person; nothing in it can move the cursor of a terminal. `--json` has it to the byte."""
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def _forget(options: argparse.Namespace) -> int:
    many = options.all or options.older_than is not None
    if many == (options.run is not None):
        raise UsageError("Name one run by its whole id, or give --all or --older-than AGE: coordinator forget --older-than 30d")
    if not many:
        forget(runs_dir(), options.run)
        print_json({"forgotten": options.run}) if options.json else print(f"Run {options.run} is deleted.")
        return ANSWERED
    if options.all and not options.yes and not _is_sure(len(list_runs(runs_dir()))):
        print("Nothing was deleted.", file=sys.stderr)
        return FAILED
    forgotten, kept = forget_all(runs_dir(), None if options.all else datetime.now(UTC) - options.older_than)
    if options.json:
        print_json({"forgotten": list(forgotten), "kept": {run: str(why) for run, why in kept.items()}})
    else:
        print(f"{several(len(forgotten), 'run')} deleted.")
    for run, why in kept.items():
        print(f"The run {run} is left alone. {why}", file=sys.stderr)
    return ANSWERED if all(isinstance(why, RunBusy) for why in kept.values()) else FAILED


def _is_sure(count: int) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("This deletes all runs, which cannot be undone, and there is no terminal to ask on: say so with --yes.")
    print(f"Delete all that {several(count, 'run')} kept? This cannot be undone. [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,5})([hdw])", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no age: give hours, days or weeks, such as 12h, 30d or 8w")
    return timedelta(**{{"h": "hours", "d": "days", "w": "weeks"}[match[2]]: int(match[1])})


def _text(options: argparse.Namespace) -> int:
    from coordinator.documents.ingest import read_documents  # loads the PDF and Word readers, which only this command needs at once

    documents, skipped = read_documents([options.document])
    if not documents:
        reason = " ".join(f"{each.name}: {each.reason}" for each in skipped) or f"{options.document} is not one document."
        raise DocumentError(reason)
    document = documents[0]
    gaps = [f"{gap.reason[0].upper()}{gap.reason[1:]}." for gap in document.gaps]
    inside = (f"{each.name} is a document of its own; --json prints its text." for each in documents[1:] if not options.json)
    for line in (*gaps, *(f"{each.name}: {each.reason}" for each in skipped), *inside):
        print(clean_line(line, 400), file=sys.stderr)
    if options.json:
        print_json(
            {
                **_told(documents[0]),
                "inside": [_told(each) for each in documents[1:]],
                "skipped": [asdict(each) for each in skipped],
            }
        )
    elif sys.stdout.isatty():
        print(document.text)
    else:
        # Byte for byte, so that offsets hold: no newline added, no translation, UTF-8 whatever the terminal's encoding.
        sys.stdout.buffer.write(document.text.encode("utf-8"))
        sys.stdout.flush()
    return ANSWERED


def _told(document: Document) -> dict[str, Any]:
    """A document as JSON. Offsets are into its text."""
    return {
        "name": document.name,
        "sections": [asdict(each) for each in document.sections],
        "rows": [asdict(each) for each in document.rows],
        "gaps": [asdict(each) for each in document.gaps],
        "recognised": [asdict(each) for each in document.recognised],
        "text": document.text,
    }
