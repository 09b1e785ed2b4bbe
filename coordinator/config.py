"""The settings of the coordinator: config file, environment, and where runs are kept."""

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from edgenode.errors import UsageError
from edgenode.home import data_dir, make_private_folder, user_path, write_private
from edgenode.text import with_slashes
from edgenode.types import MAX_UINT32

DEFAULT_SUPERVISOR_MODEL = "gpt-5-mini"
DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_TIMEOUT_SECONDS = 120.0

MAX_CONFIG_BYTES = 65_536
MAX_TIMEOUT_SECONDS = 3_600.0
_CONSENT = "supervisors-agreed-to"
_VISIBLE = re.compile(r"[!-~]{1,1000}")


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """An OpenAI-compatible endpoint and the model to ask there. Its findings travel over https, or stay on this machine."""

    model: str = DEFAULT_SUPERVISOR_MODEL
    base_url: str = DEFAULT_BASE_URL
    api_key: str | None = field(default=None, repr=False)
    """None for endpoints that want none, as local ones do."""
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    """For one request, from connecting to the last byte of the reply."""

    @property
    def local(self) -> bool:
        """Whether the endpoint is on this machine."""
        return _is_loopback(urlsplit(self.base_url).hostname or "")


@dataclass(frozen=True, slots=True)
class Config:
    supervisor: SupervisorConfig | None = None
    """None when neither a key nor a base URL is configured: then the pool aggregates."""
    model: str = DEFAULT_SUPERVISOR_MODEL
    """The model that a supervisor would be asked for."""
    withheld: SupervisorConfig | None = None
    """A supervisor that came from the environment alone, and that the user has not agreed to use yet: it is not used."""
    max_egress: int | None = None
    """Characters that one request to the supervisor may carry, None for the default that follows the documents' size."""


def load_config(
    environment: Mapping[str, str] = os.environ,
    path: Path | None = None,
    *,
    supervisor_model: str | None = None,
    cloud: bool | None = None,
) -> Config:
    """The settings: `supervisor_model` (from the command line) over OPENAI_API_KEY and OPENAI_BASE_URL over the config file.

    A supervisor in the config file was put there for this program. Keys in the environment are often there for others, so a
    supervisor that comes from there alone is `withheld` until the user has agreed once to its address (`agree`). `cloud` True is
    that agreement, for this time; False means that no supervisor is used.

    The file is `path`, else what EDGENODE_CONFIG names, else config.toml in the user's config folder; one that does not exist
    is an empty one. An empty string counts as not set. Raises `UsageError` for a file that is damaged, holds what is not
    understood, or shows a key to other users, and for a base URL or key that cannot be used.
    """
    file = path or config_path(environment)
    table = _read(file)
    told = _Table(file, "", table, {"supervisor", "max_egress"})
    supervisor = _Table(file, "supervisor.", told.table("supervisor"), {"model", "base_url", "api_key", "timeout_seconds"})
    max_egress = told.number("max_egress", whole=True)
    key = environment.get("OPENAI_API_KEY") or supervisor.string("api_key")
    base_url = environment.get("OPENAI_BASE_URL") or supervisor.string("base_url")
    model = supervisor_model or supervisor.string("model") or DEFAULT_SUPERVISOR_MODEL
    timeout = supervisor.number("timeout_seconds")
    if key is None and base_url is None:
        return Config(model=model, max_egress=None if max_egress is None else int(max_egress))
    if key is not None and not _VISIBLE.fullmatch(key):
        raise UsageError(
            "The supervisor's key holds blanks or characters that no key has. Copy it again (OPENAI_API_KEY or the config file)."
        )
    if not _VISIBLE.fullmatch(model):
        raise UsageError(
            "The supervisor's model name holds blanks or unusual characters. Name a model that the supervisor's endpoint offers."
        )
    found = SupervisorConfig(
        model=model,
        base_url=_checked_url(base_url or DEFAULT_BASE_URL),
        api_key=key,
        timeout_seconds=DEFAULT_TIMEOUT_SECONDS if timeout is None else min(timeout, MAX_TIMEOUT_SECONDS),
    )
    told_here = supervisor.string("api_key") or supervisor.string("base_url")
    agreed = cloud or (cloud is None and bool(told_here or found.base_url in _agreed_to()))
    return Config(
        supervisor=found if agreed else None,
        model=model,
        withheld=found if not agreed and cloud is None else None,
        max_egress=None if max_egress is None else int(max_egress),
    )


