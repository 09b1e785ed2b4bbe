"""What the doctor makes of ports that answer in every way a port can, on loopback."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from edgenode.doctor.dial import knock, resolve, ways
from edgenode.doctor.facts import Answer, Reach
from edgenode.net.interfaces import Kind, scope
from edgenode.trust.certificates import AUTHORITY_LIFE, Certificate, make_placeholder, pem
from edgenode.trust.keys import PrivateKey, fingerprint, key_pem


@pytest.fixture
def key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@contextlib.asynccontextmanager
async def tls_server(key: PrivateKey, certificate: Certificate, folder: Path) -> AsyncIterator[int]:
    """A server on loopback that shows `certificate` and asks for none."""
    (folder / "tls.pem").write_bytes(key_pem(key) + pem(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    context.set_alpn_protocols(["h2"])
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@contextlib.contextmanager
def unused_port() -> Iterator[int]:
    """A port that is bound and not listened at: connecting is refused, and nobody else gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_nobody_listens() -> None:
    """A closed port on a machine that is there is refused."""
    with unused_port() as port:
        assert (await knock("127.0.0.1", port)).reach is Reach.REFUSED


async def test_edgenode_answers(key: PrivateKey, tmp_path: Path) -> None:
    """A certificate that names its own key's identity is edgenode's, and tells the identity."""
    async with tls_server(key, make_placeholder(key), tmp_path) as port:
        found = await knock("127.0.0.1", port)
    assert (found.reach, found.answer, found.id) == (Reach.OPEN, Answer.EDGENODE, fingerprint(key.public_key()))


async def test_other_tls_answers(key: PrivateKey, tmp_path: Path) -> None:
    """Some other program's certificate is not taken for edgenode's."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "printer")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + AUTHORITY_LIFE)
    async with tls_server(key, builder.sign(key, hashes.SHA256()), tmp_path) as port:
        found = await knock("127.0.0.1", port)
    assert (found.reach, found.answer, found.id) == (Reach.OPEN, Answer.OTHER, "")


@pytest.mark.parametrize(
    "says", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x03" + b"\xff" * 99]
)
async def test_another_program_answers(says: bytes) -> None:
    """What hangs up, or speaks no TLS, is another program."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        found = await knock("127.0.0.1", server.sockets[0].getsockname()[1])
    assert (found.reach, found.answer) == (Reach.OPEN, Answer.OTHER)


async def test_a_mute_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections and says nothing is told after a deadline."""
    monkeypatch.setattr("edgenode.doctor.dial.HANDSHAKE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        found = await knock("127.0.0.1", mute.getsockname()[1])
    assert (found.reach, found.answer) == (Reach.OPEN, Answer.QUIET)


@pytest.mark.parametrize("address", ["", "no such host", "256.1.1.1", "127.0.0.1\0", "-"])
async def test_what_is_no_address(address: str) -> None:
    """Whatever stands where an address should is an outcome and not an exception."""
    assert (await knock(address, 70_000)).reach is not Reach.OPEN


async def test_a_way_on_loopback() -> None:
    """A way tells the interface that leads there, its kind and that the address is our own; both ports are dialled."""
    with unused_port() as port:
        (way,) = await ways([f"127.0.0.1:{port}"], scope())
    assert (way.interface, way.kind, way.ours) == ("lo", Kind.LOOPBACK, True)
    assert (way.work.number, way.pairing.number) == (port, port + 1)


async def test_nothing_leaves_loopback() -> None:
    """Kept to loopback, nobody else is dialled, and names are not looked up."""
    (way,) = await ways(["192.0.2.1:7433"], scope("127.0.0.1"))
    assert (way.work.reach, way.pairing.reach) == (Reach.NOT_TRIED, Reach.NOT_TRIED)
    addresses, why = await resolve("pi.example", scope("127.0.0.1"))
    assert addresses == ()
    assert "only loopback" in why


async def test_own_names_resolve() -> None:
    """localhost and addresses need nobody to be asked."""
    addresses, why = await resolve("localhost", scope())
    assert "127.0.0.1" in addresses
    assert why == ""
    assert await resolve("192.0.2.1", scope()) == (("192.0.2.1",), "")
