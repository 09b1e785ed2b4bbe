"""The machines of pairing and renewal against each other, with nobody and with somebody in between."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgenode.errors import HomeError, PairingError
from edgenode.trust import certificates
from edgenode.trust.certificates import Certificate, Role
from edgenode.trust.frames import (
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
from edgenode.trust.keys import PublicKey
from edgenode.trust.pairing import CoordinatorPairing, CoordinatorRenewal
from edgenode.trust.pairing_machine import Machine, PairingStopped, explain
from edgenode.types import NodeId
from tests.pairing_parts import Anna, Policy, meet

CODE = "12345678"
ANNA = Anna()
MALLORY = Anna("anna@laptop")
CLOSED = Refused(RefusalReason.WINDOW_CLOSED, "closed")


@pytest.mark.parametrize("kind", SecretKind)
def test_two_that_share_a_secret_are_paired(kind: SecretKind) -> None:
    """Both end with the same certificate, for the node's own key, by the authority that proved the secret."""
    policy = Policy(b"secret")
    coordinator, node = ANNA.pairing(b"secret", kind, policy.id), policy.machine()
    meet(coordinator, node)
    assert coordinator.finished
    assert node.finished
    assert coordinator.result is not None
    assert node.result is not None
    assert (coordinator.result.id, coordinator.result.name) == (policy.id, "kitchen-pi")
    assert coordinator.result.leaf == node.result.leaf
    assert (node.result.authority, node.result.via) == (ANNA.certificate, kind)
    peer = certificates.identify(node.result.leaf, ANNA.certificate)
    assert (peer.role, peer.id) == (Role.NODE, policy.id)


def test_a_wrong_secret_is_refused_before_the_node_proves_anything() -> None:
    """The node answers the coordinator's wrong proof with a refusal, and with nothing made with the secret."""
    node = Policy(b"secret").machine()
    sent: list[PairingFrame] = []

    def watch(frame: PairingFrame) -> PairingFrame:
        sent.append(frame)
        return frame

    with pytest.raises(PairingStopped) as stopped:
        meet(ANNA.pairing("00000000"), node, to_coordinator=watch)
    assert stopped.value.refusal.reason is RefusalReason.WRONG_SECRET
    assert not stopped.value.told
    assert [type(frame) for frame in sent] == [Introduction, Answer]
    assert node.result is None


def test_a_secret_of_another_kind_is_another_secret() -> None:
    """The digits of a code do not open what a file's secret opens."""
    coordinator, node = ANNA.pairing(CODE, SecretKind.CODE), Policy(CODE.encode()).machine()

    def relabelled(frame: PairingFrame) -> PairingFrame:
        return replace(frame, secret=SecretKind.LOCAL) if isinstance(frame, Begin) else frame

    with pytest.raises(PairingStopped) as stopped:
        meet(coordinator, node, to_node=relabelled)
    assert stopped.value.refusal.reason is RefusalReason.WRONG_SECRET


def other_request(frame: CertificateRequest) -> CertificateRequest:
    return replace(frame, request=certificates.make_request(ec.generate_private_key(ec.SECP256R1())))


