"""The gate: what may leave, that it is written down first, and that there is no other way out."""

import ast
import json
import logging
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import coordinator
from coordinator.cloud.gate import DryRun, Gate
from coordinator.cloud.supervisor import Supervisor
from coordinator.errors import EgressRefused, RunError, SupervisorError, SupervisorRejected
from coordinator.runs.journal import Journal
from coordinator.runs.records import RequestState
from coordinator.types import AggregationRequest
from tests.cloud.common import KEY, QUICK, REQUEST, SCHEMA, SYSTEM, config, gate, parse
from tests.supervisor_server import DEFAULT_REPLY, Reply, SupervisorServer, completion, failure


def client_of(way_out: Gate, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="x", base_url=way_out.config.base_url, http_client=way_out.client(), **options)


async def test_the_ledger_holds_the_bytes_that_were_sent(journal: Journal) -> None:
    """What the server got is what the journal has, to the byte, with reply, tokens and times."""
    with SupervisorServer() as server:
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            await supervisor.aggregate(REQUEST, parse)
        (sent,) = server.requests
    (record,) = journal.ledger.records()
    assert record.body == sent.body
    assert (sent.method, sent.path, record.url) == ("POST", "/v1/chat/completions", server.url + "/chat/completions")
    assert (record.state, record.status, record.error) == (RequestState.ENDED, 200, None)
    assert (record.prompt_tokens, record.completion_tokens, record.usd) == (1000, 100, None)
    assert record.reply == completion().body
    assert sent.user == REQUEST.user
    assert json.loads(sent.body).keys() == {"model", "messages", "response_format", "max_completion_tokens"}


async def test_the_request_is_on_record_before_it_arrives(journal: Journal, tmp_path: Path) -> None:
    """A journal that cannot be written means that nothing is sent."""
    with SupervisorServer() as server:
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            journal._connection.execute("PRAGMA query_only=1")
            with pytest.raises(RunError, match="readonly"):
                await supervisor.aggregate(REQUEST, parse)
        assert server.requests == []


async def test_only_what_the_gate_puts_there_travels(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that the package or the environment adds (platform, versions, organisation) stay at home; the key goes."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Private: yes")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    with SupervisorServer() as server:
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            await supervisor.aggregate(REQUEST, parse)
        (sent,) = server.requests
    assert set(sent.headers) == {
        *("host", "content-type", "content-length", "accept", "accept-encoding", "user-agent", "idempotency-key", "authorization")
    }
    assert sent.headers["authorization"] == f"Bearer {KEY}"


async def test_an_endpoint_without_a_key_gets_none(journal: Journal) -> None:
    """Without a configured key there is no Authorization header, not even a made-up one."""
    with SupervisorServer() as server:
        async with Supervisor(gate(journal, config(server.url, key=None)), QUICK) as supervisor:
            await supervisor.aggregate(REQUEST, parse)
        assert "authorization" not in server.requests[0].headers


async def test_a_dry_run_sends_nothing(journal: Journal) -> None:
    """The caller gets the exact body, the ledger has it, and no connection is made."""
    with SupervisorServer() as server:
        async with Supervisor(gate(journal, config(server.url), dry_run=True), QUICK) as supervisor:
            with pytest.raises(DryRun) as shown:
                await supervisor.aggregate(REQUEST, parse)
        assert server.requests == []
        (record,) = journal.ledger.records()
        assert (record.state, record.body) == (RequestState.DRY_RUN, shown.value.body)
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            await supervisor.aggregate(REQUEST, parse)
        assert server.requests[0].body == shown.value.body


