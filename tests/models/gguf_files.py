"""Builds small but complete GGUF files, and broken ones, for tests."""

import struct
from pathlib import Path

STRING, ARRAY = 8, 9
_FORMS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key: str, kind: int, value: object) -> bytes:
    """One key with its value; for a list `value` is (element type, elements)."""
    return text(key) + struct.pack("<I", kind) + _value(kind, value)


def _value(kind: int, value: object) -> bytes:
    if kind == STRING:
        assert isinstance(value, str)
        return text(value)
    if kind == ARRAY:
        assert isinstance(value, tuple)
        inner, elements = value
        return struct.pack("<IQ", inner, len(elements)) + b"".join(_value(inner, element) for element in elements)
    return struct.pack(_FORMS[kind], value)


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def assemble(entries: list[bytes], tensors: list[bytes], data: bytes, *, version: int = 3, alignment: int = 32) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries) + b"".join(tensors)
    return head + b"\0" * (-len(head) % alignment) + data


def entries(
    *,
    name: str = "Tiny Test",
    architecture: str = "llama",
    licence: str | None = "apache-2.0",
    file_type: int | None = 3,
    context: int = 2048,
    chat_template: bool = True,
) -> list[bytes]:
    made = [
        entry("general.architecture", STRING, architecture),
        entry("general.type", STRING, "model"),
        entry("general.name", STRING, name),
    ]
    if licence is not None:
        made.append(entry("general.license", STRING, licence))
    made.append(entry(f"{architecture}.context_length", 4, context))
    if file_type is not None:
        made.append(entry("general.file_type", 4, file_type))
    made.append(entry("tokenizer.ggml.tokens", ARRAY, (STRING, ["<s>", "</s>", "a", "b", "ab"])))
    made.append(entry("tokenizer.ggml.scores", ARRAY, (6, [0.0] * 5)))
    if chat_template:
        made.append(entry("tokenizer.chat_template", STRING, "{{ messages }}"))
    return made


def tiny_gguf(*, weights: int = 64, seed: int = 0, **about: object) -> bytes:
    """A complete model of 32 F32 weights and `weights` (a multiple of 32) Q4_1 weights; `about` goes to `entries`.

    Its length grows by 20 bytes for each 32 weights; `seed` makes the contents of equally large models differ.
    """
    assert weights % 32 == 0
    tensors = [tensor("norm", (32,), 0, 0), tensor("blk.0.weight", (32, weights // 32), 3, 128)]
    pattern = bytes((index * 7 + seed) % 251 for index in range(251))
    data = (pattern * ((128 + weights // 32 * 20) // 251 + 1))[: 128 + weights // 32 * 20]
    return assemble(entries(**about), tensors, data)  # type: ignore[arg-type]


def write_gguf(path: Path, **about: object) -> Path:
    path.write_bytes(tiny_gguf(**about))  # type: ignore[arg-type]
    return path
