import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from edgenode.errors import HomeError, TrustError
from edgenode.trust.keys import fingerprint, key_pem, load_or_make_key, make_key


def test_a_key_survives(tmp_path: Path) -> None:
    """The key made at the first start is the one of every later start."""
    first = load_or_make_key(tmp_path / "key.pem")
    again = load_or_make_key(tmp_path / "key.pem")
    assert fingerprint(first.public_key()) == fingerprint(again.public_key())
    assert len(fingerprint(first.public_key())) == 32


def test_only_its_owner_reads_a_key(tmp_path: Path) -> None:
    """A new key's file is closed to others, whatever the umask says, and nothing else is left behind."""
    before = os.umask(0)
    try:
        load_or_make_key(tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """Nobody knows who has read it: the sentence says what to do."""
    path = tmp_path / "key.pem"
    load_or_make_key(path)
    path.chmod(mode)
    with pytest.raises(TrustError, match="chmod 600"):
        load_or_make_key(path)


def test_a_key_elsewhere_or_of_another_owner_is_refused(tmp_path: Path) -> None:
    """A link may point to what others choose, and whoever owns the file has the key."""
    path, other = tmp_path / "key.pem", tmp_path / "other.pem"
    load_or_make_key(other)
    path.symlink_to(other)
    with pytest.raises(TrustError, match="a link"):
        load_or_make_key(path)
    if os.getuid() == 0:
        os.chown(other, 12_345, -1)
        with pytest.raises(TrustError, match="another user"):
            load_or_make_key(other)


def test_damaged_and_foreign_keys_are_refused(tmp_path: Path) -> None:
    """Empty, cut, encrypted, and keys of every other kind end in a sentence and stay where they are."""
    whole = key_pem(make_key())
    kinds = (rsa.generate_private_key(65_537, 2_048), ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1()))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked = make_key().private_bytes(*plain, serialization.BestAvailableEncryption(b"word"))
    foreign = [kind.private_bytes(*plain, serialization.NoEncryption()) for kind in kinds]
    path = tmp_path / "key.pem"
    for data in (b"", b"\x00" * 500, whole[: len(whole) // 2], locked, *foreign):
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(TrustError, match=r"key\.pem"):
            load_or_make_key(path)
        assert path.read_bytes() == data


def test_a_key_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    """Where nothing can be written there is a sentence instead of an identity that is lost at the next start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TrustError, match="cannot be read"):
        load_or_make_key(tmp_path / "file" / "key.pem")
    with pytest.raises(HomeError, match="cannot be written"):
        load_or_make_key(tmp_path / "missing" / "key.pem")