def agree(supervisor: SupervisorConfig) -> None:
    """Keeps that the user has agreed to the use of the supervisor at this address. Raises `HomeError` where it cannot be kept."""
    make_private_folder(data_dir())
    path = data_dir() / _CONSENT
    write_private(path, "".join(f"{each}\n" for each in sorted(_agreed_to() | {supervisor.base_url})))


def _agreed_to() -> frozenset[str]:
    """Addresses of supervisors that the user has agreed to."""
    try:
        return frozenset((data_dir() / _CONSENT).read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return frozenset()


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The config file, whether it exists or not. Raises `HomeError`."""
    usual = platformdirs.user_config_path
    return user_path("EDGENODE_CONFIG", lambda: usual("edgenode", appauthor=False) / "config.toml", environment)


def runs_dir() -> Path:
    """Where the runs of this user are kept, a folder each."""
    return data_dir() / "runs"


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"The config file {path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise UsageError(f"The config file {path} is larger than {MAX_CONFIG_BYTES} bytes. It should hold a few settings only.")
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        # The parser's text tells line and column. It never quotes the value, which may be a key.
        raise UsageError(f"The config file {path} is not valid TOML: {error}.") from None
    supervisor = table.get("supervisor")
    if os.name == "posix" and isinstance(supervisor, dict) and supervisor.get("api_key") and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"The config file {path} holds a key that other users can read. Run: chmod 600 {path}")
    return table


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the config file whose keys are known and whose values are asked for by type."""

    file: Path
    prefix: str
    values: Mapping[str, Any]
    known: set[str]

    def __post_init__(self) -> None:
        for name in self.values:
            if name not in self.known:
                known = ", ".join(sorted(self.known))
                raise UsageError(
                    f"The config file {self.file} has the unknown setting {self.prefix + name!r}. Known ones here are {known}."
                )

    def table(self, name: str) -> Mapping[str, Any]:
        value = self.values.get(name, {})
        if not isinstance(value, dict):
            raise UsageError(
                f"In the config file {self.file}, {self.prefix}{name} must be a table: a line [{name}] and its settings below it."
            )
        return value

    def string(self, name: str) -> str | None:
        value = self.values.get(name, "")
        if not isinstance(value, str):
            raise UsageError(f"In the config file {self.file}, {self.prefix}{name} must be a text in quotation marks.")
        return value or None

    def number(self, name: str, whole: bool = False) -> float | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 0 < value <= MAX_UINT32:
            raise UsageError(
                f"In the config file {self.file}, {self.prefix}{name} must be a {'whole ' if whole else ''}number above 0 and at "
                f"most {MAX_UINT32}."
            )
        return value


def _checked_url(url: str) -> str:
    advice = "It should look like https://HOST/v1 (OPENAI_BASE_URL or the config file)."
    # Shown only without a user name, a password and a query.
    if (meant := with_slashes(url)) and _VISIBLE.fullmatch(url) and not set("@?#") & set(url):
        raise UsageError(f"The supervisor's base URL needs two slashes after its scheme. Did you mean {meant}?")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"The supervisor's base URL is not a URL. {advice}") from None
    # A user name, password or query in it could be a key, which must not get into ledgers and logs: so it is not shown either.
    if (
        not _VISIBLE.fullmatch(url)
        or parts.scheme not in {"http", "https"}
        or not host
        or "@" in parts.netloc
        or "?" in url
        or "#" in url
    ):
        raise UsageError(
            f"The supervisor's base URL must be http or https with a host, and without user name, query or fragment. {advice}"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise UsageError(
            f"The supervisor at {host} would get the findings unencrypted. Use https://; http:// is for this machine only."
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
