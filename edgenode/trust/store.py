"""What a node keeps in its home folder about who it is and whom it trusts."""

import re
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from edgenode.errors import EdgenodeError, HomeError, TrustError
from edgenode.text import clean_line
from edgenode.trust.certificates import (
    Certificate,
    Peer,
    Role,
    authority_id,
    check_authority,
    identify,
    make_placeholder,
    now_utc,
    parse_certificate,
    pem,
    public_key,
    subject_name,
)
from edgenode.trust.keys import PrivateKey, fingerprint, key_pem, load_or_make_key
from edgenode.trust.records import Records, Values, date_of, find_named, text_of
from edgenode.trust.removal import Removals, is_identity
from edgenode.trust.tls import ClientTls, ServerTls
from edgenode.trust.token import Invite
from edgenode.trust.verdict import Verdict
from edgenode.types import AuthorityId, NodeId

KEY: Final = "key.pem"
TRUSTED: Final = "trusted"
REMOVED: Final = "removed"
INVITATIONS: Final = "invitations"
VIA_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class TrustedCoordinator:
    """An authority this node was paired with. `leaf` is the node's own certificate, signed by it."""

    authority: AuthorityId
    name: str
    """What its certificate calls it, cleaned. Two authorities may go by one name."""
    certificate: Certificate
    leaf: Certificate
    since: datetime
    via: str
    """How they were paired: "code", "local" or "invite"."""


