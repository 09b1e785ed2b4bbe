"""Headers as no server should send them, over a real connection: the reply counts all the same."""

import pytest

from coordinator.cloud.supervisor import Supervisor
from coordinator.runs.journal import Journal
from coordinator.types import Aggregate
from tests.cloud.common import QUICK, REQUEST, config, gate, parse
from tests.supervisor_server import DEFAULT_REPLY, Reply, SupervisorServer, completion, failure

ANSWER = Aggregate(True, str(DEFAULT_REPLY["answer"]), (0,))
# As they are on the wire: the server writes these characters as single bytes.
UTF8 = "日本".encode().decode("latin-1")
VALUES = ["caf\xe9", UTF8, "\xff\xfe", "a\x01b", "\x1b[31mred", "a\x7fb", "", " \t ", "x" * 9_000]
NAMES = [
    "X-Request-Id",
    "Content-Type",
    "Retry-After",
    "Set-Cookie",
    "Server",
    "Location",
    "OpenAI-Processing-Ms",
    "Content-Encoding",
]
CONTENT_TYPES = ["text/html; charset=nonsense", "application/json; charset=utf-16", "application/json; charset=\xe9", ";;;=", "x"]
RETRIES = ["-1", "-0.5", "0.0001", "99999999999", "1e400", "inf", "nan", "soon", "1, 2", "Sun, 99 Nov 2026 03:00:00 GMT",
           "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 -0000",
           "Thu, 01 Jan 2026 00:00:00 -9999"]  # fmt: skip


async def ask(journal: Journal, *script: Reply) -> Aggregate:
    with SupervisorServer(*script) as server:
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            return (await supervisor.aggregate(REQUEST, parse, anew=True))[0]


def with_header(reply: Reply, name: str, value: str) -> Reply:
    return Reply(reply.status, reply.body, {**reply.headers, name: value})


@pytest.mark.parametrize("name", NAMES)
async def test_an_odd_header_costs_no_reply(journal: Journal, name: str) -> None:
    """Whatever stands in a header, an error is got over, the answer comes, and each request has its line in the ledger."""
    for number, value in enumerate(VALUES, 1):
        script = [with_header(failure(503), name, value), with_header(completion(), name, value)]
        assert await ask(journal, *script, *[completion()] * 2) == ANSWER, value
        assert len(journal.ledger.records()) == 2 * number, value


@pytest.mark.parametrize("value", CONTENT_TYPES)
async def test_a_content_type_of_any_kind_costs_no_reply(journal: Journal, value: str) -> None:
    """The reply is read as what it was asked to be."""
    assert (
        await ask(journal, with_header(failure(500), "Content-Type", value), with_header(completion(), "Content-Type", value))
        == ANSWER
    )


@pytest.mark.parametrize("value", RETRIES)
async def test_an_odd_wait_ends_no_run(journal: Journal, value: str) -> None:
    """A Retry-After that cannot be meant is passed over: the next attempt comes after the usual pause."""
    assert await ask(journal, failure(429, headers={"Retry-After": value}), failure(503, headers={"Retry-After": value})) == ANSWER
    assert [record.status for record in journal.ledger.records()] == [429, 503, 200]


async def test_no_cookie_goes_back(journal: Journal) -> None:
    """What a reply asks to remember is not sent with the next request."""
    with SupervisorServer(failure(503, headers={"Set-Cookie": "who=you; Path=/"})) as server:
        async with Supervisor(gate(journal, config(server.url)), QUICK) as supervisor:
            await supervisor.aggregate(REQUEST, parse)
        assert len(server.requests) == 2
        assert not any("cookie" in request.headers for request in server.requests)
