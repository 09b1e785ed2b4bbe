"""Private keys, and the identities that are made of them. P-256 throughout: Ed25519 leaf certificates fail in gRPC's handshake,
and RSA-2048 costs three times as much."""

import hashlib
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgenode.errors import TrustError
from edgenode.home import write_private
from edgenode.trust.private import read_private

MAX_KEY_BYTES: Final = 16_384

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


def load_or_make_key(path: Path, remedy: str = "") -> PrivateKey:
    """The key kept in `path`, made and written there (readable by its owner alone) when there is none. `remedy` says what to do
    about one that cannot be used, by default for a node's.

    Raises `TrustError` for a key that is damaged, of another kind, or not a file of this user alone, and `HomeError` when it cannot be
    written.
    """
    remedy = remedy or "delete it to get a new identity, and pair again"
    try:
        key = serialization.load_pem_private_key(read_private(path, MAX_KEY_BYTES), password=None)
    except FileNotFoundError:
        key = make_key()
        write_private(path, key_pem(key).decode("ascii"))
        return key
    except OSError as error:
        raise TrustError(f"The private key {path} cannot be read: {error.strerror}.") from error
    except TrustError as error:
        raise TrustError(
            f"The private key {path} is not safe ({error}). If nobody else has it, make it yours alone (chmod 600 {path}). "
            f"Otherwise {remedy}."
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"The private key {path} is damaged: {remedy}.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TrustError(f"The private key {path} is not of the kind used here (P-256): {remedy}.")
    return key


def make_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def sign(key: PrivateKey, data: bytes) -> bytes:
    """ECDSA with SHA-256, as DER. `data` begins with what it is signed for, so that no signature is good for anything else."""
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def signed(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """Whether `signature` is one of `data` by the holder of `key`."""
    try:
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def fingerprint(key: PublicKey) -> str:
    """The identity of a key: the first 32 hex digits of the SHA-256 of its SubjectPublicKeyInfo."""
    info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()[:32]
