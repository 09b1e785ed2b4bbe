"""Invitations that were made and not used yet."""

import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from coordinator.trust.authority import Authority
from coordinator.trust.paired import PairedNodes
from edgenode.errors import UsageError
from edgenode.text import clean_line
from edgenode.trust.certificates import now_utc
from edgenode.trust.records import Records, Values, date_of, parse_date, text_of
from edgenode.trust.token import ID_BYTES, INVITE_LIFE, SECRET_BYTES, Invite
from edgenode.types import AuthorityId, NodeId

INVITES: Final = "invites"
NAME_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class OutstandingInvite(Invite):
    """An invitation that was made and not used. It counts until `ends`."""

    name: str
    """What the person who made it calls it; may be empty."""
    ends: datetime
    after: frozenset[datetime]
    """The removals of nodes (`PairedNodes.removal`) there were when it was made: it brings back after these and no others."""
    taken_by: NodeId | None = None
    """The node that was given a certificate by it and has not said that it has it: no other may use it."""


class Invites:
    """The invitations of the coordinator whose folder is `folder`, one file each. Changes by other processes count at once.

    Every method raises `HomeError` when the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records = Records(folder / INVITES, _parse)

    def make(self, name: str | None = None, life: timedelta = INVITE_LIFE) -> OutstandingInvite:
        """A new invitation for one device. Those that have ended are cleared away."""
        now = now_utc()
        for id, old in self._records.all().items():
            if old.ends <= now:
                self._records.remove(id)
        invite = OutstandingInvite(
            after=PairedNodes(self._folder).removals(),
            authority=Authority(self._folder).id,
            id=secrets.token_hex(ID_BYTES),
            secret=secrets.token_bytes(SECRET_BYTES),
            name=clean_line(name or "", NAME_CHARACTERS),
            ends=now + life,
        )
        self._write(invite)
        return invite

    def outstanding(self, now: datetime) -> tuple[OutstandingInvite, ...]:
        """Those that can still be used, the ones that end first at the beginning."""
        kept = (invite for invite in self._records.all().values() if invite.ends > now)
        return tuple(sorted(kept, key=lambda invite: (invite.ends, invite.id)))

    def take(self, id: str, node: NodeId) -> bool:
        """Whether `node` may use it, and no other from now on. It stays, for that node to try again, until it is used up."""
        with self._records.changing():
            invite = self._records.all().get(id)
            if invite is None or invite.taken_by not in {None, node}:
                return False
            self._write(replace(invite, taken_by=node))
            return True

    def use(self, id: str) -> bool:
        """Uses an invitation up. Of several who try at once one is told True."""
        if not _is_id(id):
            return False
        with self._records.changing():
            return self._records.remove(id)

    def withdraw(self, id: str) -> None:
        """Makes an invitation that was not used worthless. Raises `UsageError` when there is none by that id."""
        if not self.use(id):
            raise UsageError(f"There is no invitation “{clean_line(id, 40)}”: it was used or withdrawn, or never made.")

    def _write(self, invite: OutstandingInvite) -> None:
        values = {
            "authority": invite.authority,
            "secret": invite.secret.hex(),
            "name": invite.name,
            "ends": invite.ends.isoformat(),
            "after": sorted(each.isoformat() for each in invite.after),
            "taken_by": invite.taken_by,
        }
        self._records.write(invite.id, values)


def _is_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}", text) is not None


def _parse(name: str, values: Values) -> OutstandingInvite:
    authority, secret = text_of(values, "authority"), bytes.fromhex(text_of(values, "secret"))
    if not _is_id(name) or len(secret) != SECRET_BYTES or not re.fullmatch(r"[0-9a-f]{32}", authority):
        raise ValueError("it makes no sense")
    after = values.get("after", [])  # one of an earlier version brings back nobody who was removed
    if not isinstance(after, list):
        raise TypeError("after is no list")
    taken_by = NodeId(text_of(values, "taken_by")) if values.get("taken_by") is not None else None
    ends, called = date_of(values, "ends"), text_of(values, "name", NAME_CHARACTERS)
    return OutstandingInvite(AuthorityId(authority), name, secret, called, ends, frozenset(map(parse_date, after)), taken_by)
