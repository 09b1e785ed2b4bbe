"""The engine for a server that somebody else started: Ollama, llama-server, LM Studio (`--engine-url`)."""

import asyncio
import ipaddress
import logging
import re
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Self
from urllib.parse import urlsplit

from edgenode.engines.engine import EngineProgress, Request
from edgenode.engines.http import Flavour, HttpClient, OnlyThought
from edgenode.engines.residence import cannot_chat, runs_elsewhere
from edgenode.errors import (
    ContextExceeded,
    EngineCrashed,
    EngineError,
    EngineLoading,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
)
from edgenode.text import clean_line
from edgenode.types import MAX_SLOTS, MAX_UINT32, Completion, EngineState, Model

logger = logging.getLogger(__name__)

# What Ollama gives a model unless told otherwise; beyond it, it cuts the prompt without a word.
CONTEXT_TOKENS: Final = 4096
POLL_SECONDS: Final = 15.0
LOADING_POLL_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 5.0
LOADING_SECONDS: Final = 600.0
"""A large model on a slow disk takes minutes to load."""
PROMPTS_KEPT: Final = 2 * MAX_SLOTS
"""More than a server's slots hold."""
LEAST_CONTEXT: Final = 512
THINKING_TOKENS: Final = 1_024
"""Room for a model that cannot be kept from thinking aloud."""
_NAME_CHARACTERS: Final = 200
_MODELS_LIMIT: Final = 1000
_MOST_LOOKED_AT: Final = 50
_SCALE: Final = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def is_on_this_device(url: str) -> bool:
    """Whether the host of `url` is an address of this device: loopback, or one of its network interfaces."""
    try:
        host = urlsplit(url).hostname or ""
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    if address.is_unspecified or address.is_multicast:
        return False
    # Nobody can bind an address that is not the device's own.
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


