"""A question from end to end: real nodes found by real mDNS, real gRPC, the deterministic test engine, a real HTTP supervisor."""

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from coordinator.config import Config, runs_dir
from coordinator.documents.chunks import make_chunks
from coordinator.documents.ingest import read_documents
from coordinator.errors import DocumentError, EgressRefused, NoNodes, SupervisorRejected
from coordinator.events import Aggregating, Ended, Event, Found, Planned, Retried, Warned
from coordinator.events import Reading as ReadingEvent
from coordinator.pool import Pool
from coordinator.runs.journal import Journal
from coordinator.story import story_of
from coordinator.types import Answer, Answered, Rejected, Status
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import EngineProgress, Request
from edgenode.engines.known import DETERMINISTIC
from edgenode.errors import ContextExceeded, EngineCrashed, UsageError
from edgenode.node import Node, NodeConfig
from edgenode.types import Completion, Usage
from tests.end_to_end.pools import FACT, PATIENCE, QUESTION, all_joined, is_probe, lease_text, pool_of, readers
from tests.scripted_engine import ScriptedEngine
from tests.supervisor_server import SupervisorServer, completion, failure


async def ask(pool: Pool, question: str, *documents: Path, **options: object) -> tuple[Answer, list[Event]]:
    events = [event async for event in pool.stream(question, documents, **options)]  # type: ignore[arg-type]
    ended = events[-1]
    assert isinstance(ended, Ended)
    return ended.answer, events


async def test_without_a_supervisor_the_pool_answers_and_nothing_is_sent(tmp_path: Path, lease: Path) -> None:
    """Three nodes read, the best model aggregates, the ledger is empty, the citation is really there."""
    async with pool_of(tmp_path, *readers(3)) as pool:
        answer, events = await ask(pool, QUESTION, lease)
    assert answer.status is Status.ANSWERED
    assert answer.answered_by == "home"
    assert answer.ledger.requests == ()
    text = lease.read_text(encoding="utf-8")
    assert answer.ledger.document_characters == len(text)
    assert answer.citations
    for citation in answer.citations:
        assert text[citation.start : citation.end] == citation.quote
        assert citation.page is None
        assert citation.document == str(lease)
    found = [event.finding.quote for event in events if isinstance(event, Found) and isinstance(event.finding, Answered)]
    assert FACT in found
    assert any(isinstance(event, ReadingEvent) for event in events)


class Together(DeterministicEngine):
    """Begins with a run once all that share `barrier` have been asked: on a busy machine some might be done before others begin."""

    def __init__(self, barrier: asyncio.Barrier) -> None:
        super().__init__(read_tokens_per_second=20_000, write_tokens_per_second=2_000)
        self._barrier = barrier
        self._met = False

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        if not (is_probe(request) or self._met):
            await self._barrier.wait()
            self._met = True
        return await super().complete(request, progress)


async def test_all_nodes_take_part_and_each_chunk_is_read_once(tmp_path: Path, lease: Path) -> None:
    """Reading everything spreads over the pool; subtasks that share a chunk find it in the prompt cache."""
    barrier = asyncio.Barrier(3)
    engines = tuple(Together(barrier) for _ in range(3))
    async with pool_of(tmp_path, *engines) as pool:
        answer, events = await ask(pool, f"{QUESTION} Who looks after the garden?", lease, read="all")
    (planned,) = [event for event in events if isinstance(event, Planned)]
    assert len(planned.tasks) == 2
    assert planned.chunks_read == planned.chunks > 3
    assert sum(node.subtasks for node in answer.nodes) == planned.subtasks == 2 * planned.chunks
    assert all(node.subtasks > 0 for node in answer.nodes)
    assert len(answer.nodes) == 3
    assert all(node.cached_tokens > 0.3 * node.prompt_tokens for node in answer.nodes)


async def test_a_pointed_question_reads_only_what_may_answer_it(tmp_path: Path, lease: Path) -> None:
    """Retrieval spares most of the reading; `read="all"` and an overview question read everything."""
    async with pool_of(tmp_path, *readers(2)) as pool:
        plans = []
        for question, read in ((QUESTION, "auto"), (QUESTION, "all"), ("Summarise this lease.", "auto")):
            _, events = await ask(pool, question, lease, read=read)
            plans += [event for event in events if isinstance(event, Planned)]
    assert [plan.overview for plan in plans] == [False, False, True]
    assert plans[0].chunks_read < plans[0].chunks
    assert plans[1].chunks_read == plans[1].chunks
    assert plans[2].chunks_read == plans[2].chunks


