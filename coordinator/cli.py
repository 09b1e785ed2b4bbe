"""The `coordinator` command: a thin skin over the SDK."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from coordinator.config import DEFAULT_SUPERVISOR_MODEL, config_path, load_config, runs_dir
from coordinator.errors import DocumentError
from coordinator.events import Ended, Event, NodeInfo
from coordinator.output import NO_ANSWER, answer_json, node_json
from coordinator.pool import Pool
from coordinator.runs.journal import Journal, forget
from coordinator.types import Answer, Reading, Status
from coordinator.view import Lines, LiveView, Silent, Terminal, View, print_answer
from edgenode.console import ANSWERED, NOT_FOUND, Parser, add_common, add_interface, print_json, run_command, version
from edgenode.errors import EdgenodeError, UsageError
from edgenode.text import names_a_file

EXIT = {Status.ANSWERED: ANSWERED, Status.DRY_RUN: ANSWERED, Status.NOT_FOUND: NOT_FOUND}


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(_parser(), arguments, lambda options: int(options.act(options)))


def _parser() -> Parser:
    parser = Parser(
        prog="coordinator",
        description="Asks questions of your documents: the devices around read them, one request to a supervisor makes the answer.",
    )
    parser.add_argument("--version", action="version", version=version("coordinator"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    nodes = commands.add_parser("nodes", help="list the nodes that are there")
    add_interface(nodes)
    add_common(nodes)
    nodes.set_defaults(act=_nodes)

    supervisor = (
        f"The supervisor is any OpenAI-compatible endpoint: set OPENAI_API_KEY, OPENAI_BASE_URL or both, or [supervisor] api_key, "
        f"base_url, model in {config_path()}. Its model is {DEFAULT_SUPERVISOR_MODEL} unless told. Without a supervisor the best "
        "model in the pool makes the answer, and nothing leaves the house."
    )
    ask = commands.add_parser(
        "ask",
        help="ask a question of documents",
        description="Asks QUESTION of documents: .txt, .md, .html, .pdf, .docx, or folders of them.",
        epilog=f"{supervisor} Exit status: 0 answered, 3 not found, 1 failed, 2 wrong usage, 130 interrupted.",
    )
    ask.add_argument("words", metavar="DOCUMENT... QUESTION", nargs="+", help="files or folders, and last the question")
    ask.add_argument(
        "--read",
        type=_reading,
        default="auto",
        metavar="all|relevant",
        help="read every chunk, or those that retrieval considers possible (default: by the question)",
    )
    _add_nodes(ask)
    _add_aggregation(ask)
    add_common(ask)
    ask.set_defaults(act=_ask)

    resume = commands.add_parser("resume", help="aggregate a run's findings again, without reading again", epilog=supervisor)
    resume.add_argument("run", metavar="RUN")
    _add_nodes(resume)
    _add_aggregation(resume)
    add_common(resume)
    resume.set_defaults(act=_resume)

    ledger = commands.add_parser("ledger", help="show exactly what a run sent to the supervisor, and what came back")
    ledger.add_argument("run", metavar="RUN")
    add_common(ledger)
    ledger.set_defaults(act=_ledger)

    remove = commands.add_parser("forget", help="delete all that a run kept")
    remove.add_argument("run", metavar="RUN")
    add_common(remove)
    remove.set_defaults(act=_forget)

    text = commands.add_parser("text", help="print the text of a document, which the offsets of citations refer to")
    text.add_argument("document", metavar="DOCUMENT", type=Path)
    add_common(text)
    text.set_defaults(act=_text)
    return parser


def _add_nodes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", action="append", default=[], metavar="NAME", help="use this node only (again for more)")
    add_interface(parser)


def _add_aggregation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--supervisor-model", metavar="MODEL", help=f"model to ask (default: {DEFAULT_SUPERVISOR_MODEL})")
    parser.add_argument(
        "--max-egress", type=_characters, metavar="N", help="characters that may leave (default: 5 %%, at least 4000)"
    )
    parser.add_argument("--show-names", action="store_true", help="let the supervisor see the documents' names")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")


def _nodes(options: argparse.Namespace) -> int:
    async def find() -> tuple[NodeInfo, ...]:
        async with Pool.discover(interface=options.interface) as pool:
            return await pool.nodes()

    found = asyncio.run(find())
    if options.json:
        print_json({"nodes": [node_json(node) for node in found]})
    elif not found:
        if sys.stdout.isatty():
            print("No node was found. Start one on this machine with: edgenode start")
    else:
        rows = [("NAME", "ADDRESS", "STATE", "ENGINE", "MODEL", "DIGEST")]
        for node in found:
            for position, model in enumerate(node.models or (None,)):
                head = (node.name, node.address, node.state.value, node.engine) if position == 0 else ("", "", "", "")
                rows.append((*head, model.name if model else "-", model.digest[:12] or "-" if model else "-"))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return ANSWERED


def _ask(options: argparse.Namespace) -> int:
    *names, question = options.words
    if not names:
        wrong = "There is no question" if names_a_file(question) else "There is no document"
        raise UsageError(f"{wrong}. Give documents and then the question: coordinator ask lease.pdf 'When is the rent due?'")
    if names_a_file(question):
        raise UsageError(f"There is no question: the last argument, {question}, is a file. Give the question last, in quotes.")

    def events(pool: Pool) -> AsyncIterator[Event]:
        return pool.stream(
            question,
            names,
            read=options.read,
            show_names=options.show_names,
            max_egress=options.max_egress,
            dry_run=options.dry_run,
        )

    return _run(options, events)


def _resume(options: argparse.Namespace) -> int:
    def events(pool: Pool) -> AsyncIterator[Event]:
        return pool.resume(options.run, show_names=options.show_names, max_egress=options.max_egress, dry_run=options.dry_run)

    return _run(options, events)


def _run(options: argparse.Namespace, events: Callable[[Pool], AsyncIterator[Event]]) -> int:
    config = load_config(supervisor_model=options.supervisor_model)
    answer: Answer | None = None
    view = _view(options)

    async def watch() -> None:
        nonlocal answer
        async with Pool.discover(interface=options.interface, nodes=options.node, config=config) as pool:
            async for event in events(pool):
                if isinstance(event, Ended):
                    answer = event.answer
                view.show(event)

    try:
        with view:
            asyncio.run(watch())
    except UsageError:
        raise
    except EdgenodeError as error:
        if options.json:
            print_json((answer_json(answer) if answer else NO_ANSWER) | {"error": str(error)})
        elif answer:
            print(f"Run {answer.run} failed.", file=sys.stderr)
        raise
    assert answer is not None, "a run ends with its answer or an error"
    request = _last_request(answer) if answer.status is Status.DRY_RUN else None
    if options.json:
        print_json(answer_json(answer) | ({"request": request} if request else {}))
        return EXIT[answer.status]
    if request is not None:
        print(json.dumps(request, ensure_ascii=False, indent=2))
    print_answer(Terminal(), answer, config.supervisor)
    return EXIT[answer.status]


def _view(options: argparse.Namespace) -> View:
    if options.json:
        return Silent()
    console = Terminal(stderr=True)
    return LiveView(console) if console.is_terminal and sys.stdout.isatty() else Lines(console)


def _last_request(answer: Answer) -> Any:
    with Journal.open(runs_dir(), answer.run) as journal:
        return json.loads(journal.requests()[-1].body)


def _ledger(options: argparse.Namespace) -> int:
    with Journal.open(runs_dir(), options.run) as journal:
        requests = journal.requests()
    if options.json:
        print_json({"run": options.run, "requests": [
            {"url": each.url, "model": each.model, "state": each.state, "status": each.status, "error": each.error,
             "prompt_tokens": each.prompt_tokens, "completion_tokens": each.completion_tokens, "usd": each.usd,
             "body": each.body.decode("utf-8", "replace"), "reply": each.reply.decode("utf-8", "replace") if each.reply else None}
            for each in requests]})  # fmt: skip
        return ANSWERED
    console = Terminal()

    def say(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    if not requests:
        say("Nothing was sent in this run.")
    for number, each in enumerate(requests, 1):
        sent = "not sent (dry run)" if each.state == "dry_run" else f"{each.state}, HTTP status {each.status or 'none'}"
        say(f"Request {number} to {each.url}, {len(each.body):,} bytes, {sent}{': ' + each.error if each.error else ''}")
        say(_pretty(each.body))
        if each.reply:
            say(f"Reply {number}, {len(each.reply):,} bytes")
            say(_pretty(each.reply))
    return ANSWERED


def _pretty(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except ValueError:
        return body.decode("utf-8", "replace")


def _forget(options: argparse.Namespace) -> int:
    forget(runs_dir(), options.run)
    print_json({"forgotten": options.run}) if options.json else print(f"Run {options.run} is deleted.")
    return ANSWERED


def _text(options: argparse.Namespace) -> int:
    from coordinator.documents.ingest import read_documents  # loads the PDF and Word readers, which only this command needs at once

    documents, skipped = read_documents([options.document])
    if len(documents) != 1:
        reason = " ".join(f"{each.name}: {each.reason}" for each in skipped) or f"{options.document} is not one document."
        raise DocumentError(reason)
    document = documents[0]
    if options.json:
        print_json({"name": document.name, "page_starts": document.page_starts, "text": document.text})
    elif sys.stdout.isatty():
        print(document.text)
    else:
        # Byte for byte, so that offsets hold: no newline added, no translation, UTF-8 whatever the terminal's encoding.
        sys.stdout.buffer.write(document.text.encode("utf-8"))
        sys.stdout.flush()
    return ANSWERED


def _reading(text: str) -> Reading:
    try:
        return Reading(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither all nor relevant") from None


def _characters(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of characters above 0")
    return int(text)
