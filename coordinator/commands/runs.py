"""`coordinator runs`, `show`, `ledger`, `forget` and `text`: what was asked, what came of it, what a run sent and kept."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coordinator.config import runs_dir
from coordinator.errors import DocumentError
from coordinator.runs.database import forget
from coordinator.runs.folders import NO_RUNS, RUN_HELP
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestState
from coordinator.story import list_stories, story_json, story_lines, story_of, summary_json, summary_line
from coordinator.types import Document
from edgenode.console import ANSWERED, Commands, add_common, print_json, say_empty
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
    ledger.add_argument("run", metavar="RUN", help=RUN_HELP)
    add_common(ledger)
    ledger.set_defaults(act=_ledger)

    remove = commands.add_parser("forget", help="delete all that a run kept")
    remove.add_argument("run", metavar="RUN", help="the run's whole id")
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
        say_empty(NO_RUNS)
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
    forget(runs_dir(), options.run)
    print_json({"forgotten": options.run}) if options.json else print(f"Run {options.run} is deleted.")
    return ANSWERED


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
        print_json({**_told(documents[0]), "inside": [_told(each) for each in documents[1:]]})
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
        "text": document.text,
    }