async def test_the_supervisor_sees_question_and_findings_and_no_other_sentence(tmp_path: Path, lease: Path) -> None:
    """The recorded bytes hold the question and verified findings; every other sentence of the document stayed at home."""
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, *readers(2), supervisor=supervisor.url) as pool:
            answer, events = await ask(pool, QUESTION, lease)
    (request,) = supervisor.requests
    sent = request.body.decode("utf-8")
    assert answer.status is Status.ANSWERED
    assert answer.answered_by == "supervisor"
    assert QUESTION in request.user
    assert FACT in request.user
    documents, _ = read_documents([lease])
    sentences = {sentence.text for chunk in make_chunks(documents, max_tokens=900) for sentence in chunk.sentences}
    findings = {
        " ".join(event.finding.quote.split()) for event in events if isinstance(event, Found) and hasattr(event.finding, "quote")
    }
    leaked = {sentence for sentence in sentences - findings if len(sentence) > 25 and sentence in sent}
    assert not leaked
    assert lease.name not in sent
    assert str(lease) not in sent
    assert len(request.user) <= 4_000
    (line,) = answer.ledger.requests
    assert line.bytes == len(request.body)
    assert (line.prompt_tokens, line.completion_tokens) == (1000, 100)
    (aggregating,) = [event for event in events if isinstance(event, Aggregating)]
    assert aggregating.request.user == request.user


async def test_names_and_budget_are_the_users_choice(tmp_path: Path, lease: Path) -> None:
    """`show_names` lets the name out, `max_egress` bounds the characters, to the letter."""
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, *readers(1), supervisor=supervisor.url) as pool:
            await ask(pool, QUESTION, lease, show_names=True, max_egress=500)
    assert lease.name in supervisor.requests[0].user
    assert len(supervisor.requests[0].user) <= 500


async def test_a_dry_run_sends_nothing_and_keeps_the_request(tmp_path: Path, lease: Path) -> None:
    """What would leave can be read before anything does."""
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, *readers(1), supervisor=supervisor.url) as pool:
            answer, _ = await ask(pool, QUESTION, lease, dry_run=True)
        assert supervisor.requests == []
    assert answer.status is Status.DRY_RUN
    (line,) = answer.ledger.requests
    assert line.bytes > len(QUESTION)


async def test_a_busy_supervisor_is_asked_again(tmp_path: Path, lease: Path) -> None:
    """429 with Retry-After, then 200: one answer, both requests in the ledger."""
    with SupervisorServer(failure(429, "slow down", headers={"Retry-After": "0"}), completion()) as supervisor:
        async with pool_of(tmp_path, *readers(1), supervisor=supervisor.url) as pool:
            answer, _ = await ask(pool, QUESTION, lease)
    assert answer.status is Status.ANSWERED
    assert len(supervisor.requests) == len(answer.ledger.requests) == 2
    assert supervisor.requests[0].body == supervisor.requests[1].body


async def test_a_refused_run_is_resumed_without_reading_again(tmp_path: Path, lease: Path) -> None:
    """A wrong key fails with a sentence; with the right one the kept findings are enough."""
    with SupervisorServer(failure(401, "bad key")) as supervisor:
        async with pool_of(tmp_path, *readers(1), supervisor=supervisor.url) as pool:
            seen: list[Event] = []

            async def watch() -> None:
                async for event in pool.stream(QUESTION, [lease]):
                    seen.append(event)  # noqa: PERF401 - what came before the error is wanted

            with pytest.raises(SupervisorRejected, match="OPENAI_API_KEY"):
                await watch()
        last = seen[-1]
        assert isinstance(last, Ended)
        assert last.answer.status is Status.FAILED
        async with pool_of(tmp_path, supervisor=supervisor.url) as without_nodes:
            events = [event async for event in without_nodes.resume(last.answer.run)]
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.answer.status is Status.ANSWERED
    assert ended.answer.findings == last.answer.findings
    assert not [event for event in events if isinstance(event, ReadingEvent | Planned)]


