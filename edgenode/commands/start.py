"""`edgenode start`: a node until Ctrl-C."""

import argparse
import asyncio
import dataclasses
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgenode.commands import code
from edgenode.console import ANSWERED, Commands, add_common, add_home, add_interface, add_join, port, print_json, whole
from edgenode.device.drain import MIN_BATTERY_PERCENT
from edgenode.device.status import memory_bytes
from edgenode.engines.known import ENGINES, default_threads
from edgenode.errors import ModelError, UsageError
from edgenode.home import default_home
from edgenode.models.progress import progress_bar
from edgenode.net.addresses import COORDINATOR_PORT, NODE_PORT, parse_host_port
from edgenode.text import clean_line
from edgenode.threads import in_thread
from edgenode.trust.token import parse_token
from edgenode.types import MAX_SLOTS

if TYPE_CHECKING:
    from edgenode.engines.engine import Engine
    from edgenode.node import Node, NodeConfig

# A chunk of some hundred tokens, its instruction and the longest reply (900 tokens in Japanese).
MIN_CONTEXT_TOKENS = 2_048
MAX_THREADS = 4_096


def add_to(commands: Commands) -> None:
    start = commands.add_parser(
        "start", help="serve as a node until Ctrl-C", description="Serves as a node until Ctrl-C or SIGTERM."
    )
    add_home(start)
    start.add_argument("--name", help="name that people see (default: this device's host name)")
    start.add_argument("--model", help="a model of the store (name or digest), a .gguf file, or one of the server at --engine-url")
    start.add_argument("--engine", choices=ENGINES, help="what runs the model (default: the first that is installed)")
    start.add_argument("--engine-url", metavar="URL", help="use an OpenAI-compatible server that already runs on this device")
    start.add_argument(
        "--engine-is-local",
        action="store_true",
        help="vouch that the server at --engine-url runs its models on this device, where the node cannot check it",
    )
    start.add_argument(
        "--threads",
        type=whole("a number of threads", most=MAX_THREADS),
        metavar="N",
        help=f"processor threads of the engine (default: {default_threads()})",
    )
    start.add_argument(
        "--context", type=whole("a number of tokens"), metavar="TOKENS", help="context to give the model (default: a modest one)"
    )
    start.add_argument(
        "--slots",
        type=whole("a number of slots", most=MAX_SLOTS),
        metavar="N",
        help="requests the engine works on at once, each with the whole --context (default: 1, or what the server at --engine-url "
        "tells); for graphics cards, as a processor gains about a tenth; the coordinator measures how many pay",
    )
    start.add_argument("--listen", metavar="ADDRESS", help="the one address to serve on (default: all of the interfaces used)")
    start.add_argument(
        "--port",
        type=port,
        default=0,
        help=f"port for work, the next one is for pairing (default: {NODE_PORT}, or a free pair)",
    )
    start.add_argument("--speed", type=_speed, metavar="READ:WRITE", help="tokens a second of the deterministic test engine")
    start.add_argument(
        "--invite",
        metavar="TOKEN",
        help="token of `coordinator invite`, to pair without a code; better in $EDGENODE_INVITE, as every user of this device can "
        "read arguments",
    )
    start.add_argument(
        "--min-battery",
        type=whole("a percentage", 0, 100),
        default=MIN_BATTERY_PERCENT,
        metavar="PERCENT",
        help=f"take no work below this while not charging, 0 for never (default: {MIN_BATTERY_PERCENT:.0f})",
    )
    add_join(start, "a coordinator to dial, again and again, if it cannot reach this device (again for more)")
    add_interface(start)
    add_common(start)
    start.set_defaults(act=_start)


def _start(options: argparse.Namespace) -> int:
    return asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> int:
    # At once: from here on it can take long to load modules, to read gigabytes for their digest and to start an engine.
    _step("Starting the node ...")
    from edgenode.node import Node

    main = asyncio.current_task()
    assert main is not None, "asyncio.run gives one"
    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    stopping = False

    def stop() -> None:
        # Only the first: a second Ctrl-C must not cut the goodbye short.
        nonlocal stopping
        if not stopping:
            stopping = True
            main.cancel()

    for each in signals:
        if each == getattr(signal, "SIGHUP", None) and signal.getsignal(each) is signal.SIG_IGN:
            continue  # nohup
        try:
            asyncio.get_running_loop().add_signal_handler(each, stop)
        except NotImplementedError:  # Windows
            signal.signal(each, lambda *_: asyncio.get_running_loop().call_soon_threadsafe(stop))
    try:
        engine, model_file = await _engine(options)
        async with Node(_config(options, model_file), engine, _reporter(options.json)) as node:
            _introduce(node, options.json)
            await _show_activity(node, options.json)
    except asyncio.CancelledError:
        if not stopping:
            raise
    if not options.json:
        _say_above("Stopped.")
    return ANSWERED


async def _show_activity(node: "Node", as_json: bool) -> None:
    """Until the node is stopped. On a terminal it is one line, drawn again whenever what it tells has changed."""
    from edgenode.activity import SECONDS, line

    shown = ""
    while True:
        now = line(node.activity()) if sys.stderr.isatty() and not as_json else ""
        if now != shown:
            shown = now
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{clean_line(now, max(width, 20))}", end="", file=sys.stderr, flush=True)
        await asyncio.sleep(SECONDS)


