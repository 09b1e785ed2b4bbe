"""Coordinators, nodes and forgers for the tests of trust."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgenode.trust.certificates import Certificate, authority_id, make_authority, now_utc
from edgenode.trust.keys import PrivateKey, fingerprint, make_key
from edgenode.trust.store import NodeTrust


class Ca:
    """An authority whose key is at hand, so that it can sign anything."""

    def __init__(self, name: str = "anna@laptop") -> None:
        self.key = make_key()
        self.certificate = make_authority(self.key, name, now_utc())
        self.id = authority_id(self.certificate)


def damage(path: Path, text: str) -> None:
    """Writes over a file as a moment later than before: by the clock of some kernels two changes may have one time."""
    later = path.stat().st_mtime_ns + 1_000_000_000
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(later, later))


def open_node(home: Path) -> NodeTrust:
    home.mkdir(exist_ok=True)
    return NodeTrust(home)


def forge(
    signer: PrivateKey,
    issuer: x509.Name,
    key: Any,
    uris: tuple[str, ...],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    ca: bool = False,
    names: tuple[x509.GeneralName, ...] | None = None,
    subject: x509.Name | None = None,
) -> Certificate:
    """A leaf that says whatever it is told to say. `names` are those besides the URIs, by default what goes with the first."""
    now = now_utc()
    if names is None:
        names = tuple(x509.DNSName(_host(each)) for each in uris[:1])
    alternative = x509.SubjectAlternativeName([*names, *(x509.UniformResourceIdentifier(each) for each in uris)])
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgenode coordinator")]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start or now - timedelta(days=1))
        .not_valid_after(end or now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usages, critical=False)
    )
    if uris:
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _host(uri: str) -> str:
    authority, role, id = uri.strip().lower().removeprefix("edgenode://").split("/")[:3]
    return f"{id if role == 'node' else role}.{authority}.edge"


def uri(authority: str, key: PrivateKey, role: str = "coordinator") -> str:
    return f"edgenode://{authority}/{role}/{fingerprint(key.public_key())}"