async def test_not_found_is_an_answer(tmp_path: Path, lease: Path) -> None:
    """The supervisor says that the findings do not answer: no error, no citation."""
    with SupervisorServer(completion({"found": False, "answer": "", "citations": []})) as supervisor:
        async with pool_of(tmp_path, *readers(1), supervisor=supervisor.url) as pool:
            answer, _ = await ask(pool, QUESTION, lease)
    assert answer.status is Status.NOT_FOUND
    assert answer.citations == ()


class Bad(ScriptedEngine):
    """Replies with the same text always."""

    def __init__(self, reply: str) -> None:
        super().__init__(self._reply, name=DETERMINISTIC)
        self.asked = asyncio.Event()
        """Set when it has been asked something of a run."""
        self._text = reply

    def _reply(self, request: Request) -> Completion:
        if not is_probe(request):
            self.asked.set()
        return Completion(self._text, Usage())


class Honest(DeterministicEngine):
    """Begins with a run once a bad one has been asked: which of two nodes gets to work first is chance."""

    def __init__(self, bad: Bad) -> None:
        super().__init__()
        self._bad = bad

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        if not is_probe(request):
            await self._bad.asked.wait()
        return await super().complete(request, progress)


async def test_garbage_from_one_node_costs_no_answer(tmp_path: Path, lease: Path) -> None:
    """A node that answers nonsense fails its subtasks one by one; the other does them."""
    garbage = Bad("<html>")
    async with pool_of(tmp_path, garbage, Honest(garbage)) as pool:
        answer, events = await ask(pool, QUESTION, lease, read="all")
    assert FACT in [citation.quote for citation in answer.citations] or answer.findings.answered
    assert answer.findings.failed == 0
    assert any(isinstance(event, Retried) for event in events)


async def test_a_lying_node_is_found_out_and_costs_no_answer(tmp_path: Path, lease: Path) -> None:
    """A quotation that is not in the text is rejected and counted, and an honest node is asked."""
    liar = Bad('{"quote": "The deposit is never paid back to anybody.", "answer": "never"}')
    async with pool_of(tmp_path, liar, Honest(liar)) as pool:
        answer, events = await ask(pool, QUESTION, lease, read="all")
    assert answer.findings.rejected > 0
    assert answer.findings.failed == 0
    kept = [event.finding for event in events if isinstance(event, Found)]
    assert any(isinstance(finding, Rejected) for finding in kept)
    assert FACT in [finding.quote for finding in kept if isinstance(finding, Answered)]


async def test_a_pool_of_liars_does_no_worse_than_retrieval(tmp_path: Path, lease: Path) -> None:
    """Even when no reader is of any use, what retrieval found reaches the supervisor."""
    liar = ScriptedEngine(lambda _: Completion('{"quote": null, "answer": ""}', Usage()))
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, liar, supervisor=supervisor.url) as pool:
            answer, _ = await ask(pool, QUESTION, lease)
    assert answer.findings.answered == 0
    assert answer.findings.abstained > 0
    assert answer.findings.retrieved > 0
    assert FACT in supervisor.requests[0].user


async def test_an_engine_that_crashes_once_is_tried_again(tmp_path: Path, lease: Path) -> None:
    """A crash in mid-flight is a failed attempt, also when there is only one node."""
    honest = DeterministicEngine()
    crashes = iter([EngineCrashed("The engine was ended by SIGSEGV.")])

    class Shaky(ScriptedEngine):
        async def complete(self, request: Request, progress: object) -> Completion:
            for crash in () if is_probe(request) else crashes:
                raise crash
            return await honest.complete(request, progress)  # type: ignore[arg-type]

    async with honest, pool_of(tmp_path, Shaky(model=honest.models[0])) as pool:
        answer, events = await ask(pool, QUESTION, lease)
    assert answer.status is Status.ANSWERED
    assert answer.findings.failed == 0
    assert [event.message for event in events if isinstance(event, Retried)].count("The engine was ended by SIGSEGV.") == 1


