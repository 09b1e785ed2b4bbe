"""Devices that wait to be renewed, and others that wait in their name."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from coordinator.nodes.pairing import Trust
from coordinator.nodes.renewals import Renewals
from coordinator.nodes.tasks import Tasks
from edgenode.net.dialled_in import WaitingDevice
from edgenode.trust.certificates import now_utc
from edgenode.trust.frames import Introduction, PairingFrame
from tests.pairing_parts import make_desk
from tests.trusted import paired


class Waiting:
    """A device that waits, over a stream in memory. A silent one takes what comes and answers nothing."""

    def __init__(self, home: Path, host: str) -> None:
        self.asked = asyncio.Event()
        self._host = host
        self._to_node: asyncio.Queue[PairingFrame] = asyncio.Queue()
        self._to_us: asyncio.Queue[PairingFrame] = asyncio.Queue()
        serve = make_desk(home).desk.serve(_frames(self._to_node), self._answer, host, waits=True)
        self.node = asyncio.create_task(serve)

    async def wait(self, silent: bool = False) -> WaitingDevice:
        introduction = await self._to_us.get()
        assert isinstance(introduction, Introduction)
        self.device = WaitingDevice(introduction, self._host, self._send)
        self.serving = asyncio.create_task(self.device.serve(_frames(self._to_us)))
        if silent:
            self.node.cancel()
        return self.device

    async def _send(self, frame: PairingFrame) -> None:
        self.asked.set()
        self._to_node.put_nowait(frame)

    async def _answer(self, frame: PairingFrame) -> None:
        self._to_us.put_nowait(frame)

    async def end(self) -> None:
        self.node.cancel()
        self.serving.cancel()
        await asyncio.gather(self.node, self.serving, return_exceptions=True)


async def _frames(queue: asyncio.Queue[PairingFrame]) -> AsyncIterator[PairingFrame]:
    while True:
        yield await queue.get()


async def test_each_that_waits_is_helped_for_itself(tmp_path: Path) -> None:
    """One that is silent, and one that is renewed in the node's name again and again, are not in the node's way."""
    trust = Trust.load(tmp_path / "anna")
    node = paired(tmp_path / "node", trust.authority, trust.paired)
    trust.paired.renewed(node.id, ends := now_utc() + timedelta(days=1))
    home, tasks, begun = tmp_path / "node", Tasks(), list[asyncio.Task[None]]()

    def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        begun.append(tasks.spawn(work, name))
        return begun[-1]

    helped = Renewals(node.id, trust, spawn)
    hosts = ("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3")
    waiting = silent, other, again, real = [Waiting(home, host) for host in hosts]
    async with asyncio.timeout(120):
        helped.begin([await silent.wait(silent=True), await other.wait()], "phone")
        await silent.asked.wait()
        assert await other.node is not None
        await begun[1]
        helped.begin([silent.device, await again.wait(), await real.wait()], "phone")
        assert await real.node is not None
        await begun[2]
    assert len(begun) == 3
    assert again.device.is_waiting
    assert (kept := trust.paired.get(node.id)) is not None
    assert kept.certificate_ends > ends
    for each in waiting:
        await each.end()
    await tasks.end()
