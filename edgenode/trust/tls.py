"""What a TLS handshake needs, as PEM bytes. The net room makes gRPC credentials of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerTls:
    """A server's one key and its certificates (one for each authority that it serves, picked by the name the client asks for), and
    the authorities whose clients it lets in (`roots`, concatenated PEM)."""

    key: bytes = field(repr=False)
    certificates: tuple[bytes, ...]
    roots: bytes


@dataclass(frozen=True, slots=True)
class ClientTls:
    """A client's key and certificate, and the one authority whose servers it believes."""

    key: bytes = field(repr=False)
    certificate: bytes
    root: bytes
