import errno
import json
import os
import shutil
import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.nodes.pairing import Trust
from coordinator.trust.invites import Invites
from coordinator.trust.paired import PairedNode, PairedNodes
from edgenode.errors import HomeError, TrustError, UsageError
from edgenode.trust.certificates import now_utc
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
    for told in ("laptop", "tv", "a", "", "x" * 9_999):
        with pytest.raises(UsageError):
            nodes.remove(told)
    with pytest.raises(UsageError, match=B):
        nodes.remove("laptop")
    for told in ("pi", A, "aaaa"):
        removed = nodes.remove(told)
        assert removed.id == A
        nodes.add(paired(A, "pi"), removed.removed)
    assert len(nodes.all()) == 3


def test_a_node_that_is_named_like_an_id_is_found(tmp_path: Path) -> None:
    """Devices choose their names: by it a device is removed itself; where another has that id neither is until it is clear."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired(B, "c" * 32))
    removed = nodes.remove("c" * 32)
    assert removed.id == B
    assert nodes.all() == ()
    nodes.add(paired(A, "pi"))
    for named in (A, A[:12]):
        nodes.add(paired(B, named), nodes.removal(B))
        with pytest.raises(UsageError, match="Give the id or its first digits"):
            nodes.remove(named)
        assert nodes.remove(A[:10]).id == A
        nodes.add(paired(A, "pi"), nodes.removal(A))
        assert nodes.remove(B).id == B
        assert [node.id for node in nodes.all()] == [A]


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
    assert nodes.get(A) == removed
    assert nodes.removed() == (removed,)
    with pytest.raises(UsageError):
        nodes.remove("kitchen-pi")
    with pytest.raises(TrustError, match="kitchen-pi was unpaired while it was being paired"):
        nodes.add(paired())
    assert nodes.get(A) == removed
    assert nodes.add(paired(), removed.removed) == removed
    assert nodes.is_paired(A)
    assert nodes.removed() == ()
    nodes.remove(A)
    with pytest.raises(TrustError, match="kitchen-pi was unpaired while it was being paired"):
        nodes.add(paired(), removed.removed)


@pytest.mark.parametrize("hours", [-2, 2])
def test_no_clock_lets_a_removed_node_in_or_keeps_it_out(tmp_path: Path, hours: int) -> None:
    """The coordinator's was wrong when the node was unpaired: what is done knowing of that counts, nothing else does."""
    nodes, invites = PairedNodes(tmp_path), Invites(tmp_path)
    before = invites.make()
    nodes.add(paired())
    nodes.remove(A)
    when = (now_utc() + timedelta(hours=hours)).timestamp()
    os.utime(tmp_path / "removed" / f"{A}.json", (when, when))
    after = invites.make()
    removal = nodes.removal(A)
    assert removal is not None
    assert abs(removal.timestamp() - when) < 1.0
    assert (removal in before.after, removal in after.after) == (False, True)
    assert {each.id: each.after for each in Invites(tmp_path).outstanding(now_utc())} == {
        before.id: before.after,
        after.id: after.after,
    }
    with pytest.raises(TrustError, match="was unpaired while it was being paired"):
        nodes.add(paired())
    nodes.add(paired(), removal)
    assert nodes.is_paired(A)


def test_a_node_is_unpaired_on_a_full_disk(tmp_path: Path) -> None:
    """It needs no room, and all that was known of the node is kept."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    with full_disk():
        removed = nodes.remove(A)
    assert removed == replace(paired(), removed=removed.removed)
    assert PairedNodes(tmp_path).removed() == (removed,)
    assert PairedNodes(tmp_path).all() == ()


def test_a_node_that_is_not_known_is_shut_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By its full id: it is told as one of which nothing is known, and its mark, which holds nothing, is no damaged record."""
    removed = PairedNodes(tmp_path).remove(A)
    assert (removed.id, removed.is_known) == (A, False)
    fresh = PairedNodes(tmp_path)
    assert (fresh.get(A), fresh.removed(), fresh.removals()) == (removed, (), {removed.removed})
    assert ours(caplog) == []
    with pytest.raises(TrustError, match="was unpaired while it was being paired"):
        fresh.add(paired())
    fresh.add(paired(), removed.removed)
    assert fresh.is_paired(A)


