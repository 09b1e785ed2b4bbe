"""One node: home, trust, engine, queue, servers and announcement, put together."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edgenode import __version__
from edgenode.activity import SECONDS as ACTIVITY_SECONDS
from edgenode.activity import remove_activity, told, write_activity
from edgenode.device.drain import MIN_BATTERY_PERCENT, DrainPolicy
from edgenode.device.watch import DeviceWatch
from edgenode.engines.engine import Engine
from edgenode.errors import EdgenodeError, UsageError
from edgenode.home import default_home, open_home
from edgenode.net.addresses import host_port
from edgenode.net.dial_out import DialOut
from edgenode.net.discovery import Announcer, default_name
from edgenode.net.forked import use_grpc
from edgenode.net.interfaces import LOOPBACK, Scope, scope
from edgenode.net.pairing_desk import PairingDesk
from edgenode.net.pairing_service import PairingService
from edgenode.net.service import NodeServer
from edgenode.net.wire import NAME_CHARACTERS
from edgenode.net.work_streams import WorkStreams
from edgenode.text import clean_line
from edgenode.threads import in_thread
from edgenode.trust.running import SECRET_BYTES, RunningNode, announced_running
from edgenode.trust.store import NodeTrust
from edgenode.trust.token import Invite
from edgenode.trust.window import PairingWindow
from edgenode.types import NodeDescription
from edgenode.work import WorkQueue

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Where and as what a node serves. `None` is "as usual": the default home, the host's name, all usable interfaces."""

    home: Path | None = None
    name: str | None = None
    interface: str | None = None
    listen: str | None = None
    port: int = 0
    """For work; the next one is for pairing. 0: the usual pair, or a free one where that is taken."""
    invite: Invite | None = None
    """Made by a coordinator, which may pair with this node without a code."""
    join: tuple[str, ...] = ()
    """HOST:PORT of coordinators to dial, again and again, because they cannot reach this device."""
    min_battery: float = MIN_BATTERY_PERCENT
    model_file: Path | None = None
    """The file of the engine's model, where that is a file; this user's commands leave it alone while the node runs."""
    """Percentage below which a device that does not charge takes no work, 0 for never."""


