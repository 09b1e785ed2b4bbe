"""Pairing and renewal as machines without a network: a frame comes in, frames to send come out. Who sends what when stands in
pairing.proto.

Pairing proves a shared secret both ways by SPAKE2. Who the two sides are (the authority's certificate, the node's id) goes into the
exchange, and each proof covers all frames before it and what it comes with (the node's request, the certificate issued): whoever
stands in between and changes anything breaks the proofs. The coordinator proves first, so that a stranger learns from a node only
whether his one guess was right, which is counted.

Renewal needs no secret. The node signs what was said, with a number in it that the coordinator has just made up, by the key that
the authority knows already; what comes back is believed because that authority signed it for that key. Whoever stands in between
can only be in the way, and what he recorded is worth nothing.

At the end of both the node signs all that was said, its certificate included: the coordinator believes nobody else that it came.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from edgenode.errors import PairingError
from edgenode.trust import certificates
from edgenode.trust.certificates import Certificate, Role
from edgenode.trust.frames import (
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
from edgenode.trust.keys import PrivateKey, PublicKey, fingerprint, sign, signed
from edgenode.trust.pairing_machine import Machine, PairingStopped, Turn, explain, out_of_turn
from edgenode.trust.pake import Label, Pake, same
from edgenode.types import AuthorityId, NodeId

Known = TypeVar("Known")
Sign = Callable[[PublicKey], Certificate]
"""Gives a node's certificate for a key, signed by the authority."""


@dataclass(frozen=True, slots=True)
class Paired:
    """What a coordinator has when it is done: a node that proved its key, and the certificate it was given."""

    id: NodeId
    name: str
    leaf: Certificate


@dataclass(frozen=True, slots=True)
class Granted:
    """What a node is to keep. `via` is how it was paired, None for a renewal."""

    authority: Certificate
    leaf: Certificate
    via: SecretKind | None


class NodePolicy(Protocol):
    """What a node's machine asks while it runs."""

    def secret(self, kind: SecretKind, authority: AuthorityId) -> bytes | Refused:
        """The secret that this authority may prove now. Asked when it begins and again when it has proved."""

    def proved(self, kind: SecretKind, right: bool) -> None:
        """A proof was checked. Called before anything else can happen, so that what is counted here is counted in time."""

    def trusted(self, authority: AuthorityId) -> Certificate | Refused:
        """The certificate of a trusted authority, which may renew."""

    @property
    def key(self) -> PrivateKey:
        """The node's own."""


class _Coordinator(Machine):
    """The coordinator's end of pairing and of renewal, which differ in how they begin."""

    def __init__(self, authority: Certificate, sign: Sign, expect: NodeId | None) -> None:
        super().__init__(Turn.INTRODUCTION)
        self._authority = authority
        self._sign = sign
        self._expect = expect
        self._leaf: Certificate | None = None
        self.introduction: Introduction | None = None
        """What the node claims to be, once it has."""
        self.result: Paired | None = None

    def _meet(self, introduction: Introduction) -> None:
        if self._expect is not None and introduction.id != self._expect:
            raise PairingError("Another device answers there than the one that is meant.")
        self.introduction = introduction
        self._said.add(introduction)

    def _issue(self, asked: CertificateRequest) -> IssuedCertificate:
        """Signs the key that asked, if it is the one that the node's id is made of."""
        assert self.introduction is not None, "met"
        self._said.add(asked)
        key = certificates.requested_key(asked.request)
        if fingerprint(key) != self.introduction.id:
            raise PairingError("The device asked for a certificate for a key that is not its own.")
        self._leaf = self._sign(key)
        return IssuedCertificate(certificates.der(self._leaf))

    def _give(self, issued: IssuedCertificate) -> tuple[Turn, tuple[PairingFrame, ...]]:
        self._said.add(issued)
        return Turn.DONE, (issued,)

    def _finish(self, done: Done) -> tuple[Turn, tuple[PairingFrame, ...]]:
        assert self.introduction is not None, "met"
        assert self._leaf is not None, "issued"
        if not signed(certificates.public_key(self._leaf), done.signature, self._said.labelled(Label.DONE)):
            raise PairingError("The device did not prove that its certificate came: somebody may stand in between.")
        self.result = Paired(self.introduction.id, self.introduction.name, self._leaf)
        return Turn.OVER, ()

    def _in_words(self, refusal: Refused) -> str:
        return explain(refusal, self.introduction.name if self.introduction else "", None)


