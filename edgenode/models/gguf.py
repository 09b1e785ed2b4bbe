"""Reads the header of a GGUF file, trusting nothing in it, and tells whether the file is a whole model.

Versions 2 and 3, little endian. Source of the layout: docs/gguf.md in ggml's repository.
"""

import stat
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgenode.errors import ModelFileError
from edgenode.models.foreign import describe
from edgenode.models.gguf_tables import FILE_TYPES, TENSOR_TYPES
from edgenode.models.progress import readable_size
from edgenode.text import clean_line
from edgenode.types import MAX_UINT32

MAGIC = b"GGUF"
# Bounds well above any real model (500 tensors and 300,000 tokens are usual), so that a hostile header costs seconds and
# megabytes at most.
MAX_TENSORS = 100_000
MAX_KEYS = 10_000
MAX_STRING_BYTES = 64 << 20
MAX_ARRAY_STRINGS = 4_000_000
MAX_NAME_BYTES = 1024
MAX_DIMENSIONS = 8
MAX_NESTING = 3
MAX_ALIGNMENT = 1 << 20
MAX_ELEMENT_BYTES = 8
KEPT_TEXT_BYTES = 1024
SKIP_BYTES = 1 << 16

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a model file says of itself; texts are cleaned and capped, empty (or 0) where the file is silent."""

    name: str
    architecture: str
    quantization: str
    """As people call it, such as "Q4_K_M"."""
    context_length: int
    """Tokens the model was trained to hold at once."""
    licence: str
    parameters: int
    """Number of weights: the elements of all tensors."""
    chat_template: bool
    data_offset: int
    """Where the header ends and the weights begin, in bytes."""
    needed_bytes: int
    """How long the file must be to hold every tensor it announces."""


@dataclass(frozen=True, slots=True)
class Announced:
    """How long a file will be, as its header says."""

    least_bytes: int
    most_bytes: int
    """`least_bytes` and padding, or more where a tensor is of a type whose size is not known."""


class _EndsInHeader(ModelFileError):
    """There is less of the file than its header needs."""


def read_header(path: Path, called: str = "") -> GgufHeader:
    """Reads and checks the header of the model at `path`; errors name it as `called`, or by its path.

    Raises `ModelFileError`, whose sentence says what the file is instead, when it cannot be read, is no GGUF, is damaged or
    shorter than its header announces, or holds something other than one whole model (an adapter, a vocabulary, a shard).
    """
    shown = clean_line(called or str(path), limit=300)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelFileError(f"{shown} is a folder, not a model. Name the .gguf file in it.")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ModelFileError(f"{shown} is not an ordinary file. Name a .gguf file.")
        with path.open("rb") as file:
            header = _Reader(file, shown, status.st_size).header()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{shown} cannot be read: {reason}.") from error
    if header.needed_bytes > status.st_size:
        raise ModelFileError(
            f"{shown} is cut short: it holds {readable_size(status.st_size)} of {readable_size(header.needed_bytes)}. "
            "Fetch it again."
        )
    return header


def read_beginning(path: Path, called: str) -> Announced | None:
    """What a file announces of which only the beginning is there, or None while that ends within its header. Raises
    `ModelFileError` as `read_header` does, and `OSError`."""
    with path.open("rb") as file:
        reader = _Reader(file, called, path.stat().st_size)
        try:
            header = reader.header()
        except _EndsInHeader:
            return None
    return Announced(header.needed_bytes, max(header.needed_bytes, reader.most_bytes) + MAX_ALIGNMENT)


class _Reader:
    """One pass over one header. `size` bounds everything: nothing in a file can be longer than the file."""

    def __init__(self, file: BinaryIO, shown: str, size: int) -> None:
        self._file = file
        self._shown = shown
        self._size = size
        self._at = 0
        self._strings_left = MAX_ARRAY_STRINGS
        self._values: dict[str, str | int | float | bool] = {}
        self._keys: set[str] = set()
        self.most_bytes = 0
        """What the file can need at most; known once its header was read."""

    def header(self) -> GgufHeader:
        start = self._file.read(512)
        if start[:4] != MAGIC:
            raise ModelFileError(f"{self._shown} is {describe(start)}. A model is a .gguf file: fetch one with `edgenode pull`.")
        self._file.seek(len(MAGIC))
        self._at = len(MAGIC)
        version = self._number("<I")
        if version == 1:
            raise ModelFileError(f"{self._shown} is GGUF version 1, which engines read no more. Fetch a newer file of this model.")
        if version not in (2, 3):
            raise ModelFileError(
                f"{self._shown} is a GGUF of a kind this version cannot read (big-endian, or newer than version 3). "
                "Fetch the little-endian file of this model."
            )
        tensors = self._count("<Q", MAX_TENSORS, "tensors")
        for _ in range(self._count("<Q", MAX_KEYS, "entries")):
            self._entry()
        self._refuse_what_is_no_model(tensors)
        return self._weights(tensors)

    def _entry(self) -> None:
        key = self._text(MAX_NAME_BYTES)
        kind = self._number("<I")
        self._keys.add(key)
        if kind in _SCALARS:
            self._values[key] = self._number(_SCALARS[kind])
        elif kind == _STRING:
            self._values[key] = self._text(MAX_STRING_BYTES)
        elif kind == _ARRAY:
            self._skip_array(0)
        else:
            raise self._damaged(f"an entry of unknown type {kind}")

    def _skip_array(self, depth: int) -> None:
        kind = self._number("<I")
        count = self._number("<Q")
        if kind in _SCALARS:
            self._skip(count * struct.calcsize(_SCALARS[kind]))
        elif kind == _STRING or (kind == _ARRAY and depth < MAX_NESTING):
            if count > self._strings_left:
                raise self._damaged("an impossibly long list")
            self._strings_left -= count
            for _ in range(count):
                if kind == _STRING:
                    self._skip(self._count("<Q", MAX_STRING_BYTES, "characters"))
                else:
                    self._skip_array(depth + 1)
        else:
            raise self._damaged(f"a list of unknown type {kind}")

    def _refuse_what_is_no_model(self, tensors: int) -> None:
        architecture, kind = self._told("general.architecture"), self._told("general.type")
        if kind not in ("", "model") or architecture == "clip":
            told = "an image projector" if architecture == "clip" else kind
            raise ModelFileError(f"{self._shown} is a GGUF file but no language model ({told}). Fetch the model it belongs to.")
        if self._whole("split.count") > 1:
            raise ModelFileError(
                f"{self._shown} is one part of a split model. Fetch a quantization that is one file, or join the parts "
                "with `llama-gguf-split --merge`."
            )
        if not architecture:
            raise self._damaged("no architecture")
        if not tensors:
            raise ModelFileError(f"{self._shown} holds no weights, only a vocabulary. Fetch the model itself.")

    def _weights(self, tensors: int) -> GgufHeader:
        alignment = self._whole("general.alignment") or 32
        if alignment > MAX_ALIGNMENT or alignment & (alignment - 1):
            raise self._damaged("an impossible alignment")
        parameters, end, most_end = 0, 0, 0
        elements_by_type: Counter[int] = Counter()
        for _ in range(tensors):
            self._skip(self._count("<Q", MAX_NAME_BYTES, "characters"))
            elements, row = 1, 1
            for dimension in range(self._count("<I", MAX_DIMENSIONS, "dimensions")):
                length = self._number("<Q")
                elements *= length
                row = length if dimension == 0 else row
            kind = self._number("<I")
            offset = self._number("<Q")
            # A type this version does not know has at least its beginning in the file.
            _, block, block_bytes = TENSOR_TYPES.get(kind, ("", 1, 0))
            if row % block or parameters + elements > 1 << 50 or offset > 1 << 50:
                raise self._damaged("a tensor of impossible size")
            size = elements // block * block_bytes
            end = max(end, offset + size)
            most_end = max(most_end, offset + (size or elements * MAX_ELEMENT_BYTES))
            parameters += elements
            elements_by_type[kind] += elements
        data_offset = -(-self._at // alignment) * alignment
        self.most_bytes = data_offset + most_end
        most, _ = elements_by_type.most_common(1)[0]
        architecture = self._told("general.architecture")
        context = self._whole(f"{architecture}.context_length")
        if context > MAX_UINT32:
            raise self._damaged(f"a context of {context} tokens")
        # Files quantized by recipe carry a file type of their maker's own, or none: then the commonest tensor type names them.
        quantization = FILE_TYPES.get(self._whole("general.file_type", -1)) or TENSOR_TYPES.get(most, ("",))[0]
        licence = self._told("general.license")
        return GgufHeader(
            name=self._told("general.name"),
            architecture=architecture,
            quantization=quantization,
            context_length=context,
            licence=self._told("general.license.name") or licence if licence in ("", "other") else licence,
            parameters=parameters,
            chat_template=any(key.startswith("tokenizer.chat_template") for key in self._keys),
            data_offset=data_offset,
            needed_bytes=data_offset + end,
        )

    def _told(self, key: str) -> str:
        value = self._values.get(key, "")
        return clean_line(value) if isinstance(value, str) else ""

    def _whole(self, key: str, absent: int = 0) -> int:
        value = self._values.get(key, absent)
        return value if isinstance(value, int) and value >= 0 else absent

    def _take(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise self._short()
        self._at += length
        return data

    def _number(self, form: str) -> int:
        (value,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return value  # type: ignore[no-any-return]

    def _count(self, form: str, limit: int, what: str) -> int:
        value = self._number(form)
        if value > limit:
            raise self._damaged(f"an impossible number of {what}")
        return value

    def _text(self, limit: int) -> str:
        length = self._count("<Q", limit, "characters")
        kept = self._take(min(length, KEPT_TEXT_BYTES))
        self._skip(length - len(kept))
        return kept.decode("utf-8", errors="replace")

    def _skip(self, length: int) -> None:
        if self._at + length > self._size:
            raise self._short()
        if length > SKIP_BYTES:
            self._file.seek(length, 1)
        else:  # reading keeps the buffer, which seeking throws away: three times as fast over a vocabulary
            self._file.read(length)
        self._at += length

    def _short(self) -> ModelFileError:
        return _EndsInHeader(f"{self._shown} is cut short or damaged: it ends within its header. Fetch it again.")

    def _damaged(self, what: str) -> ModelFileError:
        return ModelFileError(f"{self._shown} is damaged or not a real GGUF file: its header holds {what}. Fetch it again.")
