"""The messages of pairing and renewal as plain values. pairing.proto says who sends which when."""

import dataclasses
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edgenode.types import AuthorityId, NodeId

NONCE_BYTES: Final = 32
# ECDSA over P-256 in DER: two numbers of 33 bytes at most, and what says so.
MAX_SIGNATURE_BYTES: Final = 72


class SecretKind(StrEnum):
    """What the shared secret is that the two sides prove to know."""

    CODE = "code"
    LOCAL = "local"
    INVITE = "invite"


class RefusalReason(StrEnum):
    """Why a side ends it. The comments in pairing.proto say what each means."""

    UNSPECIFIED = "unspecified"
    WINDOW_CLOSED = "window_closed"
    BACKING_OFF = "backing_off"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - the name of a reason
    REMOVED = "removed"
    NOT_PAIRED = "not_paired"
    BUSY = "busy"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a node claims to be. `name` and `version` are clean lines: both sides hash them as they are."""

    id: NodeId
    name: str
    version: str
    time: float
    """Seconds since 1970 by the node's clock."""
    window_open: bool
    invited_by: tuple[AuthorityId, ...] = ()
    invitation: str = ""
    """The id in the token that it was given, as in `edgenode.trust.token.Invite`."""


@dataclass(frozen=True, slots=True)
class Begin:
    secret: SecretKind
    authority: bytes
    """DER of the certificate of the coordinator's authority."""
    pake: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    pake: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    confirmation: bytes


@dataclass(frozen=True, slots=True)
class Renew:
    authority: AuthorityId
    nonce: bytes
    """`NONCE_BYTES` random bytes, new each time."""


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """`request` is the DER of a PKCS #10 request. `confirmation` is empty in renewal (below too), `signature` in pairing."""

    request: bytes
    confirmation: bytes = b""
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    certificate: bytes
    """DER."""
    confirmation: bytes = b""


@dataclass(frozen=True, slots=True)
class Done:
    """The node has kept its certificate. `signature` is by its key, over all that was said."""

    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Refused:
    """Instead of the next frame: whoever sends it is finished. `retry_after` is in seconds, 0 where waiting does not help."""

    reason: RefusalReason
    message: str
    retry_after: float = 0.0


PairingFrame = Introduction | Begin | Answer | Proof | Renew | CertificateRequest | IssuedCertificate | Done | Refused


def frame_bytes(frame: PairingFrame) -> bytes:
    """The one spelling of a frame that both sides' proofs cover. No two frames share one: every part comes after its length.

    Not protobuf's, which may spell one message in several ways.
    """
    parts = [type(frame).__name__.encode("ascii")]
    parts += [_spell(getattr(frame, field.name)) for field in dataclasses.fields(frame)]
    return _join(parts)


def _spell(value: object) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return value.encode("utf-8")
        case bool():
            return b"\x01" if value else b"\x00"
        case float():
            return struct.pack(">d", value)
        case tuple():
            return _join([_spell(each) for each in value])
        case _:
            raise AssertionError(f"no spelling for {value!r}")


def _join(parts: list[bytes]) -> bytes:
    joined = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return struct.pack(">I", len(parts)) + joined
