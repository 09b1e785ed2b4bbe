"""The nodes this coordinator is paired with, and what it last knew of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from edgenode.errors import HomeError, TrustError
from edgenode.text import clean_line
from edgenode.trust.certificates import now_utc
from edgenode.trust.records import Records, Values, date_of, find_named, text_of
from edgenode.types import NodeId

PAIRED: Final = "nodes"
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
    """When it was unpaired: it is shut out, and pairs again only when a person asks for it."""


class PairedNodes:
    """One file for each node in a coordinator's folder. Changes by other processes count at once.

    Every method raises `HomeError` when the folder cannot be used; those for one node do, but for `known`, when its file is there
    and is damaged or cannot be read: it may say that the node was removed.
    """

    def __init__(self, folder: Path) -> None:
        self._records = Records(folder / PAIRED, _parse)

    def all(self) -> tuple[PairedNode, ...]:
        """The paired ones, ordered by id; those that were removed are not among them."""
        return tuple(node for node in self._records.all().values() if node.removed is None)

    def removed(self) -> tuple[PairedNode, ...]:
        """Those that were shut out, ordered by id."""
        return tuple(node for node in self._records.all().values() if node.removed is not None)

    def get(self, id: NodeId) -> PairedNode | None:
        """Also a node that was removed: look at `removed`. None where it was never paired."""
        return self._records.get(id)

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

    def find(self, name_or_id: str) -> PairedNode:
        """The paired node a person means by its name, its id or its id's beginning. Raises `UsageError` for none or several."""
        return find_named(name_or_id, ((node.id, node.name, node) for node in self.all()), "paired device")

    def add(self, node: PairedNode) -> PairedNode | None:
        """Keeps a node that was just paired, also one that was removed before; returns what was known of it. Raises `TrustError`
        for one that was removed after `node.since`, when the pairing began."""
        with self._records.changing():
            before = self.get(node.id)
            if before is not None and before.removed is not None and before.removed > node.since:
                raise TrustError(f"{before.name} was unpaired while it was being paired.")
            self._write(node)
            return before

    def put_back(self, added: PairedNode, before: PairedNode | None) -> None:
        """Makes undone that a node was added, of which `before` was known; not where it was removed or paired anew meanwhile."""
        with self._records.changing():
            now = self.get(added.id)
            if now is None or now.removed is not None or now.since != added.since:
                return
            if before is None:
                self._records.remove(added.id)
            else:
                self._write(before)

    def remove(self, id: NodeId) -> PairedNode:
        """Shuts a node out, and returns it as it is kept now. Raises `TrustError` when it was never paired."""
        with self._records.changing():
            node = self.get(id)
            if node is None:
                raise TrustError(f"The device {clean_line(id, 40)} is not paired.")
            removed = node if node.removed else replace(node, removed=now_utc())
            self._write(removed)
            return removed

    def met(self, id: NodeId, name: str, addresses: Iterable[str], dials_in: bool) -> None:
        """Remembers where and by what name a node was met; no addresses leave those known. Ignored for one that is not paired."""
        told = tuple(dict.fromkeys(clean_line(address, ADDRESS_CHARACTERS) for address in addresses))[:MAX_ADDRESSES]

        def updated(node: PairedNode) -> PairedNode:
            return replace(node, name=_name(name) or node.name, addresses=told or node.addresses, dials_in=dials_in)

        node = self.get(id)
        # Nearly always it is where it was: then nothing is locked or written.
        if node is not None and node.removed is None and updated(node) != node:
            with self._records.changing():
                node = self.get(id)
                if node is not None and node.removed is None:
                    self._write(updated(node))

    def renewed(self, id: NodeId, ends: datetime) -> None:
        """Remembers the end of a node's new certificate. Ignored for one that is not paired."""
        with self._records.changing():
            node = self.get(id)
            if node is not None and node.removed is None:
                self._write(replace(node, certificate_ends=ends))

    def _write(self, node: PairedNode) -> None:
        if not re.fullmatch(r"[0-9a-f]{32}", node.id):
            raise TrustError("A device's identity is 32 hexadecimal digits.")
        values = {
            "name": _name(node.name),
            "since": node.since.isoformat(),
            "via": node.via,
            "certificate_ends": node.certificate_ends.isoformat(),
            "addresses": list(node.addresses),
            "dials_in": node.dials_in,
            "removed": node.removed.isoformat() if node.removed else None,
        }
        self._records.write(node.id, values)


def _name(name: str) -> str:
    return clean_line(name, NAME_CHARACTERS)


def _parse(name: str, values: Values) -> PairedNode:
    addresses = values["addresses"]
    if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
        raise TypeError("addresses is no list of texts")
    if not re.fullmatch(r"[0-9a-f]{32}", name):
        raise ValueError("it is not named after a device")
    return PairedNode(
        id=NodeId(name),
        name=text_of(values, "name", NAME_CHARACTERS),
        since=date_of(values, "since"),
        via=text_of(values, "via"),
        certificate_ends=date_of(values, "certificate_ends"),
        addresses=tuple(clean_line(address, ADDRESS_CHARACTERS) for address in addresses[:MAX_ADDRESSES]),
        dials_in=values["dials_in"] is True,
        removed=None if values["removed"] is None else date_of(values, "removed"),
    )
