import errno
import json
import threading
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from edgenode.errors import EdgenodeError, HomeError, TrustError, UsageError
from edgenode.trust.certificates import (
    NODE_LIFE,
    Certificate,
    Role,
    der,
    issue,
    make_placeholder,
    now_utc,
    pem,
    public_key,
)
from edgenode.trust.keys import PrivateKey, fingerprint, make_key
from edgenode.trust.store import NodeTrust
from edgenode.trust.token import Invite
from edgenode.trust.verdict import Verdict
from edgenode.types import AuthorityId
from tests.logged import ours
from tests.trust.faults import full_disk
from tests.trust.people import Ca, damage, forge, open_node, uri


@pytest.fixture
def node(tmp_path: Path) -> NodeTrust:
    return open_node(tmp_path / "home")


def node_leaf(ca: Ca, node: NodeTrust, later: timedelta = timedelta()) -> Certificate:
    return issue(ca.certificate, ca.key, node.key.public_key(), Role.NODE, now_utc() + later)


def coordinator_leaf(ca: Ca, key: PrivateKey | None = None, later: timedelta = timedelta()) -> bytes:
    return pem(issue(ca.certificate, ca.key, (key or make_key()).public_key(), Role.COORDINATOR, now_utc() + later))


def existing_alone(path: Path, mode: int = 0o666, exist_ok: bool = True) -> None:
    """As where nothing can be made any more."""
    if not path.exists():
        raise OSError(errno.ENOSPC, "No space left on device")


def pair(ca: Ca, node: NodeTrust) -> None:
    node.trust(ca.certificate, node_leaf(ca, node), "code")


def test_trust_survives_a_restart(node: NodeTrust, tmp_path: Path) -> None:
    """The identity and all that is told of a paired coordinator are there again, a Japanese name too, with no new key made."""
    ca = Ca("花子@居間のパソコン")
    pair(ca, node)
    again = NodeTrust(tmp_path / "home")
    (one,) = again.trusted()
    assert again.id == node.id == fingerprint(public_key(one.leaf))
    assert (one.authority, one.name, one.via) == (ca.id, "花子@居間のパソコン", "code")
    assert one.certificate == ca.certificate
    assert abs(now_utc() - one.since) < timedelta(minutes=1)
    assert again.server_tls() == node.server_tls()
    assert again.client_tls(ca.id) == node.client_tls(ca.id)


def test_who_only_looks_makes_no_identity(node: NodeTrust, tmp_path: Path) -> None:
    """Listing what a home trusts, from another process, writes nothing, whether or not a node ever ran there."""
    assert NodeTrust(tmp_path / "nothing").trusted() == ()
    assert node.trusted() == ()
    with pytest.raises(UsageError, match="none"):
        node.untrust("anna")
    assert not (tmp_path / "nothing").exists()
    assert list((tmp_path / "home").iterdir()) == []


def test_nobody_is_trusted_at_first(node: NodeTrust) -> None:
    """The work port's only root is a certificate whose key is the node's own."""
    tls = node.server_tls()
    assert tls.certificates == (tls.roots,) == (pem(node.placeholder),)
    assert fingerprint(public_key(node.placeholder)) == node.id
    assert node.placeholder_tls().roots == b""
    for one in (coordinator_leaf(Ca()), pem(node.placeholder)):
        with pytest.raises(TrustError):
            node.identify(one)


def test_two_coordinators_of_one_name(node: NodeTrust) -> None:
    """They are two to the node: each has its certificate, and the name alone drops neither."""
    anna, other = Ca("anna@laptop"), Ca("anna@laptop")
    pair(anna, node)
    pair(other, node)
    assert {one.authority for one in node.trusted()} == {anna.id, other.id}
    tls = node.server_tls()
    assert len(tls.certificates) == 2
    assert tls.roots.count(b"BEGIN CERTIFICATE") == 2
    with pytest.raises(UsageError, match="Give the id") as told:
        node.untrust("anna@laptop")
    assert anna.id in str(told.value)
    assert other.id in str(told.value)
    assert node.untrust(anna.id[:8]) == (anna.id, "anna@laptop")
    assert [one.authority for one in node.trusted()] == [other.id]


