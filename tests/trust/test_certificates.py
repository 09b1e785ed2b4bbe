import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from edgenode.errors import TrustError
from edgenode.trust.certificates import (
    MAX_CERTIFICATE_BYTES,
    NODE_LIFE,
    Certificate,
    Peer,
    Role,
    authority_id,
    check_authority,
    der,
    identify,
    issue,
    make_authority,
    make_placeholder,
    make_request,
    now_utc,
    parse_certificate,
    pem,
    requested_key,
    subject_name,
)
from edgenode.trust.keys import fingerprint, make_key
from tests.trust.people import Ca, forge, uri


def test_a_leaf_says_who_it_belongs_to() -> None:
    """What an authority issues is identified by that authority, as PEM and as DER, for both roles."""
    ca, key = Ca(), make_key()
    for role in Role:
        leaf = issue(ca.certificate, ca.key, key.public_key(), role, now_utc())
        for data in (pem(leaf), der(leaf)):
            told = Peer(role, fingerprint(key.public_key()), ca.id, leaf.not_valid_after_utc)
            assert identify(parse_certificate(data), ca.certificate) == told


def test_node_certificates_live_as_long_as_is_stated() -> None:
    """Ninety days from the coordinator's clock, and a day before it for a device whose clock lags."""
    ca, now = Ca(), datetime(2026, 11, 1, tzinfo=UTC)
    leaf = issue(ca.certificate, ca.key, make_key().public_key(), Role.NODE, now)
    assert leaf.not_valid_after_utc - now == NODE_LIFE == timedelta(days=90)
    assert now - leaf.not_valid_before_utc == timedelta(days=1)


@pytest.mark.parametrize("name", ["", " ", "\x1b[2J", "あ" * 60, "a" * 300, "𠮷" * 60, "anna@laptop\n\u202eevil"])
def test_an_authority_may_have_any_name(name: str) -> None:
    """Long, Japanese, empty and hostile names make an authority whose name is a clean line of at most 64 bytes."""
    certificate = make_authority(make_key(), name, now_utc())
    shown = subject_name(certificate)
    assert check_authority(certificate) == authority_id(certificate)
    assert shown
    assert shown.isprintable()
    assert len(shown.encode("utf-8")) <= 64


def forged_authority(subject: x509.Name, ca: bool | None) -> Certificate:
    key = make_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now_utc())
        .not_valid_after(now_utc() + timedelta(days=1))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256())


def test_what_is_no_authority() -> None:
    """Leaves, placeholders, certificates signed by somebody else, and an authority that bears another's subject are refused."""
    ca, key = Ca(), make_key()
    plain = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anna")])
    for certificate in (
        issue(ca.certificate, ca.key, key.public_key(), Role.COORDINATOR, now_utc()),
        make_placeholder(key),
        forge(ca.key, ca.certificate.subject, key.public_key(), (), ca=True),
        forged_authority(plain, ca=None),
        forged_authority(plain, ca=False),
        forged_authority(plain, ca=True),
        forged_authority(ca.certificate.subject, ca=True),
    ):
        with pytest.raises(TrustError, match="no authority"):
            check_authority(certificate)


def test_who_cannot_be_identified() -> None:
    """Leaves of another authority, self-signed ones, and those that name another authority, key or role, or several."""
    ours, theirs, key, other = Ca(), Ca(), make_key(), make_key()
    subject, public = ours.certificate.subject, key.public_key()
    good = uri(ours.id, key)
    assert identify(forge(ours.key, subject, public, (good,)), ours.certificate).role is Role.COORDINATOR
    for leaf in (
        issue(theirs.certificate, theirs.key, public, Role.COORDINATOR, now_utc()),
        forge(key, subject, public, (good,)),
        forge(theirs.key, subject, public, (good,)),
        forge(ours.key, theirs.certificate.subject, public, (good,)),
        forge(ours.key, subject, public, (uri(theirs.id, key),)),
        forge(ours.key, subject, public, (uri(ours.id, other),)),
        forge(ours.key, subject, public, (uri(ours.id, key, "supervisor"),)),
        forge(ours.key, subject, public, (good + "/more",)),
        forge(ours.key, subject, public, (good + "\n",)),
        forge(ours.key, subject, public, (good.upper(),)),
        forge(ours.key, subject, public, (good, uri(ours.id, key, "node"))),
        forge(ours.key, subject, public, ()),
        make_placeholder(key),
        theirs.certificate,
        ours.certificate,
    ):
        with pytest.raises(TrustError):
            identify(leaf, ours.certificate)


def test_a_leaf_goes_by_its_own_name_alone() -> None:
    """A leaf of a good authority that bears any further name, or not its own, is nobody's: by another's name it would be served to
    that authority's coordinators."""
    ours, theirs, key = Ca(), Ca(), make_key()
    id, of, host = fingerprint(key.public_key()), uri(ours.id, key, "node"), x509.DNSName

    def leaf(*names: x509.GeneralName) -> Certificate:
        return forge(ours.key, ours.certificate.subject, key.public_key(), (of,), names=names)

    own = host(f"{id}.{ours.id}.edge")
    assert identify(leaf(own), ours.certificate).id == id
    for names in (
        (own, host(f"{id}.{theirs.id}.edge")),
        (own, host("*.edge")),
        (own, host(f"coordinator.{ours.id}.edge")),
        (own, own),
        (own, x509.IPAddress(ip_address("127.0.0.1"))),
        (own, x509.RFC822Name("anna@example.org")),
        (host(f"{id}.{theirs.id}.edge"),),
        (host(f"*.{ours.id}.edge"),),
        (),
    ):
        with pytest.raises(TrustError, match="more than that"):
            identify(leaf(*names), ours.certificate)


