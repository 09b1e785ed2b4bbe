"""The supervisor in trouble, over a real server: what is tried again, what is not, and what the user is told."""

import asyncio
import json
import socket
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from coordinator.cloud.gate import DryRun, Gate
from coordinator.cloud.retry import RetryPolicy
from coordinator.cloud.supervisor import Supervisor
from coordinator.config import SupervisorConfig
from coordinator.errors import SupervisorError, SupervisorGarbled, SupervisorRejected, SupervisorUnavailable, SupervisorUnsure
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestState
from coordinator.types import Aggregate, LedgerRequest
from tests.cloud.common import QUICK, REQUEST, SCHEMA, SYSTEM, config, gate, parse
from tests.supervisor_server import DEFAULT_REPLY, Reply, SupervisorServer, completion, failure, json_reply

ANSWER = Aggregate(True, str(DEFAULT_REPLY["answer"]), (0,))
GARBAGE = completion("I am happy to help!")


async def ask(journal: Journal, settings: SupervisorConfig, policy: RetryPolicy = QUICK) -> tuple[Aggregate, LedgerRequest]:
    async with Supervisor(gate(journal, settings), policy) as supervisor:
        return await supervisor.aggregate(REQUEST, parse)


async def ask_in_vain(journal: Journal, server: SupervisorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the deadline of five minutes pass once the request has come in: the loop's clock goes ahead, a minute at each look."""
    loop = asyncio.get_running_loop()
    clock, ahead = loop.time, 0.0
    asking = asyncio.create_task(ask(journal, config(server.url, timeout_seconds=300)))
    await asyncio.to_thread(server.wait_for_requests, 1)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: clock() + ahead)
        while not asking.done():
            ahead += 60
            await asyncio.sleep(0.01)
    await asking


async def test_an_answer_with_what_it_used(journal: Journal) -> None:
    """The request names the model and holds the schema; the answer comes parsed, with bytes and tokens of its request."""
    with SupervisorServer() as server:
        answer, used = await ask(journal, config(server.url))
        form = json.loads(server.requests[0].body)
        assert used == LedgerRequest("gpt-5-mini", len(server.requests[0].body), 1000, 100, None)
    assert answer == ANSWER
    assert form["model"] == "gpt-5-mini"
    assert form["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": json.loads(SCHEMA)}


@pytest.mark.parametrize(
    ("script", "attempts"),
    [
        pytest.param([failure(429, headers={"Retry-After": "0"})], 2, id="429 and zero seconds"),
        pytest.param([failure(429, headers={"Retry-After": formatdate(0, usegmt=True)})], 2, id="429 and a past date"),
        pytest.param([failure(429)] * 3, 4, id="429 three times"),
        pytest.param([failure(500), failure(503), failure(529)], 4, id="three kinds of 5xx"),
        pytest.param([Reply(503, b"<html>Busy</html>", {"Content-Type": "text/html"})], 2, id="a page"),
        pytest.param([GARBAGE], 2, id="no schema"),
        pytest.param([completion("")], 2, id="empty"),
        pytest.param([failure(500), failure(500), GARBAGE], 4, id="no schema after trouble"),
        pytest.param(
            [Reply(200, b"<html>Log in to the Wi-Fi</html>", {"Content-Type": "text/html"})], 2, id="a page with status 200"
        ),
        pytest.param([Reply(200, b"")], 2, id="nothing with status 200"),
        pytest.param([completion('{"found": tr', finish_reason="length")], 2, id="cut off at its length limit"),
        pytest.param([completion("", refusal="I cannot help with that.")], 2, id="a refusal"),
        pytest.param([json_reply(200, {"choices": []})], 2, id="no choices"),
    ],
)
async def test_trouble_that_passes_is_got_over(journal: Journal, script: list[Reply], attempts: int) -> None:
    """After it the answer comes, the requests were the same to the byte, and each has its line in the ledger."""
    with SupervisorServer(*script) as server:
        answer, _ = await ask(journal, config(server.url))
        assert len(server.requests) == attempts
        assert len({request.body for request in server.requests}) == 1
    assert answer == ANSWER
    records = journal.ledger.records()
    assert len(records) == attempts
    assert all(record.state is RequestState.ENDED and record.status for record in records)


