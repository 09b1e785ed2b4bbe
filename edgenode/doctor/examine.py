"""Examines the node of this machine: is it there, can others reach it, do they trust each other."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edgenode import __version__
from edgenode.device.status import merged
from edgenode.device.watch import usual_sources
from edgenode.doctor.diagnosis import diagnose
from edgenode.doctor.dial import resolve, ways
from edgenode.doctor.facts import Dialled, Facts, OwnNode, Side, Trusted, Way
from edgenode.doctor.findings import Report
from edgenode.doctor.folders import unusable
from edgenode.doctor.surroundings import look_around
from edgenode.engines.choose import installed, running_ollama
from edgenode.engines.known import ENGINES
from edgenode.errors import EdgenodeError
from edgenode.home import default_home, models_dir
from edgenode.models.names import SUFFIX
from edgenode.net.addresses import host_port, split_host_port
from edgenode.net.discovery import default_name
from edgenode.net.interfaces import LOOPBACK, Scope, scope
from edgenode.threads import in_thread
from edgenode.trust.running import RunningNode, running_nodes
from edgenode.trust.store import KEY, NodeTrust
from edgenode.types import DeviceStatus

STATUS_SECONDS: Final = 3.0


async def examine_node(home: Path | None = None, interface: str | None = None) -> Report:
    """What is wrong with the node of `home` (the default one if None) and with how others see it. Takes a few seconds.

    Raises `NetworkError` for an interface that is not there.
    """
    within = scope(interface)
    around = asyncio.create_task(look_around(within, interface))
    try:
        node = await _node(home or default_home(), within)
        machine, heard = await around
    finally:
        around.cancel()
    return diagnose(Facts(Side.NODE, __version__, machine, heard, node))


async def _node(home: Path, within: Scope) -> OwnNode:
    (engine, models), status, kept = await asyncio.gather(_engine(), _status(), in_thread(_kept, home))
    if isinstance(kept, str):
        return OwnNode(str(home), error=kept)
    id, made, trusted = kept
    running = next((each for each in await in_thread(running_nodes) if each.id == id), None)
    (port, answers), dials = await asyncio.gather(_answers(running, within), _dials(running, within))
    return OwnNode(
        home=str(home),
        id=id,
        name=running.name if running else default_name(),
        running=running is not None,
        port=port,
        answers=answers,
        dials=dials,
        trusted=trusted,
        key_made=made,
        battery_percent=status.battery_percent,
        charging=status.charging,
        engine=engine,
        models=models,
    )


async def _answers(running: RunningNode | None, within: Scope) -> tuple[int, tuple[Way, ...]]:
    if running is None:
        return 0, ()
    host, port = split_host_port(running.address)
    return port, await ways((host_port(each, port) for each in (host, LOOPBACK, *within.addresses())), within)


async def _dials(running: RunningNode | None, within: Scope) -> tuple[Dialled, ...]:
    async def dialled(address: str) -> Dialled:
        host, port = split_host_port(address)
        found, why = await resolve(host, within)
        return Dialled(address, port, await ways((host_port(each, port) for each in found), within), why)

    return tuple(await asyncio.gather(*map(dialled, running.dials))) if running else ()


def _kept(home: Path) -> tuple[str, datetime | None, tuple[Trusted, ...]] | str:
    """Identity, the key's age and the trusted coordinators as `home` keeps them, or why it cannot be used. Makes nothing."""
    if why := unusable(home):
        return why
    try:
        told = (home / KEY).stat()
    except FileNotFoundError:
        return "", None, ()
    except OSError as error:
        return f"{home / KEY} cannot be read: {error.strerror}."
    trust = NodeTrust(home)
    try:
        trusted = tuple(
            Trusted(each.name or each.authority, each.leaf.not_valid_before_utc, each.leaf.not_valid_after_utc)
            for each in trust.trusted()
        )
        return trust.id, datetime.fromtimestamp(told.st_mtime, UTC), trusted
    except EdgenodeError as error:
        return str(error)


async def _engine() -> tuple[str, int]:
    """What would run a model here, and how many models there are."""
    ollama = await running_ollama(os.environ)
    name = next((each for each in ENGINES if installed(each)), "")
    # By name alone: reading and hashing them would take its time.
    models = await in_thread(lambda: sum(1 for path in models_dir().glob(f"*{SUFFIX}") if path.is_file()))
    if ollama and not (name and models):
        return "Ollama", 1
    return name, models


async def _status() -> DeviceStatus:
    try:
        async with asyncio.timeout(STATUS_SECONDS):
            return (await in_thread(lambda: merged(source() for source in usual_sources()))).status
    except Exception:  # any of a dozen odd files of a device; it is no reason to say nothing of the network
        return DeviceStatus()