def test_only_p256_certificates_are_read() -> None:
    """RSA, Ed25519 and other curves are refused where they come in, signed by whomever."""
    ca = Ca()
    for key in (
        rsa.generate_private_key(65_537, 2_048),
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP384R1()),
    ):
        with pytest.raises(TrustError, match="kind"):
            parse_certificate(der(forge(ca.key, ca.certificate.subject, key.public_key(), ())))


def test_oversized_certificates_are_not_read() -> None:
    """The limit comes before the parser."""
    for data in (b"\x30" * (MAX_CERTIFICATE_BYTES + 1), pem(Ca().certificate) + b"\n" * MAX_CERTIFICATE_BYTES):
        with pytest.raises(TrustError):
            parse_certificate(data)


def ending_in_10() -> Certificate:
    """An authority whose signature ends in these bits: it can be said to be one bit shorter, and no more."""
    return next(made for made in iter(lambda: Ca().certificate, None) if made.signature[-1] % 4 == 2)


_AUTHORITY = ending_in_10()
_CERTIFICATE = der(_AUTHORITY)
# How many bits of the last byte are not the signature's: that alone is not signed and can be said in two ways.
_UNUSED_BITS = len(_CERTIFICATE) - len(_AUTHORITY.signature) - 1


@given(st.integers(0, len(_CERTIFICATE) - 1), st.integers(1, 255), st.booleans())
@example(15, 128, False)  # a serial number below 0
@example(_UNUSED_BITS, 1, False)
def test_a_changed_certificate_is_refused_or_not_the_same(place: int, change: int, cut: bool) -> None:
    """Any byte changed, or the rest cut off: it cannot be read, or it is no authority, or the very same one in other words; nothing
    else is ever raised."""
    data = bytearray(_CERTIFICATE)
    data[place] ^= change
    if (place, change, cut) == (_UNUSED_BITS, 1, False):
        read = parse_certificate(bytes(data))
        assert check_authority(read) == check_authority(_AUTHORITY)
        assert (read.tbs_certificate_bytes, read.signature) == (_AUTHORITY.tbs_certificate_bytes, _AUTHORITY.signature)
        return
    with pytest.raises(TrustError):
        check_authority(parse_certificate(bytes(data[:place] if cut else data)))


def test_odd_certificates_write_nothing_to_the_terminal(tmp_path: Path) -> None:
    """Names and countries of lengths that are not allowed, and a serial number below 0, in a process with Python's own filters."""
    key = make_key()
    odd = [*(("COMMON_NAME", "x" * length) for length in (0, 65, 66)), ("COUNTRY_NAME", "y"), ("COUNTRY_NAME", "yyy")]
    files = []
    for number, (kind, value) in enumerate(odd):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name = x509.Name([x509.NameAttribute(getattr(NameOID, kind), value, _validate=False)])
        signed = forge(key, name, key.public_key(), (), subject=name)
        files.append(tmp_path / str(number))
        files[-1].write_bytes(der(signed))
    negative = bytearray(_CERTIFICATE)
    negative[15] ^= 128
    files.append(tmp_path / "negative")
    files[-1].write_bytes(bytes(negative))
    script = """
import pathlib, sys
from edgenode.errors import TrustError
from edgenode.trust.certificates import check_authority, parse_certificate, subject_name
for path in sys.argv[1:]:
    try:
        read = parse_certificate(pathlib.Path(path).read_bytes())
        subject_name(read)
        check_authority(read)
    except TrustError:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == ""
    assert done.stdout.split() == ["refused"] * len(files)


@given(st.binary(max_size=300))
def test_garbage_is_no_certificate(data: bytes) -> None:
    """Bytes that are none end in the two sentences, for certificates and for requests."""
    for read in (parse_certificate, requested_key):
        with pytest.raises(TrustError):
            read(data)
        with pytest.raises(TrustError):
            read(b"-----BEGIN CERTIFICATE-----\n" + data)


def test_a_request_proves_its_key() -> None:
    """The key comes out of a whole request; with one byte of the signature changed nothing does."""
    key = make_key()
    request = make_request(key)
    assert fingerprint(requested_key(request)) == fingerprint(key.public_key())
    with pytest.raises(TrustError):
        requested_key(request[:-1] + bytes([request[-1] ^ 1]))
    with pytest.raises(TrustError):
        requested_key(request + b"\x00" * MAX_CERTIFICATE_BYTES)


def test_a_request_for_another_kind_of_key_is_refused() -> None:
    """An authority signs P-256 keys alone."""
    key = rsa.generate_private_key(65_537, 2_048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(TrustError):
        requested_key(der(request))  # type: ignore[arg-type]  # has public_bytes as well


def test_placeholders_do_not_end() -> None:
    """A device whose clock says 2001 or 2099 can still be asked what its clock says."""
    placeholder = make_placeholder(make_key())
    assert placeholder.not_valid_before_utc.year == 2000
    assert placeholder.not_valid_after_utc.year > 2800
