"""`coordinator ask` and `resume`: questions."""

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from coordinator.commands.options import add_network, network
from coordinator.config import DEFAULT_SUPERVISOR_MODEL, SupervisorConfig, agree, config_path, load_config, runs_dir
from coordinator.output import NO_ANSWER, answer_json
from coordinator.runs.database import last_run
from coordinator.runs.folders import LAST, RUN_HELP
from coordinator.runs.journal import Journal
from coordinator.runs.outcome import make_answer, nodes_asked, resumable
from coordinator.types import Answer, Reading, RunId, Status
from edgenode.console import ANSWERED, NOT_FOUND, PARTIAL, STOPPED, Commands, add_common, print_json, whole
from edgenode.errors import EdgenodeError, UsageError
from edgenode.home import shown
from edgenode.text import names_a_file

if TYPE_CHECKING:
    from coordinator.events import Estimated, Event
    from coordinator.pool import Pool
    from coordinator.runs.read import Confirm
    from coordinator.view import View

EXIT = {
    Status.ANSWERED: ANSWERED,
    Status.PARTIAL: PARTIAL,
    Status.DRY_RUN: ANSWERED,
    Status.NOT_FOUND: NOT_FOUND,
    Status.STOPPED: STOPPED,
}
# Whether it shall be read is asked where that takes longer than this; where nothing seems to be about the question, than this.
LONG_SECONDS: Final = 600.0
LONG_OFF_TOPIC_SECONDS: Final = 20.0


def add_to(commands: Commands) -> None:
    supervisor = (
        f"The supervisor is any OpenAI-compatible endpoint: set OPENAI_API_KEY, OPENAI_BASE_URL or both, or [supervisor] api_key, "
        f"base_url, model in {shown(config_path)}. Its model is {DEFAULT_SUPERVISOR_MODEL} unless told. Without a supervisor the "
        "best model in the pool makes the answer, and nothing leaves the house."
    )
    ask = commands.add_parser(
        "ask",
        help="ask a question of documents",
        description="Asks QUESTION of documents: text, web pages, PDF, Word, Excel, PowerPoint and OpenDocument files, mail, "
        "books, CSV and JSON, with the extra ocr also scans and photos; or folders of them, or - for standard input.",
        epilog=f"{supervisor} Exit status: 0 answered, 3 not found, 4 answered from a part of what was to be read, 5 not read "
        "because you chose so, 1 failed, 2 wrong usage, 130 interrupted.",
    )
    ask.add_argument("words", metavar="DOCUMENT... QUESTION", nargs="+", help="files or folders, and last the question")
    ask.add_argument(
        "--read",
        type=_reading,
        default="auto",
        metavar="all|relevant",
        help="read every part, or those that retrieval considers possible (default: by the question)",
    )
    ask.add_argument(
        "-y",
        "--yes",
        action="store_true",
        help="read without asking first, also where that takes long or nothing seems to be about the question",
    )
    _add_nodes(ask)
    _add_aggregation(ask)
    add_common(ask)
    ask.set_defaults(act=_ask)

    resume = commands.add_parser(
        "resume",
        help="go on with a run that was interrupted or failed",
        description="Goes on with a run where it was: what was read is not read again, a usable reply is not paid for again.",
        epilog=supervisor,
    )
    resume.add_argument("run", metavar="RUN", help=RUN_HELP)
    resume.add_argument(
        "--again",
        action="store_true",
        help="make the answer anew although there is one, or an earlier request may have been charged: a supervisor charges again",
    )
    _add_nodes(resume)
    _add_aggregation(resume)
    add_common(resume)
    resume.set_defaults(act=_resume)


def _add_nodes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", action="append", default=[], metavar="NAME", help="use this node only (again for more)")
    add_network(parser)