async def test_documents_of_every_state_and_the_others_go_on(tmp_path: Path) -> None:
    """A folder with a broken file answers from the good one and names the bad one; the answer says what it does not rest on."""
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "契約.txt").write_bytes(
        ("第一条。" + "この部屋の敷金は鍵の返却から六週間以内に返還される。" + "庭の手入れは借主が行う。" * 5).encode("cp932")
    )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 cut off")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "鍵.txt").write_bytes((folder / "契約.txt").read_bytes())
    (folder / "mail.eml").write_text(
        "From: a@example.org\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/plain\n\nThe garden.\n"
        "--B\nContent-Type: application/ms-tnef\nContent-Disposition: attachment; filename=winmail.dat\n\nxyz\n--B--\n"
    )
    async with pool_of(tmp_path, *readers(1)) as pool:
        answer, events = await ask(pool, "敷金はいつ返還されますか？", folder)
    skipped = {event.name.rpartition("/")[2] for event in events if type(event).__name__ == "DocumentSkipped"}
    assert skipped == {"broken.pdf", "empty.txt", "鍵.txt"}
    # Nothing is missing for want of the copy.
    assert {each.name.rpartition("/")[2] for each in answer.unread} == {"broken.pdf", "empty.txt", "mail.eml"}
    with Journal.look(runs_dir(), answer.run) as journal:
        assert story_of(journal).unread == answer.unread
    quotes = [event.finding.quote for event in events if isinstance(event, Found) and isinstance(event.finding, Answered)]
    assert any("六週間以内" in quote for quote in quotes)
    assert answer.citations


async def test_a_question_about_something_else_is_told_before_all_is_read(tmp_path: Path, lease: Path) -> None:
    """Where no word of it stands in the documents; a question that shares some is not warned of."""
    async with pool_of(tmp_path, *readers(1)) as pool:
        _, elsewhere = await ask(pool, "Zebra xylophone quartz?", lease)
        _, about = await ask(pool, QUESTION, lease)
    kinds = [type(event).__name__ for event in elsewhere]
    assert "Warned" in kinds[: kinds.index("Leased")]
    assert not any(isinstance(event, Warned) for event in about)


async def test_a_document_that_has_nothing_to_say_is_named(tmp_path: Path, lease: Path) -> None:
    """Of two that were given, so that an answer made of one is not taken for one about both."""
    other = tmp_path / "zoo.txt"
    other.write_text("Zebras graze. Xylophones sound.", encoding="utf-8")
    async with pool_of(tmp_path, *readers(1)) as pool:
        _, events = await ask(pool, QUESTION, lease, other, read="relevant")
    told = [event.message for event in events if isinstance(event, Warned)]
    assert any("zoo.txt" in message and "lease" not in message.replace(str(tmp_path), "") for message in told)


async def test_no_node_and_no_document_are_sentences(tmp_path: Path, lease: Path) -> None:
    """Typed errors that say what to do next."""
    async with pool_of(tmp_path) as pool:
        with pytest.raises(NoNodes, match="edgenode start"):
            await pool.ask(QUESTION, [lease])
        with pytest.raises(UsageError, match="nowhere"):
            await pool.ask(QUESTION, [tmp_path / "nowhere.txt"])
        (tmp_path / "empty.md").touch()
        with pytest.raises(DocumentError, match=r"empty\.md"):
            await pool.ask(QUESTION, [tmp_path / "empty.md"])
        with pytest.raises(UsageError):
            await pool.ask("  ", [lease])


async def test_two_questions_at_once_share_the_pool(tmp_path: Path, lease: Path) -> None:
    """The SDK inside a running loop: each gets its own answer."""
    async with pool_of(tmp_path, *readers(2)) as pool:
        first, second = await asyncio.gather(
            pool.ask(QUESTION, [lease], read="all"), pool.ask("Who looks after the garden in week 10?", [lease], read="all")
        )
    assert first.run != second.run
    assert FACT in [citation.quote for citation in first.citations] or first.findings.answered
    assert second.status is Status.ANSWERED


async def test_leaving_the_stream_stops_the_nodes(tmp_path: Path, lease: Path) -> None:
    """Closing the iterator cancels the work on every node; the pool can be used again."""
    slow = DeterministicEngine(read_tokens_per_second=5, write_tokens_per_second=5)
    async with pool_of(tmp_path, slow) as pool:
        stream = pool.stream(QUESTION, [lease])
        async for event in stream:
            if isinstance(event, ReadingEvent):
                break
        await stream.aclose()  # type: ignore[attr-defined]
        slow_again = pool.stream(QUESTION, [lease])
        # The single slot is free again: reading begins anew, and not after the minutes that the first would have taken.
        async with asyncio.timeout(60):
            async for event in slow_again:
                if isinstance(event, ReadingEvent):
                    break
        await slow_again.aclose()  # type: ignore[attr-defined]