def test_a_node_is_unpaired_though_its_record_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on Windows, while another process reads it: it is out at once, and still known by its name."""
    nodes, rename = PairedNodes(tmp_path), Path.replace

    def fails(self: Path, target: Path) -> Path:
        if target.parent.name == "removed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, target)

    nodes.add(paired())
    with monkeypatch.context() as fault:
        fault.setattr(Path, "replace", fails)
        removed = nodes.remove("kitchen-pi")
    assert removed == replace(paired(), removed=removed.removed)
    assert removed.is_known
    fresh = PairedNodes(tmp_path)
    fresh.met(A, "new name", [], dials_in=False)
    assert (fresh.all(), fresh.removed(), fresh.get(A)) == ((), (removed,), removed)
    assert ours(caplog) == []


def test_a_home_of_an_earlier_version_has_room_for_removals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lacks their folder, which a coordinator makes as it begins: later the disk may be full."""
    folder = tmp_path / "coordinator"
    Trust.load(folder).paired.add(paired())
    shutil.rmtree(folder / "removed")
    trust = Trust.load(folder)

    def fails(*_: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as fault, full_disk():
        fault.setattr(os, "mkdir", fails)
        trust.paired.remove(A)
    assert not trust.paired.is_paired(A)


@pytest.mark.parametrize("fault", ["damaged", "unreadable", "folder"])
def test_a_node_is_unpaired_though_its_record_cannot_be_read(tmp_path: Path, fault: str) -> None:
    """By its full id, or the beginning of it; it stays out when that can be read again, until a person wants it back."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    record = tmp_path / "nodes" / f"{A}.json"
    whole = record.read_bytes()
    if fault == "folder":
        (tmp_path / "nodes").rename(tmp_path / "aside")
        (tmp_path / "nodes").write_text("", encoding="utf-8")
    elif fault == "unreadable":
        record.unlink()
        record.mkdir()
    else:
        record.write_bytes(whole[:50])
    if fault != "folder":
        with pytest.raises(UsageError, match=f"Known: {A}"):
            nodes.remove("kitchen-pi")
    removed = nodes.remove(A if fault == "folder" else A[:6])
    assert (removed.id, removed.name) == (A, A)
    assert removed.removed is not None
    if fault == "folder":
        (tmp_path / "nodes").unlink()
        (tmp_path / "aside").rename(tmp_path / "nodes")
    else:
        record.write_bytes(whole)
    assert nodes.all() == ()
    assert not nodes.is_paired(A)
    assert nodes.removals() == {removed.removed}
    if (tmp_path / "removed" / f"{A}.json").is_dir():
        (tmp_path / "removed" / f"{A}.json").rmdir()
    nodes.add(paired(), removed.removed)
    assert nodes.is_paired(A)


def test_a_node_that_an_earlier_version_unpaired_stays_out(tmp_path: Path) -> None:
    """That version wrote it into the record: it counts as damaged, and a removal makes it one of the others."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    record = tmp_path / "nodes" / f"{A}.json"
    values = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**values, "removed": START.isoformat()}), encoding="utf-8")
    assert nodes.all() == ()
    with pytest.raises(HomeError, match="an earlier version has unpaired the device") as told:
        nodes.get(A)
    # Then it would be a stranger, whom an old invitation brings back.
    assert "elete" not in str(told.value)
    removed = nodes.remove(A)
    assert removed.name == "kitchen-pi"
    assert nodes.removed() == (removed,)