@pytest.mark.parametrize("user", ["あ" * 101, "x" * 101])
async def test_the_budget_counts_characters(journal: Journal, user: str) -> None:
    """The user text may be as long as the budget and no longer, in characters and not in bytes."""
    with SupervisorServer() as server:
        async with Supervisor(gate(journal, config(server.url), budget=100), QUICK) as supervisor:
            await supervisor.aggregate(AggregationRequest(SYSTEM, user[:100], SCHEMA), parse)
            with pytest.raises(EgressRefused, match=r"101 characters and the limit is 100.*--max-egress"):
                await supervisor.aggregate(AggregationRequest(SYSTEM, user, SCHEMA), parse)
        assert len(server.requests) == 1
    assert len(journal.ledger.records()) == 1


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(AggregationRequest(SYSTEM + " And a document.", "q", SCHEMA), id="system"),
        pytest.param(AggregationRequest(SYSTEM, "q", '{"type": "string", "description": "a document"}'), id="schema"),
    ],
)
async def test_the_fixed_parts_are_fixed(journal: Journal, request_: AggregationRequest) -> None:
    """Nothing can leave in the system text or in the schema, which the budget does not count."""
    with SupervisorServer() as server:
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            with pytest.raises(EgressRefused, match="not of the form"):
                await supervisor.aggregate(request_, parse)
        assert server.requests == []
    assert journal.ledger.records() == ()


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], bytes]:
    def make(form: dict[str, Any]) -> bytes:
        change(form)
        return json.dumps(form).encode()

    return make


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(changed(lambda form: form.update(metadata={"text": "the document"})), id="another key"),
        pytest.param(changed(lambda form: form.update(model="other")), id="another model"),
        pytest.param(changed(lambda form: form.update(n=2)), id="several answers"),
        pytest.param(
            changed(lambda form: form["messages"].append({"role": "user", "content": "the document"})), id="a third message"
        ),
        pytest.param(changed(lambda form: form["messages"][1].update(name="the document")), id="a named message"),
        pytest.param(
            changed(lambda form: form["messages"][1].update(content=[{"type": "text", "text": "x"}])), id="content in parts"
        ),
        pytest.param(changed(lambda form: form["messages"].reverse()), id="another order"),
        pytest.param(changed(lambda form: form.pop("max_completion_tokens")), id="no bound on the reply"),
        pytest.param(lambda form: b'{"model": "the document", ' + json.dumps(form).encode()[1:], id="a name twice"),
        pytest.param(lambda form: b"the document", id="no JSON"),
        pytest.param(lambda form: b"[" * 100_000, id="endless nesting"),
        pytest.param(lambda form: b"\xff\xfe", id="no text"),
        pytest.param(lambda form: b"", id="nothing"),
        pytest.param(lambda form: b"[]", id="a list"),
    ],
)
async def test_any_other_form_is_refused(journal: Journal, make: Callable[[dict[str, Any]], bytes]) -> None:
    """The check is on the bytes, whoever composed them: one form passes, and nothing else."""
    with SupervisorServer() as server:
        way_out = gate(journal, config(server.url))
        endpoint = server.url + "/chat/completions"
        async with way_out.client() as client:
            with pytest.raises(EgressRefused, match="not of the form"):
                await client.post(endpoint, content=make(way_out.parameters(REQUEST)))
            assert server.requests == []
            reply = await client.post(endpoint, json=way_out.parameters(REQUEST))
        assert reply.status_code == 200
        assert len(server.requests) == 1


async def test_no_other_call_leaves_by_the_same_client(journal: Journal) -> None:
    """Other calls of the openai package, other addresses and other methods are refused before a byte is sent."""
    with SupervisorServer() as server, SupervisorServer() as elsewhere:
        way_out = gate(journal, config(server.url))
        async with client_of(way_out, max_retries=5) as client:
            with pytest.raises(EgressRefused):
                await client.models.list()
            with pytest.raises(EgressRefused):
                await client.embeddings.create(model="m", input="the document")
            with pytest.raises(EgressRefused):
                await client.files.create(file=b"the document", purpose="user_data")
            with pytest.raises(EgressRefused):
                await client.chat.completions.create(**way_out.parameters(REQUEST), extra_query={"document": "text"})
            with pytest.raises(EgressRefused):
                await client.with_options(base_url=elsewhere.url).chat.completions.create(**way_out.parameters(REQUEST))
        async with way_out.client() as client:
            for address in (server.url, elsewhere.url + "/chat/completions", server.url + "/chat/completions/../files"):
                with pytest.raises(EgressRefused):
                    await client.post(address, json=way_out.parameters(REQUEST))
            with pytest.raises(EgressRefused):
                await client.put(server.url + "/chat/completions", json=way_out.parameters(REQUEST))
            with pytest.raises(EgressRefused):
                async with client.stream("GET", server.url):
                    pass
        assert server.requests == []
        assert elsewhere.requests == []
    assert journal.ledger.records() == ()


