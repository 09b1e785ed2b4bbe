"""What a file is when it is no model, by its first bytes; and text from files made fit to be shown."""

_SIGNS = (
    (b"PK\x03\x04", "a zip archive (or a wheel, or an old PyTorch checkpoint)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it points to"),
    (b"lmgg", "a model in the old GGML format"),
    (b"fmgg", "a model in the old GGML format"),
    (b"tjgg", "a model in the old GGML format"),
    (b"%PDF", "a PDF document"),
    (b"\x80\x02", "a Python pickle (a PyTorch checkpoint)"),
)


def describe(start: bytes) -> str:
    """Names what begins with `start` (at least 16 bytes of it, unless the file is shorter), to stand after "it is"."""
    if not start:
        return "an empty file"
    for sign, name in _SIGNS:
        if start.startswith(sign):
            return name
    if start[8:9] == b"{" and start[4:8] == b"\0\0\0\0":  # eight bytes of length, then JSON
        return "a safetensors file, which must be converted to GGUF first"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        return "a web page, not a model file"
    if text[:1] in (b"{", b"["):
        return "JSON, not a model file"
    if not start.strip(b"\0"):
        return "full of zeros, the remains of a broken copy"
    return "not a GGUF file"
