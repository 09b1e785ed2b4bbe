"""Certificates: an authority for each coordinator, and leaves that say who somebody is and what he may do.

A leaf's subject alternative names are a DNS name, by which gRPC picks and checks it, and a URI that carries the role:
`edgenode://<authority>/<role>/<id>`. Leaves may be used at either end of a connection, since a node that can only dial out is the
client of its coordinator.
"""

import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgenode.errors import TrustError
from edgenode.text import clean_line
from edgenode.trust.keys import PrivateKey, PublicKey, fingerprint
from edgenode.types import AuthorityId, NodeId

# Whatever is odd about a stranger's certificate (a serial number below 0, a name that is too long), it is refused or its name cut,
# and writes nothing to the terminal. cryptography warns in the name of whoever reads a field: that is done here.
warnings.filterwarnings("ignore", category=UserWarning, module=re.escape(__name__) + r"\Z")

Certificate = x509.Certificate

AUTHORITY_LIFE: Final = timedelta(days=3_650)
NODE_LIFE: Final = timedelta(days=90)
"""A node that meets its coordinator once in this time need not be renewed after the end."""
RENEW_BEFORE_END: Final = timedelta(days=60)
COORDINATOR_LIFE: Final = timedelta(days=2)
# A board without a battery for its clock wakes up in the past, until it has asked the network for the time.
CLOCK_TOLERANCE: Final = timedelta(days=1)
NAME_CHARACTERS: Final = 60
# X.509 allows a common name no more: 64 bytes as cryptography counts it, 21 characters of Japanese.
NAME_BYTES: Final = 64
MAX_CERTIFICATE_BYTES: Final = 4_096
_PLACEHOLDER_START: Final = datetime(2000, 1, 2, tzinfo=UTC)
_PLACEHOLDER_LIFE: Final = timedelta(days=365 * 900)


# What cryptography raises for data of a hostile peer.
_UNUSABLE: Final = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class Role(StrEnum):
    COORDINATOR = "coordinator"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who a verified leaf says somebody is. `id` is the fingerprint of the leaf's own key, `ends` the end of the leaf's time."""

    role: Role
    id: str
    authority: AuthorityId
    ends: datetime


def node_host_name(node: NodeId, authority: AuthorityId) -> str:
    """The name a node goes by towards the coordinators of one authority. Addresses change, this does not."""
    return f"{node}.{authority}.edge"


def coordinator_host_name(authority: AuthorityId) -> str:
    return f"coordinator.{authority}.edge"


def make_authority(key: PrivateKey, name: str, now: datetime) -> Certificate:
    """A self-signed authority whose subject is `name`, such as "anna@laptop"."""
    subject = _subject(name, fingerprint(key.public_key()))
    return (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


def issue(authority: Certificate, key: PrivateKey, subject: PublicKey, role: Role, now: datetime) -> Certificate:
    """A leaf for the key `subject`, signed by the authority's `key`."""
    id, of = fingerprint(subject), authority_id(authority)
    life = NODE_LIFE if role is Role.NODE else COORDINATOR_LIFE
    names = x509.SubjectAlternativeName(_names(of, role, id))
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        _builder(_subject(f"edgenode {role}", id), authority.subject, subject, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(usages, critical=False)
        .sign(key, hashes.SHA256())
    )


def make_placeholder(key: PrivateKey) -> Certificate:
    """A self-signed certificate that nobody trusts by itself: what a node shows at its pairing port, where the pairing itself
    tells who is who."""
    # Valid whatever the clocks at both ends say: over this port a clock that is far off is told.
    subject = _subject("edgenode pairing", fingerprint(key.public_key()))
    names = x509.SubjectAlternativeName([x509.DNSName(f"{fingerprint(key.public_key())}.pairing.edge")])
    return (
        _builder(subject, subject, key.public_key(), _PLACEHOLDER_START, _PLACEHOLDER_LIFE)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )


def make_request(key: PrivateKey) -> bytes:
    """DER of a PKCS #10 request: proof that whoever sends it holds `key`."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject("edgenode node", fingerprint(key.public_key())))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def requested_key(request: bytes) -> PublicKey:
    """The key whose holder signed the request. Raises `TrustError` for one that is damaged, forged or of another kind."""
    try:
        if len(request) > MAX_CERTIFICATE_BYTES:
            raise ValueError("too large")
        parsed = x509.load_der_x509_csr(request)
        key = parsed.public_key()
        if not parsed.is_signature_valid or not _usable(key):
            raise ValueError("not signed by its key")
    except _UNUSABLE as error:
        raise TrustError("The device sent a request for a certificate that is damaged or forged.") from error
    assert isinstance(key, ec.EllipticCurvePublicKey), "checked"
    return key


def parse_certificate(data: bytes) -> Certificate:
    """From DER or PEM. Raises `TrustError` for what is no certificate with a P-256 key."""
    try:
        if len(data) > MAX_CERTIFICATE_BYTES:
            raise ValueError("too large")
        pem = data.startswith(b"-----BEGIN")
        certificate = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
        if not _usable(certificate.public_key()):
            raise ValueError("another kind of key")
        if certificate.serial_number <= 0:
            raise ValueError("a serial number that is none")
        # These are decoded only when asked for. After this none of them raises.
        _ = certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc
        _ = certificate.extensions
    except _UNUSABLE as error:
        raise TrustError("The peer sent a certificate that is damaged or of a kind that is not used here.") from error
    return certificate


def check_authority(certificate: Certificate) -> AuthorityId:
    """The identity of an authority. Raises `TrustError` for a certificate that is none."""
    id = authority_id(certificate)
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(certificate)
        # TLS looks for an issuer by its subject: without its own identity in there one authority could stand in another's way.
        (number,) = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        if not constraints.ca or number.value != id or not subject_name(certificate):
            raise ValueError("not made as an authority is")
    except _UNUSABLE as error:
        raise TrustError("The coordinator sent a certificate that is no authority.") from error
    return id


def authority_id(certificate: Certificate) -> AuthorityId:
    return AuthorityId(fingerprint(public_key(certificate)))


def public_key(certificate: Certificate) -> PublicKey:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey), "checked where it was parsed"
    return key


def subject_name(certificate: Certificate) -> str:
    """The subject's common name, cleaned: what a person calls the authority."""
    values = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return clean_line(str(values[0].value), NAME_CHARACTERS) if values else ""


def identify(certificate: Certificate, authority: Certificate) -> Peer:
    """Who the leaf belongs to, if `authority` signed it. Its dates are not looked at: gRPC's handshake does that, and renewal
    wants to know of expired ones too. Raises `TrustError` for every other leaf."""
    of = authority_id(authority)
    try:
        certificate.verify_directly_issued_by(authority)
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        (uri,) = (name.value for name in names if isinstance(name, x509.UniformResourceIdentifier))
    except _UNUSABLE as error:
        raise TrustError("The peer's certificate was not signed by an authority that is trusted here.") from error
    told = re.fullmatch(r"edgenode://([0-9a-f]{32})/(coordinator|node)/([0-9a-f]{32})", uri)
    # An authority speaks for itself alone: it can name neither another authority nor a key that the leaf does not hold. Nor may the
    # leaf go by any other name: served by a node that has several authorities, it would be picked for the wrong one.
    alone = told is not None and len(names) == 2 and set(names) == set(_names(of, told[2], told[3]))
    if told is None or not alone or told[1] != of or told[3] != fingerprint(public_key(certificate)):
        raise TrustError("The peer's certificate does not say who it belongs to, or says more than that.")
    return Peer(Role(told[2]), told[3], of, certificate.not_valid_after_utc)


def host_names(certificate: Certificate) -> tuple[str, ...]:
    """The names that a client may ask for to get this certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def pem(certificate: Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def der(certificate: Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def now_utc() -> datetime:
    return datetime.now(UTC)


def _names(authority: AuthorityId, role: str, id: str) -> list[x509.GeneralName]:
    """All that a leaf goes by."""
    host = node_host_name(NodeId(id), authority) if role == Role.NODE else coordinator_host_name(authority)
    return [x509.DNSName(host), x509.UniformResourceIdentifier(f"edgenode://{authority}/{role}/{id}")]


def _builder(subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, life: timedelta) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + life)
    )


def _subject(name: str, id: str) -> x509.Name:
    # With the identity in it, two authorities of one name are two issuers to whoever builds a chain.
    shown = clean_line(name, NAME_CHARACTERS).encode("utf-8")[:NAME_BYTES].decode("utf-8", "ignore")
    common = x509.NameAttribute(NameOID.COMMON_NAME, shown or "edgenode")
    return x509.Name([common, x509.NameAttribute(NameOID.SERIAL_NUMBER, id)])


def _usable(key: object) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
