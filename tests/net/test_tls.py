"""TLS at the ports: what a handshake is made of may change while a server serves, and addresses of ports."""

import logging
from pathlib import Path

import grpc
import pytest

from coordinator.trust.authority import Authority
from edgenode.errors import NetworkError, TrustError
from edgenode.net.channel import make_pairing_server, make_work_server, open_pairing_channel, open_work_channel, pairing_address
from edgenode.net.door import Door
from edgenode.net.once import LIMIT, LogOnce, peer_host
from edgenode.trust.certificates import node_host_name, pem
from edgenode.trust.tls import ServerTls
from tests.logged import logged
from tests.patience import SECONDS
from tests.trusted import paired


async def connects(port: int, authority: Authority, host_name: str) -> bool:
    """Whether a handshake succeeds: the server has no methods, and says so to whoever gets that far."""
    async with open_work_channel(f"127.0.0.1:{port}", authority.client_tls(), host_name) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary("/nothing/Here")(b"", timeout=SECONDS)
        return error.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_who_is_trusted_may_change_while_it_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next handshake knows; when it cannot be read, what was known before goes on."""
    anna, bert = Authority(tmp_path / "a", "anna"), Authority(tmp_path / "b", "bert")
    trust = paired(tmp_path / "node", anna)
    damaged = False

    def fetch() -> ServerTls:
        if damaged:
            raise TrustError("The key is damaged.")
        return trust.server_tls()

    names = {each: node_host_name(trust.id, each.id) for each in (anna, bert)}
    listening = make_work_server(fetch)
    port = listening.listen("127.0.0.1:0")
    await listening.start()
    assert [await connects(port, each, names[each]) for each in (anna, bert)] == [True, False]
    paired(tmp_path / "node", bert)
    assert [await connects(port, each, names[each]) for each in (anna, bert)] == [True, True]
    damaged = True
    assert [await connects(port, each, names[each]) for each in (anna, bert)] == [True, True]
    assert "The key is damaged." in caplog.text
    await listening.stop(None)


async def test_a_pairing_channel_takes_exactly_the_certificate_it_was_told(tmp_path: Path) -> None:
    """Another device at the same address, a moment later, is noticed."""
    one, other = (paired(tmp_path / name, Authority(tmp_path / "a")) for name in ("one", "other"))
    listening = make_pairing_server(one.placeholder_tls())
    port = listening.listen("127.0.0.1:0")
    await listening.start()
    seen = []
    for expected in (one, other):
        async with open_pairing_channel(f"127.0.0.1:{port}", pem(expected.placeholder), f"{one.id}.pairing.edge") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary("/nothing/Here")(b"", timeout=SECONDS)
            seen.append(error.value.code())
    assert seen == [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE]
    await listening.stop(None)


def test_the_pairing_port_is_the_next_one() -> None:
    """Of IPv4, IPv6 and names."""
    told = ["192.168.1.7:7433", "[fe80::1%eth0]:7433", "pi.local:1"]
    assert [pairing_address(each) for each in told] == ["192.168.1.7:7434", "[fe80::1%eth0]:7434", "pi.local:2"]


@pytest.mark.parametrize("bad", ["", "7433", "host", "host:", ":1", "host:0", "host:65535", "host:٣", "host:-1"])
def test_an_address_without_a_next_port_is_a_sentence(bad: str) -> None:
    """Whatever comes from a file or a peer."""
    with pytest.raises(NetworkError, match="not an address"):
        pairing_address(bad)


def test_a_warning_about_a_peer_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Once in an hour for each peer and reason, and not of thousands of peers."""
    now = 0.0
    once = LogOnce(logging.getLogger("test"), lambda: now)
    for _ in range(1_000):
        once.warning("192.0.2.1", "is refused.")
    assert logged(caplog, "test") == ["192.0.2.1: is refused."]
    for number in range(1_000):
        once.warning(f"192.0.2.{number}", "is refused.")
    assert len(logged(caplog, "test")) == LIMIT + 1
    assert "only one in a minute is listed" in logged(caplog, "test")[-1]
    caplog.clear()
    now = 3_600.0
    once.warning("192.0.2.1", "is refused.")
    assert logged(caplog, "test") == ["192.0.2.1: is refused."]


def test_strangers_cannot_silence_a_warning_about_another(caplog: pytest.LogCaptureFixture) -> None:
    """However many sources they choose: a minute later somebody else is listed, and the log grows by one a minute."""
    now = 0.0
    once = LogOnce(logging.getLogger("test"), lambda: now)
    for number in range(1_000):
        once.warning(f"2001:db8::{number}", "is refused.")
    now = 60.0
    once.warning("192.0.2.1", "has expired.")
    assert logged(caplog, "test")[-1] == "192.0.2.1: has expired."
    for number in range(3_600):
        now += 1.0
        once.warning(f"2001:db8:1::{number}", "is refused.")
    assert len(logged(caplog, "test")) <= 2 * LIMIT + 4


def test_a_peer_is_its_host_whatever_its_port() -> None:
    """As gRPC writes it, for IPv4 and IPv6, with its interface and without what could change a terminal."""
    told = [
        "ipv4:127.0.0.1:50374",
        "ipv6:%5B::1%5D:50374",
        "ipv6:[::1]:1",
        "ipv6:%5Bfe80::1%25eth0%5D:1",
        "ipv6:%5Bfe80::1%2512%5D:1",
        "ipv6:%5B::1%1B%5D:1",
        "unix:",
    ]
    assert [peer_host(each) for each in told] == ["127.0.0.1", "::1", "::1", "fe80::1%eth0", "fe80::1%12", "::1", "unknown"]


def test_connections_with_a_good_certificate_are_not_called_strangers(caplog: pytest.LogCaptureFixture) -> None:
    """However many begin before the first has made its call, and however many there are in a minute."""
    now = 0.0
    door = Door(lambda: now)
    for batch in range(20):
        for _ in range(50):
            door.knock()
        door.look()
        for number in range(50):
            for _ in range(3):
                door.passed(f"ipv4:192.0.2.1:{batch * 50 + number}")
        now += 5.0
        door.look()
    assert logged(caplog, "edgenode") == []


@pytest.mark.parametrize("a_second", [1, 1_000], ids=["a few", "a flood"])
def test_connections_that_come_to_nothing_are_told_once(a_second: int, caplog: pytest.LogCaptureFixture) -> None:
    """While they come, and between others that are let in; nothing is kept of them."""
    now = 0.0
    door = Door(lambda: now)
    for second in range(50):
        for _ in range(a_second):
            door.knock()
        now += 1.0
        if second % 10 == 0:
            door.knock()
            door.passed(f"ipv4:192.0.2.1:{second}")
        door.look()
    (told,) = logged(caplog, "edgenode")
    assert "connects again and again" in told
