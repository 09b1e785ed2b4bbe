"""Devices that wait to be renewed, and others that wait in their name."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from coordinator.nodes.pairing import Trust
from coordinator.nodes.renewals import Renewals
from coordinator.nodes.tasks import Tasks
from edgenode.net.dialled_in import WaitingDevice
from edgenode.trust.certificates import Certificate, make_request, now_utc
from edgenode.trust.frames import Introduction, PairingFrame, RefusalReason, Refused, SecretKind
from edgenode.trust.pairing import NodePairing
from edgenode.trust.store import NodeTrust
from edgenode.types import AuthorityId
from tests.trusted import paired


class Waiting:
    """A device that waits, over a stream in memory. Silent it takes what comes and answers nothing."""

    def __init__(self, trust: NodeTrust, host: str, silent: bool = False) -> None:
        self.trust_of_node = trust
        introduction = Introduction(trust.id, "phone", "0.1", now_utc().timestamp(), False)
        self.machine = NodePairing(introduction, self)
        self.machine.start()
        self.silent = silent
        self.asked = asyncio.Event()
        self.answers: asyncio.Queue[PairingFrame] = asyncio.Queue()
        self.device = WaitingDevice(introduction, host, self.take)
        self.serving = asyncio.create_task(self.device.serve(self.frames()))

    async def take(self, frame: PairingFrame) -> None:
        self.asked.set()
        for answer in () if self.silent else self.machine.receive(frame):
            self.answers.put_nowait(answer)

    async def frames(self) -> AsyncIterator[PairingFrame]:
        while True:
            yield await self.answers.get()

    # What its machine asks.

    def secret(self, kind: SecretKind, authority: AuthorityId) -> bytes | Refused:
        return Refused(RefusalReason.WINDOW_CLOSED, "It is not to be paired.")

    def trusted(self, authority: AuthorityId) -> Certificate | Refused:
        return self.trust_of_node.trusted()[0].certificate

    def request(self) -> bytes:
        return make_request(self.trust_of_node.key)


async def test_each_that_waits_is_helped_for_itself(tmp_path: Path) -> None:
    """One that is silent, and one that is renewed in the node's name again and again, are not in the node's way."""
    trust = Trust.load(tmp_path / "anna")
    node = paired(tmp_path / "node", trust.authority, trust.paired)
    tasks = Tasks()
    helped = Renewals(node.id, trust, tasks.spawn)
    silent, other, again = Waiting(node, "192.0.2.1", True), Waiting(node, "192.0.2.2"), Waiting(node, "192.0.2.2")
    real = Waiting(node, "192.0.2.3")
    trust.paired.renewed(node.id, ends := now_utc() + timedelta(days=1))
    async with asyncio.timeout(20):
        helped.begin([silent.device, other.device], "phone")
        await asyncio.gather(silent.asked.wait(), other.serving)
        helped.begin([silent.device, again.device, real.device], "phone")
        await real.serving
    assert real.machine.result is not None
    assert again.device.is_waiting
    assert (kept := trust.paired.get(node.id)) is not None
    assert kept.certificate_ends > ends
    for each in (silent, again):
        each.serving.cancel()
    await asyncio.gather(silent.serving, again.serving, return_exceptions=True)
    await tasks.end()