async def test_a_redirect_is_not_followed(journal: Journal) -> None:
    """A supervisor that sends the request elsewhere, even when the caller asks to follow, gets a sentence and no second request."""
    with SupervisorServer() as elsewhere:
        there = Reply(307, headers={"Location": elsewhere.url + "/chat/completions"})
        with SupervisorServer(there, there) as server:
            way_out = gate(journal, config(server.url))
            async with Supervisor(way_out, QUICK) as supervisor:
                with pytest.raises(SupervisorRejected, match=r"redirects to another address.*base URL"):
                    await supervisor.aggregate(REQUEST, parse)
            async with way_out.client() as client:
                reply = await client.post(server.url + "/chat/completions", json=way_out.parameters(REQUEST), follow_redirects=True)
            assert reply.status_code == 307
            assert len(server.requests) == 2
        assert elsewhere.requests == []


async def test_the_packages_own_retries_pass_the_gate_too(journal: Journal) -> None:
    """Should a client be made that retries by itself, each of its requests is checked and on record all the same."""
    with SupervisorServer(failure(500, headers={"Retry-After": "0.001"})) as server:
        way_out = gate(journal, config(server.url))
        async with client_of(way_out, max_retries=1) as client:
            await client.chat.completions.create(**way_out.parameters(REQUEST))
        assert [record.body for record in journal.ledger.records()] == [sent.body for sent in server.requests]
        assert len(server.requests) == 2


