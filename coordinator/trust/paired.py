"""The nodes this coordinator is paired with, and what it last knew of them."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from edgenode.errors import HomeError, TrustError
from edgenode.text import clean_line
from edgenode.trust.certificates import now_utc
from edgenode.trust.records import SUFFIX, Records, Values, date_of, find_named, text_of
from edgenode.trust.removal import Removals, is_identity
from edgenode.types import NodeId

PAIRED: Final = "nodes"
REMOVED: Final = "removed"
NAME_CHARACTERS: Final = 60
# A device has a few addresses of each kind; more is a peer that wants this list to grow.
MAX_ADDRESSES: Final = 16
ADDRESS_CHARACTERS: Final = 260


@dataclass(frozen=True, slots=True)
class PairedNode:
    """A node that was paired once. All dates have a time zone."""

    id: NodeId
    name: str
    since: datetime
    """When the pairing began."""
    via: str
    """How they were paired: "code", "local" or "invite"."""
    certificate_ends: datetime
    addresses: tuple[str, ...] = ()
    """HOST:PORT of its work port where it was last met, the best first."""
    dials_in: bool = False
    """Whether it was last met over a connection that it opened."""
    removed: datetime | None = None
    """When it was unpaired: it is shut out, and pairs again only when a person asks for it. Tells this time from every other."""

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it but that it was removed."""
        return self.via != ""