class CoordinatorPairing(_Coordinator):
    """Pairs the node at the other end, if it knows the secret. `secret` is the code's digits, or the bytes of a file or a token;
    `expect` is the node that is meant, if it is known already."""

    def __init__(self, kind: SecretKind, secret: bytes, authority: Certificate, sign: Sign, expect: NodeId | None = None) -> None:
        super().__init__(authority, sign, expect)
        self._kind = kind
        self._secret = secret
        self._pake: Pake | None = None
        self._key = b""

    def _take(self, turn: Turn, frame: PairingFrame) -> tuple[Turn, tuple[PairingFrame, ...]]:
        match turn, frame:
            case Turn.INTRODUCTION, Introduction(id):
                self._meet(frame)
                authority = certificates.der(self._authority)
                self._pake = Pake.of_coordinator(*_exchange(self._kind, self._secret, authority, id))
                begin = Begin(self._kind, authority, self._pake.message)
                self._said.add(begin)
                return Turn.ANSWER, (begin,)
            case Turn.ANSWER, Answer(pake):
                assert self._pake is not None, "begun"
                self._key = self._pake.finish(pake)
                self._said.add(frame)
                proof = Proof(self._said.confirm(self._key, Label.COORDINATOR))
                self._said.add(proof)
                return Turn.REQUEST, (proof,)
            case Turn.REQUEST, CertificateRequest(request, confirmation):
                if not same(self._said.confirm(self._key, Label.NODE, CertificateRequest(request)), confirmation):
                    why = "The device did not prove that it knows the secret: somebody may stand in between."
                    raise PairingStopped(Refused(RefusalReason.WRONG_SECRET, why))
                issued = self._issue(frame)
                return self._give(replace(issued, confirmation=self._said.confirm(self._key, Label.CERTIFICATE, issued)))
            case Turn.DONE, Done():
                return self._finish(frame)
            case _:
                raise out_of_turn(frame)

    def _in_words(self, refusal: Refused) -> str:
        return explain(refusal, self.introduction.name if self.introduction else "", self._kind)


class CoordinatorRenewal(_Coordinator):
    """Gives the node `expect`, which was paired before, another certificate for the same key. Whether it may have one is for the
    caller to know."""

    def __init__(self, authority: Certificate, sign: Sign, expect: NodeId) -> None:
        super().__init__(authority, sign, expect)

    def _take(self, turn: Turn, frame: PairingFrame) -> tuple[Turn, tuple[PairingFrame, ...]]:
        match turn, frame:
            case Turn.INTRODUCTION, Introduction():
                self._meet(frame)
                renew = Renew(certificates.authority_id(self._authority), secrets.token_bytes(NONCE_BYTES))
                self._said.add(renew)
                return Turn.REQUEST, (renew,)
            case Turn.REQUEST, CertificateRequest(request, b"", signature):
                data = self._said.labelled(Label.RENEWAL, CertificateRequest(request))
                if not signed(certificates.requested_key(request), signature, data):
                    raise PairingError("The device did not prove now that it holds its key.")
                return self._give(self._issue(frame))
            case Turn.DONE, Done():
                return self._finish(frame)
            case _:
                raise out_of_turn(frame)


