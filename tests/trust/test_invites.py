import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator.trust.authority import Authority
from coordinator.trust.invites import Invites
from edgenode.errors import HomeError, UsageError
from edgenode.trust.certificates import now_utc
from edgenode.trust.token import INVITE_LIFE, format_token, parse_token
from tests.logged import ours
from tests.trust.faults import full_disk
from tests.trust.people import damage


def test_an_invitation_is_kept_until_it_ends(tmp_path: Path) -> None:
    """With what its token says, pinned to this coordinator, for its life and not longer."""
    made = Invites(tmp_path).make("attic\x1b pi")
    assert Invites(tmp_path).outstanding(now_utc()) == (made,)
    token = parse_token(format_token(made))
    assert (token.authority, token.id, token.secret) == (Authority(tmp_path).id, made.id, made.secret)
    assert made.name == "attic pi"
    assert abs(made.ends - now_utc() - INVITE_LIFE) < timedelta(minutes=1)
    assert Invites(tmp_path).outstanding(made.ends) == ()
    (path,) = (tmp_path / "invites").glob("*.json")
    assert path.stat().st_mode & 0o077 == 0


def test_no_two_are_alike(tmp_path: Path) -> None:
    """Ids and secrets are random; the next to end comes first."""
    invites = Invites(tmp_path)
    late, soon = invites.make(), invites.make(life=timedelta(hours=1))
    assert invites.outstanding(now_utc()) == (soon, late)
    assert late.id != soon.id
    assert late.secret != soon.secret
    assert late.secret.hex() not in repr(late)


def test_an_invitation_is_used_once(tmp_path: Path) -> None:
    """Of many who try at the same time one may."""
    made = Invites(tmp_path).make()
    told = list[bool]()
    threads = [threading.Thread(target=lambda: told.append(Invites(tmp_path).use(made.id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 7 + [True]
    assert Invites(tmp_path).outstanding(now_utc()) == ()


def test_an_invitation_can_be_withdrawn(tmp_path: Path) -> None:
    """Once; then, and for ids that are none, there is a sentence."""
    invites = Invites(tmp_path)
    made = invites.make()
    invites.withdraw(made.id)
    assert invites.outstanding(now_utc()) == ()
    for id in (made.id, "", "../key", "x" * 5_000):
        with pytest.raises(UsageError, match="no invitation"):
            invites.withdraw(id)
    assert Authority(tmp_path).id == made.authority


def test_ended_invitations_are_cleared_away(tmp_path: Path) -> None:
    """When the next one is made."""
    invites = Invites(tmp_path)
    invites.make(life=timedelta(seconds=-1))
    made = invites.make()
    assert [path.stem for path in (tmp_path / "invites").glob("*.json")] == [made.id]


def test_a_damaged_invitation_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With one warning, which does not hold the secret."""
    invites = Invites(tmp_path)
    made = invites.make()
    path = tmp_path / "invites" / f"{made.id}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for change in (
        {"secret": made.secret.hex()[:-2]},
        {"secret": "x" + made.secret.hex()},
        {"authority": "me"},
        {"ends": 5},
        {"after": 5},
    ):
        caplog.clear()
        damage(path, json.dumps({**values, **change}))
        assert invites.outstanding(now_utc()) == invites.outstanding(now_utc()) == ()
        assert len(ours(caplog)) == 1
        assert made.secret.hex()[:8] not in caplog.text


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """Nobody is shown a token that does not work."""
    invites = Invites(tmp_path)
    Authority(tmp_path)
    with full_disk(), pytest.raises(HomeError, match="cannot be written: "):
        invites.make()