class NodeTrust:
    """The key of the node whose home folder is `home`, and the coordinators that it trusts.

    The key is made when it is first asked for; only the node that holds the home's lock may do that. Other processes may list what
    is trusted and remove from it, and that counts in the node's process at once. May be used by several threads: gRPC asks for
    `server_tls` in one of its own at each handshake.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._records = Records(home / TRUSTED, _parse)
        self._removals = Removals(home / REMOVED)
        self._invitations = Records(home / INVITATIONS, _parse_invitation, "Its invitation is void: this device needs another.")
        self._lock = threading.Lock()
        self._key: PrivateKey | None = None
        self._placeholder: Certificate | None = None

    @property
    def key(self) -> PrivateKey:
        """Raises `TrustError` for a key that cannot be used, and `HomeError` when a new one cannot be written."""
        with self._lock:
            if self._key is None:
                self._key = load_or_make_key(self._home / KEY)
            return self._key

    @property
    def id(self) -> NodeId:
        return NodeId(fingerprint(self.key.public_key()))

    @property
    def placeholder(self) -> Certificate:
        key = self.key
        with self._lock:
            if self._placeholder is None:
                self._placeholder = make_placeholder(key)
            return self._placeholder

    def trusted(self) -> tuple[TrustedCoordinator, ...]:
        """Ordered by authority. Those that were paired with an earlier key of this home are not among them.

        Raises `HomeError` or `TrustError` when it cannot be told who they are.
        """
        found = self._records.all()
        if not found or not _is_there(self._home / KEY):
            return ()
        id = self.id
        return tuple(
            one for one in found.values() if fingerprint(public_key(one.leaf)) == id and not self.is_removed(one.authority)
        )

    def coordinator(self, authority: AuthorityId) -> TrustedCoordinator:
        """Raises `TrustError` for one that is not trusted, and `HomeError` or `TrustError` when that cannot be told."""
        for one in self.trusted():
            if one.authority == authority:
                return one
        self._records.get(authority)  # an error where there is one that cannot be read
        raise TrustError(f"This node does not trust the coordinator {clean_line(authority, 40)} (any more). Pair them again.")

    def trust(self, authority: Certificate, leaf: Certificate, via: str, removal: datetime | None = None) -> TrustedCoordinator:
        """Keeps a coordinator that was just paired, also one that was removed before: then `removal` is what `removal` gave as the
        pairing began.

        Raises `TrustError` when `leaf` is not the certificate of this node by that authority or it was removed since then,
        `HomeError` when it cannot be kept.
        """
        of = check_authority(authority)
        self._check_leaf(authority, leaf)
        with self._removals.changing():
            if self.removal(of) not in {None, removal}:
                raise TrustError("The coordinator was dropped while it was being paired.")
            self._write(of, authority, leaf, now_utc(), clean_line(via, VIA_CHARACTERS))
            self._removals.clear(of)
        return self.coordinator(of)

    def renew(self, leaf: Certificate) -> TrustedCoordinator:
        """Replaces the node's certificate by one of the same authority that ends later; by any where the one in use is not valid
        yet, since the clock by which it was made must have been ahead.

        Raises `TrustError` for one that ends earlier, is not this node's, or is of an authority that is not trusted.
        """
        with self._removals.changing():
            for one in self.trusted():
                if one.certificate.subject == leaf.issuer:
                    self._check_leaf(one.certificate, leaf)
                    if one.leaf.not_valid_before_utc <= now_utc() and leaf.not_valid_after_utc < one.leaf.not_valid_after_utc:
                        raise TrustError("The coordinator sent a certificate that ends before the one in use.")
                    self._write(one.authority, one.certificate, leaf, one.since, one.via)
                    return self.coordinator(one.authority)
        raise TrustError("The coordinator sent a certificate by an authority that is not trusted here.")

    def untrust(self, name_or_id: str) -> tuple[AuthorityId, str]:
        """Drops a coordinator, remembers that, and returns its id and its name: the id again where that cannot be read, nothing
        where there is no such coordinator. A full id that nobody is called counts whatever can be read of it. Raises `UsageError`
        when `name_or_id` means none, or several."""
        names: dict[str, str] = {}
        try:
            names |= {id: id for id in self._records.unread() if is_identity(id)}
            names |= {one.authority: one.name or one.authority for one in self.trusted()}
        except EdgenodeError:
            if not is_identity(name_or_id):
                raise
        if is_identity(name_or_id) and name_or_id not in names.values():  # a coordinator may call itself so
            names.setdefault(name_or_id, "")
        of = find_named(name_or_id, ((id, name, id) for id, name in names.items()), "coordinator")
        with self._removals.changing():
            self._removals.mark(of, self._records.path(of), now_utc())
        return AuthorityId(of), names[of]

    def make_room(self) -> None:
        """Makes a folder, if that can be done, without which nobody could be dropped once the disk is full."""
        self._removals.make_room()

    def is_removed(self, authority: AuthorityId) -> bool:
        """Whether it was dropped. Raises `HomeError` when that cannot be told."""
        return self.removal(authority) is not None

    def removal(self, authority: AuthorityId) -> datetime | None:
        """What tells this time that it was dropped from every other; None where it is not dropped. Raises `HomeError`."""
        return self._removals.of(authority)

    def hold(self, invite: Invite) -> None:
        """Remembers that this node was given it, and after which removal of its coordinator: any other makes it void. Raises
        `HomeError` where that cannot be known or kept; then it must not be used."""
        if self._invitations.get(invite.id) is None:
            removal = self.removal(invite.authority)
            after = removal.isoformat() if removal else None
            self._invitations.write(invite.id, {"authority": invite.authority, "after": after})

    def is_void(self, invite: Invite) -> bool:
        """Whether its coordinator was dropped after it was held, or that cannot be told: only one that the owner gives afterwards
        brings that back."""
        try:
            of, after = self._invitations.get(invite.id) or (invite.authority, None)
            return of != invite.authority or self.removal(invite.authority) not in {None, after}
        except HomeError:
            return True

    def server_tls(self) -> ServerTls:
        """For the work port: a certificate for each trusted authority (also one that has expired: the coordinator then sees why and
        renews it). While nothing is trusted it is the placeholder, as which nobody but this node can be a client."""
        trusted = self.trusted()
        if not trusted:
            return ServerTls(key_pem(self.key), (pem(self.placeholder),), pem(self.placeholder))
        return ServerTls(
            key_pem(self.key), tuple(pem(one.leaf) for one in trusted), b"".join(pem(one.certificate) for one in trusted)
        )

    def placeholder_tls(self) -> ServerTls:
        """For the pairing port, which asks for no client's certificate (`roots` is empty)."""
        return ServerTls(key_pem(self.key), (pem(self.placeholder),), b"")

    def client_tls(self, authority: AuthorityId) -> ClientTls:
        """For dialling a coordinator. Raises `TrustError` when it is not trusted."""
        one = self.coordinator(authority)
        return ClientTls(key_pem(self.key), pem(one.leaf), pem(one.certificate))

    def identify(self, pem_or_der: bytes) -> Peer:
        """Who a certificate belongs to, if an authority that is trusted now signed it. Its dates are not looked at.

        Raises `TrustError` for every other one, and `HomeError` or `TrustError` when that cannot be told.
        """
        return self._identify(pem_or_der)[0]

    def verdict(self, pem_or_der: bytes, now: datetime) -> Verdict:
        """What would happen to a coordinator that shows this certificate at the work port at the time `now`. Raises `HomeError` or
        `TrustError` when that cannot be told."""
        try:
            peer, by, certificate = self._identify(pem_or_der)
        except TrustError:
            return Verdict.UNKNOWN_AUTHORITY
        if peer.role is not Role.COORDINATOR:
            return Verdict.WRONG_ROLE
        if now > certificate.not_valid_after_utc:
            return Verdict.EXPIRED
        if now < certificate.not_valid_before_utc:
            return Verdict.NOT_YET_VALID
        if not by.leaf.not_valid_before_utc <= now <= by.leaf.not_valid_after_utc:
            return Verdict.OWN_EXPIRED
        return Verdict.TRUSTED

    def _identify(self, pem_or_der: bytes) -> tuple[Peer, TrustedCoordinator, Certificate]:
        certificate = parse_certificate(pem_or_der)
        for one in self.trusted():
            if one.certificate.subject == certificate.issuer:
                return identify(certificate, one.certificate), one, certificate
        for why in self._records.unread().values():
            # It may be the one that signed.
            raise HomeError(why)
        raise TrustError("The peer's certificate was not signed by an authority that is trusted here.")

    def _check_leaf(self, authority: Certificate, leaf: Certificate) -> None:
        peer = identify(leaf, authority)
        if peer.role is not Role.NODE or peer.id != self.id:
            raise TrustError("The coordinator sent a certificate that is not for this node.")

    def _write(self, of: AuthorityId, authority: Certificate, leaf: Certificate, since: datetime, via: str) -> None:
        values = {"name": subject_name(authority), "since": since.isoformat(), "via": via}
        keys = {"authority": pem(authority).decode("ascii"), "leaf": pem(leaf).decode("ascii")}
        self._records.write(of, {**values, **keys})


def _is_there(path: Path) -> bool:
    """Raises `HomeError` when that cannot be told: it must not pass for a no."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HomeError(f"{path} cannot be read: {error.strerror}.") from error
    return True


def _parse(name: str, values: Values) -> TrustedCoordinator:
    certificate, leaf = _certificate(values, "authority"), _certificate(values, "leaf")
    if check_authority(certificate) != name:
        raise ValueError("it is named after another authority")
    identify(leaf, certificate)
    of, since, via = authority_id(certificate), date_of(values, "since"), text_of(values, "via")
    return TrustedCoordinator(of, subject_name(certificate), certificate, leaf, since, via)


def _parse_invitation(name: str, values: Values) -> tuple[AuthorityId, datetime | None]:
    if not re.fullmatch(r"[0-9a-f]{8}", name):
        raise ValueError("it is not named after an invitation")
    return AuthorityId(text_of(values, "authority")), None if values["after"] is None else date_of(values, "after")


def _certificate(values: Values, field: str) -> Certificate:
    value = values[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is no text")
    return parse_certificate(value.encode("utf-8"))
