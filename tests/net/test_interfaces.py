"""Which interfaces and addresses of this machine are used. What they are called is faked, what they do is not."""

import ipaddress
import socket
from collections.abc import Callable

import ifaddr
import pytest

from edgenode.errors import NetworkError
from edgenode.net import interfaces as room
from edgenode.net.interfaces import Kind, Scope, interfaces, scope

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Gives this machine other interfaces: for each a list of addresses with their prefix. Those in `down` are switched off."""
    monkeypatch.delenv("EDGENODE_INTERFACE", raising=False)

    def make(down: tuple[str, ...] = (), **named: list[str]) -> None:
        adapters = []
        for index, (name, texts) in enumerate({"lo": ["127.0.0.1/8", "::1/128"], **named}.items(), 1):
            parsed = [ipaddress.ip_interface(text) for text in texts]
            ips = [
                ifaddr.IP(str(each.ip) if each.version == 4 else (str(each.ip), 0, index), each.network.prefixlen, name)
                for each in parsed
            ]
            adapters.append(ifaddr.Adapter(name.replace("_", "-"), name.replace("_", "-"), ips, index))
        monkeypatch.setattr(ifaddr, "get_adapters", lambda include_unconfigured=False: adapters)
        monkeypatch.setattr(room, "_flags_of", lambda: lambda name: 0 if name in down else 0x41)

    return make


def test_everything_usable(machine: Machine) -> None:
    """Without being told, a machine uses its networks and VPNs, not loopback and not what belongs to its containers."""
    machine(
        eth0=["192.168.1.7/24", "fe80::7/64", "2001:db8::7/64"],
        docker0=["172.17.0.1/16"],
        br_0123456789ab=["172.18.0.1/16"],
        veth12=["fe80::1/64"],
        virbr0=["192.168.122.1/24"],
        tailscale0=["100.64.0.7/32"],
        wlan0=["192.168.2.7/24"],
        down=("wlan0",),
    )
    used = scope()
    assert [i.name for i in used.interfaces()] == ["eth0", "tailscale0"]
    assert used.addresses() == ("192.168.1.7", "2001:db8::7", "fe80::7%eth0", "100.64.0.7")
    assert used.multicast() == (("192.168.1.7", 2), ("fe80::7%eth0", 2))
    assert used.listen_addresses() in {("::",), ("0.0.0.0",)}
    assert not used.is_loopback


@pytest.mark.parametrize(
    ("name", "addresses", "kind"),
    [
        ("en0", ["10.0.0.2/8"], Kind.LAN),
        ("br_lan", ["10.0.0.2/8"], Kind.LAN),
        ("eth0", ["169.254.3.4/16", "fe80::1/64"], Kind.LINK_LOCAL),
        ("utun3", ["fe80::1/64"], Kind.VPN),
        ("wg0", ["10.9.0.2/32"], Kind.VPN),
        ("zt5u4y", ["10.9.0.2/24"], Kind.VPN),
        ("podman1", ["10.88.0.1/16"], Kind.CONTAINER),
        ("cni0", ["10.88.0.1/16"], Kind.CONTAINER),
        ("vmnet8", ["10.88.0.1/16"], Kind.CONTAINER),
        ("lo0", ["127.0.0.1/8"], Kind.LOOPBACK),
    ],
)
def test_kinds(machine: Machine, name: str, addresses: list[str], kind: Kind) -> None:
    """Interfaces are told apart by their names and addresses."""
    machine(**{name: addresses})
    (found,) = [i for i in interfaces() if i.name == name.replace("_", "-")]
    assert found.kind is kind


def test_nothing_but_loopback(machine: Machine) -> None:
    """A machine without a network uses loopback, and the network once there is one, without being asked again."""
    machine(eth0=[])
    used = scope()
    assert used.addresses() == ("127.0.0.1", "::1")
    assert used.is_loopback
    machine(eth0=["10.0.0.2/8"])
    assert used.addresses() == ("10.0.0.2",)
    assert not used.is_loopback


def test_loopback_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable keeps everything on loopback, on this very machine."""
    monkeypatch.setenv("EDGENODE_INTERFACE", "127.0.0.1")
    used = scope()
    assert used.is_loopback
    assert used.addresses() == used.listen_addresses() == ("127.0.0.1",)
    assert [address for address, _ in used.multicast()] == ["127.0.0.1"]


def test_one_interface(machine: Machine) -> None:
    """An interface by name is all of its addresses, an address is that alone, and gone is gone."""
    machine(eth0=["192.168.1.7/24", "fe80::7/64"], wlan0=["192.168.2.7/24"])
    named, addressed = scope("eth0"), scope("192.168.2.7")
    assert named.listen_addresses() == ("192.168.1.7", "fe80::7%eth0")
    assert addressed.listen_addresses() == ("192.168.2.7",)
    assert addressed.multicast() == (("192.168.2.7", 3),)
    machine(wlan0=["192.168.2.9/24"])
    assert named.addresses() == addressed.multicast() == ()
    with pytest.raises(NetworkError, match="eth0 has no address"):
        named.listen_addresses()


def test_listen_narrows(machine: Machine) -> None:
    """The address to listen at is the one that is announced, and it must be one of this machine and of the interface told."""
    machine(eth0=["192.168.1.7/24"], wlan0=["192.168.2.7/24"])
    used = scope(None, "192.168.2.7")
    assert used.addresses() == used.listen_addresses() == ("192.168.2.7",)
    assert scope(None, "0.0.0.0") == scope(None, "[::]") == Scope()
    assert scope(None, "localhost").is_loopback
    for interface, listen, sentence in [
        (None, "192.168.9.9", "does not have the address"),
        (None, "pi.local", "--listen takes an IP address"),
        ("eth0", "192.168.2.7", "not one of the interface eth0"),
        ("eth9", None, "There is no interface eth9"),
    ]:
        with pytest.raises(NetworkError, match=sentence):
            scope(interface, listen)


def test_the_variable_is_not_overruled_by_listen(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who keeps a shell on loopback is not let out by an option of one command."""
    machine(eth0=["192.168.1.7/24"])
    monkeypatch.setenv("EDGENODE_INTERFACE", "127.0.0.1")
    with pytest.raises(NetworkError, match="not one of the interface"):
        scope(None, "192.168.1.7")


def test_few_addresses_of_many(machine: Machine) -> None:
    """A machine with many addresses announces at most eight, and not only those that it keeps for its privacy."""
    machine(eth0=[*(f"2001:db8::{n}/64" for n in range(1, 9)), "192.168.1.7/24", "fe80::7/64"])
    assert scope().addresses() == ("192.168.1.7", "2001:db8::1", "2001:db8::2", "fe80::7%eth0")
    machine(**{f"eth{n}": [f"10.{n}.0.1/16"] for n in range(12)})
    assert len(scope().addresses()) == 8


def test_real_interfaces() -> None:
    """This machine's own interfaces can be read, loopback is up, and its addresses can be bound."""
    (loopback,) = [i for i in interfaces() if "127.0.0.1" in i.addresses]
    assert loopback.up
    assert loopback.kind is Kind.LOOPBACK
    with socket.socket() as probe:
        probe.bind((loopback.addresses[0], 0))