class ServedEngine:
    """Serves one model of the server at `url`: the one named `model`, or the first that can chat.

    `context_tokens` overrides what the server tells of its context. `slots` is how many requests it is sent at once, and never more
    than it tells that it has; without it as many as it tells, which llama.cpp's does, else one. It is asked again every
    `poll_seconds` and after it was away, as which `state` is RESTARTING.

    A model that runs elsewhere is refused: when it is chosen, before each request, and when the server is looked at again. Where it
    cannot be known where the server runs its models, the user has to vouch for it (`is_local`), and `unchecked` names the server.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        context_tokens: int | None = None,
        slots: int | None = None,
        poll_seconds: float = POLL_SECONDS,
        silence_seconds: float | None = None,
        is_local: bool = False,
    ) -> None:
        self.unchecked = ""
        self.name = "http"
        self.models: tuple[Model, ...] = ()
        self.slots = slots or 1
        self.state = EngineState.STARTING
        self._url = re.sub(r"/v1/?$", "", url.rstrip("/"))
        self._wanted = model
        self._key = key
        self._context = context_tokens
        self._wanted_slots = slots
        self._poll_seconds = poll_seconds
        self._silence = silence_seconds
        self._is_local = is_local
        self._is_ollama = False
        self._extras: dict[str, Any] = {}
        self._thinking_tokens = 0
        self._prompts: deque[str] = deque(maxlen=PROMPTS_KEPT)
        """The last ones: what the next shares with any of them may be in the server's cache, and not be counted."""
        self._changed: list[Callable[[], None]] = []
        self._client = HttpClient(self._url, key=key)
        self._doubtful = False
        """Whether the server may be another than the one that was asked for its slots."""
        self._poll: asyncio.Task[None] | None = None

    def watch(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)

    async def __aenter__(self) -> Self:
        if re.match(r"https?://", self._url) and not is_on_this_device(self._url):
            raise EngineError(
                f"{clean_line(self._url, 200)} is not on this device, and documents must not leave it: "
                "run a node on that device instead."
            )
        if not re.match(r"https?://[^/\s]+", self._url):
            raise EngineError(f"{self._url!r} is not the address of an engine: it should look like http://127.0.0.1:11434.")
        name = await self._pick(await self._loaded_names())
        flavour, found = await self._look(name)
        await self._check_server(flavour, name)
        self._extras = await self._without_thinking(flavour, name)
        self.models = (found,)
        self._client = self._new_client(flavour)
        self._set(EngineState.READY)
        self._poll = asyncio.create_task(self._keep_looking(), name="engine-poll")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._poll is not None:
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)

    async def complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        if self._doubtful:
            await self._look_again()
        if self._is_ollama and (reason := await self._elsewhere(self.models[0].name)):
            raise EngineUnavailable(f"The model {self.models[0].name} is not used: {reason}.")
        try:
            done = await self._complete(request, progress)
        except EngineUnavailable:
            self._doubtful = True
            self._set(EngineState.RESTARTING)
            raise
        except EngineCrashed:
            self._doubtful = True
            raise
        self._set(EngineState.READY)
        return done

    async def _complete(self, request: Request, progress: Callable[[EngineProgress], None]) -> Completion:
        """Another way is tried, once each, where the server may not know a field or the model thinks until its room is used up."""
        left_out: dict[str, Any] = {}
        while True:
            try:
                done = await self._client.complete(request, progress)
            except OnlyThought:
                if self._thinking_tokens:
                    raise EngineRefused(
                        f"The model {request.model} thinks aloud for more than {THINKING_TOKENS} tokens and does not reply. "
                        "Load one that does not think, or switch its thinking off."
                    ) from None
                self._thinking_tokens = THINKING_TOKENS
            except EngineRefused:
                if not self._extras:
                    # They were not why.
                    self._extras = left_out
                    self._client = self._new_client(self._client.flavour)
                    if self.models[0].name not in await self._listed():
                        raise EngineUnavailable(f"The server at {self._url} has no model {request.model} any more.") from None
                    raise
                left_out, self._extras = self._extras, {}
            else:
                self._check_all_was_read(request, done)
                return done
            self._client = self._new_client(self._client.flavour)

    def _check_all_was_read(self, request: Request, done: Completion) -> None:
        """Raises `ContextExceeded`, and lowers the context, where the server tells that it read far less than it was sent. Some cut
        a prompt without a word, and the reply is then about a part of it."""
        shared = max((_shared(before, request.user) for before in self._prompts), default=0)
        self._prompts.append(request.user)
        read, least = done.usage.prompt_tokens, _least_tokens(request.user[shared:])
        # A prompt that was cut fills the context. What is shorter than any context is left over from a cache.
        if self._client.flavour is not Flavour.GENERIC or not LEAST_CONTEXT <= read < least:
            return
        (model,) = self.models
        self.models = (replace(model, context_tokens=read),)
        self._client = self._new_client(self._client.flavour)
        self._tell()
        raise ContextExceeded(
            f"The server read {read} tokens of a text of more than {least}: it cuts what does not fit its context. From now on "
            f"the context of {model.name} is taken to be {read} tokens."
        )

    async def _without_thinking(self, flavour: Flavour, name: str) -> dict[str, Any]:
        """Fields of a request that keep a model from thinking aloud, as this server spells them."""
        if flavour is not Flavour.GENERIC:
            return {}
        if not self._is_ollama:
            return {"chat_template_kwargs": {"enable_thinking": False}}
        capabilities = (await self._maybe("/api/show", {"model": name})).get("capabilities")
        return {"reasoning_effort": "none"} if isinstance(capabilities, list) and "thinking" in capabilities else {}

    async def _loaded_names(self) -> list[str]:
        """The models' names, once the server has loaded what it was started with."""
        loop, told = asyncio.get_running_loop(), False
        end = loop.time() + LOADING_SECONDS
        while True:
            try:
                names = await self._names()
                await self._ask_whether_it_loads()
            except EngineLoading:
                if loop.time() > end:
                    raise
            else:
                return names
            if not told:
                logger.warning("The server at %s is still loading its model. Waiting for it.", self._url)
                told = True
            await asyncio.sleep(LOADING_POLL_SECONDS)

    async def _ask_whether_it_loads(self) -> None:
        """Raises `EngineLoading` while a llama-server loads its model: it lists it all the same, and refuses everything else."""
        try:
            await self._client.query("/props", seconds=PROBE_SECONDS)
        except EngineLoading:
            raise
        except EngineError:
            return

    async def _listed(self) -> list[str]:
        try:
            return await self._names()
        except EngineError:
            return []

    async def _names(self) -> list[str]:
        listing = await self._client.query("/v1/models")
        data = listing.get("data") if isinstance(listing, dict) else None
        if not isinstance(data, list):
            raise EngineError(f"What answers at {self._url} is not an OpenAI-compatible server: it lists no models.")
        names = [each.get("id") for each in data[:_MODELS_LIMIT] if isinstance(each, dict)]
        # A name that cleaning changes could not be shown and asked for alike.
        return [name for name in names if isinstance(name, str) and name and clean_line(name, _NAME_CHARACTERS) == name]

    async def _pick(self, names: list[str]) -> str:
        """The model to serve: the one that is wanted, or the first that runs on this device and writes."""
        if self._wanted is not None:
            found = next((name for name in (self._wanted, f"{self._wanted}:latest") if name in names), None)
            if found is None:
                known = f"it has {', '.join(names[:10])}" if names else "it has none"
                raise EngineError(f"The server at {self._url} has no model {self._wanted}: {known}.")
            if reason := await self._refusal(found):
                raise EngineError(f"The model {found} of the server at {self._url} is not used: {reason}.")
            return found
        refused: list[str] = []
        for name in names[:_MOST_LOOKED_AT]:
            reason = await self._refusal(name)
            if not reason:
                for each in refused:
                    logger.info("Passed over %s.", each)
                return name
            refused.append(f"{name}: {reason}")
        why = f" None of those it lists is used: {'; '.join(refused[:5])}." if refused else ""
        raise EngineError(f"The server at {self._url} has no model to serve yet. Load one there first.{why}")

    async def _refusal(self, name: str) -> str:
        """Why a model is not served, as a clause; "" for one that is."""
        tags = await self._maybe("/api/tags")
        entry = _entry(tags.get("models"), name)
        if entry is not None:
            shown = await self._maybe("/api/show", {"model": name})
            return runs_elsewhere(name, entry, shown) or cannot_chat(name, entry, shown)
        listed = _entry((await self._maybe("/api/v0/models")).get("data"), name)
        listed = listed or _entry((await self._maybe("/v1/models")).get("data"), name) or {}
        return cannot_chat(name, {key: value for key, value in listed.items() if key != "object"}, {})

    async def _elsewhere(self, name: str) -> str:
        """Why an Ollama model does not run on this device, as a clause. It is asked again and again: names change hands."""
        entry = _entry((await self._maybe("/api/tags")).get("models"), name)
        if entry is None:
            return "its server does not list it any more"
        return runs_elsewhere(name, entry, await self._maybe("/api/show", {"model": name}))

    async def _check_server(self, flavour: Flavour, name: str) -> None:
        """Raises `EngineError` for a server that may run its models elsewhere, unless the user vouches for it."""
        self._is_ollama = _entry((await self._maybe("/api/tags")).get("models"), name) is not None
        is_studio = _entry((await self._maybe("/api/v0/models")).get("data"), name) is not None
        if self._is_ollama or is_studio or flavour is Flavour.LLAMA_CPP:
            return
        if not self._is_local:
            raise EngineError(
                f"It cannot be checked whether the server at {self._url} runs {name} on this device or sends requests on to "
                "another. If you know that it runs here, say so with --engine-is-local."
            )
        self.unchecked = clean_line(f"the server at {urlsplit(self._url).netloc}", _NAME_CHARACTERS)

    async def _look(self, name: str) -> tuple[Flavour, Model]:
        """What can be found out about the server and its model; what it does not tell is left out."""
        props = await self._maybe("/props")
        if isinstance(settings := props.get("default_generation_settings"), dict):
            context = self._context or _tokens(settings.get("n_ctx")) or CONTEXT_TOKENS
            self.slots = self._slots_of(props)
            return Flavour.LLAMA_CPP, Model(name, context_tokens=context, parameters=parameters_in(name))
        entry = _entry((await self._maybe("/api/tags")).get("models"), name)
        if entry is None:
            return Flavour.GENERIC, Model(name, context_tokens=self._context or CONTEXT_TOKENS, parameters=parameters_in(name))
        details = entry["details"] if isinstance(entry.get("details"), dict) else {}
        shown = await self._maybe("/api/show", {"model": name})
        return Flavour.GENERIC, Model(
            name,
            digest=_digest(entry.get("digest")),
            size_bytes=_number(entry.get("size")),
            quantization=clean_line(str(details.get("quantization_level") or ""), 20),
            context_tokens=self._context or _ollama_context(shown),
            parameters=parameters_in(str(details.get("parameter_size") or "")) or parameters_in(name),
        )

    def _slots_of(self, props: dict[str, Any]) -> int:
        there = min(_number(props.get("total_slots")) or self.slots, MAX_SLOTS)
        return min(self._wanted_slots or there, there)

    async def _look_again(self) -> None:
        """It may have been started again with other slots, and would never begin with a request for one that it lacks; or with
        another context."""
        before = (self.slots, self.models)
        if self._client.flavour is Flavour.LLAMA_CPP and (props := await self._maybe("/props")):
            (model,) = self.models
            settings = props.get("default_generation_settings")
            told = _tokens(settings.get("n_ctx")) if isinstance(settings, dict) else 0
            context = self._context or told or model.context_tokens
            self.slots, self.models = self._slots_of(props), (replace(model, context_tokens=context),)
        # Only now, for requests that come meanwhile.
        self._doubtful = False
        if (self.slots, self.models) != before:
            context = self.models[0].context_tokens
            logger.info("The engine at %s has %d slots and a context of %d tokens now.", self._url, self.slots, context)
            self._client = self._new_client(self._client.flavour)
            self._tell()

    def _new_client(self, flavour: Flavour) -> HttpClient:
        (model,) = self.models
        return HttpClient(
            self._url,
            flavour,
            key=self._key,
            context_tokens=model.context_tokens,
            slots=self.slots,
            silence_seconds=self._silence,
            extras=self._extras,
            thinking_tokens=self._thinking_tokens,
        )

    async def _maybe(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            told = await self._client.query(path, body, PROBE_SECONDS)
        except EngineError:
            return {}
        return told if isinstance(told, dict) else {}

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                names = await self._names()
            except EngineTimeout:
                # Some servers answer nothing else while they work.
                continue
            except EngineError:
                self._doubtful = True
                self._set(EngineState.RESTARTING)
            else:
                # First: work comes as soon as it is ready.
                await self._look_again()
                name = self.models[0].name
                away = "" if name in names else "its server does not list it any more"
                if not away and self._is_ollama:
                    away = await self._elsewhere(name)
                if away and self.state is EngineState.READY:
                    logger.warning("The model %s is not used any more: %s.", self.models[0].name, away)
                self._set(EngineState.RESTARTING if away else EngineState.READY)

    def _set(self, state: EngineState) -> None:
        if state is self.state:
            return
        if EngineState.STARTING is not self.state:
            logger.warning("The engine at %s is %s.", self._url, "back" if state is EngineState.READY else "away")
        self.state = state
        self._tell()

    def _tell(self) -> None:
        for changed in self._changed:
            changed()


def _shared(before: str, text: str) -> int:
    """Length of the beginning that both have."""
    return next((at for at, (a, b) in enumerate(zip(before, text, strict=False)) if a != b), min(len(before), len(text)))


def _least_tokens(text: str) -> int:
    """Fewer tokens than any tokenizer makes of `text`: eight letters each, or three Chinese, Japanese or Korean characters."""
    ascii_characters = len(text.encode("ascii", "ignore"))
    return ascii_characters // 8 + (len(text) - ascii_characters) // 3


def parameters_in(text: str) -> int:
    """Number of weights told in a size or a model's name, such as "8.0B", "135M" or "qwen3:4b-instruct"; 0 where there is none."""
    found = re.search(r"(?<![0-9a-z.])(\d{1,4}(?:\.\d{1,3})?)([kmbt])(?![a-z])", text.lower())
    return int(float(found[1]) * _SCALE[found[2]]) if found else 0


def _ollama_context(shown: dict[str, Any]) -> int:
    """What Ollama gives the model: its modelfile's `num_ctx`, else the default; never more than the model was trained for."""
    info = shown["model_info"] if isinstance(shown.get("model_info"), dict) else {}
    trained = next((_number(value) for key, value in info.items() if key.endswith(".context_length")), 0)
    told = re.search(r"^num_ctx\s+(\d{1,9})\s*$", str(shown.get("parameters") or ""), re.MULTILINE)
    given = (int(told[1]) if told else 0) or CONTEXT_TOKENS
    return min(given, trained) if trained else given


def _entry(listing: Any, name: str) -> dict[str, Any] | None:
    """What a server's list of models holds of one."""
    return next((each for each in _dicts(listing) if name in (each.get("name"), each.get("model"), each.get("id"))), None)


def _digest(value: Any) -> str:
    found = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", value) if isinstance(value, str) else None
    return found[1] if found else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53 else 0


def _tokens(value: Any) -> int:
    """A context as a message can tell it."""
    number = _number(value)
    return number if number <= MAX_UINT32 else 0


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value[:_MODELS_LIMIT] if isinstance(each, dict)] if isinstance(value, list) else []
