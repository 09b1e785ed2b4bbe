"""What a person sees of a run's end: the answer, its citations, what it cost and what left the house."""

from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from coordinator.cloud import prices
from coordinator.config import SupervisorConfig
from coordinator.types import Answer, Citation, Status
from coordinator.words import by_ocr, several, work_done
from edgenode.text import clean_line

QUOTE_CHARACTERS: Final = 300
UNREAD_SHOWN: Final = 5


def print_answer(console: Console, answer: Answer, supervisor: SupervisorConfig | None) -> None:
    """The answer, its citations, what it cost and what left the house, on `console`."""

    def say(text: str = "", style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    say()
    if answer.incomplete:
        say(f"Caution: {answer.incomplete}", "bold red")
    if answer.status is Status.NOT_FOUND and answer.citations:
        say("The small model could not write an answer. These passages fit best:", "bold")
    elif answer.status is Status.NOT_FOUND:
        say("Not found: the documents do not seem to answer this.", "bold")
        if answer.text:
            say(answer.text)
    elif answer.text:
        say(answer.text, "bold")
        if answer.answered_by == "home":
            model = next((node.model for node in answer.nodes if node.aggregations), "a local model")
            say(f"Written by {model}, a local model. Small models are often wrong: compare it with the passages below.")

    def cite(mark: str, citation: Citation) -> None:
        say()
        where = clean_line(citation.where, 200) or f"characters {citation.start}-{citation.end}"
        say(f"{mark} {clean_line(citation.document, 200)}, {where}{by_ocr(citation)}")
        say(f"    “{clean_line(citation.quote, QUOTE_CHARACTERS)}”")
        if citation.answer and answer.status is Status.NOT_FOUND:
            say(f"    A reader says: {clean_line(citation.answer, QUOTE_CHARACTERS)}")

    for number, citation in enumerate(answer.citations, 1):
        cite(f"[{number}]", citation)
    if answer.passages:
        say()
        say("These passages fit the question best, too:")
        for citation in answer.passages:
            cite("-", citation)
    if answer.status is Status.STOPPED:
        say("Nothing was read, as you chose, and nothing was sent.", "bold")
        say(f"To have it read after all: coordinator resume {answer.run}")
        return
    if answer.unread:
        say()
        say("The answer does not rest on what could not be read:")
        for each in answer.unread[:UNREAD_SHOWN]:
            say(f"- {clean_line(each.name, 200)}: {clean_line(each.reason, QUOTE_CHARACTERS)}")
        if len(answer.unread) > UNREAD_SHOWN:
            say(f"- and {len(answer.unread) - UNREAD_SHOWN:,} more: coordinator show {answer.run}")
    say()
    counts = answer.findings
    say(
        f"Reading: {several(counts.answered, 'quotation')}, {counts.abstained} without a find, {counts.rejected} wrong and "
        f"dropped, {counts.failed} failed. Search: {several(counts.retrieved, 'sentence')}. {answer.seconds:.1f} s."
    )
    for node in answer.nodes:
        if not node.prompt_tokens:
            continue
        fresh = node.prompt_tokens - node.cached_tokens
        note = " (deterministic test engine)" if node.engine == "deterministic" else ""
        say(
            f"Read at home by {node.name}, {node.model}{note}: {work_done(node)}, {fresh:,} tokens read "
            f"(+ {node.cached_tokens:,} from the cache), {node.completion_tokens:,} written."
        )
    for node in answer.nodes:
        if node.unchecked:
            say(f"{node.name} was served by {clean_line(node.unchecked, 100)}, which the node cannot check.", "bold")
    _print_ledger(say, answer, supervisor or SupervisorConfig())


def _print_ledger(say: Callable[[str], None], answer: Answer, supervisor: SupervisorConfig) -> None:
    ledger = answer.ledger
    if answer.status is Status.DRY_RUN:
        say(f"Dry run: nothing was sent. What would have been: coordinator ledger {answer.run}")
        return
    if answer.answered_by == "home":
        say("Nothing was sent." if not ledger.requests else "Answered by a local model; the ledger has earlier requests.")
        return
    tokens_in = sum(request.prompt_tokens or 0 for request in ledger.requests)
    tokens_out = sum(request.completion_tokens or 0 for request in ledger.requests)
    size = sum(request.bytes for request in ledger.requests)
    known = [request.usd for request in ledger.requests if request.usd is not None]
    cost = f", ${sum(known):.4f}" if known else ""
    whole = prices.price_of_whole_document(supervisor.model, ledger.whole_document_tokens, supervisor.base_url)
    instead = f" (about ${whole:.4f})" if known and whole is not None else ""
    requests = several(len(ledger.requests), "request")
    say(f"Sent to the supervisor: {requests}, {size:,} bytes, {tokens_in:,} tokens in, {tokens_out:,} out{cost}.")
    say(f"Sending the whole documents would have taken about {ledger.whole_document_tokens:,} tokens{instead}.")
    say(f"Exactly what was sent: coordinator ledger {answer.run}")
