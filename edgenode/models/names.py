"""File names for models, from words that come from elsewhere."""

import re
import unicodedata

SUFFIX = ".gguf"
# File systems allow 255 bytes; the suffix and a part of a digest must fit behind the name.
MAX_NAME_BYTES = 200
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}(\.gguf)?$", re.IGNORECASE)


def safe_name(text: str) -> str:
    """A model's name (a file name without its suffix) made from `text`, valid on every platform and never hidden or an option.

    Applying it twice changes nothing more.
    """
    name = unicodedata.normalize("NFC", text)
    if name.casefold().endswith(SUFFIX):
        name = name[: -len(SUFFIX)]
    name = "".join("-" if character in '<>:"/\\|?*' or not character.isprintable() else character for character in name)
    name = name.encode("utf-8", errors="ignore")[:MAX_NAME_BYTES].decode("utf-8", errors="ignore")
    name = name.strip(" .-")
    if name.casefold().endswith(SUFFIX):
        return safe_name(name)
    if _RESERVED.fullmatch(name):
        name = "_" + name
    return name or "model"


def is_shard(name: str) -> bool:
    """Whether a file of this name is one part of a model that was split over several files."""
    return _SHARD.search(name) is not None
