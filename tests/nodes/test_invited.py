"""Which of several invitations is tried with a node."""

from pathlib import Path

import pytest

from coordinator.cli import main
from coordinator.nodes.pairing import Trust, named_invites
from edgenode.trust.frames import Introduction
from edgenode.types import AuthorityId, NodeId


def test_the_token_is_not_to_be_given_as_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is to be typed keeps it out of what every user of the device can list; standard output holds the token alone."""
    monkeypatch.setenv("EDGENODE_DATA", str(tmp_path))
    assert main(["invite"]) == 0
    told = capsys.readouterr()
    (token,) = told.out.splitlines()
    assert f"EDGENODE_INVITE={token} edgenode start\n" in told.err
    assert f"--invite {token}" not in told.err


def test_only_the_invitation_that_a_node_names_is_tried(tmp_path: Path) -> None:
    """One that was not made here or is used up is none; a node that names none may hold any; another's invitation is not ours."""
    trust = Trust.load(tmp_path)
    one, other = invites = (trust.invites.make(), trust.invites.make())
    authority = trust.authority.id

    def met(invitation: str, by: AuthorityId = authority) -> Introduction:
        return Introduction(NodeId("a" * 32), "phone", "0.1", 0.0, False, (by,), invitation)

    assert named_invites(authority, [met(other.id)], invites) == (other,)
    assert named_invites(authority, [met("01234567")], invites) == ()
    assert named_invites(authority, [met("")], invites) == (one, other)
    assert named_invites(authority, [met(one.id, AuthorityId("b" * 32))], invites) == ()
    assert named_invites(authority, [], invites) == ()