async def test_a_proxy_is_not_used_for_this_machine(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy in the environment, an unencrypted request to a local endpoint still goes straight to it."""
    with SupervisorServer() as proxy, SupervisorServer() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("ALL_PROXY", proxy.url.removesuffix("/v1"))
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            await supervisor.aggregate(REQUEST, parse)
        assert (len(server.requests), len(proxy.requests)) == (1, 0)


async def test_a_proxy_is_used_for_other_machines_with_encryption(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """An https endpoint elsewhere is reached through the user's proxy, which is asked for a tunnel and sees no request."""
    with SupervisorServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/v1"))
        way_out = gate(journal, config("https://supervisor.example/v1"))
        async with way_out.client() as client:
            with pytest.raises(httpx2.TransportError):
                await client.post("https://supervisor.example/v1/chat/completions", json=way_out.parameters(REQUEST))
        assert proxy.requests == []
    assert journal.ledger.records()[0].error is not None


async def test_unusable_proxy_settings_are_a_sentence(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that cannot be spoken to names the variables to look at."""
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1:70")
    with pytest.raises(SupervisorRejected, match="HTTPS_PROXY"):
        gate(journal, config("https://supervisor.example/v1")).client()


async def test_the_key_is_nowhere_but_in_the_header(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the ledger, the logs at their most talkative, or the error, even when the server repeats it."""
    caplog.set_level(logging.DEBUG)
    with SupervisorServer(failure(400, f"{KEY} is a bad key"), failure(401, f"Incorrect API key provided: {KEY}")) as server:
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            for _ in range(2):
                with pytest.raises(SupervisorRejected) as caught:
                    await supervisor.aggregate(REQUEST, parse)
                assert KEY not in str(caught.value)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    assert KEY not in repr(journal.ledger.records())
    journal.close()
    assert all(KEY.encode() not in file.read_bytes() for file in journal.path.parent.iterdir())


SLASHED = "sk-or/v1+0123456789abcdef=="


@pytest.mark.parametrize(
    "spelt",
    [
        SLASHED,
        SLASHED.upper(),
        SLASHED.replace("/", "\\/"),
        "".join(f"\\u{ord(each):04x}" for each in SLASHED),
        "".join(f"\\u{ord(each):04X}" for each in SLASHED),
        "".join(f"\\\\u{ord(each):04x}" if place % 2 else each for place, each in enumerate(SLASHED)),
        "".join(f"%{ord(each):02X}" for each in SLASHED),
        urllib.parse.quote(SLASHED, safe=""),
        urllib.parse.quote(urllib.parse.quote(SLASHED, safe=""), safe=""),
        "".join(f"&#x{ord(each):x};" for each in SLASHED),
        "".join(f"&#{ord(each)};" for each in SLASHED),
        "\\n".join(SLASHED),
        "\\u200b".join(SLASHED),
        "\u200b".join(SLASHED),
        "\u00ad".join(SLASHED),
        SLASHED[:9] + "\\t\\u0000 " + SLASHED[9:],
    ],
)
@pytest.mark.parametrize("status", [200, 401])
async def test_a_key_in_escapes_is_masked_as_well(
    journal: Journal, caplog: pytest.LogCaptureFixture, spelt: str, status: int
) -> None:
    """However the server spells the key: its spelling is not in the ledger, and what was read of it is nowhere."""
    caplog.set_level(logging.DEBUG)
    body = f'{{"error": {{"message": "no {spelt} here", "code": "x"}}, "choices": [{{"message": {{"content": "{spelt}"}}}}]}}'
    with SupervisorServer(*2 * [Reply(status, body.encode())]) as server:
        async with Supervisor(gate(journal, config(server.url, key=SLASHED)), QUICK) as supervisor:
            with pytest.raises(SupervisorError) as caught:
                await supervisor.aggregate(REQUEST, parse)
    (record, *_) = journal.ledger.records()
    assert record.reply is not None
    assert json.loads(record.reply)["error"]["message"] == "no [key] here"
    assert spelt.encode() not in record.reply
    assert SLASHED.lower() not in f"{caught.value}{caplog.text}{record}".lower()


@pytest.mark.parametrize("key", ["1", "k", "token", "completion"])
async def test_a_key_that_is_a_mere_word_does_no_harm_to_replies(journal: Journal, key: str) -> None:
    """Local servers take any: the reply gets to the parser, and its cost to the ledger, as they came."""
    with SupervisorServer(completion()) as server:
        async with Supervisor(gate(journal, config(server.url, key=key)), QUICK) as supervisor:
            answer, _ = await supervisor.aggregate(REQUEST, parse)
        assert answer == parse(json.dumps(DEFAULT_REPLY))
        assert len(server.requests) == 1
    (record,) = journal.ledger.records()
    assert record.reply == completion().body
    assert (record.prompt_tokens, record.completion_tokens) == (1_000, 100)


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports anywhere in it, by their full names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_nothing_that_speaks_http_is_imported_outside_the_cloud_room() -> None:
    """All that could leave the house stands in coordinator/cloud: openai in supervisor, the HTTP client in gate."""
    ways = {"openai", "httpx", "httpx2", "httpcore2", "requests", "urllib3", "aiohttp", "socket", "ssl", "smtplib", "ftplib"}
    ways |= {"http.client", "urllib.request", "genai_prices"}
    root = Path(coordinator.__file__).parent
    found = {
        (str(path.relative_to(root)), way)
        for path in root.rglob("*.py")
        for name in imports_of(path)
        for way in ways
        if name == way or name.startswith(way + ".")
    }
    assert found == {("cloud/supervisor.py", "openai"), ("cloud/gate.py", "httpx2"), ("cloud/prices.py", "genai_prices")}


def test_the_cloud_room_is_cheap_to_import() -> None:
    """Neither openai nor the price list is loaded before a supervisor is asked."""
    script = "import sys, coordinator.cloud.supervisor; print(*sorted({'openai', 'genai_prices', 'pydantic'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300).stdout.strip() == ""
    )
