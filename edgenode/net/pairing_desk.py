"""Where a node decides whom it pairs with, whichever side dialled: counts tries, keeps what was granted, and tells its owner."""

import hmac
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final

from edgenode.errors import EdgenodeError, HomeError, TrustError
from edgenode.net.once import LogOnce
from edgenode.net.pairing_session import EXCHANGE_SECONDS, PATIENCE_SECONDS, Send, converse
from edgenode.net.pairing_wire import VERSION_CHARACTERS
from edgenode.net.wire import NAME_CHARACTERS
from edgenode.text import clean_line
from edgenode.trust.certificates import Certificate, now_utc, subject_name
from edgenode.trust.frames import Introduction, PairingFrame, RefusalReason, Refused, SecretKind
from edgenode.trust.keys import PrivateKey
from edgenode.trust.pairing import Granted, NodePairing
from edgenode.trust.pairing_machine import PairingStopped
from edgenode.trust.store import NodeTrust
from edgenode.trust.token import Invite
from edgenode.trust.verdict import Verdict
from edgenode.trust.window import TRIES, PairingWindow
from edgenode.types import AuthorityId, NodeDescription

BUSY_SECONDS: Final = 5.0
# Pairings that one host may begin in a window without ever trying a code: a bad connection breaks a few.
ABANDONED: Final = 10
ABANDONED_HOSTS: Final = 64

logger = logging.getLogger(__name__)

_VERDICTS: Final = {
    Verdict.UNKNOWN_AUTHORITY: "wants to connect and is not trusted here. To pair it: `edgenode pair` here, and its code there.",
    Verdict.EXPIRED: "has a certificate that has expired. It makes a new one by itself, unless a clock is wrong.",
    Verdict.NOT_YET_VALID: "has a certificate that is not valid yet by the clock of this device: set both clocks.",
    Verdict.WRONG_ROLE: "shows the certificate of a node, which may not give work.",
    Verdict.OWN_EXPIRED: "cannot connect because this device's certificate for it is not valid now; it will renew it.",
}


class PairingDesk:
    """One node's. `local_secret` is what its running file holds, `report` tells the owner a sentence, `invite` was given at the
    start, `clock` is what the window's times are measured by, in seconds, and `now` is the date.
    """

    def __init__(
        self,
        trust: NodeTrust,
        window: PairingWindow,
        describe: Callable[[], NodeDescription],
        local_secret: bytes,
        report: Callable[[str], None],
        *,
        invite: Invite | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = now_utc,
        patience: float = PATIENCE_SECONDS,
        seconds: float = EXCHANGE_SECONDS,
    ) -> None:
        self.trust = trust
        self.window = window
        self.local_secret = local_secret
        self.invite = invite
        if invite is not None:
            try:
                trust.hold(invite)
            except HomeError as error:
                # As if it were void: whoever was dropped must not come back by one of which that could not be remembered.
                logger.warning("The invitation is not used: %s", error)
                self.invite = None
        self.clock = clock
        self._describe = describe
        self._report = report
        self._now = now
        self._patience = patience
        self._seconds = seconds
        self._once = LogOnce(logger, clock)
        self.code_proved_by: object | None = None
        """The pairing that has proved the code and is not over: one at a time."""
        self.abandoned: Counter[str] = Counter()
        """How often each host began with the code that counts now and gave none."""

    def introduction(self) -> Introduction:
        node = self._describe()
        invited_by = self._invited_by()
        return Introduction(
            id=self.trust.id,
            name=clean_line(node.name, NAME_CHARACTERS),
            version=clean_line(node.version, VERSION_CHARACTERS),
            time=self._now().timestamp(),
            window_open=self.window.refusal(self.clock()) is None,
            invited_by=invited_by,
            invitation=self.invite.id if self.invite and invited_by else "",
        )

    def greet(self, certificate: bytes, who: str) -> Verdict | None:
        """What this node thinks of a coordinator's certificate (DER), None when there is none or it cannot be told. A refusal is
        logged: who was refused at the work port left no name there."""
        if not certificate:
            return None
        try:
            verdict = self.trust.verdict(certificate, self._now())
            if verdict in _VERDICTS:
                self._once.warning(self._called(certificate, who), _VERDICTS[verdict])
        except EdgenodeError as error:
            self._once.warning("Whom this device trusts", f"cannot be read: {error}")
            return None
        return verdict

    def open_window(self, secret: bytes, who: str) -> tuple[str, float]:
        """The code, and how many seconds it is good for. Raises `TrustError` for a wrong secret, and `PairingError` while the
        window must stay closed."""
        if not hmac.compare_digest(secret, self.local_secret):
            self._once.warning(who, "asked to open the pairing window without the secret of the user who runs this node.")
            raise TrustError("Only the user who runs this node can open its pairing window.")
        self.abandoned.clear()
        code = self.window.open(self.clock())
        return code, self.window.seconds_left(self.clock())

    async def serve(self, incoming: AsyncIterator[PairingFrame], send: Send, who: str, *, waits: bool = False) -> Granted | None:
        """One pairing or renewal with the coordinator at the other end, of which `who` is the address. None, and logged, when it
        came to nothing or could not be kept. `waits`: the coordinator may take its time to begin (it was dialled by this node)."""
        session = _Session(self, who)
        granted: Granted | None = None

        def keep() -> None:
            nonlocal granted
            assert machine.result is not None, "finished"
            self._keep(machine.result, session.removal)
            granted = machine.result

        try:
            machine = NodePairing(self.introduction(), session)
            patience = None if waits else self._patience
            await converse(machine, incoming, send, keep=keep, patience=patience, seconds=self._seconds)
        except PairingStopped as stopped:
            self._stopped(stopped, machine.kind, who)
        except EdgenodeError as error:
            self._once.warning(who, f"pairing was not finished: {error}")
        finally:
            if self.code_proved_by is session:
                self.code_proved_by = None
            if session.tries is not None and session.tries == self.window.code:
                self._count_abandoned(who)
        return granted

    def _keep(self, granted: Granted, removal: datetime | None) -> None:
        if granted.via is None:
            kept = self.trust.renew(granted.leaf)
            logger.info("The certificate for %s is good until %s.", kept.name, f"{kept.leaf.not_valid_after_utc:%Y-%m-%d}")
            return
        self.trust.trust(granted.authority, granted.leaf, granted.via, removal)
        if granted.via is SecretKind.CODE:
            self.window.succeeded()
        self._report(f"Paired with {subject_name(granted.authority)}.")

    def _stopped(self, stopped: PairingStopped, kind: SecretKind | None, who: str) -> None:
        wrong = stopped.refusal.reason is RefusalReason.WRONG_SECRET and not stopped.told
        if not wrong:
            self._once.warning(who, f"pairing was not finished: {stopped}")
        elif kind is not SecretKind.CODE:
            self._once.warning(who, f"tried to pair with a wrong secret ({kind}).")

    def count_wrong(self, who: str) -> None:
        """`who` gave a wrong code."""
        now = self.clock()
        self.window.failed(now, who)
        tries = Counter(self.window.failures)
        told = ", ".join(f"{count} from {each}" for each, count in tries.items())
        if not self.window.is_open(now):
            refusal = self.window.refusal(now)
            wait = f" Another can be opened in {refusal.retry_after:.0f} s." if refusal and refusal.retry_after else ""
            self._report(f"Wrong pairing codes were tried ({told}): the pairing window is closed.{wait}")
        elif tries[who] == 1:
            self._report(f"A wrong pairing code was tried ({told}; {TRIES} close the window).")

    def _count_abandoned(self, who: str) -> None:
        """Somebody began with the code that still counts and proved nothing."""
        if who not in self.abandoned and len(self.abandoned) >= ABANDONED_HOSTS:
            return
        self.abandoned[who] += 1
        if self.abandoned[who] == ABANDONED:
            self._report(
                f"{who} has begun to pair {ABANDONED} times without giving a code: it is not listened to until `edgenode pair` is "
                "run again."
            )

    def _invited_by(self) -> tuple[AuthorityId, ...]:
        # Also when it is paired: the coordinator may have dropped it and invited it anew, or not have heard that it was done.
        return () if self.invite is None or self.trust.is_void(self.invite) else (self.invite.authority,)

    def _called(self, certificate: bytes, who: str) -> str:
        try:
            return self.trust.coordinator(self.trust.identify(certificate).authority).name
        except TrustError:
            return f"A coordinator at {who}"


