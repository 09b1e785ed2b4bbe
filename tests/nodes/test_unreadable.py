"""Folders and records of the coordinator that cannot be read: who is kept and who is not, and what is said of it."""

import asyncio
from pathlib import Path

import pytest

from coordinator.events import NodeState
from coordinator.nodes.news import Down, News, Up
from coordinator.nodes.pairing import Trust
from coordinator.trust.authority import coordinator_folder
from edgenode.node import Node, NodeConfig
from tests.logged import logged
from tests.nodes.test_roster import Deaf, is_joined, roster_of, seen, unique, until
from tests.scripted_engine import ScriptedEngine


async def test_invitations_that_cannot_be_read_keep_no_node_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A node is paired and works without them; that they cannot be read is told when it comes about, and not at every look."""
    name, trust = unique("kitchen"), Trust.load()
    invites = coordinator_folder() / "invites"
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()), roster_of(trust, name) as roster:
        for times in (1, 2):
            invites.write_text("not a folder")
            for _ in range(3):
                roster.look()
            await seen(roster, is_joined)
            (peer,) = roster.peers()
            assert peer.is_connected
            warned = [text for text in logged(caplog, "coordinator.nodes") if "invites cannot be read" in text]
            assert len(warned) == times
            invites.unlink()
            roster.look()


@pytest.mark.parametrize("lost", ["folder", "record"])
async def test_a_node_whose_record_cannot_be_read_is_told_to_be_that(tmp_path: Path, lost: str) -> None:
    """Not to be unpaired: neither where it is listed nor at the end of its stream, and it returns."""
    name, trust = unique("flickers"), Trust.load()
    news: asyncio.Queue[News] = asyncio.Queue()
    async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node, roster_of(trust, name) as roster:
        with roster.listening(news.put_nowait):
            await until(news, Up)
            path = coordinator_folder() / "nodes"
            path = path if lost == "folder" else path / f"{node.trust.id}.json"
            aside = path.rename(path.with_name("aside"))
            path.write_text("neither") if lost == "folder" else path.mkdir()
            assert f"{path} cannot be read" in (await until(news, Down)).why
            (told,) = roster.nodes()
            assert told.state is NodeState.UNPAIRED
            assert f"{path} cannot be read" in told.why
            path.unlink() if lost == "folder" else path.rmdir()
            aside.rename(path)
            await until(news, Up)


async def test_a_node_that_is_nowhere_seen_stays_listed_while_its_record_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong is said of it; it is forgotten once it is known not to be paired."""
    monkeypatch.setattr("coordinator.nodes.roster.Browser", Deaf)
    name, trust = unique("drawer"), Trust.load()
    async with roster_of(trust, name) as roster:
        async with Node(NodeConfig(home=tmp_path, name=name), ScriptedEngine()) as node:
            await seen(roster, is_joined)
        record = coordinator_folder() / "nodes" / f"{node.trust.id}.json"
        record.unlink()
        record.mkdir()
        roster.look()
        (told,) = roster.nodes()
        assert "cannot be read" in told.why
        record.rmdir()
        roster.look()
        assert roster.nodes() == ()