def _say_above(text: str) -> None:
    """Prints a line where the activity was, which is drawn below it when it changes."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(text, flush=True)


def _step(text: str) -> None:
    """Tells a person who watches what takes so long. In a pipe there is nothing of it."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def _config(options: argparse.Namespace, model_file: Path | None) -> "NodeConfig":
    from edgenode.node import NodeConfig

    token = options.invite or os.environ.get("EDGENODE_INVITE")
    return NodeConfig(
        home=options.home,
        name=options.name,
        interface=options.interface,
        listen=options.listen,
        port=options.port,
        invite=parse_token(token) if token else None,
        min_battery=options.min_battery,
        model_file=model_file,
        join=tuple(parse_host_port(each, COORDINATOR_PORT) for each in options.join),
    )


def _reporter(as_json: bool) -> Callable[[str], None]:
    """Tells the device's owner what happens while the node runs: who was paired, who guesses codes."""
    return (lambda text: print_json({"event": text})) if as_json else _say_above


def _introduce(node: "Node", as_json: bool) -> None:
    told = node.description()
    trusted = node.trust.trusted()
    now = time.monotonic()
    digits = node.window.code if node.window.is_open(now) else None
    seconds = node.window.seconds_left(now)
    if as_json:
        print_json({"id": told.id, "name": told.name, "address": node.address, "addresses": node.addresses, "engine": told.engine,
                    "slots": told.slots,
                    "unchecked": told.unchecked or None, "announced": node.announced, "trusted": [each.name for each in trusted],
                    "code": digits, "code_seconds": seconds or None,
                    "models": [{"name": model.name, "digest": model.digest or None} for model in told.models]})  # fmt: skip
        return
    model = told.models[0]
    slots = f", in each of {told.slots} slots" if told.slots > 1 else ""
    print(f"Node {told.name} serves {model.name} with {told.engine} ({model.context_tokens} tokens of context{slots}).")
    if told.unchecked:
        print(f"It is served by {told.unchecked}, which this node cannot check: what the server does with documents is up to it.")
    if told.engine == "deterministic":
        print("This is the deterministic test engine: it reads nothing, and its replies are made by rule.")
    print(
        f"It listens at {', '.join(node.addresses)}{'' if node.announced else ', and is not announced: mDNS does not work here'}."
    )
    if trusted:
        print(f"It works for {', '.join(each.name for each in trusted)}. To pair it with another coordinator: edgenode pair")
    elif node.invited:
        print("It is paired with nobody yet, and holds an invitation: its coordinator pairs with it when it sees it.")
    elif digits:
        print("It is paired with nobody yet, and works for nobody else. On this machine, as this user, no code is needed.")
        code.show(told.id, told.name, digits, seconds)
    print("Ctrl-C stops it.", flush=True)


async def _engine(options: argparse.Namespace) -> "tuple[Engine, Path | None]":
    """The engine that was told or can be found, and the file of its model, where it has one. Raises `ModelError` or `EngineError`
    with what to do."""
    from edgenode.engines.choose import EngineSettings, choose_engine, running_ollama
    from edgenode.models.store import Store

    home: Path = options.home or default_home()
    read, write = options.speed or (None, None)
    if options.speed and options.engine != "deterministic":
        raise UsageError("--speed is for the test engine alone: use it with --engine deterministic.")
    if options.engine and options.engine_url:
        raise UsageError("--engine starts an engine and --engine-url uses one that runs already: give one of the two.")
    if options.context and options.context < MIN_CONTEXT_TOKENS:
        raise UsageError(f"A context of {options.context} tokens holds no chunk with its reply: give {MIN_CONTEXT_TOKENS} or more.")
    settings = EngineSettings(
        engine=options.engine,
        engine_url=options.engine_url,
        engine_key=os.environ.get("EDGENODE_ENGINE_KEY") or None,
        engine_is_local=options.engine_is_local,
        model=options.model,
        threads=options.threads,
        context_tokens=options.context,
        slots=options.slots,
        log=home / "engine.log",
        report=_step,
        read_tokens_per_second=read,
        write_tokens_per_second=write,
    )
    if options.engine_is_local and not options.engine_url:
        raise UsageError("--engine-is-local is about the server at --engine-url: give that, too.")
    if options.engine_url:
        _step(f"Asking the server at {options.engine_url} for its models ...")
    if options.engine_url or options.engine == "deterministic":
        return choose_engine(settings), None
    _step("Looking for a model ...")
    store = Store()
    with progress_bar() as report:
        try:
            if options.model:
                found = await in_thread(store.find, options.model, report)
            else:
                found = await in_thread(store.choose, memory_bytes(), report)
        except ModelError:
            # Nothing of our own to serve: an Ollama that runs on this device already has models.
            url = None if options.engine or options.model else await running_ollama(os.environ)
            if url is None:
                raise
            return choose_engine(dataclasses.replace(settings, engine_url=url)), None
    return choose_engine(dataclasses.replace(settings, path=found.path, known=found.model)), found.path.absolute()


def _speed(text: str) -> tuple[float, float]:
    try:
        read, write = (float(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not READ:WRITE, such as 150:45") from None
    if not (read > 0 and write > 0):
        raise argparse.ArgumentTypeError(f"{text!r} needs numbers above 0")
    return read, write
