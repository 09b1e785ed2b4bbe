"""Runs a pairing machine over any stream of frames, whichever side dialled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from edgenode.errors import EdgenodeError, NetworkError, PairingError
from edgenode.net.wire import WireError
from edgenode.trust.frames import PairingFrame, RefusalReason, Refused
from edgenode.trust.pairing_machine import Machine, PairingStopped

# The other side's first frame; then all of the rest, in which no person has a part and a Pi computes for less than a second.
PATIENCE_SECONDS: Final = 20.0
EXCHANGE_SECONDS: Final = 10.0

Send = Callable[[PairingFrame], Awaitable[None]]


async def converse(
    machine: Machine,
    incoming: AsyncIterator[PairingFrame],
    send: Send,
    *,
    keep: Callable[[], None] | None = None,
    patience: float | None = PATIENCE_SECONDS,
    seconds: float = EXCHANGE_SECONDS,
) -> None:
    """Until `machine` is finished and has its result. `keep` is called when it has, before the other side is told.

    Waits `patience` seconds for the first frame (None: as long as the stream lives) and `seconds` for all of the rest. Raises
    `PairingError` (`PairingStopped` where there was a refusal, which has been sent if the other side had not), or what `incoming`,
    `send` and `keep` raise.
    """
    try:
        async with asyncio.timeout(patience) as deadline:
            for frame in machine.start():
                await send(frame)
            begun = False
            while not machine.finished:
                received = await anext(incoming, None)
                if received is None:
                    raise PairingError("The other side hung up before the pairing was done.")
                if not begun:
                    deadline.reschedule(asyncio.get_running_loop().time() + seconds)
                    begun = True
                answers = machine.receive(received)
                if machine.finished and keep is not None:
                    _keep(keep)
                for frame in answers:
                    await send(frame)
    except PairingStopped as stopped:
        if not stopped.told:
            await _tell(send, stopped.refusal)
        raise
    except TimeoutError:
        refusal = Refused(RefusalReason.INVALID, "The other side was silent for too long.")
        await _tell(send, refusal)
        raise PairingStopped(refusal) from None
    except WireError as error:
        refusal = Refused(RefusalReason.INVALID, str(error))
        await _tell(send, refusal)
        raise PairingStopped(refusal, message=f"The other side broke the protocol. {error}") from error


def _keep(keep: Callable[[], None]) -> None:
    try:
        keep()
    except EdgenodeError as error:
        raise PairingStopped(Refused(RefusalReason.INVALID, "It could not keep the outcome."), message=str(error)) from error


async def _tell(send: Send, refusal: Refused) -> None:
    # Whoever does not read must not hold us up now, and whoever is gone need not be told.
    with contextlib.suppress(NetworkError, TimeoutError):
        async with asyncio.timeout(1.0):
            await send(refusal)