class _Session:
    """What one pairing may use: `edgenode.trust.pairing.NodePolicy`."""

    def __init__(self, desk: PairingDesk, who: str) -> None:
        self._desk = desk
        self._who = who
        self.tries: str | None = None
        """The code that it began with and has not proved."""
        self.removal: datetime | None = None
        """What marked the coordinator as dropped when it began: dropped again meanwhile, it does not get in."""
        self._begun = False

    def secret(self, kind: SecretKind, authority: AuthorityId) -> bytes | Refused:
        desk = self._desk
        if not self._begun:
            self.removal, self._begun = desk.trust.removal(authority), True
        if kind is SecretKind.CODE:
            refusal = desk.window.refusal(desk.clock())
            if refusal is not None:
                return refusal
            # Taken by a right proof and by nothing less, or whoever begins and stays silent would keep others out.
            if desk.code_proved_by is not None:
                return Refused(RefusalReason.BUSY, "The device is busy with another pairing.", BUSY_SECONDS)
            if desk.abandoned[self._who] >= ABANDONED:
                why = "Too many pairings were begun from there and not finished: run `edgenode pair` on the device."
                return Refused(RefusalReason.WINDOW_CLOSED, why)
            self.tries = desk.window.code
            assert self.tries is not None, "open"
            return self.tries.encode("ascii")
        invited = kind is SecretKind.INVITE and authority in desk.introduction().invited_by
        if desk.trust.is_removed(authority) and not invited:
            # What its owner dropped does not come back by itself.
            return Refused(RefusalReason.REMOVED, "This device has dropped this coordinator.")
        if kind is SecretKind.LOCAL:
            return desk.local_secret
        if desk.invite is None or desk.invite.authority != authority:
            return Refused(RefusalReason.INVALID, "This device holds no invitation of this coordinator.")
        return desk.invite.secret

    def proved(self, kind: SecretKind, right: bool) -> None:
        if kind is not SecretKind.CODE:
            return
        self.tries = None
        if right:
            self._desk.code_proved_by = self
        else:
            # Here and not when the refusal has been sent: of many who prove at once only as many are checked as may be wrong.
            self._desk.count_wrong(self._who)

    def trusted(self, authority: AuthorityId) -> Certificate | Refused:
        if self._desk.trust.is_removed(authority):
            return Refused(RefusalReason.REMOVED, "This device has dropped this coordinator.")
        try:
            return self._desk.trust.coordinator(authority).certificate
        except TrustError:
            return Refused(RefusalReason.NOT_PAIRED, "This device is not paired with this coordinator.")

    @property
    def key(self) -> PrivateKey:
        return self._desk.trust.key