@pytest.mark.parametrize(
    ("reply", "attempts", "error", "sentence"),
    [
        pytest.param(failure(429, "slow down"), 4, SupervisorUnavailable, r"limits how often.*slow down.*4 attempts", id="429"),
        pytest.param(failure(500), 4, SupervisorUnavailable, r"HTTP status 500.*4 attempts", id="500"),
        pytest.param(Reply(cut=True), 1, SupervisorUnsure, r"broke the connection.*may have charged.*--again", id="cut"),
        pytest.param(failure(504, "late"), 1, SupervisorUnsure, r"HTTP status 504 \(late\).*may have charged.*--again", id="504"),
        pytest.param(Reply(502, b"<html>"), 1, SupervisorUnsure, r"gateway.*HTTP status 502.*--again", id="502"),
        pytest.param(GARBAGE, 2, SupervisorGarbled, r"2 attempts.*paid for.*--supervisor-model", id="garbage"),
        pytest.param(completion("", refusal="Never."), 2, SupervisorGarbled, r"is a refusal: 'Never.'", id="refusal"),
        pytest.param(completion("{", finish_reason="length"), 2, SupervisorGarbled, "length limit", id="cut off"),
        pytest.param(completion("x", finish_reason="content_filter"), 2, SupervisorGarbled, "content filter", id="filtered"),
        pytest.param(failure(429, "x", "insufficient_quota"), 1, SupervisorRejected, "quota is used up", id="quota"),
        pytest.param(failure(401), 1, SupervisorRejected, "OPENAI_API_KEY", id="401"),
        pytest.param(failure(402), 1, SupervisorRejected, "billing", id="402"),
        pytest.param(failure(403), 1, SupervisorRejected, "permissions", id="403"),
        pytest.param(failure(404, "no such model"), 1, SupervisorRejected, r"gpt-5-mini.*--supervisor-model", id="404"),
        pytest.param(failure(413), 1, SupervisorRejected, "--max-egress", id="413"),
        pytest.param(failure(400, "odd"), 1, SupervisorRejected, r"HTTP status 400 \(odd\)", id="400"),
        pytest.param(
            failure(400, "response_format is not known"), 1, SupervisorRejected, "does not take a JSON schema", id="no schema"
        ),
        pytest.param(
            failure(400, "\x1b[31mred\r\n\u202e" + "x" * 9000), 1, SupervisorRejected, r"\(\[31mred x+…\)", id="a hostile message"
        ),
        pytest.param(Reply(200, b"x" * (5 * 2**20)), 1, SupervisorGarbled, "larger than", id="an endless reply"),
    ],
)
async def test_trouble_that_stays_is_a_sentence(
    journal: Journal, reply: Reply, attempts: int, error: type[SupervisorError], sentence: str
) -> None:
    """It is tried as often as may help and no oftener; the sentence is one clean line of bounded length."""
    with SupervisorServer(*[reply] * 9) as server:
        with pytest.raises(error, match=sentence) as caught:
            await ask(journal, config(server.url))
        assert len(server.requests) == attempts
    assert len(journal.ledger.records()) == attempts
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


async def test_the_sentence_says_how_to_go_on(journal: Journal) -> None:
    """It names the supervisor's host and the command that aggregates again."""
    sentence = rf"supervisor at 127\.0\.0\.1:\d+ .*coordinator resume {journal.run}"
    with SupervisorServer(failure(401)) as server, pytest.raises(SupervisorRejected, match=sentence):
        await ask(journal, config(server.url))
    with SupervisorServer(failure(401)) as server, pytest.raises(SupervisorRejected, match="wants a key: set OPENAI_API_KEY"):
        await ask(journal, config(server.url, key=None))


async def test_the_caller_hears_of_each_further_attempt(journal: Journal) -> None:
    """What went wrong comes as a sentence, with the wait, so that a person sees why it takes longer."""
    heard: list[tuple[str, float]] = []
    with SupervisorServer(failure(503, "busy"), GARBAGE) as server:
        way_out = gate(journal, config(server.url))
        async with Supervisor(way_out, QUICK, notify=lambda sentence, wait: heard.append((sentence, wait))) as supervisor:
            await supervisor.aggregate(REQUEST, parse)
    assert heard[0][0] == "The supervisor failed with HTTP status 503 (busy)."
    assert heard[1][0].startswith("The supervisor gave a reply that ")
    assert len(heard) == 2
    assert all(0 < wait <= 0.002 for _, wait in heard)


async def test_text_that_utf8_cannot_carry_is_sent_all_the_same(journal: Journal) -> None:
    """A lone surrogate, as broken PDFs hold them, becomes a question mark instead of ending the run."""
    with SupervisorServer() as server:
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            await supervisor.aggregate(replace(REQUEST, user="a\ud800b"), parse)
        assert server.requests[0].user == "a?b"