async def test_the_test_engine_never_stands_in_for_a_real_one(tmp_path: Path, lease: Path) -> None:
    """A node with the deterministic engine beside one with another engine is given no work."""
    real = ScriptedEngine(lambda _: Completion('{"quote": null, "answer": ""}', Usage(10)))
    async with pool_of(tmp_path, real, *readers(1)) as pool:
        assert len(await pool.nodes()) == 2
        # The real model could not write an answer, and nobody writes one in its place.
        assert (await pool.ask(QUESTION, [lease])).status is Status.NOT_FOUND
    assert any(not is_probe(request) for request in real.seen)


async def test_a_lone_node_that_answers_garbage_does_not_end_the_run(tmp_path: Path, lease: Path) -> None:
    """Every subtask fails, and what retrieval had found goes to the supervisor all the same."""
    garbage = ScriptedEngine(lambda _: Completion("<html>", Usage()))
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, garbage, supervisor=supervisor.url) as pool:
            answer, events = await ask(pool, QUESTION, lease)
    assert answer.status is Status.PARTIAL
    assert answer.findings.failed > 0
    assert FACT in supervisor.requests[0].user
    assert any(isinstance(event, Warned) for event in events)


async def test_a_node_that_only_claims_progress_does_not_hold_up_the_end(tmp_path: Path, lease: Path) -> None:
    """However often it reports, its work is copied by a node that has finished its own, and the run ends."""

    class Crawling(ScriptedEngine):
        async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
            for tokens in itertools.count(1):
                progress(EngineProgress(1_000_000, tokens, 0))
                await asyncio.sleep(0.01)
            raise AssertionError("never")

    async with pool_of(tmp_path, Crawling(name=DETERMINISTIC), *readers(1)) as pool, asyncio.timeout(PATIENCE):
        answer = [event async for event in pool.stream(QUESTION, [lease], read="all", dry_run=True)][-1]
    assert isinstance(answer, Ended)
    assert answer.answer.findings.failed == 0
    assert answer.answer.findings.answered > 0


async def test_what_a_reader_copies_into_its_own_words_stays_at_home(tmp_path: Path, lease: Path) -> None:
    """The only text of the documents in a request is quotations: an answer that repeats other text is left out."""
    stolen = "Rule 3.4: the bicycle cellar is looked after by tenant 18"
    thief = ScriptedEngine(lambda _: Completion(json.dumps({"quote": FACT, "answer": stolen.upper()}), Usage()))
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, thief, supervisor=supervisor.url) as pool:
            answer, _ = await ask(pool, QUESTION, lease)
    assert answer.findings.answered == 1
    assert FACT in supervisor.requests[0].user
    assert stolen.casefold() not in supervisor.requests[0].user.casefold()


async def test_the_ledger_tells_what_was_sent_and_not_what_was_tried_dry(tmp_path: Path, lease: Path) -> None:
    """A dry run, then the real thing: one request was sent, and one is told."""
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, *readers(1), supervisor=supervisor.url) as pool:
            dry, _ = await ask(pool, QUESTION, lease, dry_run=True)
            events = [event async for event in pool.resume(dry.run)]
    ended = events[-1]
    assert isinstance(ended, Ended)
    (line,) = ended.answer.ledger.requests
    assert line.bytes == len(supervisor.requests[0].body)


async def test_a_long_document_may_send_a_twentieth(tmp_path: Path) -> None:
    """Above 80,000 characters the budget grows with the document, to the letter."""
    document = tmp_path / "long.txt"
    document.write_text(lease_text(130), encoding="utf-8")
    size = len(document.read_text(encoding="utf-8"))
    assert size > 90_000
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, *readers(1), supervisor=supervisor.url) as pool:
            await ask(pool, "Which tenant looks after the garden, the roof, the windows and the mailbox?", document)
    assert 4_000 < len(supervisor.requests[0].user) <= round(0.05 * size)