class Node:
    """An async context manager: entering locks the home, starts the engine, listens and announces; leaving undoes it in reverse,
    so that the goodbye goes out first and the engine is stopped last. A node that trusts nobody yet and was not invited opens its
    pairing window.

    `report` is told, in sentences, what the device's owner should know: who was paired, who guesses codes. Raises `HomeError`,
    `TrustError`, `EngineError` or `NetworkError` when it cannot start. Without mDNS it serves all the same and warns.
    """

    def __init__(self, config: NodeConfig, engine: Engine, report: Callable[[str], None] = logger.info) -> None:
        self._config = config
        self._engine = engine
        self._report = report
        self._stack = contextlib.AsyncExitStack()
        self._name = _usable_name(config.name) if config.name is not None else default_name()
        self._queue = WorkQueue(engine)
        self._started = time.time()
        self._scope = Scope()
        self._server: NodeServer | None = None
        self._announcer: Announcer | None = None
        self._device = DeviceWatch(lambda _: None, self._drain, DrainPolicy(config.min_battery))
        self.trust = NodeTrust(config.home or default_home())
        self.window = PairingWindow()
        self.invited = False
        """Whether it holds an invitation that counts, once entered."""
        self._streams = WorkStreams(self.description, self._queue, self.trust, lambda: self._device.status)

    @property
    def port(self) -> int:
        """Where it listens for work, once entered."""
        assert self._server is not None, "entered"
        return self._server.port

    @property
    def addresses(self) -> tuple[str, ...]:
        """HOST:PORT for work at each address by which it can be reached now, the likeliest first; once entered."""
        return tuple(host_port(host, self.port) for host in self._scope.addresses()) or (self._local_address(),)

    @property
    def address(self) -> str:
        """The first of `addresses`."""
        return self.addresses[0]

    @property
    def announced(self) -> bool:
        """Whether mDNS tells of it now."""
        return self._announcer is not None and not self._announcer.problem

    def description(self) -> NodeDescription:
        return NodeDescription(
            id=self.trust.id,
            name=self._name,
            version=__version__,
            engine=self._engine.name,
            engine_state=self._engine.state,
            models=self._engine.models,
            lease_limit=self._queue.limit,
            draining=self._queue.draining,
            slots=self._engine.slots,
            unchecked=self._engine.unchecked,
        )

    def open_window(self) -> tuple[str, float]:
        """The pairing code to show, and for how many seconds it is good. Raises `PairingError` while it must stay closed because
        codes were guessed."""
        now = time.monotonic()
        return self.window.open(now), self.window.seconds_left(now)

    async def __aenter__(self) -> Self:
        use_grpc()
        config = self._config
        self._scope = scope(config.interface, config.listen)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(open_home(config.home or default_home()))
            self.trust.make_room()
            trusted = self.trust.trusted()
            secret = secrets.token_bytes(SECRET_BYTES)
            desk = PairingDesk(self.trust, self.window, self.description, secret, self._report, invite=config.invite)
            await stack.enter_async_context(self._engine)
            await stack.enter_async_context(self._queue)
            listen = self._scope.listen_addresses
            self._server = NodeServer(self._streams, self.trust, PairingService(desk), listen, config.port)
            await stack.enter_async_context(self._server)
            await stack.enter_async_context(DialOut(config.join, self._streams, desk))
            # Left before the server and the connections that were dialled are, so that every coordinator is told what became of its
            # leases.
            stack.push_async_callback(self._queue.stop)
            self._engine.watch(self._streams.announce_change)
            await stack.enter_async_context(self._device)
            self.invited = bool(desk.introduction().invited_by)
            if not trusted and not self.invited:
                self.open_window()
            running = RunningNode(
                self.trust.id, self._name, self._local_address(), secret, os.getpid(), config.join, config.model_file
            )
            stack.enter_context(announced_running(running))
            stack.callback(remove_activity, self.trust.id)
            telling = asyncio.create_task(self._tell_activity(), name="activity")
            stack.push_async_callback(_stopped, telling)
            self._announcer = Announcer(self.trust.id, self._name, self.port, self._scope)
            await stack.enter_async_context(self._announcer)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def _tell_activity(self) -> None:
        """Writes down what `edgenode status` shows, whenever it has changed."""
        before: dict[str, Any] = {}
        while True:
            now = self.activity()
            if now != before:
                await in_thread(write_activity, self.trust.id, now)
                before = now
            await asyncio.sleep(ACTIVITY_SECONDS)

    def activity(self) -> dict[str, Any]:
        """What it does now and has done since its start, as JSON; once entered."""
        try:
            names = {each.authority: each.name for each in self.trust.trusted()}
        except (EdgenodeError, OSError):
            names = {}
        description = self.description()
        return told(self._queue.activity(lambda authority: names.get(authority, authority[:8]))) | {
            "model": description.models[0].name if description.models else "",
            "engine": description.engine,
            "engine_state": description.engine_state.value,
            "draining": description.draining,
            "coordinators": sorted(names.values()),
            "started": self._started,
        }

    def _drain(self, reason: str) -> None:
        if reason:
            self._queue.drain(reason)
        else:
            self._queue.undrain()
        self._streams.announce_change()

    def _local_address(self) -> str:
        """Where this machine itself reaches it: not every address that is listened at, such as `::`, can be dialled."""
        assert self._server is not None, "entered"
        hosts = self._server.hosts
        parsed = [ipaddress.ip_address(host.partition("%")[0]) for host in hosts]
        if any(each.is_unspecified for each in parsed):
            return host_port(LOOPBACK, self.port)
        own = next((host for host, each in zip(hosts, parsed, strict=True) if each.is_loopback), hosts[0])
        return host_port(own, self.port)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _usable_name(name: str) -> str:
    """`name` as one line that fits a record of mDNS (255 bytes with its key)."""
    cleaned = clean_line(name, NAME_CHARACTERS).encode("utf-8")[:200].decode("utf-8", "ignore")
    if not cleaned:
        raise UsageError(f"A node's name needs at least one visible character; {name!r} has none.")
    return cleaned
