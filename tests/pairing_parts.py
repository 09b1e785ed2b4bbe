"""What tests of pairing are made of: a coordinator's authority, a node's desk with a clock turned by hand, a real server."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from edgenode.net.channel import make_pairing_server
from edgenode.net.pairing_desk import PairingDesk
from edgenode.net.pairing_service import PairingService
from edgenode.trust import certificates
from edgenode.trust.certificates import Certificate, Role, now_utc
from edgenode.trust.frames import Introduction, PairingFrame, Refused, SecretKind
from edgenode.trust.keys import PublicKey, fingerprint
from edgenode.trust.pairing import CoordinatorPairing, CoordinatorRenewal, NodePairing
from edgenode.trust.pairing_machine import Machine
from edgenode.trust.store import NodeTrust
from edgenode.trust.token import Invite
from edgenode.trust.window import PairingWindow
from edgenode.types import AuthorityId, EngineState, NodeDescription, NodeId

LOCAL_SECRET = b"L" * 32
# For what must happen, however busy the machine is.
SECONDS = 120.0

Between = Callable[[PairingFrame], PairingFrame]


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Anna:
    """A coordinator's authority."""

    def __init__(self, name: str = "anna@laptop") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = certificates.make_authority(self.key, name, now_utc())
        self.id = certificates.authority_id(self.certificate)

    def sign(self, key: PublicKey) -> Certificate:
        return certificates.issue(self.certificate, self.key, key, Role.NODE, now_utc())

    def leaf(self, role: Role = Role.COORDINATOR, made: datetime | None = None) -> Certificate:
        own = ec.generate_private_key(ec.SECP256R1())
        return certificates.issue(self.certificate, self.key, own.public_key(), role, made or now_utc())

    def pairing(self, secret: str | bytes, kind: SecretKind = SecretKind.CODE, expect: NodeId | None = None) -> CoordinatorPairing:
        known = secret.encode("ascii") if isinstance(secret, str) else secret
        return CoordinatorPairing(kind, known, self.certificate, self.sign, expect)

    def renewal(self, expect: NodeId) -> CoordinatorRenewal:
        return CoordinatorRenewal(self.certificate, self.sign, expect)

    def invite(self) -> Invite:
        return Invite(self.id, "0123abcd", b"I" * 16)


@dataclass
class Desk:
    """A node's desk, and what it stands on."""

    desk: PairingDesk
    trust: NodeTrust
    window: PairingWindow
    clock: Clock
    reports: list[str] = field(default_factory=list)

    @property
    def id(self) -> NodeId:
        return self.trust.id


def make_desk(home: Path, *, invite: Invite | None = None, patience: float = SECONDS, seconds: float = SECONDS) -> Desk:
    """`patience` and `seconds` are those of `converse`; by default no silence here is too long."""
    trust, window, clock, reports = NodeTrust(home), PairingWindow(), Clock(), list[str]()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    description = NodeDescription(trust.id, "kitchen-pi", "0.1", "deterministic", EngineState.READY, (), 4)
    desk = PairingDesk(
        trust,
        window,
        lambda: description,
        LOCAL_SECRET,
        reports.append,
        invite=invite,
        clock=clock,
        patience=patience,
        seconds=seconds,
    )
    return Desk(desk, trust, window, clock, reports)


@asynccontextmanager
async def served(desk: PairingDesk) -> AsyncIterator[str]:
    """A pairing server on loopback; gives the address of the work port that it would stand beside."""
    tls = make_pairing_server(desk.trust.placeholder_tls())
    PairingService(desk).add_to(tls.server)
    port = tls.listen("127.0.0.1:0")
    await tls.start()
    try:
        yield f"127.0.0.1:{port - 1}"
    finally:
        await tls.stop(grace=None)


class Policy:
    """A node's policy that knows one secret and trusts what it is told to."""

    def __init__(self, secret: bytes | Refused, trusted: Certificate | Refused | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.known = secret
        self.authority = trusted
        self.checked: list[bool] = []

    @property
    def id(self) -> NodeId:
        return NodeId(fingerprint(self.key.public_key()))

    def secret(self, kind: SecretKind, authority: AuthorityId) -> bytes | Refused:
        return self.known

    def proved(self, kind: SecretKind, right: bool) -> None:
        self.checked.append(right)

    def trusted(self, authority: AuthorityId) -> Certificate | Refused:
        assert self.authority is not None
        return self.authority

    def request(self) -> bytes:
        return certificates.make_request(self.key)

    def machine(self) -> NodePairing:
        return NodePairing(Introduction(self.id, "kitchen-pi", "0.1", 1_700_000_000.5, True), self)


def same_frame(frame: PairingFrame) -> PairingFrame:
    return frame


def meet(coordinator: Machine, node: Machine, to_node: Between = same_frame, to_coordinator: Between = same_frame) -> None:
    """Runs two machines against each other; whoever stands in between may change what passes."""
    waiting = list(node.start())
    while waiting:
        answers = [answer for frame in waiting for answer in coordinator.receive(to_coordinator(frame))]
        waiting = [answer for frame in answers for answer in node.receive(to_node(frame))]