async def test_at_home_nothing_leaves_and_no_budget_applies(tmp_path: Path, lease: Path) -> None:
    """`max_egress` bounds what is sent; without a supervisor nothing is, and the findings are put together all the same."""
    async with pool_of(tmp_path, *readers(1)) as pool:
        answer, _ = await ask(pool, QUESTION, lease, max_egress=10)
    assert answer.status is Status.ANSWERED


async def test_a_budget_that_holds_no_finding_is_said_and_not_taken_for_not_found(tmp_path: Path, lease: Path) -> None:
    """What does not fit is no "not found"; a question that does not fit is refused before anything is read."""
    with SupervisorServer() as supervisor:
        async with pool_of(tmp_path, *readers(1), supervisor=supervisor.url) as pool:
            with pytest.raises(EgressRefused, match="max_egress"):
                await pool.ask(QUESTION, str(lease), max_egress=len(QUESTION) + 30)
            with pytest.raises(EgressRefused):
                await pool.ask(QUESTION, lease, max_egress=5)
    assert supervisor.requests == []


async def test_not_found_at_home_shows_the_strongest_findings(tmp_path: Path, lease: Path) -> None:
    """A small model that makes nothing of the findings does not hide them."""

    def script(request: Request) -> Completion:
        reply = (
            {"found": False, "answer": "forswel", "citations": [1]}
            if "citations" in request.reply_schema
            else {"quote": None, "answer": ""}
        )
        return Completion(json.dumps(reply), Usage(10))

    async with pool_of(tmp_path, ScriptedEngine(script)) as pool:
        answer, _ = await ask(pool, QUESTION, lease)
    assert answer.status is Status.NOT_FOUND
    assert answer.text == ""
    assert answer.citations[0].quote == FACT


async def test_two_nodes_of_one_name_both_read(tmp_path: Path, lease: Path) -> None:
    """A run tells its nodes apart by their identity: two kitchens are two rows in its account."""
    name = f"kitchen-{secrets.token_hex(4)}"
    barrier = asyncio.Barrier(2)
    async with (
        Node(NodeConfig(home=tmp_path / "a", name=name), Together(barrier)),
        Node(NodeConfig(home=tmp_path / "b", name=name), Together(barrier)),
        Pool.discover(nodes=[name], config=Config()) as pool,
    ):
        await all_joined(pool, 2)
        answer, _ = await ask(pool, QUESTION, lease, read="all")
    assert [node.name for node in answer.nodes] == [name, name]
    assert len({node.id for node in answer.nodes}) == 2
    assert all(node.subtasks > 0 for node in answer.nodes)


async def test_what_failed_is_tried_again_when_the_run_is_resumed(tmp_path: Path, lease: Path) -> None:
    """One subtask does not fit the only model there is, which cannot put the answer together either: with a sound node that one is
    read, nothing else is, and then it stands."""
    left = itertools.count()
    nothing = Completion('{"quote": null, "answer": ""}', Usage(10, 0, 3, 0.1))

    def weak(request: Request) -> Completion | BaseException:
        return nothing if is_probe(request) or next(left) else ContextExceeded("Too long.")

    def sound(request: Request) -> Completion:
        return (
            Completion('{"found": false, "answer": "", "citations": []}', Usage()) if "found" in request.reply_schema else nothing
        )

    events: list[Event] = []

    async def listen(stream: AsyncIterator[Event]) -> Answer:
        async for event in stream:
            events.append(event)  # noqa: PERF401 (those before an error count)
        return ended()

    def ended() -> Answer:
        last = events[-1]
        assert isinstance(last, Ended)
        return last.answer

    async with pool_of(tmp_path, ScriptedEngine(weak)) as pool:
        failed = await listen(pool.stream(QUESTION, [lease], read="all"))
    # The model could not write an answer: what was found is the outcome.
    assert failed.status is Status.NOT_FOUND
    assert failed.citations
    assert failed.findings.failed == 1
    async with pool_of(tmp_path, ScriptedEngine(sound)) as pool:
        resumed = await listen(pool.resume(failed.run))
        again = await listen(pool.resume(failed.run))
    assert (resumed.findings.failed, resumed.findings.abstained) == (0, failed.findings.abstained + 1)
    assert sorted(node.subtasks for node in resumed.nodes) == [1, failed.findings.abstained]
    assert again.findings == resumed.findings