TAMPERED: dict[str, tuple[type[PairingFrame], Callable[..., PairingFrame]]] = {
    "name": (Introduction, lambda frame: replace(frame, name="hall-pi")),
    "clock": (Introduction, lambda frame: replace(frame, time=0.0)),
    "id": (Introduction, lambda frame: replace(frame, id=NodeId("0" * 32))),
    "authority": (Begin, lambda frame: replace(frame, authority=certificates.der(MALLORY.certificate))),
    "begin": (Begin, lambda frame: replace(frame, pake=frame.pake[:-1] + bytes([frame.pake[-1] ^ 1]))),
    "answer": (Answer, lambda frame: replace(frame, pake=frame.pake[:-1] + bytes([frame.pake[-1] ^ 1]))),
    "proof": (Proof, lambda frame: Proof(bytes(32))),
    "request": (CertificateRequest, other_request),
    "request's proof": (CertificateRequest, lambda frame: replace(frame, confirmation=bytes(32))),
    "request without proof": (CertificateRequest, lambda frame: replace(frame, confirmation=b"")),
    "leaf": (
        IssuedCertificate,
        lambda frame: replace(frame, certificate=certificates.der(MALLORY.leaf(Role.NODE))),
    ),
    "leaf without proof": (IssuedCertificate, lambda frame: replace(frame, confirmation=b"")),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_whoever_changes_anything_in_between_breaks_it(what: str) -> None:
    """Any one thing changed on its way, and the node keeps nothing and the coordinator has no node."""
    kind, change = TAMPERED[what]
    coordinator, node = ANNA.pairing(CODE), Policy(CODE.encode()).machine()
    changed: list[PairingFrame] = []

    def between(frame: PairingFrame) -> PairingFrame:
        if not isinstance(frame, kind):
            return frame
        changed.append(frame)
        return change(frame)

    with pytest.raises(PairingStopped):
        meet(coordinator, node, between, between)
    assert changed
    assert node.result is None
    assert coordinator.result is None


def issue_other_key(_: PublicKey) -> Certificate:
    return ANNA.leaf(Role.NODE)


def issue_other_role(key: PublicKey) -> Certificate:
    return certificates.issue(ANNA.certificate, ANNA.key, key, Role.COORDINATOR, certificates.now_utc())


@pytest.mark.parametrize("sign", [MALLORY.sign, issue_other_key, issue_other_role])
def test_a_node_keeps_no_certificate_that_is_not_right(sign: Callable[[PublicKey], Certificate]) -> None:
    """By another authority, for another key or another role: refused even if the coordinator itself sent it."""
    node = Policy(CODE.encode()).machine()
    with pytest.raises(PairingStopped) as stopped:
        meet(CoordinatorPairing(SecretKind.CODE, CODE.encode(), ANNA.certificate, sign), node)
    assert stopped.value.refusal.reason is RefusalReason.INVALID
    assert node.result is None


def test_a_coordinator_signs_no_key_but_the_nodes() -> None:
    """A node that knows the code and asks for a certificate of another key gets none."""
    policy = Policy(CODE.encode())
    node, coordinator = policy.machine(), ANNA.pairing(CODE)
    policy.key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(PairingStopped, match="not its own"):
        meet(coordinator, node)
    assert coordinator.result is None


def test_a_coordinator_pairs_only_whom_it_means() -> None:
    """Another device at the address of a known one is told off before anything is said to it."""
    with pytest.raises(PairingStopped, match="Another device"):
        meet(ANNA.pairing(CODE, expect=NodeId("0" * 32)), Policy(CODE.encode()).machine())


def test_a_leaf_is_no_authority() -> None:
    """A coordinator that shows a certificate which may not sign is refused."""
    leaf = ANNA.leaf()
    with pytest.raises(PairingStopped, match="authority"):
        meet(CoordinatorPairing(SecretKind.CODE, CODE.encode(), leaf, ANNA.sign), Policy(CODE.encode()).machine())


@pytest.mark.parametrize("later", [CLOSED, b"87654321"])
def test_a_window_that_ends_meanwhile_takes_no_proof(later: bytes | Refused) -> None:
    """Closed or opened with another code between beginning and proof: even the right proof is not answered."""
    policy = Policy(CODE.encode())
    node, coordinator = policy.machine(), ANNA.pairing(CODE)

    def close(frame: PairingFrame) -> PairingFrame:
        if isinstance(frame, Proof):
            policy.known = later
        return frame

    with pytest.raises(PairingStopped) as stopped:
        meet(coordinator, node, to_node=close)
    assert stopped.value.refusal.reason is RefusalReason.WINDOW_CLOSED


def test_recorded_frames_are_worth_nothing() -> None:
    """What a coordinator sent in a pairing that went well is refused when it is sent to the same node again."""
    policy, recorded = Policy(CODE.encode()), list[PairingFrame]()

    def record(frame: PairingFrame) -> PairingFrame:
        recorded.append(frame)
        return frame

    meet(ANNA.pairing(CODE), policy.machine(), to_node=record)
    node = policy.machine()
    node.start()
    node.receive(recorded[0])
    with pytest.raises(PairingStopped) as stopped:
        node.receive(recorded[1])
    assert stopped.value.refusal.reason is RefusalReason.WRONG_SECRET


def test_a_proof_sent_back_proves_nothing() -> None:
    """A device without the secret that returns the coordinator's own proof is not believed."""
    coordinator, node = ANNA.pairing(CODE), Policy(CODE.encode()).machine()
    (begin,) = coordinator.receive(node.start()[0])
    (answer,) = node.receive(begin)
    (proof,) = coordinator.receive(answer)
    assert isinstance(proof, Proof)
    with pytest.raises(PairingStopped, match="did not prove"):
        coordinator.receive(CertificateRequest(Policy(b"").request(), proof.confirmation))


def frames() -> list[PairingFrame]:
    """One of each kind, well formed."""
    node = Policy(b"")
    return [
        node.machine().start()[0],
        Begin(SecretKind.CODE, certificates.der(ANNA.certificate), b"A" + bytes(32)),
        Answer(b"B" + bytes(32)),
        Proof(bytes(32)),
        Renew(ANNA.id, bytes(32)),
        CertificateRequest(node.request()),
        IssuedCertificate(certificates.der(ANNA.leaf(Role.NODE))),
        Done(),
    ]


def receive_thrice(machine: Machine, frame: PairingFrame) -> None:
    """It may be the one awaited, but never three times."""
    for _ in range(3):
        machine.receive(frame)


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("index", range(8))
def test_a_frame_out_of_turn_ends_it(after: int, index: int) -> None:
    """Whatever comes when it is not its turn: an INVALID refusal, and then the machine takes nothing any more."""
    frame = frames()[index]
    policy = Policy(CODE.encode(), CLOSED)
    node, coordinator = policy.machine(), ANNA.pairing(CODE)
    to_coordinator, to_node = list(node.start()), list[PairingFrame]()
    for _ in range(after):
        to_node = [answer for one in to_coordinator for answer in coordinator.receive(one)]
        to_coordinator = [answer for one in to_node for answer in node.receive(one)]
    for machine in (node, coordinator):
        if machine.finished:
            continue
        with pytest.raises(PairingStopped) as stopped:
            receive_thrice(machine, frame)
        assert not stopped.value.told
        assert machine.finished
        with pytest.raises(PairingStopped, match="out of turn"):
            machine.receive(Done())


@pytest.mark.parametrize("begun", [True, False])
def test_a_refusal_ends_it_and_is_not_answered(begun: bool) -> None:
    """Whoever is refused is finished, and knows why."""
    coordinator, node = ANNA.pairing(CODE), Policy(CODE.encode()).machine()
    if begun:
        coordinator.receive(node.start()[0])
    for machine in (coordinator, node):
        with pytest.raises(PairingStopped) as stopped:
            machine.receive(Refused(RefusalReason.BACKING_OFF, "wait", 30.0))
        assert stopped.value.told
        assert stopped.value.refusal.retry_after == 30.0
        assert machine.finished


def test_an_error_of_this_side_is_not_told_to_the_other() -> None:
    """A file that cannot be written is named here and not there."""

    def full(_: PublicKey) -> Certificate:
        raise HomeError("/home/anna/authority.json cannot be written.")

    with pytest.raises(PairingStopped, match=r"authority\.json") as stopped:
        meet(CoordinatorPairing(SecretKind.CODE, CODE.encode(), ANNA.certificate, full), Policy(CODE.encode()).machine())
    assert "anna" not in stopped.value.refusal.message


def test_a_renewal_needs_no_secret() -> None:
    """A node that trusts the authority gets another certificate for the same key."""
    policy = Policy(CLOSED, ANNA.certificate)
    coordinator, node = ANNA.renewal(policy.id), policy.machine()
    meet(coordinator, node)
    assert coordinator.result is not None
    assert node.result is not None
    assert node.result.via is None
    assert node.result.leaf == coordinator.result.leaf
    assert certificates.identify(node.result.leaf, ANNA.certificate).id == policy.id


@pytest.mark.parametrize("reason", [RefusalReason.REMOVED, RefusalReason.NOT_PAIRED])
def test_a_stranger_renews_nothing(reason: RefusalReason) -> None:
    """A node that dropped the authority, or never knew it, refuses and says which."""
    policy = Policy(CLOSED, Refused(reason, "no"))
    with pytest.raises(PairingStopped) as stopped:
        meet(ANNA.renewal(policy.id), policy.machine())
    assert stopped.value.refusal.reason is reason


def test_a_renewal_is_for_the_known_key_alone() -> None:
    """Another device, or another key than the known one's, gets nothing; a certificate of another authority is not kept."""
    policy = Policy(CLOSED, ANNA.certificate)
    with pytest.raises(PairingStopped, match="Another device"):
        meet(ANNA.renewal(NodeId("0" * 32)), policy.machine())
    with pytest.raises(PairingStopped, match="not signed by"):
        meet(CoordinatorRenewal(ANNA.certificate, MALLORY.sign, policy.id), policy.machine())
    node, id = policy.machine(), policy.id
    policy.key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(PairingStopped, match="not its own"):
        meet(ANNA.renewal(id), node)


@pytest.mark.parametrize("what", ["nonce", "authority", "name", "signature", "no signature", "request"])
def test_a_renewal_is_signed_for_this_once(what: str) -> None:
    """Whatever is changed on its way, or was said to another question, the coordinator signs nothing."""
    policy = Policy(CLOSED, ANNA.certificate)
    signed = list[PublicKey]()

    def sign(key: PublicKey) -> Certificate:
        signed.append(key)
        return ANNA.sign(key)

    def between(frame: PairingFrame) -> PairingFrame:
        match what, frame:
            case "nonce", Renew():
                return replace(frame, nonce=bytes(32))
            case "authority", Renew():
                return replace(frame, authority=MALLORY.id)
            case "name", Introduction():
                return replace(frame, name="hall-pi")
            case "signature", CertificateRequest():
                return replace(frame, signature=frame.signature[:-1] + bytes([frame.signature[-1] ^ 1]))
            case "no signature", CertificateRequest():
                return replace(frame, signature=b"")
            case "request", CertificateRequest():
                return replace(frame, request=certificates.make_request(policy.key))
        return frame

    coordinator = CoordinatorRenewal(ANNA.certificate, sign, policy.id)
    with pytest.raises(PairingStopped, match="did not prove now"):
        meet(coordinator, policy.machine(), between, between)
    assert signed == []
    assert coordinator.result is None


@pytest.mark.parametrize("reason", RefusalReason)
@pytest.mark.parametrize("kind", [*SecretKind, None])
def test_each_refusal_is_a_sentence(reason: RefusalReason, kind: SecretKind | None) -> None:
    """It names the device, and ends as sentences do."""
    text = explain(Refused(reason, "So it says.", 30.0), "kitchen-pi", kind)
    assert text.startswith(("kitchen-pi ", "That is not the code of kitchen-pi"))
    assert text.endswith(".")
    assert issubclass(PairingStopped, PairingError)