@pytest.mark.parametrize("known", ["nothing", "paired", "removed"])
def test_what_is_undone_undoes_nothing_else(tmp_path: Path, known: str) -> None:
    """An addition is taken back though the node was met meanwhile, but neither a removal since then nor another pairing is."""
    nodes, added = PairedNodes(tmp_path), replace(paired(), since=START + timedelta(days=1))
    if known != "nothing":
        nodes.add(replace(paired(), since=START - timedelta(days=9)))
    if known == "removed":
        nodes.remove(A)
    before, removal = nodes.get(A), nodes.removal(A)
    assert nodes.add(added, removal) == before
    PairedNodes(tmp_path).met(A, "new name", (), dials_in=True)
    with full_disk() if known == "removed" else nullcontext():
        nodes.put_back(added, before)
    # The same removal as before: what was done knowing of it still counts.
    assert nodes.removal(A) == removal
    assert nodes.is_paired(A) == (known == "paired")
    assert known == "removed" or nodes.get(A) == before
    nodes.add(added, removal)
    removed = PairedNodes(tmp_path).remove(A)
    nodes.put_back(added, before)
    assert nodes.get(A) == removed
    assert removed.removed is not None
    again = replace(added, since=START + timedelta(days=2))
    nodes.add(again, removed.removed)
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


def unreadable(fault: pytest.MonkeyPatch, path: Path) -> None:
    """As on a disk that fails."""
    read = Path.open

    def fails(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if self == path and mode == "rb":
            raise OSError(errno.EIO, "Input/output error")
        return read(self, mode, *rest, **named)

    fault.setattr(Path, "open", fails)


def test_a_removed_node_stays_out_while_its_record_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it was removed is known all the same, though nothing else is; a person can still have it back."""
    nodes = PairedNodes(tmp_path)
    nodes.add(paired())
    removed = nodes.remove(A)
    path = tmp_path / "removed" / f"{A}.json"

    def stays_out(when: datetime | None) -> None:
        fresh = PairedNodes(tmp_path)
        told = fresh.get(A)
        assert told is not None
        assert (told.name, told.removed) == (A, when)
        assert fresh.known(A) == told
        assert not fresh.is_paired(A)
        assert fresh.removals() == {when}
        with pytest.raises(TrustError, match="was unpaired while it was being paired"):
            fresh.add(paired())

    with monkeypatch.context() as fault:
        unreadable(fault, path)
        stays_out(removed.removed)
    path.write_bytes(b"{")
    when = nodes.removal(A)
    stays_out(when)
    nodes.add(paired(), when)
    assert nodes.all() == (paired(),)


def test_a_node_that_is_removed_while_it_is_looked_for_is_no_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was never paired may pair unasked; by another process its record goes between one look and the next."""
    PairedNodes(tmp_path).add(paired())
    nodes, scan = PairedNodes(tmp_path), os.scandir

    def late(path: Path) -> Any:
        monkeypatch.undo()
        PairedNodes(tmp_path).remove(A)
        return scan(path)

    monkeypatch.setattr(os, "scandir", late)
    found = nodes.get(A)
    assert found is not None
    assert found.removed is not None


def test_a_record_that_cannot_be_read_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the node pass for one that never was paired."""
    PairedNodes(tmp_path).add(paired())
    path = tmp_path / "nodes" / f"{A}.json"

    def is_an_error(words: str) -> None:
        fresh, kept = PairedNodes(tmp_path), path.stat()
        assert fresh.known(A) is None
        for ask in (
            lambda: fresh.get(A),
            lambda: fresh.is_paired(A),
            lambda: fresh.add(paired()),
            lambda: fresh.put_back(paired(), None),
        ):
            with pytest.raises(HomeError, match=words):
                ask()
        assert fresh.get(B) is None
        assert path.stat().st_ino == kept.st_ino

    with monkeypatch.context() as fault:
        unreadable(fault, path)
        is_an_error("cannot be read: Input/output error")
    path.write_bytes(b"{")
    is_an_error("is damaged and was skipped .* Shut the device out by: coordinator unpair ID")


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
        {"removed": START.isoformat()},
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
        nodes.renewed(A, START)
    assert nodes.all() == (paired(),)
