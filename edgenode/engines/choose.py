"""Which engine a node uses."""

import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgenode.device.sockets import stranger_at
from edgenode.engines.child import ChildEngine, silent
from edgenode.engines.child_main import Orders
from edgenode.engines.deterministic import DeterministicEngine
from edgenode.engines.engine import Engine
from edgenode.engines.http import Flavour, HttpClient
from edgenode.engines.known import DETERMINISTIC, LLAMA_CPP_PYTHON, XLLAMACPP, default_threads
from edgenode.engines.process import module_command
from edgenode.engines.served import ServedEngine, is_on_this_device
from edgenode.errors import EngineError, UsageError
from edgenode.text import clean_line, with_slashes
from edgenode.types import Model

logger = logging.getLogger(__name__)

CONTEXT_TOKENS: Final = 4096
# At most: a device that reads too slowly for it gets smaller ones.
BATCH_TOKENS: Final = 128
OLLAMA_PORT: Final = 11434
_OLLAMA_SECONDS: Final = 1.0

_LIBRARIES: Final = {XLLAMACPP: "xllamacpp", LLAMA_CPP_PYTHON: "llama_cpp"}
_MODULES: Final = {XLLAMACPP: "edgenode.engines.xllamacpp", LLAMA_CPP_PYTHON: "edgenode.engines.llama_cpp"}
_FLAVOURS: Final = {XLLAMACPP: Flavour.LLAMA_CPP, LLAMA_CPP_PYTHON: Flavour.LLAMA_CPP_PYTHON}
_EXTRAS: Final = {XLLAMACPP: "engine", LLAMA_CPP_PYTHON: "llama-cpp-python"}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the user said about the engine; `None` is "as usual"."""

    log: Path
    """Where a child process's output goes."""
    report: Callable[[str], None] = silent
    """Told what an engine does while it starts, a few words each."""
    engine: str | None = None
    """One of `ENGINES`."""
    engine_url: str | None = None
    engine_key: str | None = None
    engine_is_local: bool = False
    """Whether the user vouches that the server at `engine_url` runs its models on this device."""
    model: str | None = None
    """Name of the model: of the server at `engine_url`, or what the deterministic engine calls its own."""
    path: Path | None = None
    """The GGUF file that a child process loads, and in `known` what is known of it."""
    known: Model | None = None
    threads: int | None = None
    context_tokens: int | None = None
    """Of prompt and reply together, in each slot."""
    slots: int | None = None
    """How many requests it works on at once. As usual is as many as a server that was there tells, else one."""
    read_tokens_per_second: float | None = None
    write_tokens_per_second: float | None = None


def choose_engine(settings: EngineSettings) -> Engine:
    """The engine that the settings ask for, not yet started. Raises `EngineError` when it is not installed or has no model, and
    `UsageError` when it cannot have so many slots."""
    if settings.engine_url is not None:
        if meant := with_slashes(settings.engine_url):
            told = clean_line(settings.engine_url)
            raise UsageError(f"--engine-url {told} needs two slashes after its scheme. Did you mean {clean_line(meant)}?")
        return ServedEngine(
            settings.engine_url,
            model=settings.model,
            key=settings.engine_key,
            context_tokens=settings.context_tokens,
            slots=settings.slots,
            is_local=settings.engine_is_local,
        )
    if settings.engine == DETERMINISTIC:
        return DeterministicEngine(
            model=settings.model or DETERMINISTIC,
            context_tokens=settings.context_tokens or CONTEXT_TOKENS,
            read_tokens_per_second=settings.read_tokens_per_second,
            write_tokens_per_second=settings.write_tokens_per_second,
            slots=settings.slots or 1,
        )
    name = settings.engine or next((each for each in _LIBRARIES if installed(each)), None)
    if name is None or not installed(name):
        missing = f"The engine {name} is not installed" if name else "No engine is installed"
        raise EngineError(f"{missing}. Install one with: pip install 'edgenode[{_EXTRAS[name or XLLAMACPP]}]'")
    if name == LLAMA_CPP_PYTHON and (settings.slots or 1) > 1:
        raise UsageError(f"{name} works on one request at a time: leave --slots out, or use the engine {XLLAMACPP}.")
    if settings.path is None or settings.known is None:
        raise EngineError(f"The engine {name} needs a model. Name one with --model, or fetch one with: edgenode pull SOURCE")
    return _child(name, settings.path, settings.known, settings)


def installed(engine: str) -> bool:
    """Whether the library of a child engine can be imported; it is not imported for that."""
    return engine in _LIBRARIES and importlib.util.find_spec(_LIBRARIES[engine]) is not None


async def running_ollama(environment: Mapping[str, str]) -> str | None:
    """The URL of the Ollama that runs on this device (`OLLAMA_HOST` or the usual port), or `None`. One elsewhere is not used."""
    told = environment.get("OLLAMA_HOST")
    url = _ollama_url(told or "127.0.0.1")
    if not is_on_this_device(url):
        return None
    # An address that the user has set is his own word; at the usual one any user of this machine could listen.
    if not told and (stranger := stranger_at(OLLAMA_PORT)) is not None:
        logger.warning(
            "What listens at %s belongs to another user of this machine (id %d) and is not used. If you trust it, name it with "
            "--engine-url.",
            url,
            stranger,
        )
        return None
    try:
        told = await HttpClient(url).query("/api/version", seconds=_OLLAMA_SECONDS)
    except EngineError:
        return None
    return url if isinstance(told, dict) and "version" in told else None


def _ollama_url(host: str) -> str:
    """OLLAMA_HOST is an address, with or without scheme and port; servers are told 0.0.0.0 with it, which nobody can call."""
    scheme, _, rest = host.strip().rpartition("://")
    address = rest.rstrip("/").replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - it is replaced
    if ":" not in address.rpartition("]")[2]:
        address += f":{OLLAMA_PORT}"
    return f"{scheme or 'http'}://{address}"


def _child(name: str, path: Path, known: Model, settings: EngineSettings) -> ChildEngine:
    context = settings.context_tokens or CONTEXT_TOKENS
    if known.context_tokens:
        context = min(context, known.context_tokens)
    model = Model(known.name, known.digest, known.size_bytes, known.quantization, context, known.parameters)
    # The key is made by each start of the process.
    threads = settings.threads or default_threads()
    orders = Orders(str(path), known.name, "", context, threads, BATCH_TOKENS, settings.slots or 1)
    return ChildEngine(
        name, module_command(_MODULES[name]), orders, model, settings.log, _FLAVOURS[name], fit_batch=True, report=settings.report
    )
