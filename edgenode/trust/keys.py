"""Private keys, and the identities that are made of them. P-256 throughout: Ed25519 leaf certificates fail in gRPC's handshake,
and RSA-2048 costs three times as much."""

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgenode.errors import TrustError
from edgenode.home import write_private

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


def load_or_make_key(path: Path) -> PrivateKey:
    """The key kept in `path`, made and written there (readable by its owner alone) when there is none.

    Raises `TrustError` for a key that is damaged, of another kind or readable by others, and `HomeError` when it cannot be written.
    """
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            raise TrustError(
                f"The private key {path} can be read by other users of this machine. If nobody has, run: chmod 600 {path}. "
                "Otherwise delete it and pair again."
            )
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        key = make_key()
        write_private(path, key_pem(key).decode("ascii"))
        return key
    except OSError as error:
        raise TrustError(f"The private key {path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"The private key {path} is damaged. Delete it to get a new identity, and pair again.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TrustError(
            f"The private key {path} is not of the kind used here (P-256). Delete it to get a new one, and pair again."
        )
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