async def test_a_wait_longer_than_a_person_has_is_told(journal: Journal) -> None:
    """When the supervisor asks for an hour, nobody waits: the sentence says how long and until when."""
    with SupervisorServer(failure(429, headers={"Retry-After": "3600"})) as server:
        with pytest.raises(SupervisorUnavailable, match=r"asks to wait 3600 seconds \(until 20\d\d-\d\d-\d\d \d\d:\d\d UTC\)"):
            await ask(journal, config(server.url))
        assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [Reply(hang=True), Reply(drip=True)], ids=["silent", "trickling"])
async def test_a_request_without_a_whole_reply_is_not_sent_again(
    journal: Journal, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can know whether it was charged: one request, which the ledger calls lost, and a sentence that says so. The deadline
    is for the whole reply: bytes that keep coming do not stretch it."""
    with SupervisorServer(reply) as server:
        with pytest.raises(SupervisorUnsure, match=r"no whole reply within 300 seconds\. It may have charged.*--again"):
            await ask_in_vain(journal, server, monkeypatch)
        assert len(server.requests) == 1
    (lost,) = journal.ledger.records()
    assert (lost.state, lost.status, lost.error) == (RequestState.LOST, None, "no whole reply within 300 seconds")
    assert journal.ledger.unsure() == lost


async def test_asking_again_settles_one_doubt_and_not_the_next(tmp_path: Path) -> None:
    """With `again` one more request goes out; if that is lost, too, it is asked for anew."""
    with SupervisorServer(Reply(cut=True), Reply(cut=True)) as server, Journal.create(tmp_path) as journal:
        for sent, again in ((1, False), (1, False), (2, True), (2, False)):
            way_out = Gate(config(server.url), journal, system=SYSTEM, schema=SCHEMA, budget_characters=4000, again=again)
            async with Supervisor(way_out, QUICK) as supervisor:
                with pytest.raises(SupervisorUnsure):
                    await supervisor.aggregate(REQUEST, parse)
            assert len(server.requests) == sent
        assert [record.state for record in journal.ledger.records()] == [RequestState.LOST] * 2


async def test_nobody_at_the_address_is_told(journal: Journal) -> None:
    """A port on which nobody listens is a sentence with the address, after the retries."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        with pytest.raises(SupervisorUnavailable, match=rf"127\.0\.0\.1:{port} cannot be reached.*4 attempts"):
            await ask(journal, config(f"http://127.0.0.1:{port}/v1"))
    assert all("Connect" in (record.error or "") for record in journal.ledger.records())


async def test_a_cancelled_request_is_closed_and_on_record(journal: Journal) -> None:
    """Ctrl-C in mid-request ends it at once, and the ledger says that it was interrupted and may have been paid for."""
    with SupervisorServer(Reply(hang=True)) as server:
        task = asyncio.create_task(ask(journal, config(server.url)))
        await asyncio.to_thread(server.wait_for_requests, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (record,) = journal.ledger.records()
    assert (record.state, record.status, record.error) == (RequestState.LOST, None, "interrupted")


async def test_a_request_sent_again_has_the_same_key_unless_it_was_answered(tmp_path: Path) -> None:
    """The idempotency key stays after 5xx and on resuming, changes after a useless reply, and is another for each run."""
    with SupervisorServer(failure(500), GARBAGE, failure(401), failure(401), failure(401)) as server:
        with Journal.create(tmp_path) as journal, pytest.raises(SupervisorRejected):
            await ask(journal, config(server.url))
        with Journal.open(tmp_path, journal.run) as again, pytest.raises(SupervisorRejected):
            await ask(again, config(server.url))
        with Journal.create(tmp_path) as other, pytest.raises(SupervisorRejected):
            await ask(other, config(server.url))
        first, same, new, resumed, foreign = [request.headers["idempotency-key"] for request in server.requests]
    assert first == same != new == resumed
    assert len({first, new, foreign}) == 3


async def test_a_reply_of_an_earlier_sitting_is_used_and_not_paid_for_again(tmp_path: Path) -> None:
    """The coordinator died after the reply came: the next one takes it from the ledger. Another request is another matter."""
    with SupervisorServer() as server:
        with Journal.create(tmp_path) as journal:
            assert (await ask(journal, config(server.url)))[0] == ANSWER
        with Journal.open(tmp_path, journal.run) as again:
            assert (await ask(again, config(server.url)))[0] == ANSWER
            assert len(server.requests) == len(again.ledger.records()) == 1
            async with Supervisor(gate(again, config(server.url)), QUICK) as supervisor:
                await supervisor.aggregate(replace(REQUEST, user="Question: another"), parse)
        assert len(server.requests) == 2


async def test_a_useless_reply_of_an_earlier_sitting_is_not_used(tmp_path: Path) -> None:
    """It was paid for, but says nothing: asked again, as within one sitting."""
    with SupervisorServer(GARBAGE, failure(401)) as server:
        with Journal.create(tmp_path) as journal, pytest.raises(SupervisorRejected):
            await ask(journal, config(server.url))
        with Journal.open(tmp_path, journal.run) as again:
            assert (await ask(again, config(server.url)))[0] == ANSWER
        assert len(server.requests) == 3


async def test_after_two_useless_replies_only_its_user_has_it_asked_again(tmp_path: Path) -> None:
    """Each sitting pays for two of them at most; the ledger keeps all."""
    with SupervisorServer(*[GARBAGE] * 9) as server, Journal.create(tmp_path) as journal:
        for sitting in (1, 2):
            with pytest.raises(SupervisorGarbled):
                await ask(journal, config(server.url))
            assert len(server.requests) == len(journal.ledger.used()) == 2 * sitting


async def test_what_a_gateway_gave_up_is_lost_until_told_otherwise(tmp_path: Path) -> None:
    """Its page is kept, but the server behind it may have answered and charged: the next sitting asks first, and with `again` the
    request has the same idempotency key."""
    with SupervisorServer(Reply(524, b"<html>A timeout occurred</html>")) as server:
        with Journal.create(tmp_path) as journal, pytest.raises(SupervisorUnsure, match="gateway"):
            await ask(journal, config(server.url))
        sentence = r"cannot be known: only a gateway replied, HTTP status 524\. .*--again"
        with Journal.open(tmp_path, journal.run) as unsure, pytest.raises(SupervisorUnsure, match=sentence):
            await ask(unsure, config(server.url))
        with Journal.open(tmp_path, journal.run) as told:
            way_out = Gate(config(server.url), told, system=SYSTEM, schema=SCHEMA, budget_characters=4000, again=True)
            async with Supervisor(way_out, QUICK) as supervisor:
                assert (await supervisor.aggregate(REQUEST, parse))[0] == ANSWER
            lost, paid = told.ledger.records()
        assert (lost.state, lost.status, lost.reply) == (RequestState.LOST, 524, b"<html>A timeout occurred</html>")
        assert paid.state is RequestState.ENDED
        assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


async def test_after_silence_the_next_sitting_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that never answered may have charged: nothing is sent unless told to, and then it is. Once a request has ended
    otherwise, nothing is unsure any more."""
    with SupervisorServer(Reply(hang=True), failure(401)) as server:
        with Journal.create(tmp_path) as journal, pytest.raises(SupervisorUnsure, match=r"may have charged.*--again"):
            await ask_in_vain(journal, server, monkeypatch)
        with Journal.open(tmp_path, journal.run) as unsure, pytest.raises(SupervisorUnsure, match=r"cannot be known.*--again"):
            await ask(unsure, config(server.url))
        assert len(server.requests) == 1
        with Journal.open(tmp_path, journal.run) as told:
            way_out = Gate(config(server.url), told, system=SYSTEM, schema=SCHEMA, budget_characters=4000, again=True)
            async with Supervisor(way_out, QUICK) as supervisor:
                with pytest.raises(SupervisorRejected):
                    await supervisor.aggregate(REQUEST, parse)
        with Journal.open(tmp_path, journal.run) as sure:
            assert (await ask(sure, config(server.url)))[0] == ANSWER
        assert len(server.requests) == 3


async def test_where_there_was_no_connection_nothing_is_unsure(tmp_path: Path) -> None:
    """Nobody was asked, so the next sitting asks without a word."""
    with SupervisorServer() as server:
        with Journal.create(tmp_path) as journal, pytest.raises(SupervisorUnavailable) as caught:
            await ask(journal, config("http://127.0.0.1:1/v1"))
        assert "--again" not in str(caught.value)
        with Journal.open(tmp_path, journal.run) as again:
            assert again.ledger.unsure() is None
            assert (await ask(again, config(server.url)))[0] == ANSWER


async def test_an_unsure_run_still_shows_what_it_would_send(tmp_path: Path) -> None:
    """A dry run sends nothing, so it need not be asked for twice."""
    with SupervisorServer() as server, Journal.create(tmp_path) as journal:
        journal.ledger.begin(server.url, "m", b"{}", "sending")
        async with Supervisor(gate(journal, config(server.url), dry_run=True), QUICK) as supervisor:
            with pytest.raises(DryRun):
                await supervisor.aggregate(REQUEST, parse)
        assert journal.ledger.unsure() is not None
        assert server.requests == []
