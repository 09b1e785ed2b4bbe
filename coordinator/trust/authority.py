"""This coordinator's authority: the key that signs the nodes it is paired with, and its own certificates."""

import getpass
import platform
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from edgenode.errors import TrustError
from edgenode.home import changing, data_dir, write_private
from edgenode.trust.certificates import (
    COORDINATOR_LIFE,
    Certificate,
    Peer,
    Role,
    authority_id,
    check_authority,
    identify,
    issue,
    make_authority,
    make_placeholder,
    now_utc,
    parse_certificate,
    pem,
    subject_name,
)
from edgenode.trust.keys import PrivateKey, PublicKey, fingerprint, key_pem, load_or_make_key, make_key
from edgenode.trust.tls import ClientTls, ServerTls
from edgenode.types import AuthorityId

KEY: Final = "key.pem"
CERTIFICATE: Final = "authority.pem"


def coordinator_folder() -> Path:
    """Where a coordinator keeps its authority, the nodes it is paired with and its invitations."""
    return data_dir() / "coordinator"


class Authority:
    """The authority kept in `folder` (by default `coordinator_folder()`), made there when there is none. May be used by several
    threads and by several processes at once.

    A new one is called `name`, by default user@host. Raises `TrustError` when what is kept cannot be used, and `HomeError` when a
    new one cannot be kept.
    """

    def __init__(self, folder: Path | None = None, name: str = "", clock: Callable[[], datetime] = now_utc) -> None:
        folder = folder or coordinator_folder()
        self._key, self._certificate = _load_or_make(folder, name)
        self._clock = clock
        self._lock = threading.Lock()
        self._own_key = make_key()
        self._own: Certificate | None = None

    @property
    def id(self) -> AuthorityId:
        return authority_id(self._certificate)

    @property
    def name(self) -> str:
        """What nodes call this coordinator."""
        return subject_name(self._certificate)

    @property
    def certificate(self) -> Certificate:
        return self._certificate

    def client_tls(self) -> ClientTls:
        """For dialling nodes. Its certificate lives for two days and is made anew when half of that is left, so ask each time."""
        return ClientTls(key_pem(self._own_key), pem(self._leaf()), pem(self._certificate))

    def server_tls(self) -> ServerTls:
        """For the port that nodes dial. Like `client_tls`, ask each time."""
        return ServerTls(key_pem(self._own_key), (pem(self._leaf()),), pem(self._certificate))

    def placeholder_tls(self) -> ServerTls:
        """For the pairing port that nodes dial, which asks for no client's certificate (`roots` is empty)."""
        return ServerTls(key_pem(self._own_key), (pem(make_placeholder(self._own_key)),), b"")

    def sign_node(self, key: PublicKey, now: datetime) -> Certificate:
        """A certificate for the node that holds `key`."""
        return issue(self._certificate, self._key, key, Role.NODE, now)

    def identify(self, pem_or_der: bytes) -> Peer:
        """Who a certificate belongs to, if this authority signed it. Its dates are not looked at.

        Raises `TrustError` for every other one.
        """
        return identify(parse_certificate(pem_or_der), self._certificate)

    def _leaf(self) -> Certificate:
        now = self._clock()
        with self._lock:
            own = self._own
            # Also when the clock was set back before its start.
            fresh = own is not None and own.not_valid_before_utc <= now and own.not_valid_after_utc - now > COORDINATOR_LIFE / 2
            if own is None or not fresh:
                self._own = own = issue(self._certificate, self._key, self._own_key.public_key(), Role.COORDINATOR, now)
            return own


def _load_or_make(folder: Path, name: str) -> tuple[PrivateKey, Certificate]:
    # Two commands started at once for the first time must not make two authorities.
    with changing(folder):
        return _kept(folder, name)


def _kept(folder: Path, name: str) -> tuple[PrivateKey, Certificate]:
    path = folder / CERTIFICATE
    if path.exists() and not (folder / KEY).exists():
        raise TrustError(
            f"The key of this coordinator, {folder / KEY}, is missing, and with it all pairings. Restore it, or delete the folder "
            f"{folder} and pair your devices again."
        )
    # Without its key an authority is worth nothing, and neither are the pairings that it made.
    key = load_or_make_key(folder / KEY, f"delete the folder {folder} and pair your devices again")
    try:
        certificate = parse_certificate(path.read_bytes())
        if check_authority(certificate) != fingerprint(key.public_key()):
            raise TrustError("another key's")
    except FileNotFoundError:
        certificate = make_authority(key, name or default_name(), now_utc())
        write_private(path, pem(certificate).decode("ascii"))
    except OSError as error:
        raise TrustError(f"The certificate {path} cannot be read: {error.strerror}.") from error
    except TrustError as error:
        raise TrustError(
            f"The certificate {path} is damaged or of another key. Delete it: a new one is made of the key."
        ) from error
    return key, certificate


def default_name() -> str:
    """user@host, as people tell their machines apart."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # No environment and no entry in the password file, as in some containers.
        user = "coordinator"
    return f"{user}@{platform.node() or 'here'}"