class PairedNodes:
    """One file for each node in a coordinator's folder, in one place while it is paired and in another once it was removed. Changes
    by other processes count at once.

    Every method raises `HomeError` when the folder cannot be used; those for one node do, but for `known` and `remove`, when its
    file as a paired node is there and is damaged or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        # Not to delete it: a device of which nothing is kept is a stranger, who may be paired unasked.
        advice = "Shut the device out by: coordinator unpair ID. Then it can be paired again."
        self._records = Records(folder / PAIRED, _parse_paired, advice)
        self._removals = Removals(folder / REMOVED, SUFFIX)
        self._shut_out = Records(folder / REMOVED, _parse, "The device stays shut out.", may_be_empty=True)

    def make_room(self) -> None:
        """Makes a folder, if that can be done, without which nobody could be removed once the disk is full."""
        self._removals.make_room()

    def all(self) -> tuple[PairedNode, ...]:
        """The paired ones, ordered by id; those that were removed are not among them."""
        return tuple(node for node in self._records.all().values() if self.removal(node.id) is None)

    def removed(self) -> tuple[PairedNode, ...]:
        """Those that were shut out and of which something is known, ordered by id."""
        # Where its file could not be moved as it was removed, it is among the others.
        kept = self._records.all() | self._shut_out.all()
        known = (replace(kept[id], removed=self._removals.of(id)) for id in sorted(kept))
        return tuple(node for node in known if node.removed is not None)

    def removal(self, id: NodeId) -> datetime | None:
        """What tells this time that it was removed from every other; None where it is not removed."""
        return self._removals.of(id)

    def removals(self) -> frozenset[datetime]:
        """All that there are now, see `removal`."""
        return self._removals.all()

    def get(self, id: NodeId) -> PairedNode | None:
        """Also a node that was removed: look at `removed`. None where it was never paired."""
        removed = self.removal(id)
        if removed is None:
            node = self._records.get(id)
            # Not never paired, but removed since we looked?
            removed = self.removal(id) if node is None else None
            if removed is None:
                return node
        for records in (self._shut_out, self._records):
            with suppress(HomeError):
                node = records.get(id)
                if node is not None:
                    return replace(node, removed=removed)
        return PairedNode(id, id, removed, "", removed, removed=removed)

    def known(self, id: NodeId) -> PairedNode | None:
        """As `get`, but None where that cannot be told and never an error: for what is shown, and to let nobody in."""
        try:
            return self.get(id)
        except HomeError:
            return None

    def is_paired(self, id: NodeId) -> bool:
        """Whether it is paired and was not removed."""
        node = self.get(id)
        return node is not None and node.removed is None

    def add(self, node: PairedNode, removal: datetime | None = None) -> PairedNode | None:
        """Keeps a node that was just paired, also one that was removed before: then `removal` is what `removal` gave as the pairing
        began. Returns what was known of it. Raises `TrustError` for one that was removed since then."""
        with self._removals.changing():
            before = self.get(node.id)
            if before is not None and before.removed not in {None, removal}:
                raise TrustError(f"{before.name} was unpaired while it was being paired.")
            self._write(node)
            self._removals.clear(node.id)
            return before

    def put_back(self, added: PairedNode, before: PairedNode | None) -> None:
        """Makes undone that a node was added, of which `before` was known; not where it was removed or paired anew meanwhile."""
        with self._removals.changing():
            now = self.get(added.id)
            if now is None or now.removed is not None or now.since != added.since:
                return
            if before is None:
                self._records.remove(added.id)
            elif before.removed is not None:
                self._removals.mark(added.id, self._records.path(added.id), before.removed)
            else:
                self._write(before)

    def remove(self, name_or_id: str) -> PairedNode:
        """Shuts out the paired node that a person means by its name, its id or its id's beginning, and returns it as it is kept
        now. A full id that nobody is called counts whatever can be read of it. Raises `UsageError` for none or several."""
        id = self._meant(name_or_id)
        with self._removals.changing():
            self._removals.mark(id, self._records.path(id), now_utc())
        node = self.get(id)
        assert node is not None, "removed"
        return node

    def met(self, id: NodeId, name: str, addresses: Iterable[str], dials_in: bool) -> None:
        """Remembers where and by what name a node was met; no addresses leave those known. Ignored for one that is not paired."""
        told = tuple(dict.fromkeys(clean_line(address, ADDRESS_CHARACTERS) for address in addresses))[:MAX_ADDRESSES]

        def updated(node: PairedNode) -> PairedNode:
            return replace(node, name=_name(name) or node.name, addresses=told or node.addresses, dials_in=dials_in)

        node = self.get(id)
        # Nearly always it is where it was: then nothing is locked or written.
        if node is not None and node.removed is None and updated(node) != node:
            with self._removals.changing():
                node = self.get(id)
                if node is not None and node.removed is None:
                    self._write(updated(node))

    def renewed(self, id: NodeId, ends: datetime) -> None:
        """Remembers the end of a node's new certificate. Ignored for one that is not paired."""
        with self._removals.changing():
            node = self.get(id)
            if node is not None and node.removed is None:
                self._write(replace(node, certificate_ends=ends))

    def _meant(self, name_or_id: str) -> NodeId:
        names: dict[str, str] = {}
        try:
            names |= {id: id for id in self._records.unread() if is_identity(id)}
            names |= {node.id: node.name for node in self.all()}
        except HomeError:
            if not is_identity(name_or_id):
                raise
        if is_identity(name_or_id) and name_or_id not in names.values():  # a device may call itself so
            names.setdefault(name_or_id, name_or_id)
        return NodeId(find_named(name_or_id, ((id, name, id) for id, name in names.items()), "paired device"))

    def _write(self, node: PairedNode) -> None:
        if not is_identity(node.id):
            raise TrustError("A device's identity is 32 hexadecimal digits.")
        values = {
            "name": _name(node.name),
            "since": node.since.isoformat(),
            "via": node.via,
            "certificate_ends": node.certificate_ends.isoformat(),
            "addresses": list(node.addresses),
            "dials_in": node.dials_in,
        }
        self._records.write(node.id, values)


def _name(name: str) -> str:
    return clean_line(name, NAME_CHARACTERS)


def _parse_paired(name: str, values: Values) -> PairedNode:
    if values.get("removed") is not None:
        raise ValueError("an earlier version has unpaired the device")
    return _parse(name, values)


def _parse(name: str, values: Values) -> PairedNode:
    addresses = values["addresses"]
    if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
        raise TypeError("addresses is no list of texts")
    if not is_identity(name):
        raise ValueError("it is not named after a device, and may be deleted")
    return PairedNode(
        id=NodeId(name),
        name=text_of(values, "name", NAME_CHARACTERS),
        since=date_of(values, "since"),
        via=text_of(values, "via"),
        certificate_ends=date_of(values, "certificate_ends"),
        addresses=tuple(clean_line(address, ADDRESS_CHARACTERS) for address in addresses[:MAX_ADDRESSES]),
        dials_in=values["dials_in"] is True,
    )
