import errno
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.trust.paired import PairedNode, PairedNodes
from edgenode.errors import HomeError, TrustError, UsageError
from edgenode.types import NodeId
from tests.logged import ours
from tests.trust.faults import full_disk
from tests.trust.people import damage

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
A, B = NodeId("a" * 32), NodeId("ab" * 16)


def paired(id: NodeId = A, name: str = "kitchen-pi") -> PairedNode:
    return PairedNode(id, name, START, "code", START + timedelta(days=90), ("192.168.1.7:7433", "[fe80::1%eth0]:7433"))


def test_what_is_known_of_a_node_is_kept(tmp_path: Path) -> None:
    """All of it, for the next command and in its order."""
    nodes = PairedNodes(tmp_path)
    assert nodes.all() == ()
    first, second = paired(B, "台所のパイ"), replace(paired(), dials_in=True, addresses=())
    nodes.add(first)
    nodes.add(second)
    again = PairedNodes(tmp_path)
    assert again.all() == (second, first)
    assert again.get(B) == first
    assert again.get(NodeId("c" * 32)) is None
    for path in (tmp_path / "nodes").glob("*.json"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_node_is_found_by_what_a_person_types(tmp_path: Path) -> None:
    """A name, an id, the beginning of an id; what means none or several is told with what there is."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired(A, "pi"))
    nodes.add(paired(B, "laptop"))
    nodes.add(paired(NodeId("c" * 32), "laptop"))
    assert nodes.find("pi").id == nodes.find(A).id == nodes.find("aaaa").id == A
    for told in ("laptop", "tv", "a", "", "x" * 9_999):
        with pytest.raises(UsageError):
            nodes.find(told)
    with pytest.raises(UsageError, match=B):
        nodes.find("laptop")


def test_a_removed_node_is_not_forgotten(tmp_path: Path) -> None:
    """It is no longer among the paired, nothing that it does changes that, and only a new pairing brings it back."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    removed = PairedNodes(tmp_path).remove(A)
    assert removed.removed is not None
    assert nodes.all() == ()
    assert not nodes.is_paired(A)
    nodes.met(A, "new name", ["192.168.1.9:1"], dials_in=True)
    nodes.renewed(A, START)
    assert nodes.get(A) == removed == nodes.remove(A)
    with pytest.raises(UsageError):
        nodes.find("kitchen-pi")
    with pytest.raises(TrustError):
        nodes.remove(B)
    with pytest.raises(TrustError, match="kitchen-pi was unpaired while it was being paired"):
        nodes.add(paired())
    assert nodes.get(A) == removed
    assert nodes.add(replace(paired(), since=removed.removed)) == removed
    assert nodes.is_paired(A)


@pytest.mark.parametrize("before", [None, replace(paired(), since=START - timedelta(days=9)), replace(paired(), removed=START)])
def test_what_is_undone_undoes_nothing_else(tmp_path: Path, before: PairedNode | None) -> None:
    """An addition is taken back though the node was met meanwhile, but neither a removal since then nor another pairing is."""
    nodes, added = PairedNodes(tmp_path), replace(paired(), since=START + timedelta(days=1))
    if before is not None:
        nodes.add(before)
    assert nodes.add(added) == before
    PairedNodes(tmp_path).met(A, "new name", (), dials_in=True)
    nodes.put_back(added, before)
    assert nodes.get(A) == before
    nodes.add(added)
    removed = PairedNodes(tmp_path).remove(A)
    nodes.put_back(added, before)
    assert nodes.get(A) == removed
    assert removed.removed is not None
    again = replace(added, since=removed.removed)
    nodes.add(again)
    nodes.put_back(added, before)
    assert nodes.get(A) == again


def test_where_a_node_was_met_is_remembered(tmp_path: Path) -> None:
    """Names and addresses are cleaned and capped; a meeting without an address, such as a dial-in, leaves those known."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    nodes.met(A, "pi\x1b[2J", (f"10.0.0.{n}:7433" for n in range(100)), dials_in=False)
    node = nodes.get(A)
    assert node is not None
    assert node.name.isprintable()
    assert node.addresses == tuple(f"10.0.0.{n}:7433" for n in range(16))
    nodes.met(A, "", [], dials_in=True)
    assert nodes.get(A) == replace(node, dials_in=True)
    nodes.met(B, "stranger", ["10.0.0.1:1"], dials_in=False)
    assert nodes.get(B) is None


def test_meeting_again_in_the_same_place_writes_nothing(tmp_path: Path) -> None:
    """An SD card is not worn out by heartbeats."""
    nodes = PairedNodes(tmp_path)
    node = paired()
    nodes.add(node)
    before = (tmp_path / "nodes" / f"{A}.json").stat()
    nodes.met(A, node.name, node.addresses, dials_in=False)
    assert (tmp_path / "nodes" / f"{A}.json").stat().st_ino == before.st_ino


def test_commands_at_once_lose_nothing(tmp_path: Path) -> None:
    """One renews while others meet and one removes: all of it is there afterwards, and the node stays removed."""
    PairedNodes(tmp_path).add(paired())
    PairedNodes(tmp_path).add(paired(B))
    ends = [START + timedelta(days=day) for day in range(100, 130)]
    changes = (
        lambda nodes: [nodes.renewed(B, end) for end in ends],
        lambda nodes: [nodes.met(B, f"name {number}", [], dials_in=False) for number in range(30)],
        lambda nodes: [nodes.met(A, f"name {number}", [], dials_in=False) for number in range(30)],
        lambda nodes: nodes.remove(A),
    )
    threads = [threading.Thread(target=change, args=(PairedNodes(tmp_path),)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (node,) = PairedNodes(tmp_path).all()
    assert (node.id, node.name, node.certificate_ends) == (B, "name 29", ends[-1])


def test_a_record_that_cannot_be_read_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Too many files are open, say: it is warned of once, and counts again as soon as it can be read, unchanged."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    fresh = PairedNodes(tmp_path)
    with monkeypatch.context() as fault:

        def fails(self: Path, *_args: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        fault.setattr(Path, "open", fails)
        assert [fresh.all() for _ in range(3)] == [()] * 3
    assert fresh.get(A) == paired()
    (warning,) = ours(caplog)
    assert warning.getMessage().endswith("cannot be read: Too many open files.")


def test_a_removed_node_stays_out_while_its_record_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it was removed is not known then: it is an error to ask, and nothing is written over it, as where it is damaged."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    nodes.remove(A)
    path = tmp_path / "nodes" / f"{A}.json"
    kept = path.read_bytes()

    def stays_out(words: str) -> None:
        fresh = PairedNodes(tmp_path)
        assert fresh.known(A) is None
        for ask in (
            lambda: fresh.get(A),
            lambda: fresh.is_paired(A),
            lambda: fresh.add(paired()),
            lambda: fresh.put_back(paired(), None),
            lambda: fresh.remove(A),
        ):
            with pytest.raises(HomeError, match=words):
                ask()
        assert fresh.get(B) is None

    with monkeypatch.context() as fault:
        read = Path.open

        def fails(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if self == path and mode == "rb":
                raise OSError(errno.EIO, "Input/output error")
            return read(self, mode, *rest, **named)

        fault.setattr(Path, "open", fails)
        stays_out("cannot be read: Input/output error")
    path.write_bytes(b"{")
    stays_out("is damaged and was skipped .* Delete it, and pair again")
    path.write_bytes(kept)
    with pytest.raises(TrustError, match="was unpaired while it was being paired"):
        nodes.add(paired())


def test_damaged_records_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With one warning each; the others count."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired(A))
    nodes.add(paired(B))
    path = tmp_path / "nodes" / f"{A}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for change in (
        {"addresses": "x"},
        {"addresses": [1]},
        {"removed": 0},
        {"certificate_ends": "soon"},
        {"name": None},
        {"version": 9},
    ):
        caplog.clear()
        damage(path, json.dumps({**values, **change}))
        for _ in range(3):
            assert [node.id for node in nodes.all()] == [B]
        assert len(ours(caplog)) == 1


def test_an_identity_is_no_path(tmp_path: Path) -> None:
    """Whatever a caller took for one."""
    with pytest.raises(TrustError):
        PairedNodes(tmp_path).add(paired(NodeId("../../x")))
    assert PairedNodes(tmp_path).get(NodeId("../nodes")) is None


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """And what was known stays."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    with full_disk(), pytest.raises(HomeError, match="cannot be written: "):
        nodes.remove(A)
    assert nodes.all() == (paired(),)