class NodePairing(Machine):
    """The node's end of both. Once there is a `result` it is to be kept before what `receive` returned is sent."""

    def __init__(self, introduction: Introduction, policy: NodePolicy) -> None:
        super().__init__(Turn.BEGIN)
        self._introduction = introduction
        self._policy = policy
        self._authority: Certificate | None = None
        self._secret = b""
        self._key = b""
        self.kind: SecretKind | None = None
        """What secret the coordinator proves; None before it has begun, and in a renewal."""
        self.result: Granted | None = None

    def start(self) -> tuple[PairingFrame, ...]:
        self._said.add(self._introduction)
        return (self._introduction,)

    def _take(self, turn: Turn, frame: PairingFrame) -> tuple[Turn, tuple[PairingFrame, ...]]:
        match turn, frame:
            case Turn.BEGIN, Begin():
                return Turn.PROOF, (self._begin(frame),)
            case Turn.BEGIN, Renew(authority):
                self._authority = _or_stop(self._policy.trusted(authority))
                self._said.add(frame)
                asked = CertificateRequest(certificates.make_request(self._policy.key))
                asked = replace(asked, signature=sign(self._policy.key, self._said.labelled(Label.RENEWAL, asked)))
                self._said.add(asked)
                return Turn.CERTIFICATE, (asked,)
            case Turn.PROOF, Proof():
                return Turn.CERTIFICATE, (self._check_proof(frame),)
            case Turn.CERTIFICATE, IssuedCertificate(certificate, confirmation):
                if not same(self._expected(frame), confirmation):
                    why = "The certificate is not from the coordinator that proved the secret: somebody may stand in between."
                    raise PairingStopped(Refused(RefusalReason.INVALID, why))
                leaf = self._check_leaf(certificate)
                self._said.add(frame)
                done = Done(sign(self._policy.key, self._said.labelled(Label.DONE)))
                self.result = Granted(self._known(), leaf, self.kind)
                return Turn.OVER, (done,)
            case _:
                raise out_of_turn(frame)

    def _begin(self, begin: Begin) -> Answer:
        authority = certificates.parse_certificate(begin.authority)
        id = certificates.check_authority(authority)
        self.kind = begin.secret
        self._authority = authority
        self._secret = _or_stop(self._policy.secret(begin.secret, id))
        pake = Pake.of_node(*_exchange(begin.secret, self._secret, begin.authority, self._introduction.id))
        self._key = pake.finish(begin.pake)
        answer = Answer(pake.message)
        self._said.add(begin)
        self._said.add(answer)
        return answer

    def _check_proof(self, proof: Proof) -> CertificateRequest:
        assert self.kind is not None, "begun"
        # Asked again: since it began the window may have ended or been used up, and then no guess is answered any more.
        if not same(_or_stop(self._policy.secret(self.kind, certificates.authority_id(self._known()))), self._secret):
            raise PairingStopped(Refused(RefusalReason.WINDOW_CLOSED, "The device has another code by now."))
        right = same(self._said.confirm(self._key, Label.COORDINATOR), proof.confirmation)
        self._policy.proved(self.kind, right)
        if not right:
            raise PairingStopped(Refused(RefusalReason.WRONG_SECRET, "That is not the secret which this device knows."))
        self._said.add(proof)
        request = certificates.make_request(self._policy.key)
        asked = CertificateRequest(request, self._said.confirm(self._key, Label.NODE, CertificateRequest(request)))
        self._said.add(asked)
        return asked

    def _expected(self, issued: IssuedCertificate) -> bytes:
        if self.kind is None:
            return b""
        return self._said.confirm(self._key, Label.CERTIFICATE, IssuedCertificate(issued.certificate))

    def _check_leaf(self, data: bytes) -> Certificate:
        leaf = certificates.parse_certificate(data)
        peer = certificates.identify(leaf, self._known())
        if peer.role is not Role.NODE or peer.id != self._introduction.id:
            raise PairingError("The certificate that came is not for this device.")
        return leaf

    def _known(self) -> Certificate:
        assert self._authority is not None, "begun"
        return self._authority


def _exchange(kind: SecretKind, secret: bytes, authority: bytes, node: NodeId) -> tuple[bytes, bytes, bytes]:
    """Secret and identities for SPAKE2. The authority is bound by the hash of its whole certificate, name included."""
    return kind.encode("ascii") + b":" + secret, hashlib.sha256(authority).digest(), node.encode("ascii")


def _or_stop(answer: Known | Refused) -> Known:
    if isinstance(answer, Refused):
        raise PairingStopped(answer)
    return answer
