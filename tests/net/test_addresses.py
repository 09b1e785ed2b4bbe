"""Addresses as people type them, and which of those that others tell are dialled."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode.errors import UsageError
from edgenode.net.addresses import (
    KEPT_ADDRESSES,
    MAX_ADDRESSES,
    host_port,
    is_link_local,
    merge_addresses,
    parse_host_port,
    split_host_port,
    usable,
)

HOME = (ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("2001:db8:1::/64"), ipaddress.ip_network("8.8.4.0/24"))
ADDRESS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
TOLD = st.lists(ADDRESS.map(lambda address: host_port(address, 7433)), max_size=20, unique=True).map(tuple)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("pi.local", "pi.local:7435"),
        (" pi ", "pi:7435"),
        ("pi.local:80", "pi.local:80"),
        ("192.168.1.20", "192.168.1.20:7435"),
        ("192.168.1.20:7433", "192.168.1.20:7433"),
        ("::1", "[::1]:7435"),
        ("[::1]", "[::1]:7435"),
        ("[fe80::1%eth0]:7433", "[fe80::1%eth0]:7433"),
        ("fe80::1%eth0", "[fe80::1%eth0]:7435"),
    ],
)
def test_what_is_typed(typed: str, meant: str) -> None:
    """Names and addresses of both versions are taken, with a port or without."""
    assert parse_host_port(typed, 7435) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        ":",
        ":7433",
        "a:b",
        "a:0",
        "a:65536",
        "a:-1",
        "a:",
        "a:1:2",
        "[::1",
        "[::1]7433",
        "[pi]:1",
        "http://pi:7433",
        "a b",
        "-a",
        "a..b",
        "192.168.1",
        "300.1.1.1",
        "1.2.3.4.5",
        "pi;rm",
        "[fe80::1%a/b]:1",
        "[]:1",
        "٠:1",
        "a:١",
        "x" * 300,
        "a\x00",
    ],
)
def test_nonsense_is_one_sentence(typed: str) -> None:
    """What is no address is refused in one line that names the option and stays short."""
    with pytest.raises(UsageError) as caught:
        parse_host_port(typed, 7435)
    assert str(caught.value).startswith("--join")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(ADDRESS, st.integers(1, 65_535))
def test_written_and_read(host: str, port: int) -> None:
    """What `host_port` writes, the others read as what it was."""
    assert split_host_port(host_port(host, port)) == (host, port)
    assert parse_host_port(host_port(host, port), 1) == host_port(host, port)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Whatever is typed is an address that can be split, or a usage error."""
    try:
        parsed = parse_host_port(text, 7435)
    except UsageError:
        return
    _, port = split_host_port(parsed)
    assert 0 < port <= 65_535


def test_only_what_can_be_dialled() -> None:
    """Of what a record tells, addresses in the house are kept, those on this machine's networks first; no others."""
    told = [
        "10.0.0.7",
        "192.168.1.7",
        "0.0.0.0",
        "224.0.0.251",
        "255.255.255.255",
        "127.0.0.1",
        "::1",
        "::",
        "ff02::fb",
        "nonsense",
    ]
    told += [
        "8.8.8.8",
        "8.8.4.4",
        "2001:db8:1::7",
        "2600::1",
        "fd00::7",
        "fe80::7",
        "fe80::7%eth0",
        "::ffff:192.168.1.8",
        "192.168.1.7",
    ]
    assert usable(told, False, HOME) == ("192.168.1.7", "8.8.4.4", "2001:db8:1::7", "10.0.0.7", "fd00::7", "fe80::7%eth0")


def test_loopback_only_among_ourselves() -> None:
    """Where only loopback is used nothing else is dialled."""
    assert usable(["10.0.0.7", "127.0.0.1", "::1", "8.8.8.8"], True, HOME) == ("127.0.0.1", "::1")


@given(TOLD, st.lists(TOLD, max_size=8))
def test_forgers_cannot_push_out(good: tuple[str, ...], forged: list[tuple[str, ...]]) -> None:
    """What was known first stays known, however many other addresses are told afterwards."""
    known = merge_addresses((), good)
    for told in forged:
        known = merge_addresses(known, told)
        assert len(known) <= MAX_ADDRESSES
        assert len(set(known)) == len(known)
    assert set(good[:KEPT_ADDRESSES]) <= set(known)


@given(st.lists(TOLD, max_size=8), TOLD)
def test_latecomers_get_room(forged: list[tuple[str, ...]], good: tuple[str, ...]) -> None:
    """Whatever was told before, half of the room is for what is told now."""
    known: tuple[str, ...] = ()
    for told in forged:
        known = merge_addresses(known, told)
    assert set(good[: MAX_ADDRESSES - KEPT_ADDRESSES]) <= set(merge_addresses(known, good))


def test_link_local_ones_come_last() -> None:
    """Of either version, also where this machine is on their network."""
    networks = (ipaddress.ip_network("fe80::/64"), ipaddress.ip_network("169.254.0.0/16"), *HOME)
    told = ["fe80::7%eth0", "169.254.3.4", "192.168.1.7", "10.0.0.7"]
    assert usable(told, False, networks) == ("192.168.1.7", "10.0.0.7", "fe80::7%eth0", "169.254.3.4")


@pytest.mark.parametrize("url", ["http://10.77.0.1:7433", "http:/10.77.0.1:7433", "https:pi.local:7433", "HTTP:pi"])
def test_a_url_is_no_host(url: str) -> None:
    """What is taken is said, not that its port is none."""
    with pytest.raises(UsageError, match="takes HOST or HOST:PORT"):
        parse_host_port(url, 7433)


def test_a_host_may_be_called_as_a_scheme_is() -> None:
    """With a port it is no URL."""
    assert parse_host_port("http:7433", 1) == "http:7433"


def test_link_local() -> None:
    """Of IPv6 alone, with a zone or without; what is shown in place of an address is none."""
    told = ["[fe80::1%eth0]:7433", "[fe80::1]:1", "[fd00::1]:1", "192.168.1.7:7433", "pi.local:1", "dials in from fe80::1", ""]
    assert [is_link_local(each) for each in told] == [True, True, False, False, False, False, False]