def _add_aggregation(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--local", action="store_true", help="let nothing leave: the local model makes the answer")
    whose.add_argument(
        "--cloud",
        action="store_true",
        help="agree that the supervisor that is configured is asked, also one that comes from the environment alone",
    )
    parser.add_argument("--supervisor-model", metavar="MODEL", help=f"model to ask (default: {DEFAULT_SUPERVISOR_MODEL})")
    parser.add_argument(
        "--max-egress",
        type=whole("a number of characters"),
        metavar="N",
        help="characters that may leave (default: 5 %%, at least 4000)",
    )
    parser.add_argument("--show-names", action="store_true", help="let the supervisor see the documents' names")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")


def _ask(options: argparse.Namespace) -> int:
    *names, question = _quoted(options.words)
    if not names:
        wrong = "There is no question" if names_a_file(question) else "There is no document"
        raise UsageError(f"{wrong}. Give documents and then the question: coordinator ask lease.pdf 'When is the rent due?'")
    if names_a_file(question):
        raise UsageError(f"There is no question: the last argument, {question}, is a file. Give the question last, in quotes.")

    def events(pool: "Pool", confirm: "Confirm | None") -> "AsyncIterator[Event]":
        return pool.stream(
            question,
            names,
            read=options.read,
            show_names=options.show_names,
            max_egress=options.max_egress,
            dry_run=options.dry_run,
            confirm=None if options.yes else confirm,
        )

    return _run(options, events, lambda: options.node)


def _quoted(words: Sequence[str]) -> list[str]:
    """The documents and the question, whose words are put together where the quotation marks were left out.

    That is certain only where three words or more follow the documents and none looks like a file: else one may be a document
    whose name was mistyped. Raises `UsageError` where it may be either.
    """
    start = next((at for at, word in enumerate(words) if word != "-" and not names_a_file(word)), len(words))
    rest = words[start:]
    in_quotes = any(not word or any(map(str.isspace, word)) for word in rest)
    if start == 0 or len(rest) < 2 or in_quotes or _is_like_a_file(rest[0]):
        return list(words)
    question = " ".join(rest)
    if len(rest) == 2 or any(map(_is_like_a_file, rest)):
        raise UsageError(
            f"{rest[0]}: there is no such file or folder. If the question begins there, put it in quotation marks: "
            f'coordinator ask {shlex.join(words[:start])} "{question}"'
        )
    print(f"The question is: {question}", file=sys.stderr)
    return [*words[:start], question]


def _is_like_a_file(word: str) -> bool:
    """Whether a word is a file, or has what the names of files and folders have: separators, an ending."""
    return names_a_file(word) or re.search(r"[/\\]|\.[A-Za-z0-9]{1,5}$", word) is not None


def _resume(options: argparse.Namespace) -> int:
    if options.run == LAST:
        options.run = last_run(runs_dir())

    def events(pool: "Pool", _: object) -> "AsyncIterator[Event]":
        return pool.resume(
            options.run,
            show_names=options.show_names,
            max_egress=options.max_egress,
            dry_run=options.dry_run,
            again=options.again,
        )

    return _run(options, events, lambda: options.node or nodes_asked(runs_dir(), options.run))


def _run(
    options: argparse.Namespace,
    events: "Callable[[Pool, Confirm | None], AsyncIterator[Event]]",
    nodes: Callable[[], Collection[str]],
) -> int:
    import asyncio

    from coordinator.account import print_answer
    from coordinator.events import Ended, Estimated, RunStarted
    from coordinator.pool import Pool
    from coordinator.view import Terminal

    cloud = True if options.cloud else False if options.local else None
    config = load_config(supervisor_model=options.supervisor_model, cloud=cloud)
    if options.cloud and config.supervisor is None:
        raise UsageError(f"--cloud needs a supervisor. Set OPENAI_API_KEY or OPENAI_BASE_URL, or write it in {shown(config_path)}.")
    if config.withheld is not None and not options.dry_run and _agrees(config.withheld):
        config = replace(config, supervisor=config.withheld, withheld=None)
    run: RunId | None = None
    answer: Answer | None = None
    view = _view(options)
    began = time.time()
    estimate_shown = asyncio.Event()

    async def confirm(estimated: "Estimated") -> bool:
        await estimate_shown.wait()
        return await _shall_be_read(estimated, view)

    async def watch() -> None:
        nonlocal run, answer
        async with Pool.discover(nodes=nodes(), config=config, **network(options)) as pool:
            async for event in events(pool, confirm if _is_on_terminal(options) else None):
                if isinstance(event, RunStarted):
                    run = event.run
                if isinstance(event, Ended):
                    answer = event.answer
                view.show(event)
                if isinstance(event, Estimated):
                    estimate_shown.set()

    try:
        with view:
            asyncio.run(watch())
    except KeyboardInterrupt:
        sentence, kept = _interrupted(run, began)
        if options.json:
            print_json(kept | {"error": sentence})
        raise KeyboardInterrupt(sentence) from None
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


def _agrees(supervisor: SupervisorConfig) -> bool:
    """Asks once, on a terminal, whether a supervisor that came from the environment alone may be used."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(
        f"The environment names a supervisor (OPENAI_API_KEY or OPENAI_BASE_URL): {supervisor.base_url}. If it makes the answers, "
        "it gets your question and quotations from your documents. Without it the local model makes them, and nothing leaves.",
        file=sys.stderr,
    )
    print("Use it for this and later questions? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        return False
    agree(supervisor)
    return True


async def _shall_be_read(estimated: "Estimated", view: "View") -> bool:
    """Asks whether it shall be read, where that takes long or nothing seems to be about the question."""
    from coordinator.words import about
    from edgenode.threads import in_thread

    seconds, most = estimated.seconds, LONG_OFF_TOPIC_SECONDS if estimated.off_topic else LONG_SECONDS
    if seconds is None and not estimated.off_topic:
        return True
    if seconds is not None and seconds <= most:
        return True
    why = "Nothing here seems to be about the question. " if estimated.off_topic else ""
    takes = "It is not known how long reading takes." if seconds is None else f"Reading takes {about(seconds)}."
    which = "Read anyway? [y/N] " if estimated.off_topic else "Read it? [Y/n] "
    with view.aside():
        print(f"{why}{takes} {which}", end="", file=sys.stderr, flush=True)
        # Not by sys.stdin: after Ctrl-C a thread that waits there would be in the way of the program's end.
        typed = (await in_thread(os.read, sys.stdin.fileno(), 1_024)).decode(errors="replace").strip().lower()
        if not typed:
            print(file=sys.stderr)
    return typed in {"y", "yes"} or (not typed and not estimated.off_topic)


def _interrupted(run: RunId | None, began: float) -> tuple[str, dict[str, Any]]:
    """What to say of a run that Ctrl-C ended, whose command began at that Unix time, and what `--json` prints of it."""
    nothing = NO_ANSWER | {"run": run}
    if run is None:
        return "Interrupted.", nothing
    try:
        with Journal.look(runs_dir(), run) as journal:
            unsure = journal.ledger.unsure()
            kept = answer_json(make_answer(journal, resumable(journal), Status.FAILED, "", "home", ()))
    except EdgenodeError as error:
        return f"Interrupted. {error}", nothing
    if unsure is None:
        return f"Interrupted. What was done until then is kept; go on with: coordinator resume {run}", kept
    which = "The request to the supervisor was under way" if unsure.started >= began else "An earlier request had brought no reply"
    how = f"to ask again, and perhaps to pay again, type: coordinator resume {run} --again"
    return f"Interrupted. {which}: it may have been answered and charged. What was done until then is kept; {how}", kept


def _is_on_terminal(options: argparse.Namespace) -> bool:
    """Whether somebody is there who can be asked."""
    return not options.json and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _view(options: argparse.Namespace) -> "View":
    from coordinator.view import Lines, LiveView, Silent, Terminal

    if options.json:
        return Silent()
    console = Terminal(stderr=True)
    return LiveView(console) if console.is_terminal and sys.stdout.isatty() else Lines(console)


def _last_request(answer: Answer) -> Any:
    with Journal.look(runs_dir(), answer.run) as journal:
        return json.loads(journal.ledger.records()[-1].body)


def _reading(text: str) -> Reading:
    try:
        return Reading(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither all nor relevant") from None
