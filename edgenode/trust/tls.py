"""What a TLS handshake needs, as PEM bytes. The net room makes gRPC credentials of a client's; a server's is used here."""

import os
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from edgenode.trust.certificates import host_names, parse_certificate


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


def server_context(tls: ServerTls, asks_certificate: bool, folder: Path) -> ssl.SSLContext:
    """TLS 1.3 for HTTP/2, without resumption: whom it trusts counts at every connection.

    `folder` is a private one, where the key is for a moment: OpenSSL in Python reads keys from files only. Raises OSError.
    """
    contexts = [_one_context(tls, each, asks_certificate, folder) for each in tls.certificates]
    by_name: dict[str, ssl.SSLContext] = {}
    for certificate, context in zip(tls.certificates, contexts, strict=True):
        for each in host_names(parse_certificate(certificate)):
            by_name.setdefault(each, context)
    first = contexts[0]

    def pick(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = by_name.get((name or "").lower(), first)

    first.sni_callback = pick
    return first


def _one_context(tls: ServerTls, certificate: bytes, asks_certificate: bool, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["h2"])
    if asks_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        if tls.roots:
            context.load_verify_locations(cadata=tls.roots.decode("ascii"))
    handle, path = tempfile.mkstemp(dir=folder)  # which only this user can read
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(tls.key.rstrip() + b"\n" + certificate)
        context.load_cert_chain(path)
    finally:
        Path(path).unlink()
    return context
