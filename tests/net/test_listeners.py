"""Which of this machine's addresses are listened at while they come and go: real servers, on loopback."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgenode.errors import HomeError
from edgenode.net.channel import TlsServer, make_pairing_server, make_work_server
from edgenode.net.listeners import Listeners
from edgenode.net.ports import are_free
from edgenode.trust.store import NodeTrust
from tests.dial_parts import free_pair
from tests.logged import logged


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgenode.net.listeners.LOOK_SECONDS", 0.02)


@pytest.fixture
def build(tmp_path: Path) -> Callable[[], tuple[TlsServer, TlsServer]]:
    trust = NodeTrust(tmp_path)
    return lambda: (make_work_server(trust.server_tls), make_pairing_server(trust.placeholder_tls()))


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110 - what is listened at cannot be waited for
            await asyncio.sleep(0.02)


async def test_addresses_that_are_gone_make_room(build: Callable[[], tuple[TlsServer, TlsServer]]) -> None:
    """A laptop sees more networks in its life than are served at once; the address that stays is served throughout."""
    hosts = ["127.0.0.1"]
    port = free_pair()
    listeners = Listeners(lambda: tuple(hosts), build)
    await listeners.open(tuple(hosts), port)
    try:
        for number in range(2, 40):
            hosts[1:] = [f"127.0.0.{number}"]
            await until(lambda: hosts[1] in listeners.hosts)
        assert listeners.hosts[0] == "127.0.0.1"
        assert len(listeners.hosts) == 16
        assert are_free(("127.0.0.2",), port)
        assert not are_free(("127.0.0.39",), port)
    finally:
        await listeners.close(None)


@pytest.mark.parametrize("error", [HomeError("The key cannot be read."), PermissionError(13, "Permission denied")])
async def test_new_addresses_are_served_after_whatever_went_wrong(
    build: Callable[[], tuple[TlsServer, TlsServer]], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Both steps fail a few times, each told once, and are tried again."""
    failures = {"hosts": 3, "build": 0}

    def fail(step: str) -> None:
        if failures[step]:
            failures[step] -= 1
            raise error

    def hosts() -> tuple[str, ...]:
        fail("hosts")
        return "127.0.0.1", "127.0.0.2"

    def built() -> tuple[TlsServer, TlsServer]:
        fail("build")
        return build()

    listeners = Listeners(hosts, built)
    await listeners.open(("127.0.0.1",), free_pair())
    failures["build"] = 3
    try:
        await until(lambda: "127.0.0.2" in listeners.hosts)
    finally:
        await listeners.close(None)
    assert failures == {"hosts": 0, "build": 0}
    assert len(logged(caplog, "edgenode")) == 2


async def test_a_start_that_is_broken_off_leaves_servers_that_stop(
    build: Callable[[], tuple[TlsServer, TlsServer]], caplog: pytest.LogCaptureFixture
) -> None:
    """As when a node ends while it begins to serve one more address."""
    port = free_pair()
    # What gRPC leaves behind is told when it is collected: here, and not in a later test. What an earlier one left is none of it.
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    for turns in range(8):
        listeners = Listeners(lambda: ("127.0.0.1",), build)
        opening = asyncio.create_task(listeners.open(("127.0.0.1",), port))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
        await listeners.close(None)
        assert are_free(("127.0.0.1",), port)
    gc.collect()
    assert not errors
    assert not logged(caplog, "edgenode")
    assert not logged(caplog, "grpc")
