"""`edgenode peers`: who counts as another."""

import json
import secrets
from pathlib import Path

import pytest

from edgenode.cli import _parser
from edgenode.commands import peers
from edgenode.node import Node, NodeConfig
from edgenode.threads import in_thread
from tests.scripted_engine import ScriptedEngine


async def test_who_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Not this device, whatever the home of the node that runs on it; where one home is named, every node but that one."""

    async def listed(*options: str) -> set[str]:
        told = _parser().parse_args(["peers", "--json", *options])
        assert await in_thread(told.act, told) == 0
        return {each["id"] for each in json.loads(capsys.readouterr().out)["peers"]}

    homes = tmp_path / "one", tmp_path / "two"
    one, two = (Node(NodeConfig(home=home, name=f"pi-{secrets.token_hex(4)}"), ScriptedEngine()) for home in homes)
    async with one, two:
        for attempt in range(1, 21):
            # On a machine that is busy with other tests mDNS may take longer than is listened.
            monkeypatch.setattr(peers, "LISTEN_SECONDS", 0.4 * attempt)
            seen = await listed("--home", str(homes[0]))
            if two.trust.id in seen:
                break
        assert two.trust.id in seen
        assert one.trust.id not in seen
        assert not {one.trust.id, two.trust.id} & await listed()
