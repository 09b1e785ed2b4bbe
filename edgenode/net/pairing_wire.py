"""Pairing's frames <-> protobuf. What comes in is capped and cleaned here; nothing of it is believed yet."""

import math
import re
from typing import Final

from edgenode.net.wire import MESSAGE_CHARACTERS, NAME_CHARACTERS, WireError
from edgenode.text import clean_line
from edgenode.trust.certificates import MAX_CERTIFICATE_BYTES
from edgenode.trust.frames import (
    MAX_SIGNATURE_BYTES,
    NONCE_BYTES,
    Answer,
    Begin,
    CertificateRequest,
    Done,
    Introduction,
    IssuedCertificate,
    PairingFrame,
    Proof,
    RefusalReason,
    Refused,
    Renew,
    SecretKind,
)
from edgenode.trust.pake import CONFIRMATION_BYTES, MESSAGE_BYTES
from edgenode.types import AuthorityId, NodeId
from edgenode.v1 import pairing_pb2

MAX_INVITATIONS: Final = 8
VERSION_CHARACTERS: Final = 40
LONGEST_RETRY_SECONDS: Final = 86_400.0


def pairing_frame_to_proto(frame: PairingFrame) -> pairing_pb2.PairingFrame:
    match frame:
        case Introduction():
            return pairing_pb2.PairingFrame(introduction=introduction_to_proto(frame))
        case Begin(secret, authority, pake):
            kind = pairing_pb2.PairingSecret.Value(f"PAIRING_SECRET_{secret.name}")
            return pairing_pb2.PairingFrame(begin=pairing_pb2.PairingBegin(secret=kind, authority=authority, pake=pake))
        case Answer(pake):
            return pairing_pb2.PairingFrame(answer=pairing_pb2.PairingAnswer(pake=pake))
        case Proof(confirmation):
            return pairing_pb2.PairingFrame(proof=pairing_pb2.PairingProof(confirmation=confirmation))
        case Renew(authority_id, nonce):
            return pairing_pb2.PairingFrame(renew=pairing_pb2.PairingRenew(authority_id=authority_id, nonce=nonce))
        case CertificateRequest(request, confirmation, signature):
            asked = pairing_pb2.PairingCertificateRequest(request=request, confirmation=confirmation, signature=signature)
            return pairing_pb2.PairingFrame(request=asked)
        case IssuedCertificate(certificate, confirmation):
            issued = pairing_pb2.PairingCertificate(certificate=certificate, confirmation=confirmation)
            return pairing_pb2.PairingFrame(certificate=issued)
        case Done(signature):
            return pairing_pb2.PairingFrame(done=pairing_pb2.PairingDone(signature=signature))
        case Refused(reason, message, retry_after):
            refusal = pairing_pb2.PairingRefusal(
                reason=pairing_pb2.PairingRefusalReason.Value(f"PAIRING_REFUSAL_REASON_{reason.name}"),
                message=clean_line(message, MESSAGE_CHARACTERS),
                retry_after=retry_after,
            )
            return pairing_pb2.PairingFrame(refusal=refusal)


def pairing_frame_from_proto(message: pairing_pb2.PairingFrame) -> PairingFrame:
    """Raises `WireError` for what breaks a limit, and for a kind that this version does not know: here every frame has its turn."""
    match message.WhichOneof("kind"):
        case "introduction":
            return introduction_from_proto(message.introduction)
        case "begin":
            begin = message.begin
            return Begin(_kind(begin.secret), _sized(begin.authority), _exactly(begin.pake, MESSAGE_BYTES))
        case "answer":
            return Answer(_exactly(message.answer.pake, MESSAGE_BYTES))
        case "proof":
            return Proof(_exactly(message.proof.confirmation, CONFIRMATION_BYTES))
        case "renew":
            return Renew(AuthorityId(_identity(message.renew.authority_id)), _exactly(message.renew.nonce, NONCE_BYTES))
        case "request":
            asked = message.request
            return CertificateRequest(_sized(asked.request), _confirmation(asked.confirmation), _signature(asked.signature))
        case "certificate":
            issued = message.certificate
            return IssuedCertificate(_sized(issued.certificate), _confirmation(issued.confirmation))
        case "done":
            return Done(_signature(message.done.signature))
        case "refusal":
            refusal = message.refusal
            return Refused(
                _reason(refusal.reason),
                clean_line(refusal.message, MESSAGE_CHARACTERS),
                refusal.retry_after if 0.0 <= refusal.retry_after <= LONGEST_RETRY_SECONDS else 0.0,
            )
        case _:
            raise WireError("A message of a kind that is unknown here.")


def introduction_to_proto(introduction: Introduction) -> pairing_pb2.PairingIntroduction:
    return pairing_pb2.PairingIntroduction(
        id=introduction.id,
        name=introduction.name,
        version=introduction.version,
        time=introduction.time,
        window_open=introduction.window_open,
        invited_by=introduction.invited_by,
        invitation_id=introduction.invitation,
    )


def introduction_from_proto(message: pairing_pb2.PairingIntroduction) -> Introduction:
    if len(message.invited_by) > MAX_INVITATIONS:
        raise WireError(f"A device names {len(message.invited_by)} invitations; {MAX_INVITATIONS} is the limit.")
    if not math.isfinite(message.time):
        raise WireError("A device's clock tells no time.")
    return Introduction(
        NodeId(_identity(message.id)),
        clean_line(message.name, NAME_CHARACTERS),
        clean_line(message.version, VERSION_CHARACTERS),
        message.time,
        message.window_open,
        tuple(AuthorityId(_identity(each)) for each in message.invited_by),
        message.invitation_id if re.fullmatch(r"[0-9a-f]{8}", message.invitation_id) else "",
    )


def _identity(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise WireError(f"Not an identity: {clean_line(text, 20)!r}.")
    return text


def _sized(data: bytes) -> bytes:
    if not 0 < len(data) <= MAX_CERTIFICATE_BYTES:
        raise WireError(f"A certificate of {len(data)} bytes; {MAX_CERTIFICATE_BYTES} is the limit.")
    return data


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise WireError(f"A proof of {len(data)} bytes instead of {length}.")
    return data


def _confirmation(data: bytes) -> bytes:
    return _exactly(data, CONFIRMATION_BYTES) if data else b""


def _signature(data: bytes) -> bytes:
    if len(data) > MAX_SIGNATURE_BYTES:
        raise WireError(f"A signature of {len(data)} bytes; {MAX_SIGNATURE_BYTES} is the limit.")
    return data


def _kind(value: pairing_pb2.PairingSecret.ValueType) -> SecretKind:
    known = value in pairing_pb2.PairingSecret.values()
    name = pairing_pb2.PairingSecret.Name(value).removeprefix("PAIRING_SECRET_") if known else ""
    if name not in SecretKind.__members__:
        raise WireError("A secret of a kind that is unknown here.")
    return SecretKind[name]


def _reason(value: pairing_pb2.PairingRefusalReason.ValueType) -> RefusalReason:
    known = value in pairing_pb2.PairingRefusalReason.values()
    name = pairing_pb2.PairingRefusalReason.Name(value).removeprefix("PAIRING_REFUSAL_REASON_") if known else ""
    return RefusalReason[name] if name in RefusalReason.__members__ else RefusalReason.UNSPECIFIED