def test_a_coordinator_that_is_named_like_an_id_is_dropped(node: NodeTrust) -> None:
    """It chose its name: by that it is dropped itself, and where another has that id neither is until it is clear."""
    anna = Ca("anna@laptop")
    odd, evil = Ca("ab" * 16), Ca(anna.id)
    pair(odd, node)
    assert node.untrust("ab" * 16) == (odd.id, "ab" * 16)
    assert node.trusted() == ()
    pair(anna, node)
    pair(evil, node)
    with pytest.raises(UsageError, match="Give the id or its first digits"):
        node.untrust(anna.id)
    assert node.untrust(evil.id) == (evil.id, anna.id)
    assert node.untrust(anna.id) == (anna.id, "anna@laptop")


@pytest.mark.parametrize("fault", ["full disk", "no file can be made", "unreadable invitation"])
def test_no_invitation_outlives_the_removal(node: NodeTrust, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost laptop is shut out for good though nothing could be written, or what the device was given could not be read."""
    ca = Ca("anna")
    invite = Invite(ca.id, "0123abcd", b"I" * 16)
    node.hold(invite)
    pair(ca, node)
    assert not node.is_void(invite)
    held = tmp_path / "home" / "invitations" / "0123abcd.json"
    with monkeypatch.context() as patch, ExitStack() as disk:
        if fault == "full disk":
            disk.enter_context(full_disk())
        elif fault == "no file can be made":
            patch.setattr(Path, "touch", existing_alone)
        else:
            aside = held.rename(held.with_suffix(".aside"))
            held.mkdir()
        assert NodeTrust(tmp_path / "home").untrust("anna") == (ca.id, "anna")
        assert node.is_void(invite)
        if fault == "unreadable invitation":
            held.rmdir()
            aside.rename(held)
    for each in (node, NodeTrust(tmp_path / "home")):
        each.hold(invite)
        assert each.is_void(invite)
        assert each.is_removed(ca.id)
        assert each.trusted() == ()


def test_an_invitation_counts_until_its_coordinator_is_dropped_again(node: NodeTrust) -> None:
    """One that is given after a removal is good, also once it was used, and void after the next."""
    ca = Ca("anna")
    old, new = Invite(ca.id, "0123abcd", b"I" * 16), Invite(ca.id, "4567cdef", b"J" * 16)
    node.hold(old)
    pair(ca, node)
    node.untrust("anna")
    node.hold(new)
    assert (node.is_void(old), node.is_void(new)) == (True, False)
    node.trust(ca.certificate, node_leaf(ca, node), "invite", node.removal(ca.id))
    assert not node.is_void(new)
    node.untrust("anna")
    assert (node.is_void(old), node.is_void(new)) == (True, True)


def test_an_invitation_of_an_earlier_version_is_void(node: NodeTrust, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It does not say after which removal it was given."""
    ca = Ca("anna")
    invite = Invite(ca.id, "0123abcd", b"I" * 16)
    node.hold(invite)
    held = tmp_path / "home" / "invitations" / "0123abcd.json"
    held.write_text(json.dumps({"version": 1, "authority": ca.id, "void": False}), encoding="utf-8")
    assert node.is_void(invite)
    with pytest.raises(HomeError, match="this device needs another"):
        node.hold(invite)
    assert len(caplog.records) == 1


def test_a_removal_by_an_earlier_version_counts(node: NodeTrust, tmp_path: Path) -> None:
    """Its mark held a date."""
    ca = Ca("anna")
    pair(ca, node)
    (tmp_path / "home" / "removed" / ca.id).write_text("2026-11-01T08:00:00+00:00\n", encoding="utf-8")
    assert node.trusted() == ()
    with pytest.raises(TrustError, match="dropped while it was being paired"):
        pair(ca, node)
    node.trust(ca.certificate, node_leaf(ca, node), "code", node.removal(ca.id))
    assert [one.authority for one in node.trusted()] == [ca.id]


@pytest.mark.parametrize("fault", ["damaged", "unreadable", "folder"])
@pytest.mark.parametrize("told", [32, 8])
def test_a_coordinator_is_dropped_though_its_record_cannot_be_read(node: NodeTrust, tmp_path: Path, fault: str, told: int) -> None:
    """By its full id whatever is the matter, by the beginning of it as long as there is a record; it stays out when that can be
    read again."""
    ca = Ca("anna")
    pair(ca, node)
    folder = tmp_path / "home" / "trusted"
    record = folder / f"{ca.id}.json"
    whole = record.read_bytes()
    if fault == "folder":
        folder.rename(tmp_path / "aside")
        folder.write_text("", encoding="utf-8")
    elif fault == "unreadable":
        record.unlink()
        record.mkdir()
    else:
        record.write_bytes(whole[:300])
    if fault == "folder" and told < 32:
        with pytest.raises(HomeError, match="cannot be read"):
            node.untrust(ca.id[:told])
        return
    if fault != "folder":
        with pytest.raises(UsageError, match=f"Known: {ca.id}"):
            node.untrust("anna")
    assert node.untrust(ca.id[:told]) == (ca.id, "" if fault == "folder" else ca.id)
    if fault == "folder":
        folder.unlink()
        (tmp_path / "aside").rename(folder)
    else:
        record.write_bytes(whole)
    assert node.trusted() == ()
    assert node.is_removed(ca.id)


def test_who_cannot_be_read_is_no_stranger(node: NodeTrust, tmp_path: Path) -> None:
    """While one record cannot be read nobody is said not to be trusted who may be in it; the others count."""
    ca, good = Ca("anna"), Ca("bob")
    pair(ca, node)
    pair(good, node)
    leaf = coordinator_leaf(ca)
    record = tmp_path / "home" / "trusted" / f"{ca.id}.json"
    aside = record.rename(record.with_suffix(".aside"))
    record.mkdir()
    for ask in (lambda: node.verdict(leaf, now_utc()), lambda: node.identify(leaf), lambda: node.client_tls(ca.id)):
        with pytest.raises(HomeError, match="Is a directory"):
            ask()
    assert node.verdict(coordinator_leaf(good), now_utc()) is Verdict.TRUSTED
    record.rmdir()
    aside.rename(record)
    assert node.verdict(leaf, now_utc()) is Verdict.TRUSTED


def test_an_invitation_that_is_void_stays_so_while_that_cannot_be_read(node: NodeTrust, tmp_path: Path) -> None:
    """A node that is started with the token again does not take it for one that it was never given."""
    ca = Ca("anna")
    invite = Invite(ca.id, "0123abcd", b"I" * 16)
    pair(ca, node)
    node.hold(invite)
    node.untrust("anna")
    held = tmp_path / "home" / "invitations" / "0123abcd.json"
    aside = held.rename(held.with_suffix(".aside"))
    held.mkdir()
    with pytest.raises(HomeError, match="cannot be read: Is a directory"):
        NodeTrust(tmp_path / "home").hold(invite)
    held.rmdir()
    aside.rename(held)
    again = NodeTrust(tmp_path / "home")
    again.hold(invite)
    assert again.is_void(invite)


def test_untrust_in_another_process_counts_at_once(node: NodeTrust, tmp_path: Path) -> None:
    """The running node needs no message: the next question to it is answered anew, and it knows that somebody was removed."""
    ca = Ca("anna")
    pair(ca, node)
    leaf = coordinator_leaf(ca)
    assert node.identify(leaf).authority == ca.id
    assert NodeTrust(tmp_path / "home").untrust("anna") == (ca.id, "anna")
    assert node.verdict(leaf, now_utc()) is Verdict.UNKNOWN_AUTHORITY
    assert node.trusted() == ()
    assert node.is_removed(ca.id)
    assert not node.is_removed(Ca().id)
    for use in (lambda: node.identify(leaf), lambda: node.client_tls(ca.id), lambda: node.renew(node_leaf(ca, node))):
        with pytest.raises(TrustError):
            use()


def test_who_was_removed_can_be_paired_again(node: NodeTrust) -> None:
    """A new pairing takes the mark away, one that began before does not."""
    ca = Ca()
    pair(ca, node)
    node.untrust(ca.id)
    mark = node.removal(ca.id)
    with pytest.raises(TrustError, match="dropped while it was being paired"):
        pair(ca, node)
    node.trust(ca.certificate, node_leaf(ca, node), "code", mark)
    node.untrust(ca.id)
    with pytest.raises(TrustError, match="dropped while it was being paired"):
        node.trust(ca.certificate, node_leaf(ca, node), "code", mark)
    node.trust(ca.certificate, node_leaf(ca, node), "code", node.removal(ca.id))
    assert [one.authority for one in node.trusted()] == [ca.id]
    assert not node.is_removed(ca.id)


@pytest.mark.parametrize("told", ["", "..", "../key.pem", "../../etc/passwd", "a" * 5_000, "\x00", "A" * 32])
def test_an_authority_that_a_peer_named_is_no_path(node: NodeTrust, told: str) -> None:
    """What a stranger calls an authority never becomes part of a file's name."""
    node.key  # noqa: B018 - makes home/key.pem
    assert not node.is_removed(AuthorityId(told))


def test_only_this_nodes_certificates_are_kept(node: NodeTrust) -> None:
    """Leaves for another key, for another role, by another authority, and of what is no authority, are refused."""
    ca, other = Ca(), Ca()
    stranger = make_key()
    mine = node.key.public_key()
    for authority, leaf in (
        (ca.certificate, issue(ca.certificate, ca.key, stranger.public_key(), Role.NODE, now_utc())),
        (ca.certificate, issue(ca.certificate, ca.key, mine, Role.COORDINATOR, now_utc())),
        (ca.certificate, node_leaf(other, node)),
        (ca.certificate, ca.certificate),
        (node.placeholder, node.placeholder),
        (node_leaf(ca, node), node_leaf(ca, node)),
    ):
        with pytest.raises(TrustError):
            node.trust(authority, leaf, "code")
    assert node.trusted() == ()


def test_renewal_only_moves_the_end_later(node: NodeTrust) -> None:
    """A later certificate takes the place of the old one; an older, a foreign or a forged one does not."""
    ca, other = Ca(), Ca()
    node.trust(ca.certificate, node_leaf(ca, node, timedelta(days=-9)), "invite")
    later = node_leaf(ca, node)
    kept = node.renew(later)
    assert (kept.leaf, kept.via) == (later, "invite")
    stranger = issue(ca.certificate, ca.key, make_key().public_key(), Role.NODE, now_utc() + timedelta(days=20))
    forged = forge(other.key, ca.certificate.subject, node.key.public_key(), (uri(ca.id, node.key, "node"),))
    for leaf in (node_leaf(ca, node, timedelta(days=-5)), node_leaf(other, node, timedelta(days=30)), stranger, forged):
        with pytest.raises(TrustError):
            node.renew(leaf)
    assert node.trusted() == (kept,)
    assert node.renew(later) == kept


def test_a_certificate_of_a_clock_that_was_ahead_gives_way(node: NodeTrust) -> None:
    """Also to one that ends earlier, and until then the coordinator hears that it is the node's own that does not count."""
    ca = Ca()
    node.trust(ca.certificate, node_leaf(ca, node, timedelta(days=400)), "code")
    assert node.verdict(coordinator_leaf(ca), now_utc()) is Verdict.OWN_EXPIRED
    kept = node.renew(node_leaf(ca, node))
    assert node.trusted() == (kept,)
    assert node.verdict(coordinator_leaf(ca), now_utc()) is Verdict.TRUSTED


def test_verdicts(node: NodeTrust) -> None:
    """Each certificate that a coordinator may show gets the verdict that the proto tells of, with the clock passed in."""
    ca, stranger, key = Ca(), Ca(), make_key()
    pair(ca, node)
    now, day = now_utc(), timedelta(days=1)
    own = der(node_leaf(ca, node))
    for shown, when, verdict in (
        (coordinator_leaf(ca), now, Verdict.TRUSTED),
        (coordinator_leaf(ca), now + 3 * day, Verdict.EXPIRED),
        (coordinator_leaf(ca), now - 3 * day, Verdict.NOT_YET_VALID),
        (coordinator_leaf(ca, later=NODE_LIFE), now + NODE_LIFE + day / 2, Verdict.OWN_EXPIRED),
        (coordinator_leaf(stranger), now, Verdict.UNKNOWN_AUTHORITY),
        (pem(make_placeholder(key)), now, Verdict.UNKNOWN_AUTHORITY),
        (pem(ca.certificate), now, Verdict.UNKNOWN_AUTHORITY),
        (own, now, Verdict.WRONG_ROLE),
        (b"", now, Verdict.UNKNOWN_AUTHORITY),
        (b"\xff" * 100_000, now, Verdict.UNKNOWN_AUTHORITY),
    ):
        assert node.verdict(shown, when) is verdict


def test_a_paired_coordinator_speaks_for_itself_alone(node: NodeTrust) -> None:
    """B, who is paired as well, cannot make a certificate that counts as A's, or that leads the search for its signer astray."""
    a, b, key = Ca("a"), Ca("b"), make_key()
    pair(a, node)
    pair(b, node)
    in_a = uri(a.id, key)
    for forged in (
        forge(b.key, b.certificate.subject, key.public_key(), (in_a,)),
        forge(b.key, a.certificate.subject, key.public_key(), (in_a,)),
        forge(b.key, a.certificate.subject, key.public_key(), (uri(b.id, key),)),
        forge(b.key, b.certificate.subject, key.public_key(), (uri(b.id, key), in_a)),
    ):
        with pytest.raises(TrustError):
            node.identify(der(forged))
    # Nor can it pair under a subject that is A's.
    twin = make_key()
    subject = a.certificate.subject
    forged = (
        x509.CertificateBuilder(subject, subject, twin.public_key(), 1, now_utc(), now_utc() + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(twin, a.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    leaf = forge(twin, subject, node.key.public_key(), (uri(fingerprint(twin.public_key()), node.key, "node"),))
    with pytest.raises(TrustError, match="no authority"):
        node.trust(forged, leaf, "code")


def test_an_expired_certificate_is_still_shown(node: NodeTrust) -> None:
    """The coordinator sees that it has expired, which is why it renews it."""
    ca = Ca()
    node.trust(ca.certificate, node_leaf(ca, node, -NODE_LIFE - timedelta(days=1)), "code")
    assert node.server_tls().certificates == (pem(node.trusted()[0].leaf),)


def test_a_new_key_is_a_new_node(node: NodeTrust, tmp_path: Path) -> None:
    """After its key was lost nothing is trusted under the new one: those certificates are another node's."""
    ca = Ca()
    pair(ca, node)
    (tmp_path / "home" / "key.pem").unlink()
    again = NodeTrust(tmp_path / "home")
    assert again.trusted() == ()
    assert again.id != node.id
    assert again.trusted() == ()
    assert again.server_tls().roots == pem(again.placeholder)
    pair(ca, again)
    assert [one.authority for one in again.trusted()] == [ca.id]


def test_damaged_records_are_skipped(node: NodeTrust, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is warned of once, however often it is looked at, and those beside it count."""
    good, ca = Ca(), Ca()
    pair(good, node)
    pair(ca, node)
    folder = tmp_path / "home" / "trusted"
    record = folder / f"{ca.id}.json"
    whole = record.read_text(encoding="utf-8")
    values = json.loads(whole)
    other = pem(Ca().certificate).decode()
    damaged = [
        "",
        whole[:300],
        "[1]",
        "[" * 60_000,
        '"' + "x" * 100_000 + '"',
        "\x00" * 10,
        *(
            json.dumps({**values, **change})
            for change in (
                {"version": 2},
                {"authority": other},
                {"leaf": other},
                {"leaf": 7},
                {"since": "then"},
                {"since": "2026-01-01T00:00:00"},
                {"via": None},
            )
        ),
        json.dumps({field: value for field, value in values.items() if field != "leaf"}),
    ]
    for text in damaged:
        caplog.clear()
        damage(record, text)
        for _ in range(3):
            assert [one.authority for one in node.trusted()] == [good.id]
        assert [line.levelname for line in ours(caplog)] == ["WARNING"]
        assert record.name in caplog.text
    damage(record, whole)
    assert len(node.trusted()) == 2


def test_a_record_under_another_name_does_not_count(node: NodeTrust, tmp_path: Path) -> None:
    """Else dropping an authority would leave its copy."""
    ca = Ca()
    pair(ca, node)
    folder = tmp_path / "home" / "trusted"
    (folder / f"{ca.id}.json").rename(folder / f"{Ca().id}.json")
    assert node.trusted() == ()


def test_readers_see_whole_records_while_they_change(node: NodeTrust, tmp_path: Path) -> None:
    """Readers in other threads, with their own view or the writer's, find one of the written certificates each time, never none."""
    ca = Ca()
    leaves = [node_leaf(ca, node, timedelta(days=day)) for day in range(60)]
    node.trust(ca.certificate, leaves[0], "code")
    done, wrong, seen = threading.Event(), list[object](), list[int]()

    def read(trust: NodeTrust) -> None:
        count = 0
        while not done.is_set() or count == 0:
            found = [one.leaf for one in trust.trusted()]
            count += 1
            if len(found) != 1 or found[0] not in leaves:
                wrong.append(found)
        seen.append(count)

    readers = [threading.Thread(target=read, args=(trust,)) for trust in (node, node, NodeTrust(tmp_path / "home"))]
    for reader in readers:
        reader.start()
    for leaf in leaves[1:]:
        node.renew(leaf)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(seen) == 3


def test_a_full_disk_is_a_sentence(node: NodeTrust, tmp_path: Path) -> None:
    """What was trusted stays as it was, and no half of a file is left."""
    ca = Ca()
    with full_disk(), pytest.raises(HomeError, match="cannot be written: "):
        node.key  # noqa: B018 - makes it
    assert list((tmp_path / "home").iterdir()) == []
    pair(ca, node)
    before = node.trusted()
    later = node_leaf(ca, node, timedelta(days=1))
    for change in (lambda: node.renew(later), lambda: pair(Ca(), node)):
        with full_disk(), pytest.raises(HomeError, match="cannot be written: "):
            change()
    assert node.trusted() == before
    assert [path.name for path in (tmp_path / "home").rglob("*.new")] == []


def test_a_home_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    """Whatever is asked of it."""
    (tmp_path / "file").write_text("")
    node = NodeTrust(tmp_path / "file")
    for ask in (lambda: node.key, node.trusted, node.server_tls, lambda: node.untrust("anna")):
        with pytest.raises(EdgenodeError, match="cannot be read"):
            ask()


def test_others_cannot_look_in(node: NodeTrust, tmp_path: Path) -> None:
    """Folders are for their owner alone, and so is each file."""
    ca = Ca()
    pair(ca, node)
    pair(Ca(), node)
    node.untrust(ca.id)
    for path in (tmp_path / "home").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (*(tmp_path / "home" / "trusted").glob("*.json"), tmp_path / "home" / "removed" / ca.id):
        assert path.stat().st_mode & 0o077 == 0, path


def test_secrets_are_not_shown(node: NodeTrust) -> None:
    """What ends in a log by accident holds no key."""
    ca = Ca()
    pair(ca, node)
    assert "PRIVATE" not in repr((node.server_tls(), node.placeholder_tls(), node.client_tls(ca.id), node.trusted(), node))
