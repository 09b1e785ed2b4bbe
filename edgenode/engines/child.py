"""The engine that runs in a child process of the node, and is started again when that dies."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from edgenode.engines.backoff import Backoff
from edgenode.engines.batches import measured_batch
from edgenode.engines.child_main import Orders
from edgenode.engines.engine import EngineProgress, Request
from edgenode.engines.http import Flavour, HttpClient
from edgenode.engines.process import START_SECONDS, EngineProcess
from edgenode.errors import EngineCrashed, EngineError, EngineTimeout, EngineUnavailable
from edgenode.types import Completion, EngineState, Model

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 60.0
# A connection breaks a moment before the death that broke it can be seen.
DEATH_SECONDS: Final = 5.0


def silent(_: str) -> None:
    """Tells nobody."""


class ChildEngine:
    """Serves `model` with the process that `command` starts (see `child_main` for how they talk).

    Work in flight when the process dies fails as `EngineCrashed`. Work that comes while it is started again waits for it, at
    most `patience_seconds`, then fails as `EngineUnavailable`. A process that falls silent is killed, and so started again.

    With `fit_batch`, the batch in `orders` is the largest one: where the first process reads too slowly for it (see `batches`), one
    with a smaller batch takes its place, and those started after a crash have that batch too.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        orders: Orders,
        model: Model,
        log: Path,
        flavour: Flavour,
        *,
        fit_batch: bool = False,
        backoff: Backoff | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        start_seconds: float = START_SECONDS,
        silence_seconds: float | None = None,
        report: Callable[[str], None] = silent,
    ) -> None:
        self.name = name
        self.models = (model,)
        self.slots = orders.slots
        self.unchecked = ""
        self.state = EngineState.STARTING
        self._command = command
        self._orders = orders
        self._log = log
        self._flavour = flavour
        self._fit_batch = fit_batch
        self._backoff = backoff or Backoff()
        self._patience = patience_seconds
        self._start_seconds = start_seconds
        self._silence = silence_seconds
        self._report = report
        self._changed: list[Callable[[], None]] = []
        self._ready = asyncio.Event()
        self._serving: tuple[EngineProcess, HttpClient, asyncio.Future[str]] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def batch_tokens(self) -> int:
        """How many tokens of a prompt it reads at a time, after which it notices a cancelled call."""
        return self._orders.batch_tokens

    def watch(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)

    async def __aenter__(self) -> Self:
        self._report(f"Loading {self.models[0].name} with {self.name} ...")
        process = await self._start()
        if self._fit_batch:
            self._report("Measuring how fast this device reads ...")
            process = await self._fitted(process)
        self._keeper = asyncio.create_task(self._keep(process), name=f"keep-{self.name}")
        try:
            await self._ready.wait()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        try:
            async with asyncio.timeout(self._patience):
                await self._ready.wait()
        except TimeoutError:
            raise EngineUnavailable(f"The engine died and could not be started again so far; its log is {self._log}.") from None
        assert self._serving is not None, "ready"
        process, client, ended = self._serving
        try:
            return await client.complete(request, progress)
        except EngineTimeout:
            logger.warning("The engine %s fell silent and is started again.", self.name)
            process.kill()
            raise
        except (EngineCrashed, EngineUnavailable) as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DEATH_SECONDS):
                    how = await asyncio.shield(ended)
                raise EngineCrashed(f"The engine {how} while it worked.") from error
            raise
        finally:
            process.trim_log()

    async def _start(self) -> EngineProcess:
        return await EngineProcess.start(self._command, self._orders, self._log, self._start_seconds)

    async def _fitted(self, process: EngineProcess) -> EngineProcess:
        """This process, or if its batch is too large for this device one with a smaller batch."""
        orders = self._orders
        try:
            # With patience of its own: how long a request may be silent says nothing of the warm-up.
            client = HttpClient(process.url, self._flavour, key=process.key, context_tokens=orders.context_tokens)
            batch = await measured_batch(client, orders.alias, orders.batch_tokens)
        except BaseException:
            await process.stop()
            raise
        if batch == orders.batch_tokens:
            return process
        await process.stop()
        self._orders = replace(orders, batch_tokens=batch)
        # It could be started a moment ago: should it fail now, it is worth another try, as after a crash. Not more: somebody waits.
        return await self._restart(0, tries=2)

    async def _keep(self, process: EngineProcess) -> None:
        """Owns the processes, one after another, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            how = await self._serve(process)
            wait = self._backoff.after(loop.time() - since)
            logger.warning("The engine %s %s; it is started again in %g s. Its log is %s.", self.name, how, wait, self._log)
            process = await self._restart(wait)

    async def _serve(self, process: EngineProcess) -> str:
        """Until this process ends; returns how it did."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        client = HttpClient(
            process.url,
            self._flavour,
            key=process.key,
            context_tokens=self._orders.context_tokens,
            slots=self.slots,
            silence_seconds=self._silence,
        )
        self._serving = (process, client, ended)
        self._ready.set()
        self._set(EngineState.READY)
        how = "was stopped"
        try:
            how = await process.wait()
        finally:
            self._ready.clear()
            ended.set_result(how)
            await process.stop()
        self._set(EngineState.RESTARTING)
        return how

    async def _restart(self, wait: float, tries: int | None = None) -> EngineProcess:
        """Tries for ever, or raises the `EngineError` of the last of `tries`."""
        for tried in itertools.count(1):
            await asyncio.sleep(wait)
            try:
                return await self._start()
            except EngineError as error:
                if tried == tries:
                    raise
                wait = self._backoff.after(0)
                logger.warning("%s Trying again in %g s.", error, wait)
        raise AssertionError("counted for ever")

    def _set(self, state: EngineState) -> None:
        if state is not self.state:
            self.state = state
            for changed in self._changed:
                changed()
