import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator.trust.authority import Authority, coordinator_folder, default_name
from edgenode.errors import HomeError, TrustError
from edgenode.trust import certificates
from edgenode.trust.certificates import Role, check_authority, now_utc, parse_certificate, pem
from edgenode.trust.keys import fingerprint, make_key
from tests.trust.faults import full_disk


def test_an_unsafe_key_is_told_with_the_whole_remedy(tmp_path: Path) -> None:
    """To delete the key alone would only end in the next refusal: the sentence names the folder."""
    Authority(tmp_path)
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(TrustError, match=r"delete the folder .* and pair your devices again"):
        Authority(tmp_path)


def test_an_authority_survives(tmp_path: Path) -> None:
    """Who it is, its name and its certificate are those of the first time, whatever name is given later."""
    first = Authority(tmp_path / "c", "花子@居間のパソコン")
    again = Authority(tmp_path / "c", "another")
    assert (again.id, again.name) == (first.id, "花子@居間のパソコン")
    assert pem(again.certificate) == pem(first.certificate)
    assert check_authority(first.certificate) == first.id
    for path in (tmp_path / "c").iterdir():
        assert path.stat().st_mode & 0o077 == 0 or path.name == "lock"
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700


def test_by_default_it_is_the_users(tmp_path: Path) -> None:
    """Kept in the user's data folder, and named user@host."""
    authority = Authority()
    assert coordinator_folder() == tmp_path / "data" / "coordinator"
    assert Authority(coordinator_folder()).id == authority.id
    assert authority.name == certificates.subject_name(authority.certificate)
    assert default_name().startswith(authority.name)
    assert "@" in authority.name


def test_two_commands_at_once_make_one_authority(tmp_path: Path) -> None:
    """Processes that all find none agree on one."""
    code = "import sys, pathlib; from coordinator.trust.authority import Authority; print(Authority(pathlib.Path(sys.argv[1])).id)"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    told = {process.communicate(timeout=300)[0] for process in started}
    assert told == {f"{Authority(tmp_path / 'c').id}\n"}


def test_its_own_certificate_is_made_anew(tmp_path: Path) -> None:
    """The same one serves for half its life; then, and when the clock was set back before its start, there is a new one."""
    start = now = now_utc()
    authority = Authority(tmp_path / "c", clock=lambda: now)

    def shown(later: timedelta) -> bytes:
        nonlocal now
        now = start + later
        tls = authority.client_tls()
        assert authority.server_tls().certificates == (tls.certificate,)
        assert authority.identify(tls.certificate).role is Role.COORDINATOR
        leaf = parse_certificate(tls.certificate)
        assert leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc
        return tls.certificate

    first = shown(timedelta())
    assert shown(timedelta(hours=20)) == first
    second = shown(timedelta(hours=30))
    assert second != first
    assert shown(timedelta(days=400)) != second
    assert shown(timedelta()) not in (first, second)


def test_it_signs_nodes(tmp_path: Path) -> None:
    """And knows its own signature from another's."""
    authority, other, key = Authority(tmp_path / "a"), Authority(tmp_path / "b"), make_key()
    leaf = authority.sign_node(key.public_key(), now_utc())
    peer = authority.identify(pem(leaf))
    assert (peer.role, peer.id, peer.authority) == (Role.NODE, fingerprint(key.public_key()), authority.id)
    for data in (pem(other.sign_node(key.public_key(), now_utc())), b"", b"garbage"):
        with pytest.raises(TrustError):
            authority.identify(data)


def test_what_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    """A key that others can read, a missing key, a damaged certificate or another's: each says what to do."""
    folder = tmp_path / "c"
    first, other = Authority(folder), Authority(tmp_path / "other")
    key, certificate = folder / "key.pem", folder / "authority.pem"
    key.chmod(0o644)
    with pytest.raises(TrustError, match="chmod 600"):
        Authority(folder)
    key.chmod(0o600)
    for data in (b"", b"garbage", pem(other.certificate)):
        certificate.write_bytes(data)
        with pytest.raises(TrustError, match="Delete it"):
            Authority(folder)
    certificate.unlink()
    again = Authority(folder, first.name)
    assert again.id == first.id
    key.unlink()
    with pytest.raises(TrustError, match="is missing"):
        Authority(folder)
    assert not key.exists()


def test_where_nothing_can_be_kept_is_a_sentence(tmp_path: Path) -> None:
    """A full disk, and a folder that is a file."""
    with full_disk(), pytest.raises(HomeError, match="cannot be written: "):
        Authority(tmp_path / "c")
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot be made"):
        Authority(tmp_path / "file")
    assert Authority(tmp_path / "c").id
