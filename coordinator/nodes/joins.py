"""Addresses of nodes that a person gave: who is behind them, for networks where nothing is found by itself."""

import asyncio
from collections.abc import Callable
from typing import Final

from coordinator.nodes import pairing
from coordinator.nodes.link import Spawn
from edgenode.errors import EdgenodeError
from edgenode.trust.frames import Introduction
from edgenode.types import NodeId

GREET_AGAIN_SECONDS: Final = 2.0


class Joins:
    """Asks at each address again and again while its node is not connected: `met` is told who answered, a claim but for the id;
    `changed` is called when `unreachable` has."""

    def __init__(
        self,
        spawn: Spawn,
        is_connected: Callable[[NodeId], bool],
        met: Callable[[str, Introduction], None],
        changed: Callable[[], None],
    ) -> None:
        self.unreachable: dict[str, str] = {}
        """Addresses at which no node has answered yet, and why; empty text before the first attempt has ended."""
        self._spawn = spawn
        self._is_connected = is_connected
        self._met = met
        self._changed = changed
        self._addresses: set[str] = set()

    def add(self, address: str) -> None:
        """Begins with HOST:PORT, where work is served."""
        if address not in self._addresses:
            self._addresses.add(address)
            self.unreachable[address] = ""
            self._spawn(self._meet(address), f"join-{address}")

    async def _meet(self, address: str) -> None:
        id: NodeId | None = None
        while True:
            if id is None or not self._is_connected(id):
                try:
                    _, greeting = await pairing.greet((address,), None)
                except EdgenodeError as error:
                    if id is None and self.unreachable[address] != str(error):
                        self.unreachable[address] = str(error)
                        self._changed()
                else:
                    id = greeting.introduction.id
                    self.unreachable.pop(address, None)
                    self._met(address, greeting.introduction)
            await asyncio.sleep(GREET_AGAIN_SECONDS)
