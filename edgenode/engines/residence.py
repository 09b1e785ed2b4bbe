"""Whether a model that a server offers really runs on this device. A document that is sent to one that does not has left the house.

What is known of servers: Ollama lists models of its cloud beside those it has, with `remote_host` and `remote_model` in `/api/tags`
and `/api/show`, with names that end in "-cloud" or ":cloud", and a size of some hundred bytes. llama.cpp's server tells the file
that it has loaded (`/props`), LM Studio lists its models with their kind (`/api/v0/models`). Servers that forward requests
(LiteLLM, a proxy) look like any other.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

LEAST_MODEL_BYTES: Final = 1_000_000
"""No model is smaller; Ollama's entries for models elsewhere have some hundred bytes."""

_CLOUD_NAME: Final = re.compile(r"(?:[-:]|^)cloud$", re.IGNORECASE)
_CLOUD_FROM: Final = re.compile(r"^\s*FROM\s+\S*[-:]cloud\s*$", re.IGNORECASE | re.MULTILINE)
_NO_CHAT: Final = re.compile(r"\b(?:embed(?:ding)?s?|rerank(?:er|ing)?|bert)\b", re.IGNORECASE)


def runs_elsewhere(name: str, entry: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    """Why an Ollama model is not run on this device, as a clause; "" for one that is. `entry` is what `/api/tags` lists of it and
    `shown` what `/api/show` says."""
    for told in (entry, shown, _table(entry, "details"), _table(shown, "details")):
        host = told.get("remote_host") or told.get("remote_model")
        if host:
            return f"it runs at {_plain(host)} and not on this device"
        parent = told.get("parent_model")
        if isinstance(parent, str) and _CLOUD_NAME.search(parent):
            return f"it is another name of {_plain(parent)}, which runs in Ollama's cloud"
    if _CLOUD_NAME.search(name):
        return "it is a model of Ollama's cloud and does not run on this device"
    modelfile = shown.get("modelfile")
    if isinstance(modelfile, str) and _CLOUD_FROM.search(modelfile):
        return "it is made from a model of Ollama's cloud and does not run on this device"
    size = entry.get("size")
    if isinstance(size, int) and not isinstance(size, bool) and size < LEAST_MODEL_BYTES:
        return f"it has only {max(0, size)} bytes here, so it runs elsewhere"
    return ""


def cannot_chat(name: str, entry: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    """Why a model cannot answer in words, as a clause, by what its server tells of it, and by its name only where it tells nothing;
    "" for one that can. `entry` is what a listing holds of it: Ollama's `/api/tags`, LM Studio's `/api/v0/models`, `/v1/models`."""
    capabilities = shown.get("capabilities") or entry.get("capabilities")
    if isinstance(capabilities, list) and capabilities:
        known = [each for each in capabilities if isinstance(each, str)]
        return "" if {"completion", "chat"} & set(known) else f"it is made for {_plain(', '.join(known))} and does not write"
    kind = entry.get("type")
    if isinstance(kind, str) and kind:
        return "" if kind in ("llm", "vlm", "chat", "model") else f"it is of the kind {_plain(kind)} and does not write"
    info = _table(shown, "model_info")
    if any(str(key).endswith(".pooling_type") and value not in (None, 0, "none", -1) for key, value in info.items()):
        return "it makes vectors of texts and does not write"
    return "it is for embeddings or ranking, by its name" if _NO_CHAT.search(name.replace("_", " ").replace("-", " ")) else ""


def _table(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name)
    return value if isinstance(value, dict) else {}


def _plain(value: object) -> str:
    return "".join(character for character in str(value)[:100] if character.isprintable())
