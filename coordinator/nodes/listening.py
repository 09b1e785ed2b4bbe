"""Listening for nodes that can only dial out: while there is a reason to, and not otherwise."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from coordinator.nodes.pairing import Trust
from coordinator.remedies import either
from edgenode.errors import EdgenodeError
from edgenode.net.addresses import COORDINATOR_PORT
from edgenode.net.dial_in import DialInListener, Host, PortTaken
from edgenode.net.dialled_in import DialledIn, WaitingDevice
from edgenode.net.interfaces import Scope
from edgenode.trust.certificates import now_utc
from edgenode.types import NodeId

LOOK_SECONDS: Final = 1.0
# A port that another command has is free when that command ends.
AGAIN_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


class Listening:
    """A reason is: a person who named a port or pairs a device, a paired node that dials in, an invitation that is outstanding."""

    def __init__(
        self,
        scope: Scope,
        trust: Trust,
        port: int | None,
        is_connected: Callable[[NodeId], bool],
        on_work: Callable[[DialledIn], None],
        on_waiting: Callable[[WaitingDevice], None],
        on_left: Callable[[WaitingDevice], None],
    ) -> None:
        self.is_wanted = port is not None
        """Whether a person gave a reason."""
        self.problem = ""
        """Why devices that dial in do not get to this process, a sentence; empty while they do, or need not."""
        self._is_named = port is not None
        self._scope = scope
        self._trust = trust
        self._port = port or COORDINATOR_PORT
        self._host = Host(
            server_tls=trust.authority.server_tls,
            placeholder_tls=trust.authority.placeholder_tls,
            identify=trust.authority.identify,
            is_admitted=trust.paired.is_paired,
            is_connected=is_connected,
            on_work=on_work,
            on_waiting=on_waiting,
            on_left=on_left,
        )

    async def run(self) -> None:
        """Listens from the first reason on until it is cancelled. A port that cannot be had is tried again; that is a warning only
        where a person asked for that port, since each device that it keeps away says so itself."""
        while not self._has_reason():  # noqa: ASYNC110 - another process may have given one, in a file
            await asyncio.sleep(LOOK_SECONDS)
        while True:
            try:
                async with DialInListener(self._host, self._scope.listen_addresses, self._port):
                    self.problem = ""
                    await asyncio.get_running_loop().create_future()
            except PortTaken as error:
                self._tell(
                    f"It dials in at port {self._port}, which another program has, most likely another coordinator: end "
                    f"that one, or give this one {either('--listen-port PORT', 'listen_port=PORT')} and "
                    "start the device with edgenode start --join HOST:PORT.",
                    str(error),
                )
            except EdgenodeError as error:
                self._tell(f"It dials in, and this coordinator cannot listen: {error}", str(error))
            await asyncio.sleep(AGAIN_SECONDS)

    def _tell(self, problem: str, error: str) -> None:
        if self.problem != problem:
            self.problem = problem
            logger.log(logging.WARNING if self._is_named else logging.INFO, "%s", error)

    def _has_reason(self) -> bool:
        try:
            return (
                self.is_wanted
                or any(node.dials_in for node in self._trust.paired.all())
                or bool(self._trust.invites.outstanding(now_utc()))
            )
        except EdgenodeError as error:
            logger.debug("Whether to listen is not known: %s", error)
            return False
